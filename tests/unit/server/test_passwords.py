"""What is accepted as a password, and how it is kept."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Literal

import argon2
import pytest

from server.passwords import PasswordRefused, Passwords, PasswordsBusy, refuse_weak


def quick() -> argon2.PasswordHasher:
    return argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class HeldHasher(argon2.PasswordHasher):
    """Hashes only when it is let, and counts those it has begun."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.begun = threading.Event()
        self.let = threading.Event()
        self.let.set()
        self.verified: list[str] = []

    def hash(self, *args: object, **options: object) -> str:
        self.begun.set()
        self.let.wait(10)
        return super().hash(*args, **options)  # type: ignore[arg-type]  # passed on

    def hold(self) -> None:
        self.let.clear()
        self.begun.clear()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
        self.verified.append(str(hash))
        return super().verify(hash, password)


@pytest.fixture
def hasher() -> HeldHasher:
    return HeldHasher()


@pytest.fixture
def passwords(hasher: HeldHasher) -> Iterator[Passwords]:
    passwords = Passwords(hasher=hasher, threads=1, waiting=2)
    yield passwords
    hasher.let.set()
    passwords.close()


def test_the_parameters_are_owasps() -> None:
    passwords = Passwords()

    assert not passwords.is_outdated(
        argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1).hash("x")
    )
    passwords.close()


@pytest.mark.parametrize(
    "password",
    ["correct horse", " spaces kept ", "nul\0inside", "\ud800 half", "ж" * 256],
)
async def test_a_password_is_verified_exactly_as_it_was_given(
    passwords: Passwords, password: str
) -> None:
    kept = await passwords.hash(password)

    assert kept.startswith("$argon2id$")
    assert await passwords.verify(password, kept)
    assert not await passwords.verify(password[:-1], kept)
    assert not await passwords.verify(password.strip() + " ", kept)


async def test_two_hashes_of_one_password_differ(passwords: Passwords) -> None:
    assert await passwords.hash("correct horse") != await passwords.hash(
        "correct horse"
    )


async def test_a_broken_hash_matches_nothing(passwords: Passwords) -> None:
    assert not await passwords.verify("correct horse", "not a hash")


async def test_nobodys_password_is_never_right_and_costs_as_much(
    passwords: Passwords, hasher: HeldHasher
) -> None:
    is_right = await passwords.verify("correct horse", None)

    assert not is_right
    (dummy,) = hasher.verified
    assert not hasher.check_needs_rehash(dummy)


async def test_nobodys_password_is_wrong_even_if_it_is_guessed(
    passwords: Passwords,
) -> None:
    passwords._nobodys_hash = await passwords.hash("guessed")

    assert not await passwords.verify("guessed", None)


async def test_two_broken_texts_are_two_passwords(passwords: Passwords) -> None:
    kept = await passwords.hash("\ud800 half")

    assert not await passwords.verify("? half", kept)
    assert not await passwords.verify("\ud801 half", kept)


async def test_a_hash_of_other_parameters_is_outdated(passwords: Passwords) -> None:
    old = argon2.PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash("x")

    assert passwords.is_outdated(old)
    assert not passwords.is_outdated(await passwords.hash("x"))


async def test_the_loop_goes_on_while_a_thread_hashes(
    passwords: Passwords, hasher: HeldHasher
) -> None:
    hasher.hold()
    hashing = asyncio.create_task(passwords.hash("correct horse"))
    await asyncio.sleep(0)  # hangs here if it ran in the loop

    assert not hashing.done()
    hasher.let.set()
    assert (await hashing).startswith("$argon2id$")


async def test_one_too_many_is_refused_at_once_and_later_let_in(
    passwords: Passwords, hasher: HeldHasher
) -> None:
    hasher.hold()
    three = [asyncio.create_task(passwords.hash(f"password {n}")) for n in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(PasswordsBusy):
        await passwords.hash("one too many")
    hasher.let.set()
    await asyncio.gather(*three)
    assert await passwords.hash("one too many")


async def test_a_caller_who_leaves_keeps_the_place_until_the_work_ends(
    passwords: Passwords, hasher: HeldHasher
) -> None:
    hasher.hold()
    three = [asyncio.create_task(passwords.hash(f"password {n}")) for n in range(3)]
    await asyncio.to_thread(hasher.begun.wait, 10)
    three[0].cancel()  # runs: its thread cannot be stopped
    three[1].cancel()  # waits: its place is free again
    await asyncio.wait(three[:2])

    fourth = asyncio.create_task(passwords.hash("one more"))
    await asyncio.sleep(0)
    with pytest.raises(PasswordsBusy):
        await passwords.hash("one too many")
    hasher.let.set()
    assert await fourth


def refusal(password: str) -> PasswordRefused | None:
    try:
        refuse_weak(password, email="Ada.L@Example.com", username="Countess")
    except PasswordRefused as refused:
        return refused
    return None


@pytest.mark.parametrize(
    "password",
    [
        "",
        "seven77",
        "x" * 257,
        "password",
        "PassWord123",
        "qwertyuiop",
        "countess",
        "ADA.L@example.com",
    ],
)
def test_a_weak_password_is_refused_and_the_field_named(password: str) -> None:
    refused = refusal(password)

    assert refused is not None
    assert refused.pointer == "/password"


@pytest.mark.parametrize(
    "password", ["eight ch", "x" * 256, "allsmallletters", "ж" * 8, "Countess2"]
)
def test_any_other_password_is_fine_whatever_it_is_made_of(password: str) -> None:
    assert refusal(password) is None


def test_the_name_part_of_an_address_is_refused() -> None:
    with pytest.raises(PasswordRefused):
        refuse_weak("margaret", email="Margaret@example.com", username="mh")
