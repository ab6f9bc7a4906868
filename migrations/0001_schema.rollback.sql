DROP TABLE idempotency_keys;

DROP TABLE project_events;

DROP TABLE comments;

DROP TABLE tasks;

DROP TABLE members;

DROP TABLE project_heads;

DROP TABLE projects;

DROP TABLE refresh_tokens;

DROP TABLE sessions;

DROP TABLE users;
