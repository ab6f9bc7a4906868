"""The AsyncAPI document, and the sockets of the tests that hold every message to it."""

import gzip
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import pytest
from msgspec import Struct

from actors.domain.events import EVENT_TYPES
from server import messages, queries
from server.asyncapi import document
from server.closing import CLOSINGS
from server.messages import ServerMessage
from server.ops import OPS, read
from tests.described import hold_closing, hold_received, hold_sent, take_undescribed

DOCUMENT = document()
MESSAGES = DOCUMENT["components"]["messages"]
SCHEMAS = DOCUMENT["components"]["schemas"]
CHANNEL = DOCUMENT["channels"]["live"]
EXAMPLES = [
    pytest.param(key, example["payload"], id=key)
    for key, message in MESSAGES.items()
    for example in message.get("examples", ())
]
OFFICIAL = Path(__file__).parent / "asyncapi/3.0.0.json.gz"


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from references(inner)


def resolved(reference: str) -> Any:
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def undescribed(message: object) -> list[str]:
    hold_received(json.dumps(message))
    return take_undescribed()


def test_the_document_is_valid_asyncapi():
    official = json.loads(gzip.decompress(OFFICIAL.read_bytes()))

    jsonschema_rs.validator_for(official).validate(DOCUMENT)


def test_the_document_is_always_the_same():
    assert json.dumps(document()) == json.dumps(DOCUMENT)


def test_every_reference_leads_somewhere():
    for reference in references(DOCUMENT):
        assert resolved(reference)


def test_all_that_can_be_said_is_described():
    own = {
        kind
        for kind in vars(messages).values()
        if inspect.isclass(kind) and issubclass(kind, Struct) and kind is not Struct
    }
    from_clients = {op.kind for op in OPS.values()}

    assert own == {*get_args(ServerMessage), *from_clients}
    assert MESSAGES.keys() == {
        *(kind.__name__ for kind in own),
        *(kind.__name__ for kind in EVENT_TYPES.values()),
        "PingWord",
        "PongWord",
    }
    assert CHANNEL["messages"].keys() == MESSAGES.keys()


def test_every_message_is_taken_or_sent():
    named = {
        link["$ref"].rpartition("/")[2]
        for operation in DOCUMENT["operations"].values()
        for part in (operation, operation.get("reply", {"messages": []}))
        for link in part["messages"]
    }

    assert named == MESSAGES.keys()


@pytest.mark.parametrize("name", [kind.__name__ for kind in get_args(ServerMessage)])
def test_every_field_is_explained(name: str):
    for key, shape in SCHEMAS[name]["properties"].items():
        assert key == "type" or shape.keys() & {"description", "$ref"}, key


@pytest.mark.parametrize(("key", "example"), EXAMPLES)
def test_an_example_has_every_field_and_is_as_described(key: str, example: Any):
    hold = hold_sent if "op" in example else hold_received
    hold(json.dumps(example))

    assert take_undescribed() == []
    left_out = SCHEMAS[key]["properties"].keys() - example.keys()
    assert left_out == ({"snapshot"} if key == "Subscribe" else set())


def test_every_message_but_a_word_has_an_example():
    assert {example.values[0] for example in EXAMPLES} == {
        key for key in MESSAGES if not key.endswith("Word")
    }


def test_the_examples_of_ops_are_understood():
    for op in OPS.values():
        key = op.kind.__name__
        (example,) = MESSAGES[key]["examples"]
        assert isinstance(read(json.dumps(example["payload"])), op.kind)


def test_the_close_codes_are_told_to_programs_and_people():
    told = [(c["code"], c["meaning"], c["reconnect"]) for c in CHANNEL["x-close-codes"]]

    assert told == [(c.code, c.meaning, c.reconnect) for c in CLOSINGS]
    for row in told:
        assert "| {} | {} | {} |".format(*row) in CHANNEL["description"]


def test_the_query_of_the_address_is_told():
    query = CHANNEL["bindings"]["ws"]["query"]

    assert query["properties"].keys() == queries.WebSocketQuery().fields.keys()


def test_a_message_that_is_not_described_is_noticed():
    assert undescribed({"type": "pong"}) == []
    assert undescribed({"type": "nonsense"})
    assert undescribed({"type": "pong", "at": 5})
    assert undescribed({"type": "expiring"})
    assert undescribed({"type": "expiring", "expires_in": "soon"})


def test_a_close_code_that_is_not_described_is_noticed():
    hold_closing(4001)
    assert take_undescribed() == []
    hold_closing(4000)
    assert take_undescribed()


@pytest.mark.parametrize("part", ["event", "events", "snapshot"])
def test_a_field_within_that_is_not_described_is_noticed(part: str):
    (created,) = MESSAGES["TaskCreated"]["examples"]
    payload = json.loads(json.dumps(created["payload"]))
    payload["task"]["colour"] = "red"
    whole = {
        "event": payload,
        "events": {"type": "events", "project_id": 7, "from": 1, "to": 1}
        | {"events": [payload]},
        "snapshot": MESSAGES["Snapshot"]["examples"][0]["payload"]
        | {"tasks": [payload["task"]]},
    }[part]

    assert undescribed(whole)
    del payload["task"]["colour"]
    assert undescribed(whole) == []


def test_what_the_server_understands_has_to_be_described():
    for text in ("ping", '{"type": "ping"}', '{"op": "drop"}', "{"):
        hold_sent(text)
        assert take_undescribed() == []
    filtered = {"op": "subscribe", "project_id": 7, "filter": {"status": "pending"}}
    hold_sent(json.dumps(filtered))
    assert take_undescribed() == []
    filtered["filter"] = {"overdue": "true"}  # as the query spells it
    hold_sent(json.dumps(filtered))
    assert take_undescribed()
