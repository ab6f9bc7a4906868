-- name: get_user(user_id)^
-- The account as it may be shown.
SELECT id, email, username, first_name, last_name, role, is_active,
    created_at, updated_at, version
FROM users
WHERE id = :user_id;

-- name: get_credentials_by_email(email)^
-- The account and its password's hash, whatever the case of the address.
SELECT id, email, username, first_name, last_name, role, is_active,
    created_at, updated_at, version, password_hash
FROM users
WHERE lower(email) = lower(:email);

-- name: get_credentials_by_username(username)^
-- The account and its password's hash, whatever the case of the name.
SELECT id, email, username, first_name, last_name, role, is_active,
    created_at, updated_at, version, password_hash
FROM users
WHERE lower(username) = lower(:username);

-- name: create_user(user_id, email, username, password_hash, first_name, last_name, role, at)<!
-- An active account; fails on users_email_key or users_username_key.
INSERT INTO users (
    id, email, username, password_hash, first_name, last_name, role,
    created_at, updated_at
)
VALUES (
    :user_id, :email, :username, :password_hash, :first_name, :last_name, :role,
    :at, :at
)
RETURNING id, email, username, first_name, last_name, role, is_active,
    created_at, updated_at, version;

-- name: replace_password_hash(user_id, password_hash, replaced)!
-- The same password hashed anew, unless the password was changed meanwhile.
UPDATE users
SET password_hash = :password_hash
WHERE id = :user_id AND password_hash = :replaced;
