"""Mailboxes: bounded, in order, and nobody is left without an answer."""

import asyncio

import pytest

from actors.actor import Committed, Mailbox
from actors.domain.commands import CreateTask
from actors.domain.errors import (
    ActorStopped,
    DeadlineExceeded,
    MailboxFull,
    OutcomeUnknown,
)
from tests.factories import make_command
from tests.unit.actors.fakes import FakeClock, settle

ANSWER = Committed(events=(), version=1)


def ask(
    mailbox: Mailbox, number: int = 1, seconds: float = 10
) -> "asyncio.Task[Committed]":
    command = make_command(CreateTask, task_id=number)
    return asyncio.create_task(mailbox.ask(command, seconds))


async def test_commands_are_taken_in_order_up_to_the_limit() -> None:
    mailbox = Mailbox(10)
    asked = [ask(mailbox, number) for number in (1, 2, 3)]
    await settle()

    first = await mailbox.take(2)
    second = await mailbox.take(2)

    taken = [[e.command.task_id for e in batch] for batch in (first, second)]  # type: ignore[union-attr]  # all of them are CreateTask
    assert taken == [[1, 2], [3]]
    for envelope in (*first, *second):
        envelope.answer(ANSWER)
    assert await asyncio.gather(*asked) == [ANSWER] * 3


async def test_who_takes_more_does_not_wait() -> None:
    mailbox = Mailbox(10)

    assert mailbox.take_more(10) == []
    asked = [ask(mailbox, number) for number in (1, 2, 3)]
    await settle()
    taken = [mailbox.take_more(limit) for limit in (0, 2, 10)]

    assert [len(batch) for batch in taken] == [0, 2, 1]
    mailbox.close()
    for batch in taken:
        for envelope in batch:
            envelope.answer(ANSWER)
    assert await asyncio.gather(*asked) == [ANSWER] * 3


async def test_a_full_mailbox_refuses_at_once() -> None:
    mailbox = Mailbox(1)
    waiting = ask(mailbox)
    await settle()

    with pytest.raises(MailboxFull):
        await mailbox.ask(make_command(CreateTask), 10)
    assert len(mailbox) == 1
    mailbox.close()
    with pytest.raises(ActorStopped):
        await waiting


async def test_a_command_past_its_deadline_is_not_started() -> None:
    clock = FakeClock()
    mailbox = Mailbox(10, clock=clock)
    late, early = ask(mailbox, 1, seconds=5), ask(mailbox, 2, seconds=60)
    await settle()
    clock.advance(6)

    (taken,) = await mailbox.take(10)

    taken.answer(ANSWER)
    with pytest.raises(DeadlineExceeded):
        await late
    assert await early == ANSWER


async def test_a_command_that_was_not_started_in_time_was_not_made() -> None:
    mailbox = Mailbox(10)

    with pytest.raises(DeadlineExceeded):
        await mailbox.ask(make_command(CreateTask), 0)


async def test_the_outcome_of_a_started_command_is_unknown_when_time_is_up() -> None:
    mailbox = Mailbox(10)
    asked = ask(mailbox, seconds=0.02)

    (envelope,) = await mailbox.take(10)

    assert envelope.has_started
    with pytest.raises(OutcomeUnknown):
        await asked


async def test_a_command_whose_caller_has_gone_is_dropped() -> None:
    mailbox = Mailbox(10)
    asked = ask(mailbox)
    await settle()
    asked.cancel()
    await settle()

    assert await mailbox.take(10) == []


async def test_an_answer_to_a_caller_who_left_is_harmless() -> None:
    mailbox = Mailbox(10)
    asked = ask(mailbox)
    (envelope,) = await mailbox.take(10)
    asked.cancel()
    await settle()

    envelope.answer(ANSWER)
    envelope.fail(ActorStopped())

    assert asked.cancelled()


async def test_a_closed_mailbox_answers_who_waits_and_who_comes() -> None:
    mailbox = Mailbox(10)
    waiting = ask(mailbox)
    await settle()

    mailbox.close()

    for asked in (waiting, ask(mailbox)):
        with pytest.raises(ActorStopped):
            await asked


async def test_a_nudge_wakes_without_a_command() -> None:
    mailbox = Mailbox(1)
    taken = asyncio.create_task(mailbox.take(10))
    await settle()

    mailbox.nudge()

    assert await taken == []


async def test_a_nudge_into_a_full_mailbox_is_not_needed() -> None:
    mailbox = Mailbox(1)
    asked = ask(mailbox)
    await settle()

    mailbox.nudge()

    (taken,) = await mailbox.take(10)
    taken.answer(ANSWER)
    assert await asked == ANSWER


async def test_a_closed_mailbox_cannot_be_nudged() -> None:
    mailbox = Mailbox(2)
    mailbox.nudge()
    mailbox.close()

    with pytest.raises(ActorStopped):
        mailbox.nudge()
