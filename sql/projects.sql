-- name: get_project(project_id)^
-- A project that was not deleted, its head's version, and the event of that version if the log has it.
SELECT p.id, p.name, p.description, p.owner_id, p.status, p.is_inbox, p.created_at, p.updated_at, p.version,
    h.version AS head, e.body::text AS tip
FROM projects p
JOIN project_heads h ON h.project_id = p.id
LEFT JOIN project_events e ON e.project_id = h.project_id AND e.version = h.version
WHERE p.id = :project_id AND p.deleted_at IS NULL;

-- name: insert_project(id, name, description, owner_id, is_inbox, created_at)!
-- A new project, active, at version 1.
INSERT INTO projects (id, name, description, owner_id, status, is_inbox, created_at, updated_at, version)
VALUES (:id, :name, :description, :owner_id, 'active', :is_inbox, :created_at, :created_at, 1);

-- name: update_project(id, name, description, owner_id, status, updated_at, version)!
-- The project's own fields after a change.
UPDATE projects
SET name = :name, description = :description, owner_id = :owner_id, status = :status,
    updated_at = :updated_at, version = :version
WHERE id = :id;

-- name: delete_project(id, deleted_at, version)!
-- Leave a tombstone of a project.
UPDATE projects SET deleted_at = :deleted_at, version = :version WHERE id = :id;

-- name: get_inbox_id(user_id)$
-- The project for tasks that name none.
SELECT id FROM projects WHERE owner_id = :user_id AND is_inbox;

-- name: list_visible_ids(user_id)
-- The projects that a user owns or is a member of.
SELECT id FROM projects WHERE owner_id = :user_id AND deleted_at IS NULL
UNION
SELECT project_id FROM members WHERE user_id = :user_id
ORDER BY 1;

-- name: list_projects(user_id, is_everywhere, is_admin, project_ids, statuses, text, sort, is_descending, after_at, after_text, after_id, limit, offset)
-- A page of the projects that a user may see, and how many there are; to be planned for its values.
WITH matching AS NOT MATERIALIZED (
    SELECT p.id, p.name, p.description, p.owner_id, p.status, p.is_inbox, p.created_at, p.updated_at, p.version,
        CASE :sort::text WHEN 'created_at' THEN p.created_at WHEN 'updated_at' THEN p.updated_at END AS moment,
        CASE :sort WHEN 'name' THEN lower(p.name) END AS word
    FROM projects p
    WHERE p.deleted_at IS NULL
        AND (
            p.id = ANY(:project_ids::bigint[])
            OR (:is_everywhere::boolean AND (:is_admin::boolean OR NOT p.is_inbox OR p.owner_id = :user_id))
        )
        AND (:statuses::text[] IS NULL OR p.status = ANY(:statuses))
        AND (
            :text::text IS NULL
            OR to_tsvector('simple', p.name || ' ' || coalesce(p.description, ''))
                @@ websearch_to_tsquery('simple', :text)
        )
), page AS (
    SELECT id, name, description, owner_id, status, is_inbox, created_at, updated_at, version,
        row_number() OVER (
            ORDER BY CASE WHEN :is_descending::boolean THEN moment END DESC,
                CASE WHEN :is_descending THEN word END DESC, CASE WHEN :is_descending THEN id END DESC,
                moment, word, id
        ) AS place
    FROM matching
    WHERE CASE
        WHEN :after_id::bigint IS NULL THEN true
        WHEN :sort = 'name' AND :is_descending THEN (word, id) < (lower(:after_text::text), :after_id)
        WHEN :sort = 'name' THEN (word, id) > (lower(:after_text), :after_id)
        WHEN :is_descending THEN (moment, id) < (:after_at::timestamptz, :after_id)
        ELSE (moment, id) > (:after_at, :after_id)
    END
    ORDER BY place
    LIMIT :limit OFFSET :offset
)
SELECT c.total, m.id, m.name, m.description, m.owner_id, m.status, m.is_inbox, m.created_at, m.updated_at, m.version
FROM (SELECT count(*) AS total FROM matching) c
LEFT JOIN page m ON true
ORDER BY m.place;

-- name: count_projects()$
-- How many projects there are, tombstones included.
SELECT count(*) FROM projects;

-- name: get_described(name)$
-- Whether a project of this name ever had a description.
SELECT EXISTS (SELECT FROM projects WHERE name = :name AND description IS NOT NULL);
