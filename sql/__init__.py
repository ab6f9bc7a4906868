"""PostgreSQL: hand-written SQL, a file a table, and the typed methods that call it."""
