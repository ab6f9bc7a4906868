DROP INDEX project_events_written_idx;

ALTER TABLE project_events DROP COLUMN written_by;
