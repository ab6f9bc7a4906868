-- name: insert_heads(project_ids)!
-- Start the version of new projects at 0.
INSERT INTO project_heads (project_id)
SELECT * FROM unnest(:project_ids::bigint[]);

-- name: move_heads(project_ids, expected, versions)
-- Move the projects that are where they are expected, and that nobody else is at.
WITH wanted AS (
    SELECT * FROM unnest(:project_ids::bigint[], :expected::bigint[], :versions::bigint[])
        AS w (project_id, expected, version)
), locked AS (
    SELECT h.project_id, h.version
    FROM project_heads h
    WHERE h.project_id = ANY(:project_ids::bigint[])
    ORDER BY h.project_id
    FOR UPDATE SKIP LOCKED
)
UPDATE project_heads h
SET version = w.version
FROM wanted w
JOIN locked l ON l.project_id = w.project_id
WHERE h.project_id = w.project_id AND l.version = w.expected
RETURNING h.project_id;

-- name: lock_head(project_id)$
-- Lock a project's version until the end of the transaction.
SELECT version FROM project_heads WHERE project_id = :project_id FOR UPDATE;
