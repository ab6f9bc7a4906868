-- name: get_news(seen, limit)^
-- The snapshot of this moment; the changes that it sees and another one did not, if they are not too many; whether it is older than that one. What was restored from a dump has numbers of another cluster's transactions.
WITH present AS (
    SELECT pg_current_snapshot() AS snapshot
), written AS (
    (
        SELECT project_id, version
        FROM project_events
        WHERE written_by >= pg_snapshot_xmax(:seen::text::pg_snapshot)
            AND written_by < (SELECT pg_snapshot_xmax(snapshot) FROM present)
            AND xmin = written_by::xid
        ORDER BY written_by
        LIMIT :limit + 1
    )
    UNION ALL
    SELECT late.project_id, late.version
    FROM pg_snapshot_xip(:seen::text::pg_snapshot) AS p (xid)
    CROSS JOIN LATERAL (
        SELECT project_id, version
        FROM project_events
        WHERE written_by = p.xid AND xmin = written_by::xid
        ORDER BY written_by, project_id, version
        LIMIT :limit + 1
    ) late
), changed AS (
    SELECT project_id, min(version) AS first, max(version) AS last
    FROM written
    GROUP BY project_id
)
SELECT
    p.snapshot::text AS snapshot,
    coalesce(pg_snapshot_xmax(p.snapshot) < pg_snapshot_xmax(:seen::text::pg_snapshot), false) AS is_older,
    (SELECT count(*) > :limit FROM written) AS is_cut,
    array(SELECT project_id FROM changed ORDER BY project_id) AS project_ids,
    array(SELECT first FROM changed ORDER BY project_id) AS firsts,
    array(SELECT last FROM changed ORDER BY project_id) AS lasts
FROM present p;

-- name: list_events_after(project_ids, versions, limit)
-- The logs of projects, each after a version and oldest first.
SELECT w.project_id, e.body
FROM unnest(:project_ids::bigint[], :versions::bigint[]) AS w (project_id, version)
CROSS JOIN LATERAL (
    SELECT e.version, e.body::text AS body
    FROM project_events e
    WHERE e.project_id = w.project_id AND e.version > w.version
    ORDER BY e.version
    LIMIT :limit
) e
ORDER BY w.project_id, e.version;

-- name: list_rosters(project_ids)
-- Whom projects belong to and who their members are; of a deleted one, who they were at its end.
SELECT p.id, p.owner_id, p.is_inbox,
    CASE WHEN p.deleted_at IS NULL
        THEN array(SELECT m.user_id FROM members m WHERE m.project_id = p.id)
        ELSE array(
            SELECT last.user_id
            FROM (
                SELECT DISTINCT ON (user_id) (e.body -> 'member' ->> 'user_id')::bigint AS user_id, e.type
                FROM project_events e
                WHERE e.project_id = p.id AND e.type IN ('member_added', 'member_updated', 'member_removed')
                ORDER BY user_id, e.version DESC
            ) last
            WHERE last.type <> 'member_removed'
        )
    END AS members
FROM projects p
WHERE p.id = ANY(:project_ids::bigint[])
ORDER BY p.id;

-- name: list_parties(task_ids)
-- Who made tasks, and whom they are assigned to.
SELECT id, created_by, assigned_to FROM tasks WHERE id = ANY(:task_ids::bigint[]) ORDER BY id;

-- name: list_heads(project_ids)
-- The versions of projects.
SELECT project_id, version FROM project_heads WHERE project_id = ANY(:project_ids::bigint[]) ORDER BY project_id;
