-- name: get_user(user_id)^
-- The account as it may be shown.
SELECT id, email, username, first_name, last_name, role, is_active,
    created_at, updated_at, version
FROM users
WHERE id = :user_id;

-- name: list_users(role, is_active, text, sort, is_descending, after_at, after_text, after_id, limit, offset)
-- A page of the accounts, and how many there are; to be planned for its values.
WITH matching AS NOT MATERIALIZED (
    SELECT id, email, username, first_name, last_name, role, is_active,
        created_at, updated_at, version,
        CASE :sort::text WHEN 'created_at' THEN created_at
            WHEN 'updated_at' THEN updated_at END AS moment,
        CASE :sort WHEN 'username' THEN lower(username)
            WHEN 'email' THEN lower(email) END AS word
    FROM users
    WHERE (:role::text IS NULL OR role = :role)
        AND (:is_active::boolean IS NULL OR is_active = :is_active)
        AND (
            :text::text IS NULL
            OR strpos(
                lower(username || ' ' || email || ' ' || first_name || ' ' || last_name),
                lower(:text)
            ) > 0
        )
), page AS (
    SELECT id, email, username, first_name, last_name, role, is_active,
        created_at, updated_at, version,
        row_number() OVER (
            ORDER BY CASE WHEN :is_descending::boolean THEN moment END DESC,
                CASE WHEN :is_descending THEN word END DESC,
                CASE WHEN :is_descending THEN id END DESC,
                moment, word, id
        ) AS place
    FROM matching
    WHERE CASE
        WHEN :after_id::bigint IS NULL THEN true
        WHEN :sort IN ('username', 'email') AND :is_descending
            THEN (word, id) < (lower(:after_text::text), :after_id)
        WHEN :sort IN ('username', 'email')
            THEN (word, id) > (lower(:after_text), :after_id)
        WHEN :is_descending
            THEN (moment, id) < (:after_at::timestamptz, :after_id)
        ELSE (moment, id) > (:after_at, :after_id)
    END
    ORDER BY place
    LIMIT :limit OFFSET :offset
)
SELECT c.total, m.id, m.email, m.username, m.first_name, m.last_name, m.role,
    m.is_active, m.created_at, m.updated_at, m.version
FROM (SELECT count(*) AS total FROM matching) c
LEFT JOIN page m ON true
ORDER BY m.place;

-- name: list_active_admins()
-- The administrators who can log in, held until the transaction ends.
SELECT id
FROM users
WHERE role = 'admin' AND is_active
ORDER BY id
FOR UPDATE;

-- name: update_user(user_id, email, username, first_name, last_name, role, is_active, at, version)<!
-- Change an account that is still at this version; fails on users_email_key or users_username_key.
UPDATE users
SET email = :email, username = :username, first_name = :first_name,
    last_name = :last_name, role = :role, is_active = :is_active,
    updated_at = :at, version = version + 1
WHERE id = :user_id AND version = :version
RETURNING id, email, username, first_name, last_name, role, is_active,
    created_at, updated_at, version;

-- name: get_credentials(user_id)^
-- The account and its password's hash.
SELECT id, email, username, first_name, last_name, role, is_active,
    created_at, updated_at, version, password_hash
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
-- Another password, or the same hashed anew, unless it was changed meanwhile.
UPDATE users
SET password_hash = :password_hash
WHERE id = :user_id AND password_hash = :replaced;
