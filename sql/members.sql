-- name: list_members(project_id)
-- The members of a project; the owner is not one of them.
SELECT user_id, role, created_at, version FROM members WHERE project_id = :project_id ORDER BY user_id;

-- name: put_member(project_id, user_id, role, created_at, version)!
-- Add a member or change their role.
INSERT INTO members (project_id, user_id, role, created_at, version)
VALUES (:project_id, :user_id, :role, :created_at, :version)
ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role, version = excluded.version;

-- name: remove_member(project_id, user_id)!
-- Take a member out.
DELETE FROM members WHERE project_id = :project_id AND user_id = :user_id;

-- name: remove_all_members(project_id)!
-- Take everyone out of a deleted project.
DELETE FROM members WHERE project_id = :project_id;
