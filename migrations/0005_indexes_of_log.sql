-- Indexes for what is new in all logs, and for whom a project belonged to before it was deleted; made while events are written.
-- depends: 0004_followed_log
-- transactional: false

DROP INDEX CONCURRENTLY IF EXISTS project_events_written_idx;

CREATE INDEX CONCURRENTLY project_events_written_idx ON project_events (written_by, project_id, version)
    WHERE written_by IS NOT NULL;

DROP INDEX CONCURRENTLY IF EXISTS project_events_members_idx;

CREATE INDEX CONCURRENTLY project_events_members_idx ON project_events (project_id, version)
    WHERE type IN ('member_added', 'member_updated', 'member_removed');
