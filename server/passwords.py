"""Passwords: what is accepted, and Argon2id in threads of its own."""

import asyncio
import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from actors.domain.errors import DomainError, Kind, Unavailable

MIN_LENGTH = 8
MAX_LENGTH = 256

_T = TypeVar("_T")
_WAIT_SECONDS = 10.0

# Those of the lists of leaked passwords that are long enough to be accepted.
_GUESSED_FIRST = """
    00000000 0123456789 0987654321 1029384756 11111111 111111111 1111111111 11223344
    1122334455 12121212 12341234 123123123 123321123 12344321 12345678 123456789
    1234567890 1234567891 12345678910 123456789a 1234qwer 123654789 123qweasd 147258369
    1q2w3e4r 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx 1qazxsw2 22222222 31415926 44444444
    55555555 66666666 77777777 789456123 87654321 88888888 987654321 9876543210 99999999
    a1234567 a12345678 a123456789 aa123456 aaaaaaaa abc12345 abcd1234 abcdefgh
    administrator admin123 adminadmin alexander asdf1234 asdfasdf asdfghjk asdfghjkl
    babygirl baseball basketball boardcast butterfly changeme charlie1 chocolate
    christian computer corvette danielle december dragon123 elephant football
    football1 hello123 hellohello iloveyou iloveyou1 internet jennifer jonathan
    letmein1 letmein123 liverpool maverick mercedes michelle midnight monkey123
    mustang1 passw0rd password password! password1 password12 password123 pa55word
    p@ssw0rd p@ssword princess princess1 q1w2e3r4 q1w2e3r4t5 qazwsxedc qwer1234
    qwerty12 qwerty123 qwerty1234 qwertyui qwertyuiop qwertyuiop123 samantha
    secret123 spiderman starwars sunshine superman superman1 testtest test1234
    trustno1 victoria welcome1 welcome123 whatever zaq12wsx zxcvbnm1 zxcvbnm123
"""
_COMMON = frozenset(_GUESSED_FIRST.split())


class PasswordRefused(DomainError):
    """The password is too easy to guess."""

    kind = Kind.INVALID
    code = "password_refused"


class PasswordsBusy(Unavailable):
    """Too many are logging in right now; try again in a moment."""

    code = "passwords_busy"


def refuse_weak(
    password: str, *, email: str, username: str, pointer: str = "/password"
) -> None:
    """Raise PasswordRefused for a password of a wrong length, or one that is guessed.

    There are no rules of composition: length is what helps (NIST SP 800-63B).
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        sentence = f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters."
        raise PasswordRefused(sentence, pointer=pointer)
    folded = password.casefold()
    if folded in _COMMON:
        sentence = "This is one of the passwords that are guessed first."
        raise PasswordRefused(sentence, pointer=pointer)
    email, username = email.casefold(), username.casefold()
    if folded in {username, email, email.partition("@")[0]}:
        sentence = "A password must not be your username or e-mail address."
        raise PasswordRefused(sentence, pointer=pointer)


class Passwords:
    """Hashes and verifies outside the event loop, a bounded number at a time.

    At most `threads` run (each takes 19 MiB) and `waiting` wait; the next one raises
    PasswordsBusy at once.
    """

    def __init__(
        self,
        *,
        hasher: argon2.PasswordHasher | None = None,
        threads: int | None = None,
        waiting: int = 64,
    ):
        # OWASP's first choice for Argon2id: m=19 MiB, t=2, p=1.
        self._hasher = hasher or argon2.PasswordHasher(
            time_cost=2, memory_cost=19456, parallelism=1
        )
        threads = threads or min(4, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._room = threading.BoundedSemaphore(threads + waiting)
        self._nobodys_hash = self._hasher.hash(secrets.token_bytes(32))

    async def hash(self, password: str) -> str:
        """Hash a password for keeping; raises PasswordsBusy."""
        secret = _bytes(password)
        return await self._in_thread(lambda: self._hasher.hash(secret))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Compare with the hash; without one, take as long and say False.

        Raises PasswordsBusy.
        """
        secret = _bytes(password)
        known = password_hash or self._nobodys_hash
        matches = await self._in_thread(lambda: self._matches(secret, known))
        return matches and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Take no more work, and drop what waits; does not wait for what runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _matches(self, secret: bytes, known: str) -> bool:
        try:
            return self._hasher.verify(known, secret)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        if not self._room.acquire(blocking=False):
            raise PasswordsBusy
        future = self._pool.submit(work)
        # Frees the place when the work ends, not when its caller stops waiting.
        future.add_done_callback(lambda _: self._room.release())
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise PasswordsBusy from error


def _bytes(password: str) -> bytes:
    """Exactly what was received, even where it is no valid Unicode."""
    return password.encode("utf-8", "surrogatepass")
