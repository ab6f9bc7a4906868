"""Load tests: they measure a running server and are never imported by it."""
