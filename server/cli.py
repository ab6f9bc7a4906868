"""The `boardcast` command: what a person types, and what they read when it fails."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import structlog
import uvloop

from actors.domain.errors import DomainError
from server import __version__, administration, asyncapi, logs, openapi
from server.config import MOST_WORKERS, Config, ConfigError
from server.datadir import DataDirError
from server.migrate import MigrationFailed
from server.mistakes import Mistake
from server.processes import StartFailed
from server.routes import ROUTES
from server.serving import serve

_log = structlog.get_logger(__name__)

_INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C ended
_MISTAKES = (DataDirError, DomainError, Mistake, MigrationFailed, StartFailed)

Run = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; answer the exit status. A user's mistake is one line."""
    try:
        options = _parser().parse_args(argv)
        run: Run = options.run
        return run(options)
    except ConfigError as error:
        return _refuse(error.problems)
    except _MISTAKES as error:
        return _refuse([str(error)])
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # whoever read the output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _refuse(lines: Sequence[str]) -> int:
    for line in lines:
        sys.stderr.write(f"boardcast: {' '.join(line.split())}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="boardcast",
        description="A task-management server with live updates.",
        epilog="Settings come from the environment; see the README for the table.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_serve(_command(commands, "serve", "run the server", _serve))
    migrate = _command(commands, "migrate", "bring the database up to date", _migrate)
    migrate.add_argument("--yes", action="store_true", help="do not ask")
    _command(commands, "seed", "fill an empty database with a demo company", _seed)
    _add_create_admin(
        _command(commands, "create-admin", "make an administrator", _create_admin)
    )
    _command(commands, "check-config", "check and show the settings", _check_config)
    for name, run in (("OpenAPI", _openapi), ("AsyncAPI", _asyncapi)):
        describe = commands.add_parser(name.lower(), help=f"print the {name} document")
        describe.set_defaults(run=run)
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    run: Run,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text}.".capitalize())
    command.set_defaults(run=run)
    command.add_argument(
        "--data-dir",
        type=_directory,
        metavar="DIR",
        help="where the embedded servers keep their files (default: .boardcast)",
    )
    return command


def _add_serve(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", help="the address to listen on (default: 127.0.0.1)")
    command.add_argument("--port", type=_port, help="default: 8080; 0 takes a free one")
    command.add_argument(
        "--workers", type=_workers, help="processes on the one port (default: 1)"
    )
    command.add_argument(
        "--demo",
        action="store_true",
        default=None,
        help="fill an empty database with a demo company",
    )


def _add_create_admin(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Make an administrator. The password is read from standard input, "
        "or asked for on a terminal."
    )
    command.add_argument("--email", required=True)
    command.add_argument("--username", required=True)


def _directory(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return Path(text)


def _port(text: str) -> int:
    port = int(text) if text.isdigit() else -1
    if not 0 <= port <= 65535:  # noqa: PLR2004 (what a port is)
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _workers(text: str) -> int:
    workers = int(text) if text.isdecimal() else 0
    if not 1 <= workers <= MOST_WORKERS:
        raise Mistake(f"--workers is a number from 1 to {MOST_WORKERS}, not {text!r}")
    return workers


def _serve(options: argparse.Namespace) -> int:
    config = _load(
        options,
        host=options.host,
        port=options.port,
        workers=options.workers,
        demo=options.demo,
    )
    return _wait(serve(config))


def _migrate(options: argparse.Namespace) -> int:
    return _wait(administration.migrate(_load(options), is_approved=options.yes))


def _seed(options: argparse.Namespace) -> int:
    return _wait(administration.seed(_load(options)))


def _create_admin(options: argparse.Namespace) -> int:
    config = _load(options)
    return _wait(
        administration.create_admin(
            config,
            email=options.email,
            username=options.username,
            password=administration.read_password(),
        )
    )


def _check_config(options: argparse.Namespace) -> int:
    config = _load(options, may_create=False)
    for item in fields(Config):
        value = getattr(config, item.name)
        shown = value if item.repr else ("(set)" if value else "(not set)")
        print(f"{item.metadata['env']}={_plain(shown)}")
    return 0


def _openapi(options: argparse.Namespace) -> int:
    return _show(openapi.document(ROUTES))


def _asyncapi(options: argparse.Namespace) -> int:
    return _show(asyncapi.document())


def _show(document: Mapping[str, Any]) -> int:
    print(json.dumps(document, indent=2, ensure_ascii=False))
    return 0


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _load(options: argparse.Namespace, **overrides: Any) -> Config:
    config = Config.load(os.environ, data_dir=options.data_dir, **overrides)
    logs.configure(config)
    for problem in Config.mistyped(os.environ):
        _log.warning("config.mistyped", problem=problem)
    logging.getLogger("yoyo").setLevel(logging.WARNING)  # a line for each statement
    return config


def _wait(command: Coroutine[Any, Any, int]) -> int:
    return uvloop.run(command)
