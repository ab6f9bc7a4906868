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
-- Write tasks as they are after a batch: new ones, changed ones, tombstones; a description that stays is not written anew.
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
    title = excluded.title, status = excluded.status,
    description = CASE WHEN t.description = excluded.description THEN t.description ELSE excluded.description END,
    priority = excluded.priority, assigned_to = excluded.assigned_to, due_date = excluded.due_date,
    completed_at = excluded.completed_at, updated_at = excluded.updated_at, version = excluded.version,
    deleted_at = excluded.deleted_at;

-- name: delete_tasks_of_project(project_id, deleted_at)!
-- Leave tombstones of all tasks of a deleted project.
UPDATE tasks SET deleted_at = :deleted_at WHERE project_id = :project_id AND deleted_at IS NULL;
