"""The filter of a subscription: spelt as the query of `GET /tasks`, or in JSON."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError

from actors.domain.criteria import Criteria
from actors.domain.model import Caller, UserId
from server.ops import NotUnderstood
from server.queries import TaskFilter

_SENTENCE_LENGTH = 500

_schema = TaskFilter()
FILTERS = tuple(_schema.fields)


def criteria_of(given: Mapping[str, Any], caller: Caller) -> Criteria:
    """Read a filter; raises NotUnderstood."""
    if not given.keys() <= set(FILTERS):
        sentence = f"A filter has no fields but these: {', '.join(FILTERS)}."
        raise NotUnderstood("invalid_filter", sentence, "subscribe")
    try:
        query = {name: _spelt(value) for name, value in given.items()}
        found = _schema.load(query)
    except ValidationError as error:
        raise NotUnderstood("invalid_filter", _sentence(error), "subscribe") from None
    return Criteria(
        statuses=_set(found.get("status")),
        priorities=_set(found.get("priority")),
        assigned_to=_user(found.get("assigned_to"), caller),
        is_unassigned=found.get("unassigned"),
        created_by=_user(found.get("created_by"), caller),
        due_from=found.get("due_date_from"),
        due_to=found.get("due_date_to"),
        is_overdue=found.get("overdue"),
        text=found.get("q"),
    )


def _spelt(value: object) -> str:
    """Spell a JSON value as a query would."""
    values = value if isinstance(value, list) and value else [value]
    return ",".join(map(_word, values))


def _word(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str() | int():
            return str(value)
        case _:
            raise ValidationError("A filter holds words, numbers and lists of them.")


def _sentence(error: ValidationError) -> str:
    """Say what is wrong, or the beginning of it: it is the client who names fields."""
    if not isinstance(error.messages, dict):
        return " ".join(map(str, error.messages))
    parts = (
        f"{name}: {' '.join(map(str, said))}" for name, said in error.messages.items()
    )
    return " ".join(parts)[:_SENTENCE_LENGTH]


def _set(values: Any) -> frozenset[Any] | None:
    return None if values is None else frozenset(values)


def _user(value: Any, caller: Caller) -> UserId | None:
    if value is None:
        return None
    return caller.id if value == "me" else UserId(value)
