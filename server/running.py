"""An application that runs in this process, and the two ways in which it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from actors.domain.errors import StoreUnavailable
from server import keys
from server.app import Urls, create_app
from server.config import Config
from server.mistakes import Mistake
from server.runner import Runner

# So long may a connection be silent before it is closed: most clients send another
# request by then, and are told with its answer to come to the successor.
_SILENT_SECONDS = 5.0


@asynccontextmanager
async def running(config: Config, urls: Urls) -> AsyncIterator[Runner]:
    """Have the application, which listens to nobody yet; raises Mistake."""
    runner = Runner(
        create_app(config, urls=urls),
        access_log=None,  # the middleware writes it, with the request's id
        shutdown_timeout=config.shutdown_seconds,
    )
    try:
        try:
            await runner.setup()
        except StoreUnavailable as error:
            raise Mistake("the database does not answer; see DATABASE_URL") from error
        yield runner
    finally:
        await runner.cleanup()


async def drain(runner: Runner) -> None:
    """Prepare the end: serve on for a while, not ready, and close the sockets."""
    seconds = runner.app[keys.CONFIG].drain_seconds
    runner.app[keys.HEALTH].is_draining = True
    runner.say_goodbye()
    await asyncio.gather(
        asyncio.sleep(seconds), runner.app[keys.SOCKETS].drain(seconds)
    )


async def give_way(runner: Runner) -> None:
    """Prepare the end while a successor accepts on the same socket.

    Answers when every connection has gone over to it, or was silent for too long.
    Until then whoever is connected is served as ever; sockets are sent there at once.
    """
    seconds = runner.app[keys.CONFIG].drain_seconds
    runner.say_goodbye()
    await runner.stop_accepting()
    await runner.app[keys.SOCKETS].drain(seconds, refuse=False)
    try:
        async with asyncio.timeout(max(seconds, _SILENT_SECONDS)):
            await runner.quiet()
    except TimeoutError:
        return
