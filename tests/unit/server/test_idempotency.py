"""Idempotency-Key: what is a key, and what holds one."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from actors.domain.model import UserId, UserRole
from server import keys
from server.idempotency import key_of, once, prepare
from server.principals import Principal
from server.problems import Problem
from sql.users import SessionId

ADA = Principal(
    user_id=UserId(7), role=UserRole.USER, session_id=SessionId(3), expires_at=4e9
)


def request_of(method: str, body: bytes = b"{}", **headers: str) -> web.Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    app = web.Application()
    prepare(app, b"secret")
    request = make_mocked_request(method, "/tasks", headers=named, app=app)
    request[keys.PRINCIPAL] = ADA
    request[keys.REQUEST_ID] = "r-1"
    request._read_bytes = body
    return request


async def test_without_a_key_it_just_acts() -> None:
    async def act(stamp: object) -> web.Response:
        return web.Response(text=str(stamp))

    made = await once(request_of("POST"), act, 201)

    assert made.text is not None
    assert "'key': None" in made.text


@pytest.mark.parametrize("key", ["", '""', "a b", "x" * 256, "\u00e4", 'a"', "\\"])
async def test_a_key_that_is_none_is_refused_before_anything_is_done(key: str) -> None:
    async def act(stamp: object) -> web.Response:
        raise AssertionError(stamp)

    with pytest.raises(Problem) as refused:
        await once(request_of("POST", Idempotency_Key=key), act, 201)

    assert refused.value.status == 400
    assert refused.value.code == "invalid_idempotency_key"


async def test_one_key_is_in_flight_once() -> None:
    class Store:
        async def remembered(self, user_id: int, key: str) -> None:
            return None

    request = request_of("POST", Idempotency_Key="k")
    request.app._state[keys.STORE] = Store()

    async def act(stamp: object) -> web.Response:
        with pytest.raises(Problem) as refused:
            await once(request, act, 201)
        assert refused.value.code == "idempotency_key_in_flight"
        return web.Response()

    assert (await once(request, act, 201)).status == 200
    assert (await once(request, act, 201)).status == 200  # it was given back


async def test_a_fingerprint_tells_requests_apart_and_not_what_is_in_them() -> None:
    first = await key_of(request_of("POST"), UserId(7), 201)
    others = [
        await key_of(request_of("PUT"), UserId(7), 201),
        await key_of(request_of("POST", b"{ }"), UserId(7), 201),
        await key_of(request_of("POST"), UserId(7), 201, about="session 3"),
    ]
    elsewhere = request_of("POST")
    prepare(elsewhere.app, b"another secret")

    again = await key_of(request_of("POST"), UserId(7), 201)
    keyed = await key_of(elsewhere, UserId(7), 201)

    assert again.fingerprint == first.fingerprint
    assert first.fingerprint not in {other.fingerprint for other in others}
    assert keyed.fingerprint != first.fingerprint
