-- transactional: false

DROP INDEX CONCURRENTLY IF EXISTS tasks_words_idx;
