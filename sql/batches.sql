-- name: list_appended(project_ids, expected, versions, bodies)
-- Move the heads that are where they are expected and that nobody else is at; write the events of their projects, a JSON array, and what became of their tasks.
WITH wanted AS (
    SELECT * FROM unnest(:project_ids::bigint[], :expected::bigint[], :versions::bigint[])
        AS w (project_id, expected, version)
), locked AS (
    SELECT h.project_id, h.version
    FROM project_heads h
    WHERE h.project_id = ANY(:project_ids::bigint[])
    ORDER BY h.project_id
    FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE project_heads h
    SET version = w.version
    FROM wanted w
    JOIN locked l ON l.project_id = w.project_id
    WHERE h.project_id = w.project_id AND l.version = w.expected
    RETURNING h.project_id
), entries AS (
    SELECT e.project_id, e.version, e.type, e.at, e.task, b.body
    FROM json_array_elements(:bodies::json) AS b (body)
    CROSS JOIN LATERAL json_to_record(b.body)
        AS e (project_id bigint, version bigint, type text, at timestamptz, task json)
    JOIN moved m ON m.project_id = e.project_id
), put AS (
    INSERT INTO tasks AS t (
        id, project_id, title, description, status, priority, created_by, assigned_to, due_date, completed_at,
        created_at, updated_at, version, deleted_at
    )
    SELECT DISTINCT ON (n.id) n.id, e.project_id, n.title, n.description, n.status, n.priority, n.created_by,
        n.assigned_to, n.due_date, n.completed_at, n.created_at, n.updated_at, n.version,
        CASE WHEN e.type = 'task_deleted' THEN e.at END
    FROM entries e
    CROSS JOIN LATERAL json_to_record(e.task) AS n (
        id bigint, title text, description text, status text, priority text, created_by bigint, assigned_to bigint,
        due_date timestamptz, completed_at timestamptz, created_at timestamptz, updated_at timestamptz, version bigint
    )
    ORDER BY n.id, n.version DESC
    ON CONFLICT (id) DO UPDATE SET
        title = excluded.title, status = excluded.status,
        description = CASE WHEN t.description = excluded.description THEN t.description ELSE excluded.description END,
        priority = excluded.priority, assigned_to = excluded.assigned_to, due_date = excluded.due_date,
        completed_at = excluded.completed_at, updated_at = excluded.updated_at, version = excluded.version,
        deleted_at = excluded.deleted_at
), logged AS (
    INSERT INTO project_events (project_id, version, type, task_id, at, body)
    SELECT e.project_id, e.version, e.type, (e.task ->> 'id')::bigint, e.at, e.body
    FROM entries e
)
SELECT project_id FROM moved ORDER BY project_id;
