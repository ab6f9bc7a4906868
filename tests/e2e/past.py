"""A project at each of its versions, made from nothing but its log."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Thing = Mapping[str, Any]


@dataclass(slots=True)
class Scene:
    """What there is in a project, by ids."""

    project: Thing | None = None
    members: dict[int, Thing] = field(default_factory=dict)
    tasks: dict[int, Thing] = field(default_factory=dict)
    comments: dict[int, Thing] = field(default_factory=dict)

    def take(self, event: Thing) -> None:
        """Let the next event happen."""
        is_gone = event["type"].endswith(("_deleted", "_removed"))
        if "project" in event:
            self.project = None if is_gone else event["project"]
        for things, name, key in (
            (self.members, "member", "user_id"),
            (self.tasks, "task", "id"),
            (self.comments, "comment", "id"),
        ):
            if name in event:
                things[event[name][key]] = event[name]
                if is_gone:
                    del things[event[name][key]]
        if event["type"] == "task_deleted":
            task_id = event["task"]["id"]
            for comment in [*self.comments.values()]:
                if comment["task_id"] == task_id:
                    del self.comments[comment["id"]]


class Past:
    """The log of one project, looked at from different sides.

    Who may see it, for this, are its owner and its members: the tests hand no project
    over, have no managers in them, and give tasks to those only who stay.
    """

    def __init__(self, events: Sequence[Thing]):
        self._events = events
        self._by_version = {event["version"]: event for event in events}
        self._of_task: defaultdict[int, list[tuple[int, Thing | None]]]
        self._of_task = defaultdict(list)
        self._sights: defaultdict[int, list[tuple[int, bool]]] = defaultdict(list)
        for event in events:
            version = event["version"]
            if "task" in event:
                is_gone = event["type"] == "task_deleted"
                task = None if is_gone else event["task"]
                self._of_task[event["task"]["id"]].append((version, task))
            if "member" in event:
                sees = event["type"] != "member_removed"
                self._sights[event["member"]["user_id"]].append((version, sees))
            if event["type"] == "project_created":
                self._sights[event["project"]["owner_id"]].append((version, True))

    @property
    def task_ids(self) -> Sequence[int]:
        """All tasks that there ever were."""
        return [*self._of_task]

    def at(self, version: int) -> Scene:
        """Let everything up to a version happen."""
        scene = Scene()
        for event in self._events:
            if event["version"] <= version:
                scene.take(event)
        return scene

    def event(self, version: int) -> Thing | None:
        """Give what happened."""
        return self._by_version.get(version)

    def task_at(self, task_id: int, version: int) -> Thing | None:
        """Give the task as it was, None if it was not there."""
        return _latest(self._of_task[task_id], version) or None

    def tasks_at(self, version: int) -> dict[int, Thing]:
        """Give all that were there."""
        found = {key: self.task_at(key, version) for key in self.task_ids}
        return {key: task for key, task in found.items() if task is not None}

    def may_see(self, user_id: int | None, version: int) -> bool:
        """Say whether somebody could see the project at a version."""
        return user_id is None or bool(_latest(self._sights[user_id], version))

    def is_told(self, user_id: int | None, version: int) -> bool:
        """Say whether somebody was to be told of an event: of their end, too."""
        return self.may_see(user_id, version) or self.may_see(user_id, version - 1)


def _latest(found: Sequence[tuple[int, Any]], version: int) -> Any:
    place = bisect_right(found, version, key=lambda each: each[0])
    return found[place - 1][1] if place else None
