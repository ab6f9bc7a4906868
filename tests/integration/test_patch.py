"""PATCH is a JSON Merge Patch (RFC 7396), by the same rules as PUT."""

import pytest

from tests.running_app import Answer, Board, Person

MERGE, PLAIN = "application/merge-patch+json", "application/json"


async def patch(
    person: Person, path: str, body: bytes, media_type: str = MERGE, **headers: str
) -> Answer:
    sent = {"Content-Type": media_type} | headers
    return await person.ask("PATCH", path, headers=sent, data=body)


@pytest.mark.parametrize("media_type", [MERGE, PLAIN, f"{MERGE}; charset=utf-8"])
async def test_null_clears_and_what_is_absent_stays(
    board: Board, media_type: str
) -> None:
    ada = await board.person()
    task = await ada.task(
        description="x", due_date="2026-01-02", assigned_to=ada.id, priority="high"
    )
    body = b'{"description": null, "due_date": null, "assigned_to": null}'

    changed = await patch(ada, f"/tasks/{task['id']}", body, media_type)

    cleared = {"description": None, "due_date": None, "assigned_to": None}
    moved = {name: changed.json[name] for name in ("updated_at", "version")}
    assert changed.status == 200
    assert changed.json == task | cleared | moved
    assert changed.headers["ETag"] == f'"{moved["version"]}"'


async def test_a_project_is_patched_too(board: Board) -> None:
    ada = await board.person()
    project = await ada.project()
    path = f"/projects/{project['id']}"
    await patch(ada, path, b'{"description": "x"}')

    changed = await patch(ada, path, b'{"description": null, "name": "y"}')

    assert (changed.json["name"], changed.json["description"]) == ("y", None)


async def test_what_cannot_be_null_or_is_no_object_is_refused(board: Board) -> None:
    ada = await board.person()
    task, project = await ada.task(), await ada.project()
    refused = [
        (f"/tasks/{task['id']}", b'{"title": null}', ["/title"]),
        (f"/tasks/{task['id']}", b'{"version": 7}', ["/version"]),
        (f"/tasks/{task['id']}", b"[]", [""]),
        (f"/projects/{project['id']}", b'{"owner_id": null}', ["/owner_id"]),
        (f"/projects/{project['id']}", b'{"status": null}', ["/status"]),
    ]

    for path, body, pointers in refused:
        answer = await patch(ada, path, body)
        assert (answer.refusal, answer.pointers) == (
            (422, "invalid_request"),
            pointers,
        )


async def test_conditions_and_keys_hold_for_a_patch(board: Board) -> None:
    ada = await board.person()
    path = f"/tasks/{(await ada.task())['id']}"
    key = {"Idempotency-Key": "k"}

    stale = await patch(ada, path, b'{"title": "y"}', **{"If-Match": '"1"'})
    first = await patch(ada, path, b'{"title": "y"}', **key)
    again = await patch(ada, path, b'{"title": "y"}', **key)
    other = await patch(ada, path, b'{"title": "z"}', **key)

    assert stale.refusal == (412, "version_mismatch")
    assert (first.status, first.body) == (again.status, again.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.refusal == (422, "idempotency_key_reused")


@pytest.mark.parametrize("name", ["tasks", "projects", "users"])
async def test_what_a_patch_may_be_is_said_where_it_is_asked(
    board: Board, name: str
) -> None:
    ada = await board.person()
    path = f"/{name}/1"

    options = await ada.ask("OPTIONS", path)
    refused = await patch(ada, path, b"x", "application/json-patch+json")
    put = await ada.ask("PUT", "/tasks/1", headers={"Content-Type": "a/b"}, data=b"x")
    lists = await ada.ask("OPTIONS", f"/{name}")

    said = f"{MERGE}, {PLAIN}"
    assert "PATCH" in options.headers["Allow"]
    assert options.headers["Accept-Patch"] == refused.headers["Accept-Patch"] == said
    assert refused.refusal == put.refusal == (415, "unsupported_media_type")
    assert "Accept-Patch" not in {*put.headers, *lists.headers}
