"""Small histories and their logs, for the judge to be tried with."""

import json
from typing import Any

from tests.e2e.history import Entry, History, Log, Try, Watch, Write

PROJECT = 7
OWNER, GUEST = 1, 2
TASK = 10


def event(kind: str, version: int, thing: dict[str, Any], request_id: str = "") -> Any:
    name = kind.partition("_")[0]
    return {
        "type": kind,
        "project_id": PROJECT,
        "version": version,
        "by": OWNER,
        "request_id": request_id or f"r{version}",
        name: thing,
    }


def task(version: int, title: str = "Write it") -> dict[str, Any]:
    return {"id": TASK, "title": title, "version": version}


def member() -> dict[str, Any]:
    return {"user_id": GUEST, "role": "viewer"}


# A guest is in the project from 2 to 4 and from 7 on, its task there from 3 to 8.
STORY = (
    event("project_created", 1, {"id": PROJECT, "owner_id": OWNER}),
    event("member_added", 2, member()),
    event("task_created", 3, task(3)),
    event("task_updated", 4, task(4)),
    event("member_removed", 5, member()),
    event("task_updated", 6, task(6)),
    event("member_added", 7, member()),
    event("comment_created", 8, {"id": 1, "task_id": TASK, "comment": "a"}),
    event("task_deleted", 9, task(6)),
)
HEAD = len(STORY)


def log_of(*events: Any, keys: dict[str, tuple[int, int]] | None = None) -> Log:
    """Hold these events, the last of which is the head."""
    entries = [
        Entry(project_id=PROJECT, version=each["version"], text=json.dumps(each))
        for each in events
    ]
    return Log(entries=entries, heads={PROJECT: len(entries)}, keys=keys or {})


def story() -> tuple[History, Log]:
    """Tell how the story came to be: version 3 was asked for at 30, answered at 31."""
    writes = [
        Write(
            project_id=PROJECT,
            kinds=(each["type"],),
            tries=[
                Try(
                    request_id=each["request_id"],
                    started=10.0 * each["version"],
                    ended=10.0 * each["version"] + 1,
                    node="a",
                    status=200,
                )
            ],
        )
        for each in STORY
    ]
    return History(writes=writes), log_of(*STORY)


def watch_of(*messages: Any, at: float | None = None, **options: Any) -> Watch:
    """Make a socket that got these, each when it had just happened."""
    watch = Watch(name="watcher", **options)
    for message in messages:
        moment = 10.0 * message.get("version", HEAD) + 1 if at is None else at
        watch.take(json.dumps(message), moment)
    return watch
