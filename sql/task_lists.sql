-- name: list_tasks(user_id, is_everywhere, is_admin, project_ids, project_id, statuses, priorities, assigned_to, is_unassigned, created_by, due_from, due_to, overdue_at, is_overdue, text, sort, is_descending, after_at, after_rank, after_text, after_id, limit, offset)
-- A page of the tasks that a user may see, and how many there are: to be planned for its values, which leaves one arm of each CASE, and a search unsorted by any index.
WITH matching AS NOT MATERIALIZED (
    SELECT t.id,
        CASE :sort::text WHEN 'created_at' THEN t.created_at WHEN 'updated_at' THEN t.updated_at
            WHEN 'due_date' THEN t.due_date END AS moment,
        CASE :sort
            WHEN 'priority' THEN CASE t.priority WHEN 'low' THEN 1 WHEN 'medium' THEN 2 WHEN 'high' THEN 3 ELSE 4 END
            WHEN 'status' THEN CASE t.status WHEN 'pending' THEN 1 WHEN 'in_progress' THEN 2 ELSE 3 END
        END AS rank,
        CASE :sort WHEN 'title' THEN lower(t.title) END AS word
    FROM tasks t
    WHERE t.deleted_at IS NULL
        AND (
            coalesce(:project_id::bigint = ANY(:project_ids::bigint[]), false)
            OR t.project_id = ANY(:project_ids)
            OR t.created_by = :user_id
            OR t.assigned_to = :user_id
            OR (:is_everywhere::boolean AND (:is_admin::boolean OR NOT EXISTS (
                SELECT FROM projects p WHERE p.id = t.project_id AND p.is_inbox AND p.owner_id <> :user_id
            )))
        )
        AND (:project_id IS NULL OR t.project_id = :project_id)
        AND (:statuses::text[] IS NULL OR t.status = ANY(:statuses))
        AND (:priorities::text[] IS NULL OR t.priority = ANY(:priorities))
        AND (:assigned_to::bigint IS NULL OR t.assigned_to = :assigned_to)
        AND (:is_unassigned::boolean IS NULL OR (t.assigned_to IS NULL) = :is_unassigned)
        AND (:created_by::bigint IS NULL OR t.created_by = :created_by)
        AND (:due_from::timestamptz IS NULL OR t.due_date >= :due_from)
        AND (:due_to::timestamptz IS NULL OR t.due_date <= :due_to)
        AND (
            :is_overdue::boolean IS NULL
            OR coalesce(t.due_date < :overdue_at::timestamptz AND t.status <> 'completed', false) = :is_overdue
        )
        AND (
            :text::text IS NULL
            OR to_tsvector('simple', t.title || ' ' || coalesce(t.description, ''))
                @@ websearch_to_tsquery('simple', :text)
        )
), known AS NOT MATERIALIZED (
    SELECT id, moment, rank, word
    FROM matching
    WHERE (:sort <> 'due_date' OR moment IS NOT NULL)
        AND CASE
            WHEN :after_id::bigint IS NULL THEN true
            WHEN :sort IN ('priority', 'status') AND :is_descending::boolean
                THEN (rank, id) < (:after_rank::integer, :after_id)
            WHEN :sort IN ('priority', 'status') THEN (rank, id) > (:after_rank, :after_id)
            WHEN :sort = 'title' AND :is_descending THEN (word, id) < (lower(:after_text::text), :after_id)
            WHEN :sort = 'title' THEN (word, id) > (lower(:after_text), :after_id)
            WHEN :is_descending THEN (moment, id) < (:after_at::timestamptz, :after_id)
            ELSE (moment, id) > (:after_at, :after_id)
        END
    ORDER BY CASE WHEN :text IS NOT NULL THEN id - id END,
        CASE WHEN :is_descending THEN moment END DESC, CASE WHEN :is_descending THEN rank END DESC,
        CASE WHEN :is_descending THEN word END DESC, CASE WHEN :is_descending THEN id END DESC,
        moment, rank, word, id
    LIMIT :limit::bigint + :offset::bigint
), unknown AS NOT MATERIALIZED (
    SELECT id, moment, rank, word
    FROM matching
    WHERE :sort = 'due_date' AND moment IS NULL
        AND CASE
            WHEN :after_id IS NULL OR :after_at IS NOT NULL THEN true
            WHEN :is_descending THEN id < :after_id
            ELSE id > :after_id
        END
    ORDER BY CASE WHEN :text IS NOT NULL THEN id - id END, CASE WHEN :is_descending THEN id END DESC, id
    LIMIT :limit + :offset
), page AS (
    SELECT id, row_number() OVER (
        ORDER BY CASE WHEN :is_descending THEN moment END DESC NULLS LAST, CASE WHEN :is_descending THEN rank END DESC,
            CASE WHEN :is_descending THEN word END DESC, CASE WHEN :is_descending THEN id END DESC,
            moment, rank, word, id
    ) AS place
    FROM (SELECT id, moment, rank, word FROM known UNION ALL SELECT id, moment, rank, word FROM unknown) found
    ORDER BY place
    LIMIT :limit OFFSET :offset
)
SELECT c.total, t.id, t.title, t.description, t.status, t.priority, t.project_id, t.created_by, t.assigned_to,
    t.due_date, t.completed_at, t.created_at, t.updated_at, t.version
FROM (SELECT count(*) AS total FROM matching) c
LEFT JOIN (page JOIN tasks t ON t.id = page.id) ON true
ORDER BY page.place;
