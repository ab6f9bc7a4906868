DELETE FROM idempotency_keys WHERE project_id IS NULL;

ALTER TABLE idempotency_keys
    DROP CONSTRAINT idempotency_keys_event,
    DROP CONSTRAINT idempotency_keys_answer,
    DROP COLUMN body,
    ALTER COLUMN version SET NOT NULL,
    ALTER COLUMN project_id SET NOT NULL;
