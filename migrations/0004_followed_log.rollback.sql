ALTER TABLE project_events DROP COLUMN written_by;
