"""Users: who sees and changes them, and what a change means for who is logged in."""

import asyncio

import pytest

from actors.domain.model import UserRole
from server import answers, keys
from tests.running_app import Board, Person

PASSWORD, OTHER = "correct horse battery", "another horse battery"
REFUSED = (401, "invalid_token")


async def registered(board: Board, name: str = "ada") -> Person:
    body = {"email": f"{name}@example.com", "username": name, "password": PASSWORD}
    await board.nobody.post("/auth/register", body)
    return await logged_in(board, name)


async def logged_in(board: Board, name: str, password: str = PASSWORD) -> Person:
    login = {"username": name, "password": password}
    answer = await board.nobody.post("/auth/login", login)
    assert answer.status == 200, answer
    tokens = {
        "access": answer.json["access_token"],
        "refresh": answer.json["refresh_token"],
    }
    return Person(board, board.nobody.caller, tokens)


async def admin_of(board: Board) -> Person:
    return await board.person(UserRole.ADMIN)


def path_of(person: Person) -> str:
    return f"/users/{person.id}"


async def test_an_account_is_changed_field_by_field(board: Board) -> None:
    ada = await board.person()
    before = await ada.get("/users/me")
    body = {"first_name": "Ada", "last_name": "King", "username": "countess"}

    changed = await ada.patch("/users/me", body)

    answers.User().load(changed.json)
    assert (changed.status, changed.headers["ETag"]) == (200, '"2"')
    whole = before.json | body | {"version": 2}
    assert changed.json == whole | {"updated_at": changed.json["updated_at"]}
    assert changed.json["updated_at"] > before.json["updated_at"]
    assert (await ada.get("/users/me")).body == changed.body
    assert (await ada.get(path_of(ada))).body == changed.body


async def test_a_change_of_nothing_makes_no_version(board: Board) -> None:
    ada = await board.person()
    await ada.patch("/users/me", {"first_name": "Ada"})

    for body in ({}, {"first_name": "Ada"}):
        assert (await ada.patch("/users/me", body)).headers["ETag"] == '"2"'


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"role": "admin"}, "/role"),
        ({"is_active": True}, "/is_active"),
        ({"id": 7}, "/id"),
        ({"version": 7}, "/version"),
        ({"password": PASSWORD}, "/password"),
        ({"email": "nowhere"}, "/email"),
        ({"username": "a b"}, "/username"),
        ({"first_name": None}, "/first_name"),
        ({"last_name": "x" * 101}, "/last_name"),
    ],
)
async def test_what_is_not_one_s_own_to_change_is_refused(
    board: Board, body: object, pointer: str
) -> None:
    ada = await board.person()

    refused = await ada.patch("/users/me", body)

    assert refused.refusal == (422, "invalid_request")
    assert refused.pointers == [pointer]
    assert (await ada.get("/users/me")).headers["ETag"] == '"1"'


async def test_an_administrator_changes_neither_address_nor_password(
    board: Board,
) -> None:
    admin, ada = await admin_of(board), await board.person()

    for body in ({"email": "x@example.com"}, {"is_active": 1}, {"role": "god"}):
        assert (await admin.patch(path_of(ada), body)).status == 422


async def test_a_name_that_is_taken_is_refused(board: Board) -> None:
    ada, bob = await board.person(name="ada"), await board.person(name="bob")

    name = await bob.patch("/users/me", {"username": "ADA"})
    email = await bob.patch("/users/me", {"email": "Ada@example.com"})

    assert name.refusal == (409, "username_taken")
    assert email.refusal == (409, "email_taken")
    assert (await bob.patch("/users/me", {"username": "BOB"})).status == 200
    assert (await ada.get("/users/me")).headers["ETag"] == '"1"'


async def test_conditions_hold_for_users(board: Board) -> None:
    admin, ada = await admin_of(board), await board.person()
    changes: list[tuple[Person, str]] = [(ada, "/users/me"), (admin, path_of(ada))]
    await ada.patch("/users/me", {"first_name": "Ada"})

    for person, path in changes:
        known = await person.get(path, If_None_Match='"2"')
        stale = await person.patch(path, {"last_name": "x"}, If_Match='"1"')
        assert (known.status, known.body) == (304, b"")
        assert stale.refusal == (412, "version_mismatch")
        assert stale.json["current_version"] == 2
        assert stale.headers["ETag"] == '"2"'
    made = await admin.patch(path_of(ada), {"last_name": "x"}, If_Match='"2"')
    assert (made.status, made.headers["ETag"]) == (200, '"3"')


async def test_of_those_who_change_the_same_version_at_once_one_wins(
    board: Board,
) -> None:
    ada = await board.person()

    async def change(number: int) -> int:
        body = {"first_name": str(number)}
        return (await ada.patch("/users/me", body, If_Match='"1"')).status

    statuses = await asyncio.gather(*(change(number) for number in range(12)))

    assert sorted(statuses) == [200, *[412] * 11]


async def test_without_a_condition_no_field_of_another_s_is_lost(board: Board) -> None:
    ada = await board.person()
    bodies = [{"first_name": "Ada"}, {"last_name": "King"}] * 3

    changed = await asyncio.gather(*(ada.patch("/users/me", b) for b in bodies))

    last = (await ada.get("/users/me")).json
    assert {answer.status for answer in changed} == {200}
    assert (last["first_name"], last["last_name"]) == ("Ada", "King")
    assert last["version"] == 3


async def test_another_password_ends_the_other_sessions_at_once(board: Board) -> None:
    ada = await registered(board)
    phone = await logged_in(board, "ada")
    here, there = await ada.listen(), await phone.listen()
    body = {"old_password": PASSWORD, "new_password": OTHER}

    changed = await ada.post("/users/me/password", body)

    assert (changed.status, changed.body) == (204, b"")
    assert (await phone.get("/users/me")).refusal == REFUSED
    assert await there.closing() == (4001, "Session ended")
    old = {"refresh_token": phone.refresh_token}
    assert (await board.nobody.post("/auth/refresh", old)).refusal == REFUSED
    assert (await ada.get("/users/me")).status == 200
    assert await here.events() == []
    login = {"username": "ada", "password": PASSWORD}
    refused = await board.nobody.post("/auth/login", login)
    assert refused.refusal == (401, "invalid_credentials")
    assert (await (await logged_in(board, "ada", OTHER)).get("/users/me")).status == 200


async def test_a_password_is_changed_by_who_knows_it_and_to_a_good_one(
    board: Board,
) -> None:
    ada = await registered(board)

    async def change(old: str, new: str) -> tuple[tuple[int, str], list[str]]:
        body = {"old_password": old, "new_password": new}
        answer = await ada.post("/users/me/password", body)
        return answer.refusal, answer.pointers

    wrong = (422, "wrong_password"), ["/old_password"]
    weak = (422, "password_refused"), ["/new_password"]
    assert await change("wrong horse battery", OTHER) == wrong
    assert await change(PASSWORD, "password1") == weak
    assert await change(PASSWORD, "ada@example.com") == weak
    assert await change(PASSWORD, PASSWORD) == weak
    assert (await logged_in(board, "ada")).access_token


async def test_of_two_who_change_a_password_at_once_one_wins(board: Board) -> None:
    ada = await registered(board)
    bodies = [
        {"old_password": PASSWORD, "new_password": f"{OTHER} {number}"}
        for number in range(4)
    ]

    changed = await asyncio.gather(
        *(ada.post("/users/me/password", body) for body in bodies)
    )

    won = [b for a, b in zip(changed, bodies, strict=True) if a.status == 204]
    assert len(won) == 1
    assert {answer.status for answer in changed} <= {204, 409, 422}
    assert (await logged_in(board, "ada", won[0]["new_password"])).access_token


@pytest.mark.parametrize(("password", "status"), [(OTHER, 401), (PASSWORD, 200)])
async def test_a_log_in_counts_if_the_password_is_still_the_same_at_its_end(
    board: Board, monkeypatch: pytest.MonkeyPatch, password: str, status: int
) -> None:
    await registered(board)
    passwords = board.app[keys.PASSWORDS]
    verify, changed = passwords.verify, [await passwords.hash(password)]

    async def overtaken(given: str, known: str | None) -> bool:
        matches = await verify(given, known)
        if changed:
            await board.execute("UPDATE users SET password_hash = $1", changed.pop())
        return matches

    monkeypatch.setattr(passwords, "verify", overtaken)
    login = {"username": "ada", "password": PASSWORD}

    assert (await board.nobody.post("/auth/login", login)).status == status


async def test_users_are_listed_page_by_page_and_filtered(board: Board) -> None:
    boss = await board.person(UserRole.MANAGER, name="boss")
    people = [await board.person(name=f"per_son{number}") for number in range(5)]
    await people[0].patch("/users/me", {"last_name": "Hopper"})
    await board.execute("UPDATE users SET is_active = false WHERE username='per_son1'")

    async def names(query: str) -> list[str]:
        listed = (await boss.get(f"/users?{query}")).json
        assert listed["total"] == len(listed["users"])
        return [user["username"] for user in listed["users"]]

    first = await boss.get("/users?limit=4")
    answers.UserList().load(first.json)
    second = await boss.get(f"/users?limit=4&cursor={first.json['next_cursor']}")
    assert [u["username"] for u in first.json["users"] + second.json["users"]] == [
        "per_son4", "per_son3", "per_son2", "per_son1", "per_son0", "boss",
    ]  # fmt: skip
    assert (first.json["total"], second.json["next_cursor"]) == (6, None)
    assert 'rel="next"' in first.headers["Link"]
    etag = first.headers["ETag"]
    assert (await boss.get("/users?limit=4", If_None_Match=etag)).status == 304
    assert await names("role=manager") == ["boss"]
    assert await names("is_active=false") == ["per_son1"]
    assert await names("q=HOPPER") == ["per_son0"]
    assert await names("q=son2@") == ["per_son2"]
    assert await names("q=%25") == []
    assert (await boss.get("/users?offset=5")).json["users"][0]["username"] == "boss"


async def test_a_list_refuses_what_it_does_not_know(board: Board) -> None:
    boss, admin = await board.person(UserRole.MANAGER), await admin_of(board)
    cursor = (await admin.get("/users?limit=1")).json["next_cursor"]

    for query in ("rol=user", "role=god", "is_active=1", "limit=101", "sort=name"):
        assert (await boss.get(f"/users?{query}")).status == 422
    stolen = await boss.get(f"/users?limit=1&cursor={cursor}")
    assert stolen.refusal == (400, "invalid_cursor")


async def test_what_is_no_user_is_not_found(board: Board) -> None:
    admin = await admin_of(board)

    for path in ("/users/999", "/users/0", "/users/you"):
        assert (await admin.get(path)).status == 404
        assert (await admin.patch(path, {"role": "user"})).status == 404
    head = await admin.ask("HEAD", "/users/me")
    options = await admin.ask("OPTIONS", "/users/me")
    assert (head.status, head.headers["ETag"]) == (200, '"1"')
    assert options.headers["Allow"] == "GET, HEAD, OPTIONS, PATCH"


async def test_who_is_made_inactive_is_out_at_once_and_for_good(board: Board) -> None:
    await board.app[keys.SESSIONS].close()  # no sweep
    admin, ada = await admin_of(board), await board.person()
    phone = await board.session(ada.caller)
    sockets = [await ada.listen(), await phone.listen()]
    ticket = (await ada.post("/ws/tickets")).json["ticket"]

    answer = await admin.patch(path_of(ada), {"is_active": False})

    assert (answer.status, answer.json["is_active"]) == (200, False)
    assert (await ada.get("/users/me")).refusal == REFUSED
    for socket in sockets:
        assert await socket.closing() == (4001, "Session ended")
    late = await board.connect(f"?ticket={ticket}")
    assert (await late.closing())[0] == 4001
    old = {"refresh_token": ada.refresh_token}
    assert (await board.nobody.post("/auth/refresh", old)).refusal == REFUSED
    assert (await admin.patch(path_of(ada), {"is_active": True})).status == 200
    for person in (ada, phone):  # they have to log in again
        assert (await person.get("/users/me")).refusal == REFUSED
    again = await board.session(ada.caller)
    assert (await again.get("/users/me")).status == 200


async def test_another_role_counts_at_once(board: Board) -> None:
    await board.app[keys.SESSIONS].close()  # no sweep
    admin, ada = await admin_of(board), await board.person()
    private, hers = await admin.project(), await ada.project()
    seen = f"/projects/{private['id']}"
    socket = await ada.listen()
    assert (await ada.get(seen)).status == 404

    await admin.patch(path_of(ada), {"role": "manager"})
    allowed = (await ada.get(seen)).status, (await ada.get("/users")).status
    await admin.task(private["id"])
    heard = await socket.types()
    await admin.patch(path_of(ada), {"role": "user"})
    refused = (await ada.get(seen)).status, (await ada.get("/users")).status
    await admin.task(private["id"])
    await ada.task(hers["id"])

    assert (allowed, refused) == ((200, 200), (404, 403))
    assert heard == ["task_created"]
    assert [e["project_id"] for e in await socket.events()] == [hers["id"]]


@pytest.mark.parametrize("change", [{"role": "manager"}, {"is_active": False}])
async def test_the_last_active_administrator_stays(
    board: Board, change: dict[str, object]
) -> None:
    admin, other = await admin_of(board), await admin_of(board)
    await admin.patch(path_of(other), {"is_active": False})

    refused = await admin.patch(path_of(admin), change)

    assert refused.refusal == (409, "last_admin")
    assert (await admin.get("/users")).status == 200
    assert (await admin.get("/users/me")).headers["ETag"] == '"1"'
    same = await admin.patch(path_of(admin), {"role": "admin", "first_name": "x"})
    assert same.status == 200


async def test_two_administrators_who_demote_each_other_leave_one(
    board: Board,
) -> None:
    for _ in range(5):
        await board.execute("UPDATE users SET role = 'user'")
        one, two = await admin_of(board), await admin_of(board)

        both = await asyncio.gather(
            one.patch(path_of(two), {"role": "user"}),
            two.patch(path_of(one), {"role": "user"}),
        )

        assert await board.value("SELECT count(*) FROM users WHERE role='admin'") == 1
        assert 200 in {answer.status for answer in both}
        assert {answer.status for answer in both} <= {200, 404, 409}


async def test_changes_of_users_are_in_no_log_of_a_project(board: Board) -> None:
    admin, ada = await admin_of(board), await board.person()
    count = "SELECT count(*) FROM project_events"
    before = await board.value(count)

    await admin.patch(path_of(ada), {"role": "manager"})
    await ada.patch("/users/me", {"first_name": "Ada"})

    assert await board.value(count) == before
    assert len(board.app[keys.FEED]) == 0
