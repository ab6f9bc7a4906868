"""What a caller may do wrong: a stable code, a human sentence, and a kind.

The kind says who has to change something; the server maps it to an HTTP status.
"""

from enum import StrEnum


class Kind(StrEnum):
    """How an error is to be answered, in words that know no HTTP."""

    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    CONFLICT = "conflict"
    INVALID = "invalid"
    PRECONDITION = "precondition"
    UNAVAILABLE = "unavailable"


class DomainError(Exception):
    """A refusal that the caller can act on; its docstring is the default sentence."""

    kind = Kind.CONFLICT
    code = "conflict"

    def __init__(self, detail: str | None = None, *, pointer: str | None = None):
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.pointer = pointer
        super().__init__(self.detail)


class TaskNotFound(DomainError):
    """There is no such task, or you may not see it."""

    kind = Kind.NOT_FOUND
    code = "task_not_found"


class ProjectNotFound(DomainError):
    """There is no such project, or you may not see it."""

    kind = Kind.NOT_FOUND
    code = "project_not_found"


class MemberNotFound(DomainError):
    """That user is not a member of this project."""

    kind = Kind.NOT_FOUND
    code = "member_not_found"


class CommentNotFound(DomainError):
    """There is no such comment on this task."""

    kind = Kind.NOT_FOUND
    code = "comment_not_found"


class UserNotFound(DomainError):
    """There is no such user."""

    kind = Kind.INVALID
    code = "user_not_found"


class ActionForbidden(DomainError):
    """You may see this, but not change it in this way."""

    kind = Kind.FORBIDDEN
    code = "forbidden"


class ProjectArchived(DomainError):
    """The project is archived; make it active again before changing it."""

    code = "project_archived"


class InboxIsPermanent(DomainError):
    """An inbox cannot be archived, deleted, shared or handed over."""

    code = "inbox_is_permanent"


class OwnerIsPermanent(DomainError):
    """The owner is neither removable nor demotable; hand the project over first."""

    code = "owner_is_permanent"


class LastAdmin(DomainError):
    """The last active administrator has to stay one; make another one first."""

    code = "last_admin"


class VersionMismatch(DomainError):
    """It has changed since the version that you name in If-Match."""

    kind = Kind.PRECONDITION
    code = "version_mismatch"

    def __init__(self, current: int):
        super().__init__(f"It has changed since: the current version is {current}.")
        self.current = current


class KeyAlreadyUsed(DomainError):
    """Another request with this Idempotency-Key was accepted first."""

    code = "idempotency_key_used"


class EmailTaken(DomainError):
    """Another user has this e-mail address."""

    code = "email_taken"


class UsernameTaken(DomainError):
    """Another user has this username."""

    code = "username_taken"


class Unavailable(DomainError):
    """The server cannot answer right now; try again in a moment."""

    kind = Kind.UNAVAILABLE
    code = "unavailable"


class MailboxFull(Unavailable):
    """Too many changes are waiting for this project; try again in a moment."""

    code = "mailbox_full"


class ActorStopped(Unavailable):
    """The project stopped while your change was waiting; it was not made."""

    code = "actor_stopped"


class StoreUnavailable(Unavailable):
    """The database cannot be reached right now; nothing was changed."""

    code = "database_unavailable"


class OutcomeUnknown(Unavailable):
    """The database went away while it committed: read before you try again, or repeat with the same Idempotency-Key."""  # noqa: E501  # the docstring is the sentence

    code = "outcome_unknown"


class StateAhead(Unavailable):
    """The database is behind what it had acknowledged; the project is read anew."""

    code = "database_behind"


class DeadlineExceeded(Unavailable):
    """The change could not be started in time; it was not made."""

    code = "deadline_exceeded"
