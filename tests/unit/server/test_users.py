"""Handlers of users: what each refusal looks like, and what is said in the log."""

import structlog

from actors.domain.model import UserRole
from server import answers, keys
from tests.running_app import Board

NEW = "another horse battery"


async def test_every_view_of_a_user_is_the_same_bytes(board: Board) -> None:
    admin, ada = await board.person(UserRole.ADMIN), await board.person()
    path = f"/users/{ada.id}"

    shown = [await ada.get("/users/me"), await ada.get(path), await admin.get(path)]

    answers.User().load(shown[0].json)
    assert len({(view.body, view.headers["ETag"]) for view in shown}) == 1
    listed = await admin.get("/users?limit=1")
    assert listed.json["users"] == [shown[0].json]


async def test_who_may_not_see_a_user_learns_nothing(board: Board) -> None:
    ada, bob = await board.person(), await board.person()

    hidden = await bob.get(f"/users/{ada.id}")
    none = await bob.get("/users/999")

    assert hidden.refusal == none.refusal == (404, "user_not_found")
    assert hidden.json["detail"] == none.json["detail"]


async def test_an_account_that_is_gone_has_no_password(board: Board) -> None:
    ada = await board.person()
    await board.app[keys.SESSIONS].close()  # no sweep
    await ada.get("/users/me")
    await board.execute("TRUNCATE users CASCADE")
    body = {"old_password": "x", "new_password": NEW}

    gone = [
        await ada.get("/users/me"),
        await ada.post("/users/me/password", body),
    ]

    assert [answer.refusal for answer in gone] == [(401, "invalid_token")] * 2
    assert (await ada.patch("/users/me", {"first_name": "x"})).status == 404


async def test_the_log_names_fields_and_not_what_is_in_them(board: Board) -> None:
    ada = await board.person()

    with structlog.testing.capture_logs() as lines:
        await ada.patch("/users/me", {"first_name": "Augusta"})

    assert lines == [
        {
            "event": "user.changed",
            "log_level": "info",
            "user_id": ada.id,
            "by": ada.id,
            "fields": ["first_name"],
        }
    ]
