-- The whole schema of the first release.
-- depends:

CREATE TABLE users (
    id bigint CONSTRAINT users_pkey PRIMARY KEY,
    email text NOT NULL CONSTRAINT users_email_length CHECK (length(email) <= 320),
    username text NOT NULL CONSTRAINT users_username_length CHECK (length(username) BETWEEN 3 AND 50),
    password_hash text NOT NULL,
    first_name text NOT NULL DEFAULT '' CONSTRAINT users_first_name_length CHECK (length(first_name) <= 100),
    last_name text NOT NULL DEFAULT '' CONSTRAINT users_last_name_length CHECK (length(last_name) <= 100),
    role text NOT NULL DEFAULT 'user' CONSTRAINT users_role_known CHECK (role IN ('user', 'manager', 'admin')),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    version bigint NOT NULL DEFAULT 1
);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));

CREATE UNIQUE INDEX users_username_key ON users (lower(username));

CREATE SEQUENCE user_ids AS bigint OWNED BY users.id;

CREATE TABLE sessions (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT sessions_pkey PRIMARY KEY,
    user_id bigint NOT NULL CONSTRAINT sessions_user_fkey REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_reason text,
    address text NOT NULL DEFAULT '',
    user_agent text NOT NULL DEFAULT ''
);

CREATE INDEX sessions_user_idx ON sessions (user_id, id) WHERE revoked_at IS NULL;

CREATE INDEX sessions_expires_idx ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    digest bytea CONSTRAINT refresh_tokens_pkey PRIMARY KEY,
    session_id bigint NOT NULL CONSTRAINT refresh_tokens_session_fkey REFERENCES sessions (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz
);

CREATE INDEX refresh_tokens_session_idx ON refresh_tokens (session_id);

CREATE TABLE projects (
    id bigint CONSTRAINT projects_pkey PRIMARY KEY,
    name text NOT NULL CONSTRAINT projects_name_length CHECK (length(name) BETWEEN 1 AND 200),
    description text,
    owner_id bigint NOT NULL CONSTRAINT projects_owner_fkey REFERENCES users (id),
    status text NOT NULL CONSTRAINT projects_status_known CHECK (status IN ('active', 'archived')),
    is_inbox boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL,
    deleted_at timestamptz
);

CREATE INDEX projects_owner_idx ON projects (owner_id, id) WHERE deleted_at IS NULL;

CREATE UNIQUE INDEX projects_inbox_key ON projects (owner_id) WHERE is_inbox;

CREATE SEQUENCE project_ids AS bigint OWNED BY projects.id;

CREATE TABLE project_heads (
    project_id bigint CONSTRAINT project_heads_pkey PRIMARY KEY
        CONSTRAINT project_heads_project_fkey REFERENCES projects (id) ON DELETE CASCADE,
    version bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE members (
    project_id bigint NOT NULL CONSTRAINT members_project_fkey REFERENCES projects (id) ON DELETE CASCADE,
    user_id bigint NOT NULL CONSTRAINT members_user_fkey REFERENCES users (id),
    role text NOT NULL CONSTRAINT members_role_known CHECK (role IN ('viewer', 'member', 'maintainer')),
    created_at timestamptz NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT members_pkey PRIMARY KEY (project_id, user_id)
);

CREATE INDEX members_user_idx ON members (user_id, project_id);

CREATE TABLE tasks (
    id bigint CONSTRAINT tasks_pkey PRIMARY KEY,
    project_id bigint NOT NULL CONSTRAINT tasks_project_fkey REFERENCES projects (id) ON DELETE CASCADE,
    title text NOT NULL CONSTRAINT tasks_title_length CHECK (length(title) BETWEEN 1 AND 200),
    description text,
    status text NOT NULL CONSTRAINT tasks_status_known CHECK (status IN ('pending', 'in_progress', 'completed')),
    priority text NOT NULL CONSTRAINT tasks_priority_known CHECK (priority IN ('low', 'medium', 'high', 'urgent')),
    created_by bigint NOT NULL CONSTRAINT tasks_creator_fkey REFERENCES users (id),
    assigned_to bigint CONSTRAINT tasks_assignee_fkey REFERENCES users (id),
    due_date timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL,
    deleted_at timestamptz,
    CONSTRAINT tasks_completed_when_done CHECK ((status = 'completed') = (completed_at IS NOT NULL))
) WITH (fillfactor = 85);

CREATE INDEX tasks_project_idx ON tasks (project_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;

CREATE INDEX tasks_creator_idx ON tasks (created_by, created_at DESC, id DESC) WHERE deleted_at IS NULL;

CREATE INDEX tasks_assignee_idx ON tasks (assigned_to, created_at DESC, id DESC) WHERE deleted_at IS NULL;

CREATE INDEX tasks_created_idx ON tasks (created_at DESC, id DESC) WHERE deleted_at IS NULL;

CREATE INDEX tasks_due_idx ON tasks (due_date, id) WHERE deleted_at IS NULL AND due_date IS NOT NULL;

CREATE SEQUENCE task_ids AS bigint OWNED BY tasks.id;

CREATE TABLE comments (
    id bigint CONSTRAINT comments_pkey PRIMARY KEY,
    task_id bigint NOT NULL CONSTRAINT comments_task_fkey REFERENCES tasks (id) ON DELETE CASCADE,
    user_id bigint NOT NULL CONSTRAINT comments_user_fkey REFERENCES users (id),
    comment text NOT NULL CONSTRAINT comments_comment_length CHECK (length(comment) BETWEEN 1 AND 10000),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL,
    deleted_at timestamptz
);

CREATE INDEX comments_task_idx ON comments (task_id, id) WHERE deleted_at IS NULL;

CREATE SEQUENCE comment_ids AS bigint OWNED BY comments.id;

CREATE TABLE project_events (
    project_id bigint NOT NULL CONSTRAINT project_events_project_fkey REFERENCES projects (id) ON DELETE CASCADE,
    version bigint NOT NULL,
    type text NOT NULL,
    task_id bigint,
    at timestamptz NOT NULL,
    body json NOT NULL,
    CONSTRAINT project_events_pkey PRIMARY KEY (project_id, version)
);

CREATE INDEX project_events_task_idx ON project_events (task_id, version) WHERE task_id IS NOT NULL;

CREATE TABLE idempotency_keys (
    user_id bigint NOT NULL CONSTRAINT idempotency_keys_user_fkey REFERENCES users (id) ON DELETE CASCADE,
    key text NOT NULL CONSTRAINT idempotency_keys_key_length CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL,
    status smallint NOT NULL,
    project_id bigint NOT NULL CONSTRAINT idempotency_keys_project_fkey REFERENCES projects (id) ON DELETE CASCADE,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key)
);

CREATE INDEX idempotency_keys_created_idx ON idempotency_keys (created_at);
