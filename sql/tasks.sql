-- name: list_tasks_of_project(project_id)
-- Every task of a project that was not deleted.
SELECT id, title, description, status, priority, project_id, created_by, assigned_to, due_date, completed_at,
    created_at, updated_at, version
FROM tasks
WHERE project_id = :project_id AND deleted_at IS NULL
ORDER BY id;

-- name: get_project_id(task_id)$
-- The project of a task that was not deleted.
SELECT project_id FROM tasks WHERE id = :task_id AND deleted_at IS NULL;

-- name: put_tasks(ids, project_ids, titles, descriptions, statuses, priorities, creators, assignees, dues, dones, created, updated, versions, deleted)!
-- Write tasks as they are after a batch: new ones, changed ones, tombstones.
INSERT INTO tasks AS t (
    id, project_id, title, description, status, priority, created_by, assigned_to, due_date, completed_at,
    created_at, updated_at, version, deleted_at
)
SELECT * FROM unnest(
    :ids::bigint[], :project_ids::bigint[], :titles::text[], :descriptions::text[], :statuses::text[],
    :priorities::text[], :creators::bigint[], :assignees::bigint[], :dues::timestamptz[], :dones::timestamptz[],
    :created::timestamptz[], :updated::timestamptz[], :versions::bigint[], :deleted::timestamptz[]
)
ON CONFLICT (id) DO UPDATE SET
    title = excluded.title, description = excluded.description, status = excluded.status,
    priority = excluded.priority, assigned_to = excluded.assigned_to, due_date = excluded.due_date,
    completed_at = excluded.completed_at, updated_at = excluded.updated_at, version = excluded.version,
    deleted_at = excluded.deleted_at;

-- name: delete_tasks_of_project(project_id, deleted_at)!
-- Leave tombstones of all tasks of a deleted project.
UPDATE tasks SET deleted_at = :deleted_at WHERE project_id = :project_id AND deleted_at IS NULL;

-- name: list_tasks(user_id, is_everywhere, is_admin, project_ids, project_id, statuses, priorities, assigned_to, is_unassigned, created_by, due_from, due_to, overdue_at, is_overdue, text, before_at, before_id, limit, offset)
-- A page of the tasks that a user may see, newest first, and how many there are.
WITH matching AS NOT MATERIALIZED (
    SELECT t.id, t.title, t.description, t.status, t.priority, t.project_id, t.created_by, t.assigned_to,
        t.due_date, t.completed_at, t.created_at, t.updated_at, t.version
    FROM tasks t
    WHERE t.deleted_at IS NULL
        AND (
            t.project_id = ANY(:project_ids::bigint[])
            OR t.created_by = :user_id
            OR t.assigned_to = :user_id
            OR (:is_everywhere::boolean AND (:is_admin::boolean OR NOT EXISTS (
                SELECT FROM projects p WHERE p.id = t.project_id AND p.is_inbox AND p.owner_id <> :user_id
            )))
        )
        AND (:project_id::bigint IS NULL OR t.project_id = :project_id)
        AND (:statuses::text[] IS NULL OR t.status = ANY(:statuses))
        AND (:priorities::text[] IS NULL OR t.priority = ANY(:priorities))
        AND (:assigned_to::bigint IS NULL OR t.assigned_to = :assigned_to)
        AND (:is_unassigned::boolean IS NULL OR (t.assigned_to IS NULL) = :is_unassigned)
        AND (:created_by::bigint IS NULL OR t.created_by = :created_by)
        AND (:due_from::timestamptz IS NULL OR t.due_date >= :due_from)
        AND (:due_to::timestamptz IS NULL OR t.due_date <= :due_to)
        AND (
            :is_overdue::boolean IS NULL
            OR coalesce(t.due_date < :overdue_at::timestamptz AND t.status <> 'completed', false) = :is_overdue
        )
        AND (
            :text::text IS NULL
            OR to_tsvector('simple', t.title || ' ' || coalesce(t.description, ''))
                @@ websearch_to_tsquery('simple', :text)
        )
)
SELECT c.total, m.*
FROM (SELECT count(*) AS total FROM matching) c
LEFT JOIN LATERAL (
    SELECT id, title, description, status, priority, project_id, created_by, assigned_to, due_date, completed_at,
        created_at, updated_at, version
    FROM matching
    WHERE :before_id::bigint IS NULL OR (created_at, id) < (:before_at::timestamptz, :before_id)
    ORDER BY created_at DESC, id DESC
    LIMIT :limit OFFSET :offset
) m ON true
ORDER BY m.created_at DESC, m.id DESC;
