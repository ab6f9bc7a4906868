"""Fields of the schemas: strict about types, and able to describe themselves.

What a field accepts and what its `metadata` says in JSON Schema are the same thing;
the OpenAPI document is made from the latter.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from marshmallow import ValidationError, fields, validate

LARGEST_ID = 2**63 - 1
NO_NUL = r"^[^\u0000]*$"
NOT_BLANK = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_LONGEST_MATCHED = 512
_LAST_MOMENT = timedelta(days=1) - timedelta(microseconds=1)

Field = fields.Field[Any]


def pattern(regex: str, sentence: str) -> validate.Validator:
    """Make a validator that holds the whole string to `regex`."""
    return _Pattern(regex, sentence)


def text(shortest: int, longest: int, **options: Any) -> Field:
    """Make a field of text; what has a shortest length may not be blank either."""
    shape = {"pattern": NOT_BLANK if shortest else NO_NUL}
    length = validate.Length(shortest or None, longest)
    rules: list[Callable[[str], object]] = [length, _refuse_nul]
    if shortest:
        rules.append(_refuse_blank)
    metadata = {**shape, **options.pop("metadata", {})}
    return Text(validate=rules, metadata=metadata, **options)


def _refuse_nul(value: str) -> None:
    if "\0" in value:  # PostgreSQL cannot store it
        raise ValidationError("It must not contain NUL characters.")


def _refuse_blank(value: str) -> None:
    if value.isspace():
        raise ValidationError("It must not be blank.")


def identifier(**options: Any) -> Field:
    """Make a field of an id: a positive 64-bit integer."""
    metadata = {"format": "int64", **options.pop("metadata", {})}
    return Integer(
        strict=True,
        validate=validate.Range(1, LARGEST_ID),
        metadata=metadata,
        **options,
    )


class _Pattern(validate.Validator):
    """Like validate.Regexp, but nothing may follow: `$` lets a newline through.

    All validators of a field run, so a value that is too long gets here, too; what
    it costs to match is bounded by looking no further.
    """

    def __init__(self, regex: str, sentence: str):
        self.regex = re.compile(regex)
        self._sentence = sentence

    def __call__(self, value: str) -> str:
        if len(value) > _LONGEST_MATCHED or self.regex.fullmatch(value) is None:
            raise ValidationError(self._sentence)
        return value


class Text(fields.String):
    """A string that UTF-8 can carry; strings only, bytes are none."""

    default_error_messages = {  # noqa: RUF012  # marshmallow's own convention
        "invalid": "It must be a string.",
        "surrogate": "It contains half of a surrogate pair.",
    }

    def _deserialize(self, value: Any, *_: Any, **options: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.make_error("surrogate") from None
        return value


class Integer(fields.Integer):
    """A JSON integer, 7.0 included (JSON Schema, 6.1.1); no string or bool is one."""

    default_error_messages = {"invalid": "It must be an integer."}  # noqa: RUF012

    def _deserialize(self, value: Any, *_: Any, **options: Any) -> int:
        if type(value) is int:  # the numbers' ABCs take longer than all the rest
            return value
        if type(value) is float and value.is_integer():
            return int(value)
        raise self.make_error("invalid")


class QueryInteger(fields.Integer):
    """An integer as a query spells it: plain decimal digits."""

    default_error_messages = {"invalid": "It must be an integer."}  # noqa: RUF012

    def _deserialize(self, value: Any, *_: Any, **options: Any) -> int:
        if not _INTEGER.fullmatch(value):
            raise self.make_error("invalid")
        return int(value)


class Truth(fields.Boolean):
    """A JSON boolean; neither a number nor a string is one."""

    default_error_messages = {"invalid": "It must be true or false."}  # noqa: RUF012

    def _deserialize(self, value: Any, *_: Any, **options: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class Flag(Truth):
    """A truth as a query spells it: `true` or `false`."""

    def _deserialize(self, value: Any, *_: Any, **options: Any) -> bool:
        if value not in ("true", "false"):
            raise self.make_error("invalid")
        return bool(value == "true")


class Choice(fields.Field[StrEnum]):
    """One of an enum's values."""

    def __init__(self, enum: type[StrEnum], **options: Any):
        self.enum = enum
        super().__init__(metadata=_one_of(enum), **options)

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str:
        return str(value)

    def _deserialize(self, value: Any, *_: Any, **options: Any) -> StrEnum:
        return _member(self.enum, value)


class Choices(fields.Field[tuple[StrEnum, ...]]):
    """Several of an enum's values, separated by commas; loads as a tuple."""

    def __init__(self, enum: type[StrEnum], **options: Any):
        self.enum = enum
        shape = {"type": "array", "items": _one_of(enum), "minItems": 1}
        super().__init__(metadata=shape, **options)

    def _deserialize(self, value: Any, *_: Any, **options: Any) -> tuple[StrEnum, ...]:
        chosen = (_member(self.enum, word) for word in value.split(","))
        return tuple(dict.fromkeys(chosen))


def _member(enum: type[StrEnum], value: Any) -> StrEnum:
    try:
        return enum(value)
    except ValueError:
        sentence = f"It must be one of: {', '.join(enum)}."
        raise ValidationError(sentence) from None


def _one_of(enum: type[StrEnum]) -> dict[str, Any]:
    return {"type": "string", "enum": [str(member) for member in enum]}


class UserOrMe(fields.Field["int | str"]):
    """A user's id in a query, or `me`."""

    default_error_messages = {"invalid": "It must be a user's id, or me."}  # noqa: RUF012

    def __init__(self, **options: Any):
        integer = {"type": "integer", "minimum": 1, "maximum": LARGEST_ID}
        shape = {"anyOf": [integer, {"type": "string", "const": "me"}]}
        metadata = {**shape, **options.pop("metadata", {})}
        super().__init__(metadata=metadata, **options)

    def _deserialize(self, value: Any, *_: Any, **options: Any) -> int | str:
        if value == "me":
            return "me"
        if not _INTEGER.fullmatch(value) or not 1 <= int(value) <= LARGEST_ID:
            raise self.make_error("invalid")
        return int(value)


class Timestamp(fields.Field[datetime]):
    """An instant: RFC 3339 with an offset, or a plain date where `day` says which end.

    Loads as an aware UTC datetime, and dumps as msgspec does.
    """

    default_error_messages = {  # noqa: RUF012
        "invalid": "It must be an RFC 3339 timestamp with an offset.",
        "invalid_day": "It must be an RFC 3339 timestamp with an offset, or a date.",
    }

    def __init__(self, *, day: str | None = None, **options: Any):
        self.day = day
        shapes: list[dict[str, str]] = [{"type": "string", "format": "date-time"}]
        if day is not None:
            shapes.append({"type": "string", "format": "date"})
        if options.get("allow_none"):
            shapes.append({"type": "null"})
        shape = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
        metadata = {**shape, **options.pop("metadata", {})}
        super().__init__(metadata=metadata, **options)

    def _serialize(
        self, value: datetime | None, attr: Any, obj: Any, **kwargs: Any
    ) -> str | None:
        if value is None:
            return None
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")

    def _deserialize(self, value: Any, *_: Any, **options: Any) -> datetime:
        try:
            return self._parsed(value)
        except (TypeError, ValueError, OverflowError):
            key = "invalid" if self.day is None else "invalid_day"
            raise self.make_error(key) from None

    def _parsed(self, value: Any) -> datetime:
        if self.day is not None and _DATE.fullmatch(value):
            midnight = datetime.combine(date.fromisoformat(value), time(), UTC)
            return midnight + _LAST_MOMENT if self.day == "end" else midnight
        if not _RFC3339.fullmatch(value):
            raise ValueError(value)
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
