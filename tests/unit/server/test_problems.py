import pytest
from aiohttp import web
from pytest_aiohttp import AiohttpClient
from small_app import BEARER, route, small_app
from yarl import URL

from actors.domain.errors import (
    ActionForbidden,
    DomainError,
    Kind,
    ProjectArchived,
    StoreUnavailable,
    TaskNotFound,
    UserNotFound,
    VersionMismatch,
)
from server.problems import FieldError, Problem, from_domain, invalid
from server.schemas import Request


def raising(error: Exception):
    async def handler(request: web.Request) -> web.Response:
        raise error

    return handler


async def answer_to(aiohttp_client: AiohttpClient, error: Exception):
    client = await aiohttp_client(small_app(route(raising(error))))
    response = await client.get("/things", headers={"X-Request-ID": "abc"})
    return response, await response.json(content_type="application/problem+json")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TaskNotFound(), 404),
        (ActionForbidden(), 403),
        (ProjectArchived(), 409),
        (UserNotFound(), 422),
        (VersionMismatch(9), 412),
        (StoreUnavailable(), 503),
    ],
)
async def test_a_refusal_of_the_domain_becomes_a_problem_of_its_kind(
    aiohttp_client: AiohttpClient, error: DomainError, status: int
):
    response, problem = await answer_to(aiohttp_client, error)

    assert response.status == problem["status"] == status
    assert problem["code"] == error.code
    assert problem["type"] == f"/problems/{error.code}"
    assert problem["detail"] == error.detail
    assert problem["instance"] == "/things"
    assert problem["request_id"] == "abc"
    assert problem["title"]


@pytest.mark.parametrize(
    ("path", "instance"),
    [
        ("/a%20b%2Fc", "/a%20b%2Fc"),
        ("/%C3%A9%FF", "/%C3%A9%FF"),
        ('/a"b[c', "/a%22b%5Bc"),
        ("/tasks/~1,2;x=(3)?q=1", "/tasks/~1,2;x=(3)"),
    ],
)
async def test_the_instance_is_the_address_as_a_reference_spells_it(
    aiohttp_client: AiohttpClient, path: str, instance: str
):
    client = await aiohttp_client(small_app())

    response = await client.get(URL(path, encoded=True))
    problem = await response.json(content_type="application/problem+json")

    assert (problem["status"], problem["instance"]) == (404, instance)


def test_every_kind_has_a_status():
    for kind in Kind:
        error = DomainError("No.")
        error.kind = kind

        assert 400 <= from_domain(error).status < 600


async def test_a_stale_version_tells_the_current_one(aiohttp_client: AiohttpClient):
    response, problem = await answer_to(aiohttp_client, VersionMismatch(9))

    assert problem["current_version"] == 9
    assert response.headers["ETag"] == '"9"'


async def test_unavailable_says_when_to_come_back(aiohttp_client: AiohttpClient):
    response, _ = await answer_to(aiohttp_client, StoreUnavailable())

    assert response.headers["Retry-After"] == "1"


async def test_a_pointer_of_the_domain_is_named(aiohttp_client: AiohttpClient):
    error = UserNotFound("Nobody.", pointer="/assigned_to")

    _, problem = await answer_to(aiohttp_client, error)

    assert problem["errors"] == [{"pointer": "/assigned_to", "detail": "Nobody."}]


async def test_field_errors_are_listed(aiohttp_client: AiohttpClient):
    error = invalid([FieldError("/a", "Bad."), FieldError("?b", "Worse.")])

    response, problem = await answer_to(aiohttp_client, error)

    assert response.status == 422
    assert problem["errors"] == [
        {"pointer": "/a", "detail": "Bad."},
        {"pointer": "?b", "detail": "Worse."},
    ]


async def test_401_challenges(aiohttp_client: AiohttpClient):
    response, _ = await answer_to(aiohttp_client, Problem(401, "invalid_token", "No."))

    challenge = response.headers["WWW-Authenticate"]
    assert challenge == 'Bearer realm="boardcast", error="invalid_token"'


async def test_what_is_unexpected_shows_nothing_of_itself(
    aiohttp_client: AiohttpClient,
):
    response, problem = await answer_to(aiohttp_client, ValueError("secret table name"))

    assert response.status == 500
    assert problem["code"] == "internal_error"
    assert "secret" not in await response.text()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (web.HTTPBadRequest(text="internal words"), "bad_request"),
        (web.HTTPForbidden(text="internal words"), "forbidden"),
        (web.HTTPUnsupportedMediaType(text="internal words"), "unsupported_media_type"),
        (web.HTTPUnprocessableEntity(text="internal words"), "unprocessable_entity"),
    ],
)
async def test_what_the_framework_refuses_is_a_problem_too(
    aiohttp_client: AiohttpClient, error: web.HTTPException, code: str
):
    response, problem = await answer_to(aiohttp_client, error)

    assert response.status == problem["status"] == error.status
    assert problem["code"] == code
    assert "internal words" not in await response.text()


async def test_an_unknown_address_is_a_problem(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(route()))

    response = await client.get("/nowhere")

    assert response.status == 404
    assert response.content_type == "application/problem+json"
    assert (await response.json(content_type=None))["code"] == "not_found"


async def test_a_wrong_method_is_a_problem_that_names_the_right_ones(
    aiohttp_client: AiohttpClient,
):
    client = await aiohttp_client(small_app(route()))

    response = await client.put("/things", json={})

    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert (await response.json(content_type=None))["code"] == "method_not_allowed"


async def test_too_large_a_body_is_a_problem(aiohttp_client: AiohttpClient):
    row = route(method="POST", body=Request)
    client = await aiohttp_client(small_app(row, body_limit_bytes=100))

    response = await client.post("/things", json={"text": "x" * 200}, headers=BEARER)

    assert response.status == 413
    assert (await response.json(content_type=None))["code"] == "body_too_large"


async def test_an_expectation_that_is_not_met_is_a_problem(
    aiohttp_client: AiohttpClient,
):
    client = await aiohttp_client(small_app(route()))

    response = await client.get("/things", headers={"Expect": "miracles"})

    assert response.status == 417
    assert response.content_type == "application/problem+json"
    assert response.headers["X-Request-ID"]
