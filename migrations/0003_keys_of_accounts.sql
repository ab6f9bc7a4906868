-- Idempotency keys whose effect stands in no project's log: they hold their answer themselves.
-- depends: 0002_search

ALTER TABLE idempotency_keys
    ALTER COLUMN project_id DROP NOT NULL,
    ALTER COLUMN version DROP NOT NULL,
    ADD COLUMN body text,
    ADD CONSTRAINT idempotency_keys_answer CHECK ((project_id IS NULL) = (body IS NOT NULL)),
    ADD CONSTRAINT idempotency_keys_event CHECK (project_id IS NULL OR version IS NOT NULL);
