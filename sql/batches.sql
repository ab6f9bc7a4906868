-- name: list_appended(project_ids, expected, versions, ids, owners, titles, descriptions, statuses, priorities, creators, assignees, dues, dones, created, updated, task_versions, deleted, event_projects, event_versions, types, event_tasks, ats, bodies)
-- Move the heads that are where they are expected, and write the tasks and events of their projects, all at once.
WITH wanted AS (
    SELECT * FROM unnest(:project_ids::bigint[], :expected::bigint[], :versions::bigint[])
        AS w (project_id, expected, version)
), locked AS (
    SELECT h.project_id, h.version
    FROM project_heads h
    WHERE h.project_id = ANY(:project_ids::bigint[])
    ORDER BY h.project_id
    FOR UPDATE
), moved AS (
    UPDATE project_heads h
    SET version = w.version
    FROM wanted w
    JOIN locked l ON l.project_id = w.project_id
    WHERE h.project_id = w.project_id AND l.version = w.expected
    RETURNING h.project_id
), put AS (
    INSERT INTO tasks AS t (
        id, project_id, title, description, status, priority, created_by, assigned_to, due_date, completed_at,
        created_at, updated_at, version, deleted_at
    )
    SELECT n.id, n.project_id, n.title, n.description, n.status, n.priority, n.created_by, n.assigned_to, n.due_date,
        n.completed_at, n.created_at, n.updated_at, n.version, n.deleted_at
    FROM unnest(
        :ids::bigint[], :owners::bigint[], :titles::text[], :descriptions::text[], :statuses::text[],
        :priorities::text[], :creators::bigint[], :assignees::bigint[], :dues::timestamptz[], :dones::timestamptz[],
        :created::timestamptz[], :updated::timestamptz[], :task_versions::bigint[], :deleted::timestamptz[]
    ) AS n (
        id, project_id, title, description, status, priority, created_by, assigned_to, due_date, completed_at,
        created_at, updated_at, version, deleted_at
    )
    JOIN moved m ON m.project_id = n.project_id
    ON CONFLICT (id) DO UPDATE SET
        title = excluded.title, description = excluded.description, status = excluded.status,
        priority = excluded.priority, assigned_to = excluded.assigned_to, due_date = excluded.due_date,
        completed_at = excluded.completed_at, updated_at = excluded.updated_at, version = excluded.version,
        deleted_at = excluded.deleted_at
), logged AS (
    INSERT INTO project_events (project_id, version, type, task_id, at, body)
    SELECT e.project_id, e.version, e.type, e.task_id, e.at, e.body::json
    FROM unnest(
        :event_projects::bigint[], :event_versions::bigint[], :types::text[], :event_tasks::bigint[],
        :ats::timestamptz[], :bodies::text[]
    ) AS e (project_id, version, type, task_id, at, body)
    JOIN moved m ON m.project_id = e.project_id
)
SELECT project_id FROM moved ORDER BY project_id;
