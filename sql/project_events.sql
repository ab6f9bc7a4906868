-- name: insert_events(project_ids, versions, types, task_ids, ats, bodies)!
-- Append to the logs of projects.
INSERT INTO project_events (project_id, version, type, task_id, at, body)
SELECT project_id, version, type, task_id, at, body::json
FROM unnest(
    :project_ids::bigint[], :versions::bigint[], :types::text[], :task_ids::bigint[], :ats::timestamptz[],
    :bodies::text[]
) AS e (project_id, version, type, task_id, at, body);

-- name: list_events_since(project_id, version, limit)
-- The log after a version, oldest first.
SELECT body::text
FROM project_events
WHERE project_id = :project_id AND version > :version
ORDER BY version
LIMIT :limit;

-- name: get_event(project_id, version)$
-- One event of a log.
SELECT body::text FROM project_events WHERE project_id = :project_id AND version = :version;
