"""A project in memory, and how an event changes it.

`ProjectState` is what was committed. `Draft` lies over it while a batch is decided and
takes the batch's own events, so nothing of the state moves before the commit.
"""

from collections.abc import Hashable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TypeVar, assert_never, overload

from actors.domain.events import (
    CommentCreated,
    CommentDeleted,
    CommentUpdated,
    Event,
    MemberAdded,
    MemberRemoved,
    MemberUpdated,
    ProjectCreated,
    ProjectDeleted,
    ProjectUpdated,
    TaskAssigned,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskUpdated,
)
from actors.domain.model import (
    Caller,
    Comment,
    CommentId,
    Member,
    MemberRole,
    Project,
    ProjectId,
    Task,
    TaskId,
    UserId,
)
from actors.domain.permissions import (
    Action,
    Standing,
    is_allowed,
    project_standings,
    task_standings,
)

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")
_D = TypeVar("_D")


@dataclass(slots=True, kw_only=True)
class ProjectState:
    """The project, its members, its tasks and their comments at `version`.

    `project` is None before the project was made and after it was deleted. Only tasks
    that have comments are in `comments`; what is kept for a task is never changed but
    replaced, so drafts may share it. `tip` is the body of the event that made this
    version, empty where it is not known: a fingerprint of all that led here.
    """

    project_id: ProjectId
    version: int = 0
    project: Project | None = None
    members: MutableMapping[UserId, Member] = field(default_factory=dict)
    tasks: MutableMapping[TaskId, Task] = field(default_factory=dict)
    comments: MutableMapping[TaskId, Mapping[CommentId, Comment]] = field(
        default_factory=dict
    )
    tip: bytes = field(default=b"", compare=False, repr=False)

    def apply(self, event: Event) -> None:
        """Take the next event: its version is this one's and one more."""
        if event.version != self.version + 1:
            msg = f"event {event.version} does not follow version {self.version}"
            raise ValueError(msg)
        match event:
            case TaskCreated() | TaskUpdated() | TaskAssigned() | TaskCompleted():
                self.tasks[event.task.id] = event.task
            case TaskDeleted():
                self.tasks.pop(event.task.id, None)
                self.comments.pop(event.task.id, None)
            case ProjectCreated() | ProjectUpdated():
                self.project = event.project
            case ProjectDeleted():
                self.project = None
                self.members.clear()
                self.tasks.clear()
                self.comments.clear()
            case MemberAdded() | MemberUpdated():
                self.members[event.member.user_id] = event.member
            case MemberRemoved():
                self.members.pop(event.member.user_id, None)
            case CommentCreated() | CommentUpdated():
                self._put_comment(event.comment)
            case CommentDeleted():
                self._drop_comment(event.comment)
            case _:
                assert_never(event)
        self.version = event.version

    def role_of(self, user_id: UserId) -> MemberRole | None:
        """Tell the user's role as a member; None for strangers and for the owner."""
        member = self.members.get(user_id)
        return None if member is None else member.role

    def standings(
        self, caller: Caller, task: Task | None = None
    ) -> frozenset[Standing]:
        """How the caller stands to the project, and to one of its tasks if given."""
        standings = task_standings(caller, task) if task is not None else frozenset()
        if self.project is None:
            return standings
        role = self.role_of(caller.id)
        return standings | project_standings(caller, self.project, role)

    def visible_task(self, caller: Caller, task_id: TaskId) -> Task | None:
        """Find the task, if it is there and the caller may see it."""
        task = self.tasks.get(task_id)
        if task is None:
            return None
        if is_allowed(Action.SEE_TASK, self.standings(caller, task)):
            return task
        return None

    def comment(self, task_id: TaskId, comment_id: CommentId) -> Comment | None:
        """Find a comment on this very task; who may see it is for its task to say."""
        return self.comments.get(task_id, {}).get(comment_id)

    def _put_comment(self, comment: Comment) -> None:
        known = self.comments.get(comment.task_id, {})
        self.comments[comment.task_id] = {**known, comment.id: comment}

    def _drop_comment(self, comment: Comment) -> None:
        rest = dict(self.comments.get(comment.task_id, {}))
        rest.pop(comment.id, None)
        if rest:
            self.comments[comment.task_id] = rest
        else:
            self.comments.pop(comment.task_id, None)

    def visible_project(self, caller: Caller) -> Project | None:
        """Give the project, if it is there and the caller may see it."""
        if self.project is None:
            return None
        if is_allowed(Action.SEE_PROJECT, self.standings(caller)):
            return self.project
        return None


class _Overlay(MutableMapping[_K, _V]):
    """A mapping over another one that is never written to."""

    __slots__ = ("_base", "_gone", "_own")

    def __init__(self, base: Mapping[_K, _V]):
        self._base = base
        self._own: dict[_K, _V] = {}
        self._gone: set[_K] = set()

    def __getitem__(self, key: _K) -> _V:
        if key in self._own:
            return self._own[key]
        if key in self._gone:
            raise KeyError(key)
        return self._base[key]

    @overload
    def get(self, key: _K, default: None = None, /) -> _V | None: ...
    @overload
    def get(self, key: _K, default: _V | _D, /) -> _V | _D: ...
    def get(self, key: _K, default: _V | _D | None = None, /) -> _V | _D | None:
        """Look up without an exception in between, which costs most of the time."""
        if key in self._own:
            return self._own[key]
        return default if key in self._gone else self._base.get(key, default)

    def __setitem__(self, key: _K, value: _V) -> None:
        self._own[key] = value
        self._gone.discard(key)

    def __delitem__(self, key: _K) -> None:
        self[key]
        self._own.pop(key, None)
        self._gone.add(key)

    def __iter__(self) -> Iterator[_K]:
        yield from self._own
        for key in self._base:
            if key not in self._own and key not in self._gone:
                yield key

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def clear(self) -> None:
        self._own.clear()
        self._gone = set(self._base)


class Draft(ProjectState):
    """The state as it will be when the events taken so far are committed."""

    __slots__ = ()

    def __init__(self, base: ProjectState):
        super().__init__(
            project_id=base.project_id,
            version=base.version,
            project=base.project,
            members=_Overlay(base.members),
            tasks=_Overlay(base.tasks),
            comments=_Overlay(base.comments),
        )
