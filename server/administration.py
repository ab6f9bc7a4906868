"""What `boardcast` does besides serving; on a running server's database as well."""

import asyncio
import getpass
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiohttp import web
from marshmallow import ValidationError

from actors.domain.errors import StoreUnavailable
from actors.domain.model import UserRole
from server import keys
from server import migrate as migrations
from server.app import Urls, create_app
from server.config import Config
from server.demo import Demo
from server.embedded import attach_or_start
from server.mistakes import Mistake
from server.registration import create_account
from server.runner import Runner
from server.schemas import Register

_NO_REDIS = "redis://localhost:1"  # nothing here asks it


async def migrate(config: Config, *, is_approved: bool) -> int:
    """Show the migrations that are missing and apply them; in production, ask first."""
    async with _database(config, "migrate") as url:
        missing = await asyncio.to_thread(migrations.pending, url)
        if not missing:
            print("The database is up to date.")
            return 0
        print("Missing: " + ", ".join(missing))
        if config.is_production and not is_approved and not _approves():
            print("Nothing was changed.")
            return 1
        for name in await asyncio.to_thread(migrations.migrate, url):
            print(f"Applied: {name}")
    return 0


async def seed(config: Config) -> int:
    """Fill an empty database with the demo company."""
    if config.is_production:
        raise Mistake("a demo has published passwords: not in production")
    async with _application(config, "seed") as app:
        demo = Demo(
            app[keys.STORE],
            app[keys.ACCOUNTS],
            app[keys.REGISTRY],
            app[keys.IDS],
            app[keys.PASSWORDS],
        )
        if not await demo.fill():
            raise Mistake("the database is not empty; nothing was changed")
    print("The database has a demo company now.")
    return 0


async def create_admin(
    config: Config, *, email: str, username: str, password: str
) -> int:
    """Make an administrator; raises Mistake, or a DomainError such as EmailTaken."""
    account = _checked({"email": email, "username": username, "password": password})
    async with _application(config, "create-admin") as app:
        user = await create_account(
            app[keys.ACCOUNTS],
            app[keys.IDS],
            app[keys.PASSWORDS],
            email=account["email"],
            username=account["username"],
            password=account["password"],
            role=UserRole.ADMIN,
            at=datetime.now(UTC),
            request_id="create-admin",
        )
    print(f"{user.username} is an administrator now (user {user.id}).")
    return 0


def read_password() -> str:
    """Read a line of standard input; a person is asked twice. Raises Mistake."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    try:
        password = getpass.getpass("Password: ")
        if password != getpass.getpass("Once more: "):
            raise Mistake("the two passwords are not the same")
    except EOFError:
        raise Mistake("no password was given") from None
    return password


def _checked(account: Mapping[str, str]) -> dict[str, str]:
    try:
        return dict(Register().load(account))
    except ValidationError as error:
        told = [
            f"{name}: {' '.join(map(str, texts))}"
            for name, texts in error.normalized_messages().items()  # type: ignore[no-untyped-call]  # marshmallow
        ]
        raise Mistake("; ".join(told)) from error


def _approves() -> bool:
    if not sys.stdin.isatty():
        raise Mistake("production is migrated after an approval: add --yes")
    return input("Apply them? [y/N] ").strip().lower() in ("y", "yes")


@asynccontextmanager
async def _database(config: Config, purpose: str) -> AsyncIterator[str]:
    if config.database_url:
        yield config.database_url
        return
    async with attach_or_start(config.data_dir, purpose=purpose) as url:
        yield url


@asynccontextmanager
async def _application(config: Config, purpose: str) -> AsyncIterator[web.Application]:
    """Open the application on a migrated database, but listen to nobody."""
    async with _database(config, purpose) as url:
        if await asyncio.to_thread(migrations.pending, url):
            if config.is_production:
                raise Mistake("the database is not migrated: run `boardcast migrate`")
            await asyncio.to_thread(migrations.migrate, url)
        urls = Urls(database=url, redis=config.redis_url or _NO_REDIS)
        runner = Runner(create_app(config, urls=urls, is_alone=True), access_log=None)
        try:
            await runner.setup()
            yield runner.app
        except StoreUnavailable as error:
            raise Mistake("the database does not answer; see DATABASE_URL") from error
        finally:
            await runner.cleanup()
