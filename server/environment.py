"""How settings are described beside their fields, and read from the environment."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from environs import Env, EnvValidationError
from marshmallow import ValidationError, validate

from server.credentials import NAMES

_ORIGIN = re.compile(r"https?://[^/?#@\s]+")
_USUAL_PORTS = {"http": ":80", "https": ":443"}

_PREFIX = "BOARDCAST_"
_SERVICE_LINK = re.compile(_PREFIX + r"(SERVICE_(HOST|PORT)|PORT_\d+_)")
ANY_ORIGIN = "*"

Check = Callable[[Any], Any]


def setting(
    name: str,
    text: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    each: Check = str.strip,
) -> Mapping[str, Any]:
    """Describe a field of Config: its variable, a sentence, and its bounds.

    `each` reads an element of a list.
    """
    check: list[Check] = []
    if least is not None or most is not None:
        check.append(validate.Range(min=least, max=most))
    if choices:
        check.append(validate.OneOf(choices))
    return {
        "env": name,
        "help": text,
        "check": check,
        "each": each,
        "secret": name in NAMES,
    }


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


def unknown(environ: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Say of each variable with our prefix that has none of the names what is like it.

    Kubernetes gives such variables to everybody beside a service named boardcast.
    """
    names = sorted(name for name in names if name.startswith(_PREFIX))
    return [
        f"{name} is no setting{_suggestion(name, names)}"
        for name in sorted(set(environ).difference(names))
        if name.startswith(_PREFIX) and not _SERVICE_LINK.match(name)
    ]


def _suggestion(name: str, names: list[str]) -> str:
    """Name the setting that is nearest, apart from what all of them begin with."""
    word = name.removeprefix(_PREFIX)
    words = [other.removeprefix(_PREFIX) for other in names]
    longer = [other for other in words if other.startswith(word)]
    alike = longer or get_close_matches(word, words, n=1)
    return f"; did you mean {_PREFIX}{alike[0]}?" if alike else ""


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
            each = item.metadata["each"]
            found = reader.list(name, default=None, validate=_checked(each))
            return None if found is None else tuple(map(each, found))
        case Path():
            return reader.path(name, default=None)
        case _:
            return reader.str(name, default=None, validate=check)


def read_origin(text: str) -> str:
    """Spell an origin as browsers do: in lower case, without the usual port."""
    plain = text.strip().lower()
    plain = plain.removesuffix(_USUAL_PORTS.get(plain.partition(":")[0], ""))
    if plain != ANY_ORIGIN and not _ORIGIN.fullmatch(plain):
        raise ValidationError(f"{plain!r} is not like https://example.org")
    return plain


def read_network(text: str) -> str:
    """Take an address or a network; refuse anything else."""
    plain = text.strip()
    try:
        ip_network(plain)
    except ValueError:
        sentence = f"{plain!r} is not like 10.0.0.0/8 or 192.0.2.7"
        raise ValidationError(sentence) from None
    return plain


def _checked(each: Check) -> Check:
    def check(texts: Iterable[str]) -> None:
        for text in texts:
            each(text)

    return check
