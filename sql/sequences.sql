-- name: list_next_task_ids(count)
-- Take ids for new tasks.
SELECT nextval('task_ids') AS id FROM generate_series(1, :count::integer) ORDER BY 1;

-- name: list_next_project_ids(count)
-- Take ids for new projects.
SELECT nextval('project_ids') AS id FROM generate_series(1, :count::integer) ORDER BY 1;

-- name: list_next_user_ids(count)
-- Take ids for new users.
SELECT nextval('user_ids') AS id FROM generate_series(1, :count::integer) ORDER BY 1;

-- name: list_next_comment_ids(count)
-- Take ids for new comments.
SELECT nextval('comment_ids') AS id FROM generate_series(1, :count::integer) ORDER BY 1;

-- name: get_pulse()$
-- Answer, whatever is in the database.
SELECT 1;

-- name: get_identity()$
-- Tell this database from all others, and from dumps of it that were restored; a copy of its files has the same name.
SELECT system_identifier || '/' || current_database() FROM pg_control_system();
