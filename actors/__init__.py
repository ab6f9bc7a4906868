"""Actors: every project in memory, owned by one asyncio task; no HTTP, SQL or Redis."""
