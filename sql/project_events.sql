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

-- name: list_log(project_id, since, limit)
-- A project's head, and its log after a version, oldest first, as of one moment.
SELECT h.version AS head, e.version, e.body
FROM project_heads h
LEFT JOIN LATERAL (
    SELECT version, body::text AS body
    FROM project_events
    WHERE project_id = h.project_id AND version > :since
    ORDER BY version
    LIMIT :limit
) e ON true
WHERE h.project_id = :project_id
ORDER BY e.version;

-- name: list_history(task_id, after_version, limit, offset)
-- A page of what happened to a task, oldest first, and how much that is.
SELECT c.total, e.version, e.body
FROM (SELECT count(*) AS total FROM project_events WHERE task_id = :task_id) c
LEFT JOIN LATERAL (
    SELECT version, body::text AS body
    FROM project_events
    WHERE task_id = :task_id AND version > :after_version
    ORDER BY version
    LIMIT :limit OFFSET :offset
) e ON true
ORDER BY e.version;
