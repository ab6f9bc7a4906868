from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from server import answers, schemas
from server.openapi import document
from server.routes import ROUTES

DOCUMENT = document(ROUTES)
OPERATIONS = [
    pytest.param(
        row,
        DOCUMENT["paths"][row.path][row.method.lower()],
        id=f"{row.method} {row.path}",
    )
    for row in ROUTES
]


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = DOCUMENT
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    if isinstance(node, list):
        for inner in node:
            yield from references(inner)


def test_the_document_is_valid_openapi():
    validate(DOCUMENT)


def test_the_document_is_always_the_same():
    assert document(ROUTES) == DOCUMENT
    assert list(document(ROUTES)["paths"]) == list(DOCUMENT["paths"])


def test_every_reference_leads_somewhere():
    for reference in references(DOCUMENT):
        assert resolved({"$ref": reference})


def test_operations_have_names_of_their_own():
    names = [row.operation_id for row in ROUTES]

    assert len(names) == len(set(names))


@pytest.mark.parametrize(("row", "operation"), OPERATIONS)
def test_an_operation_is_told_in_full(row, operation):
    assert operation["summary"]
    assert operation["tags"] == [row.tag]
    assert {tag["name"] for tag in DOCUMENT["tags"]} >= {row.tag}
    assert operation["security"] == ([] if row.is_public else [{"bearer": []}])
    assert operation["responses"]


@pytest.mark.parametrize(("row", "operation"), OPERATIONS)
def test_an_operation_names_the_refusals_that_are_to_be_expected(row, operation):
    statuses = set(operation["responses"])

    assert "500" in statuses
    assert row.is_public or statuses >= {"401", "503"}
    assert "_id}" not in row.path or "404" in statuses
    assert row.body is None or statuses >= {"400", "413", "415", "422"}
    assert "If-Match" not in row.request_headers or "412" in statuses


@pytest.mark.parametrize(("row", "operation"), OPERATIONS)
def test_every_refusal_is_a_problem_document(row, operation):
    for status, response in operation["responses"].items():
        described = resolved(response)
        assert "X-Request-ID" in described["headers"]
        if int(status) < 400 or "$ref" not in response:
            continue
        (media_type,) = described["content"]
        assert media_type == "application/problem+json"
        assert "Cache-Control" in described["headers"]
        example = described["content"][media_type]["example"]
        assert answers.Problem().validate(example) == {}
        assert example["status"] == int(status)


@pytest.mark.parametrize(("row", "operation"), OPERATIONS)
def test_every_body_has_an_example_that_its_schema_accepts(row, operation):
    if row.body is None:
        assert "requestBody" not in operation
        return
    content = operation["requestBody"]["content"]["application/json"]

    assert row.body().validate(content["example"]) == {}


@pytest.mark.parametrize(("row", "operation"), OPERATIONS)
def test_every_parameter_of_a_path_is_described(row, operation):
    described = {p["name"] for p in operation["parameters"] if p["in"] == "path"}

    assert {f"{{{name}}}" for name in described} == {
        step for step in row.path.split("/") if step.startswith("{")
    }


@pytest.mark.parametrize(("row", "operation"), OPERATIONS)
def test_every_parameter_of_a_query_is_described(row, operation):
    described = {p["name"] for p in operation["parameters"] if p["in"] == "query"}

    assert described == set(row.query().fields)


@pytest.mark.parametrize(("row", "operation"), OPERATIONS)
def test_known_callers_are_promised_to_be_told_what_they_have_left(row, operation):
    told = {"RateLimit", "RateLimit-Policy"}
    for status, response in operation["responses"].items():
        headers = resolved(response)["headers"].keys()
        if status in {"401", "414"}:  # it is not known who asks
            assert not headers & told
        elif not row.is_public:
            assert headers >= told
    if not row.is_public or row.path in {"/auth/login", "/auth/refresh"}:
        refusal = resolved(operation["responses"]["429"])
        assert "Retry-After" in refusal["headers"]


def test_input_schemas_allow_nothing_else():
    for name, shape in DOCUMENT["components"]["schemas"].items():
        if isinstance(getattr(schemas, name, None), type):
            assert shape["additionalProperties"] is False, name


def test_limits_are_in_the_document():
    parameters = {
        p["name"]: p["schema"] for p in DOCUMENT["paths"]["/tasks"]["get"]["parameters"]
    }
    task = DOCUMENT["components"]["schemas"]["TaskCreate"]["properties"]

    assert parameters["limit"] == {
        "type": "integer",
        "default": 20,
        "minimum": 1,
        "maximum": 100,
    }
    assert parameters["offset"]["maximum"] == 10_000
    assert task["title"]["maxLength"] == 200
    assert task["status"]["enum"] == ["pending", "in_progress", "completed"]
    assert task["assigned_to"]["type"] == ["integer", "null"]
    assert {"type": "null"} in task["due_date"]["anyOf"]


def test_every_property_has_a_type():
    for name, shape in DOCUMENT["components"]["schemas"].items():
        for key, inner in shape["properties"].items():
            assert {"type", "anyOf", "$ref"} & inner.keys(), f"{name}.{key}"


def test_a_log_in_names_one_of_two():
    login = DOCUMENT["components"]["schemas"]["Login"]

    assert login["oneOf"] == [{"required": ["email"]}, {"required": ["username"]}]


def test_a_step_of_a_path_is_an_id_or_one_of_a_few_words():
    for row in ROUTES:
        for parameter in DOCUMENT["paths"][row.path][row.method.lower()]["parameters"]:
            if parameter["in"] != "path":
                continue
            shape = parameter["schema"]
            assert shape.get("format") == "int64" or shape["enum"], row.path


@pytest.mark.parametrize(("row", "operation"), OPERATIONS)
def test_every_link_leads_to_what_an_operation_takes(row, operation):
    taken = {other.operation_id: other for other in ROUTES}
    for response in operation["responses"].values():
        for link in resolved(response).get("links", {}).values():
            fields = taken[link["operationId"]].body().fields
            assert link["requestBody"].keys() <= fields.keys()


def test_a_socket_is_opened_by_what_the_document_says():
    operation = DOCUMENT["paths"]["/ws"]["get"]
    required = {p["name"] for p in operation["parameters"] if p.get("required")}

    assert required == {
        "Connection",
        "Upgrade",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
    }
    assert "426" in operation["responses"]


@pytest.mark.parametrize(("row", "operation"), OPERATIONS)
def test_writes_in_projects_are_told_to_name_their_version(
    row: Any, operation: dict[str, Any]
):
    writes = row.tag in ("tasks", "comments", "projects") and row.method != "GET"
    for status, response in operation["responses"].items():
        if status < "300":
            assert ("X-Version" in response.get("headers", {})) == writes
