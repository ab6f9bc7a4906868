-- Which transaction wrote an event, so that every node can ask what it has not seen yet. What is there already was seen.
-- depends: 0003_keys_of_accounts

ALTER TABLE project_events ADD COLUMN written_by xid8;

ALTER TABLE project_events ALTER COLUMN written_by SET DEFAULT pg_current_xact_id();
