"""How settings are described beside their fields, and read from the environment."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from environs import Env, EnvValidationError
from marshmallow import ValidationError, validate

from server.credentials import NAMES

_ORIGIN = re.compile(r"https?://[^/\s]+")

Check = Callable[[Any], Any]


def setting(
    name: str,
    text: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    each: Check | None = None,
) -> Mapping[str, Any]:
    """Describe a field of Config: its variable, a sentence, and its bounds.

    `each` checks the elements of a list.
    """
    check: list[Check] = [] if each is None else [each]
    if least is not None or most is not None:
        check.append(validate.Range(min=least, max=most))
    if choices:
        check.append(validate.OneOf(choices))
    return {"env": name, "help": text, "check": check, "secret": name in NAMES}


def read(
    items: Iterable["Field[Any]"], environ: Mapping[str, str], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Read the fields that are not given: the values that are set, and all problems."""
    reader = _Reader(environ)
    found = {item.name: _read(reader, item) for item in items if item.name not in given}
    problems = []
    try:
        reader.seal()
    except EnvValidationError as error:
        problems = _told(error.error_messages)
    known = {name: value for name, value in found.items() if value is not None}
    return {**known, **given}, problems


def _told(messages: Mapping[str, list[str]] | list[str]) -> list[str]:
    if isinstance(messages, list):
        return messages
    return [f"{name}: {' '.join(texts)}" for name, texts in messages.items()]


class _Reader(Env):
    """An environs reader of a given mapping; all errors are told at once by seal()."""

    def __init__(self, environ: Mapping[str, str]):
        super().__init__(eager=False)
        # An empty variable is what a compose file makes of a missing one.
        self._given = {name: text for name, text in environ.items() if text.strip()}

    def _get_value(self, env_key: str, default: Any) -> Any:
        return self._given.get(env_key, default)


def _read(reader: _Reader, item: "Field[Any]") -> Any:
    name, check = item.metadata["env"], item.metadata["check"]
    match item.default:
        case bool():
            return reader.bool(name, default=None)
        case int():
            return reader.int(name, default=None, validate=check)
        case float():
            return reader.float(name, default=None, validate=check)
        case tuple():
            found = reader.list(name, default=None, validate=_each(check))
            return None if found is None else tuple(text.strip() for text in found)
        case Path():
            return reader.path(name, default=None)
        case _:
            return reader.str(name, default=None, validate=check)


def check_origin(text: str) -> None:
    """Refuse what is no origin of a web page."""
    if not _ORIGIN.fullmatch(text):
        raise ValidationError(f"{text!r} is not like https://example.org")


def check_network(text: str) -> None:
    """Refuse what is neither an address nor a network."""
    try:
        ip_network(text)
    except ValueError:
        sentence = f"{text!r} is not like 10.0.0.0/8 or 192.0.2.7"
        raise ValidationError(sentence) from None


def _each(checks: Iterable[Check]) -> Check:
    def check(texts: Iterable[str]) -> None:
        for text in texts:
            for each in checks:
                each(text.strip())

    return check
