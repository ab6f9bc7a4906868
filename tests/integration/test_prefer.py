"""Prefer: return=minimal (RFC 7240): a write is acknowledged without its result."""

import pytest

from tests.running_app import Answer, Board

MINIMAL = "return=minimal"


def is_minimal(answer: Answer, status: int, etag: str) -> bool:
    return (
        (answer.status, answer.body) == (status, b"")
        and answer.headers["Preference-Applied"] == MINIMAL
        and answer.headers["ETag"] == etag
        and "Content-Type" not in answer.headers
    )


async def test_a_new_thing_is_named_and_not_shown(board: Board) -> None:
    ada = await board.person()

    for path, body in (("/tasks", {"title": "x"}), ("/projects", {"name": "x"})):
        made = await ada.post(path, body, Prefer=MINIMAL)
        there = await ada.get(made.headers["Location"])

        assert there.status == 200
        assert is_minimal(made, 201, there.headers["ETag"])


async def test_a_new_account_is_named_and_not_shown(board: Board) -> None:
    ada = {"email": "a@b.example", "username": "ada", "password": "correct horse"}

    made = await board.nobody.post("/auth/register", ada, Prefer=MINIMAL)

    assert is_minimal(made, 201, '"1"')
    assert made.headers["Location"].startswith("/users/")
    assert made.headers["Cache-Control"] == "no-store"


async def test_a_change_is_acknowledged_with_its_version_only(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    task, project = await ada.task(), await ada.project()
    path, place = f"/tasks/{task['id']}", f"/projects/{project['id']}"
    member = f"{place}/members/{bob.id}"

    writes = [
        (await ada.put(path, {"title": "x"}, Prefer=MINIMAL), '"3"'),
        (await ada.put(path, {"title": "x"}, Prefer=MINIMAL), '"3"'),
        (await ada.patch(path, {"title": "y"}, Prefer=MINIMAL), '"4"'),
        (await ada.post(f"{path}/assign", {"assigned_to": 1}, Prefer=MINIMAL), '"5"'),
        (await ada.put(place, {"name": "x"}, Prefer=MINIMAL), '"2"'),
        (await ada.put(member, {"role": "viewer"}, Prefer=MINIMAL), '"3"'),
        (await ada.patch("/users/me", {"first_name": "A"}, Prefer=MINIMAL), '"2"'),
    ]

    for answer, etag in writes:
        assert is_minimal(answer, 204, etag), (answer, etag)


async def test_a_repeat_is_answered_as_the_repeat_prefers(board: Board) -> None:
    ada = await board.person()
    body = {"title": "x"}

    first = await ada.post("/tasks", body, Idempotency_Key="k")
    again = await ada.post("/tasks", body, Idempotency_Key="k", Prefer=MINIMAL)

    assert is_minimal(again, 201, first.headers["ETag"])
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        ("return=minimal", 204),
        ('Respond-Async, Return="minimal"; x=y', 204),
        ("wait=10, return = minimal", 204),
        ("return=minimal, return=representation", 204),
        ("return=representation, return=minimal", 200),
        ("return=representation", 200),
        ("returns=minimal", 200),
        ("minimal", 200),
        ("", 200),
    ],
)
async def test_only_the_first_return_counts(
    board: Board, prefer: str, status: int
) -> None:
    ada = await board.person()
    path = f"/tasks/{(await ada.task())['id']}"

    answer = await ada.put(path, {"title": "x"}, Prefer=prefer)

    assert answer.status == status
    assert ("Preference-Applied" in answer.headers) == (status == 204)


async def test_reads_and_refusals_have_their_bodies(board: Board) -> None:
    ada = await board.person()
    path = f"/tasks/{(await ada.task())['id']}"

    for shown in ("/tasks", path, "/users/me"):
        answer = await ada.get(shown, Prefer=MINIMAL)
        assert answer.status == 200
        assert answer.json
    refused = await ada.put(path, {"title": ""}, Prefer=MINIMAL)
    assert refused.refusal == (422, "invalid_request")
