-- name: list_comments_of_project(project_id)
-- Every comment of a project that was not deleted, itself or with its task.
SELECT c.id, c.task_id, c.user_id, c.comment, c.created_at, c.updated_at, c.version
FROM tasks t
JOIN comments c ON c.task_id = t.id
WHERE t.project_id = :project_id AND t.deleted_at IS NULL AND c.deleted_at IS NULL
ORDER BY c.id;

-- name: put_comments(ids, task_ids, authors, texts, created, updated, versions, deleted)!
-- Write comments as they are after a batch: new ones, changed ones, tombstones.
INSERT INTO comments AS c (id, task_id, user_id, comment, created_at, updated_at, version, deleted_at)
SELECT * FROM unnest(
    :ids::bigint[], :task_ids::bigint[], :authors::bigint[], :texts::text[], :created::timestamptz[],
    :updated::timestamptz[], :versions::bigint[], :deleted::timestamptz[]
)
ON CONFLICT (id) DO UPDATE SET
    comment = excluded.comment, updated_at = excluded.updated_at, version = excluded.version,
    deleted_at = excluded.deleted_at;
