"""The log as the database holds it, all of one moment."""

from typing import Any

from tests.e2e.history import Entry, Log

_EVENTS = """
    SELECT project_id, version, body::text AS text FROM project_events
    ORDER BY project_id, version
"""
_HEADS = "SELECT project_id, version FROM project_heads"
_KEYS = "SELECT key, project_id, version FROM idempotency_keys"


async def read_log(connection: Any) -> Log:
    """Read all of it."""
    async with connection.transaction(isolation="repeatable_read"):
        entries = await connection.fetch(_EVENTS)
        heads = await connection.fetch(_HEADS)
        keys = await connection.fetch(_KEYS)
    return Log(
        entries=[Entry(**row) for row in entries],
        heads={row["project_id"]: row["version"] for row in heads},
        keys={row["key"]: (row["project_id"], row["version"]) for row in keys},
    )
