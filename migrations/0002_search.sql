-- An index for the words of tasks, made while tasks are written.
-- depends: 0001_schema
-- transactional: false

DROP INDEX CONCURRENTLY IF EXISTS tasks_words_idx;

CREATE INDEX CONCURRENTLY tasks_words_idx ON tasks
    USING gin (to_tsvector('simple', title || ' ' || coalesce(description, '')))
    WHERE deleted_at IS NULL;
