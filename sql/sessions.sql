-- name: create_session(user_id, password_hash, digest, lifetime_seconds, address, user_agent)<!
-- A session and its first refresh token, for a user who is active and, if it is given, still has this hash.
WITH session AS (
    INSERT INTO sessions (user_id, expires_at, address, user_agent)
    SELECT id, now() + make_interval(secs => :lifetime_seconds::float8), :address, :user_agent
    FROM users
    WHERE id = :user_id AND is_active
        AND (:password_hash::text IS NULL OR password_hash = :password_hash)
    FOR SHARE
    RETURNING id
)
INSERT INTO refresh_tokens (digest, session_id)
SELECT :digest, id
FROM session
RETURNING session_id;

-- name: rotate_refresh_token(digest, successor)<!
-- Use an unused token of a live session and leave its successor; one caller wins.
WITH used AS (
    UPDATE refresh_tokens
    SET used_at = now()
    FROM sessions, users
    WHERE refresh_tokens.digest = :digest
        AND refresh_tokens.used_at IS NULL
        AND sessions.id = refresh_tokens.session_id
        AND sessions.revoked_at IS NULL
        AND sessions.expires_at > now()
        AND users.id = sessions.user_id
        AND users.is_active
    RETURNING refresh_tokens.session_id, sessions.user_id
), session AS (
    UPDATE sessions
    SET last_used_at = now()
    FROM used
    WHERE sessions.id = used.session_id
), successor AS (
    INSERT INTO refresh_tokens (digest, session_id)
    SELECT :successor, session_id
    FROM used
)
SELECT session_id, user_id
FROM used;

-- name: get_refresh_token(digest, grace_seconds)^
-- Why a token could not be used: what became of it and of its session.
SELECT refresh_tokens.session_id, sessions.user_id,
    sessions.revoked_at IS NULL AND sessions.expires_at > now() AND users.is_active AS is_live,
    refresh_tokens.used_at IS NOT NULL AS is_used,
    coalesce(
        refresh_tokens.used_at > now() - make_interval(secs => :grace_seconds::float8), false
    ) AS is_in_grace
FROM refresh_tokens
JOIN sessions ON sessions.id = refresh_tokens.session_id
JOIN users ON users.id = sessions.user_id
WHERE refresh_tokens.digest = :digest;

-- name: revoke_session(session_id, user_id, reason)!
-- End a live session; of this user only, if one is named.
UPDATE sessions
SET revoked_at = now(), revoked_reason = :reason
WHERE id = :session_id
    AND (:user_id::bigint IS NULL OR user_id = :user_id)
    AND revoked_at IS NULL
    AND expires_at > now();

-- name: revoke_sessions(user_id, kept, reason)
-- End all live sessions of a user, but the one to be kept if there is one.
UPDATE sessions
SET revoked_at = now(), revoked_reason = :reason
WHERE user_id = :user_id
    AND (:kept::bigint IS NULL OR id <> :kept)
    AND revoked_at IS NULL
    AND expires_at > now()
RETURNING id;

-- name: list_session_ids(user_id)
-- All live sessions of a user.
SELECT id
FROM sessions
WHERE user_id = :user_id AND revoked_at IS NULL AND expires_at > now()
ORDER BY id;

-- name: list_sessions(user_id, row_limit, row_offset)
-- The user's live sessions, newest first.
SELECT id, created_at, last_used_at, expires_at, address, user_agent
FROM sessions
WHERE user_id = :user_id AND revoked_at IS NULL AND expires_at > now()
ORDER BY id DESC
LIMIT :row_limit OFFSET :row_offset;

-- name: count_sessions(user_id)$
-- How many live sessions the user has.
SELECT count(*)
FROM sessions
WHERE user_id = :user_id AND revoked_at IS NULL AND expires_at > now();

-- name: list_live_sessions(session_ids)
-- Those of the sessions that are neither revoked nor expired, and their users.
SELECT sessions.id, sessions.user_id, users.role, users.is_active
FROM sessions
JOIN users ON users.id = sessions.user_id
WHERE sessions.id = ANY(:session_ids::bigint[])
    AND sessions.revoked_at IS NULL
    AND sessions.expires_at > now()
ORDER BY sessions.id;

-- name: delete_ended_sessions(limit)!
-- Forget some of the sessions that expired a week ago, with their refresh tokens.
DELETE FROM sessions
WHERE id = ANY(ARRAY(
    SELECT id FROM sessions WHERE expires_at < now() - interval '7 days' LIMIT :limit
));
