-- transactional: false

DROP INDEX CONCURRENTLY IF EXISTS project_events_members_idx;

DROP INDEX CONCURRENTLY IF EXISTS project_events_written_idx;
