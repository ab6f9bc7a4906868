-- An index for whom a project belonged to before it was deleted: its log may be long, and members in it are rare.
-- depends: 0004_followed_log
-- transactional: false

DROP INDEX CONCURRENTLY IF EXISTS project_events_members_idx;

CREATE INDEX CONCURRENTLY project_events_members_idx ON project_events (project_id, version)
    WHERE type IN ('member_added', 'member_updated', 'member_removed');
