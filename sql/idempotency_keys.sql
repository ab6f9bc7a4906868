-- name: delete_stale_keys(user_ids, keys)!
-- Make room for keys that were used more than 24 hours ago.
DELETE FROM idempotency_keys k
USING unnest(:user_ids::bigint[], :keys::text[]) AS w (user_id, key)
WHERE k.user_id = w.user_id AND k.key = w.key AND k.created_at <= now() - interval '24 hours';

-- name: insert_keys(user_ids, keys, fingerprints, statuses, project_ids, versions)!
-- Remember which event answers a repeat of each key.
INSERT INTO idempotency_keys (user_id, key, fingerprint, status, project_id, version)
SELECT * FROM unnest(
    :user_ids::bigint[], :keys::text[], :fingerprints::bytea[], :statuses::smallint[], :project_ids::bigint[],
    :versions::bigint[]
);

-- name: insert_answer(user_id, key, fingerprint, status, version, body)!
-- Remember what answers a repeat of a key that no event tells of.
INSERT INTO idempotency_keys (user_id, key, fingerprint, status, version, body)
VALUES (:user_id, :key, :fingerprint, :status, :version, :body);

-- name: get_key(user_id, key)^
-- How a key was answered, if it was used in the last 24 hours.
SELECT fingerprint, status, project_id, version, body,
    extract(epoch FROM now() - created_at)::float8 AS age_seconds
FROM idempotency_keys
WHERE user_id = :user_id AND key = :key AND created_at > now() - interval '24 hours';

-- name: get_key_of_address(email, key)^
-- How a key was answered to the account that has this address, whatever the case.
SELECT k.fingerprint, k.status, k.project_id, k.version, k.body,
    extract(epoch FROM now() - k.created_at)::float8 AS age_seconds
FROM users u
JOIN idempotency_keys k ON k.user_id = u.id
WHERE lower(u.email) = lower(:email) AND k.key = :key AND k.created_at > now() - interval '24 hours';

-- name: delete_expired_keys(limit)!
-- Forget some of the keys that are older than 24 hours.
DELETE FROM idempotency_keys
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM idempotency_keys WHERE created_at <= now() - interval '24 hours' LIMIT :limit
));
