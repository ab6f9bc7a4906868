"""A decided batch: what it would commit, and what each command is answered."""

from dataclasses import dataclass, field

from actors.actor import Committed, Envelope
from actors.domain.commands import (
    Command,
    PutMember,
    UpdateComment,
    UpdateProject,
    UpdateTask,
)
from actors.domain.errors import DomainError
from actors.domain.events import Batch, Entry, Event, Receipt
from actors.domain.state import Draft


@dataclass(slots=True)
class Plan:
    """What a turn of an actor comes to, over a draft of its state."""

    draft: Draft
    entries: list[Entry] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    answers: list[tuple[Envelope, Committed | DomainError]] = field(
        default_factory=list
    )

    @property
    def is_to_be_kept(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.entries or self.receipts)

    def batch(self, expected: int) -> Batch:
        """Give what is to be committed, for a project at version `expected`."""
        return Batch(
            project_id=self.draft.project_id,
            expected=expected,
            entries=tuple(self.entries),
            receipts=tuple(self.receipts),
        )

    def take(
        self, envelope: Envelope, events: tuple[Event, ...], bodies: list[bytes]
    ) -> None:
        """Add what a command comes to, and move the draft on."""
        for event, body in zip(events, bodies, strict=True):
            self.draft.apply(event)
            self.entries.append(Entry(event=event, body=body))
        committed = Committed(events=events, version=self.draft.version)
        self.answers.append((envelope, committed))
        if (key := envelope.command.key) is not None:
            version = _answering_version(self.draft, envelope.command, events)
            self.receipts.append(Receipt(key=key, version=version))

    def refuse(self, envelope: Envelope, refusal: DomainError) -> None:
        """Keep a refusal until what it may rest on is committed."""
        self.answers.append((envelope, refusal))

    def answer(self) -> None:
        """Tell every caller what came of it."""
        for envelope, answer in self.answers:
            if isinstance(answer, Committed):
                envelope.answer(answer)
            else:
                envelope.fail(answer)


def _answering_version(
    draft: Draft, command: Command, events: tuple[Event, ...]
) -> int:
    """Name the event that shows what a repeat is answered with."""
    match command:
        case UpdateTask(task_id=task_id) if task_id in draft.tasks:
            return draft.tasks[task_id].version
        case UpdateComment(task_id=task_id, comment_id=comment_id):
            comment = draft.comment(task_id, comment_id)
            return draft.version if comment is None else comment.version
        case UpdateProject() if draft.project is not None:
            return draft.project.version
        case PutMember(user_id=user_id) if user_id in draft.members:
            return draft.members[user_id].version
    return events[-1].version if events else draft.version
