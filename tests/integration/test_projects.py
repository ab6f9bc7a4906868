"""Projects and their members over HTTP."""

import asyncio
from typing import Any

from actors.domain.model import UserRole
from server import answers
from tests.running_app import Answer, Board

NOBODY = 2**62


async def test_a_project_is_made_and_found_where_location_says(board: Board) -> None:
    ada = await board.person()

    made = await ada.post("/projects", {"name": "Apollo", "description": None})
    shown = await ada.get(made.headers["Location"])

    assert made.status == 201
    assert made.headers["ETag"] == shown.headers["ETag"] == '"1"'
    assert made.body == shown.body
    answers.Project().load(made.json)
    assert (made.json["owner_id"], made.json["status"]) == (ada.id, "active")


async def test_a_project_changes_and_is_archived_and_comes_back(board: Board) -> None:
    ada = await board.person()
    path = f"/projects/{(await ada.project())['id']}"

    renamed = await ada.put(path, {"name": "Vostok", "description": "Up"})
    archived = await ada.put(path, {"status": "archived"})
    refused = await ada.put(path, {"name": "Soyuz"})
    members = await ada.put(f"{path}/members/{ada.id}", {"role": "viewer"})
    active = await ada.put(path, {"status": "active", "name": "Soyuz"})

    assert (renamed.status, renamed.headers["ETag"]) == (200, '"2"')
    assert renamed.json["name"] == "Vostok"
    assert archived.json["status"] == "archived"
    assert refused.refusal == members.refusal == (409, "project_archived")
    assert (active.status, active.json["name"]) == (200, "Soyuz")


async def test_a_write_that_changes_nothing_makes_no_version(board: Board) -> None:
    ada = await board.person()
    project = await ada.project()
    path = f"/projects/{project['id']}"

    for body in ({}, {"name": "Apollo"}, {"owner_id": ada.id}):
        answer = await ada.put(path, body)
        assert (answer.status, answer.json) == (200, project)


async def test_a_deleted_project_is_gone_with_its_tasks(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    task = await ada.task(project["id"], assigned_to=bob.id)
    path = f"/projects/{project['id']}"

    deleted = await ada.delete(path)

    assert (deleted.status, deleted.body) == (204, b"")
    for person in (ada, bob):
        gone = await person.get(f"/tasks/{task['id']}")
        assert gone.refusal == (404, "task_not_found")
    refused = [
        await ada.get(path),
        await ada.put(path, {"name": "x"}),
        await ada.delete(path),
        await ada.get(f"{path}/members"),
        await ada.post("/tasks", {"title": "x", "project_id": project["id"]}),
    ]
    assert [a.refusal for a in refused] == [(404, "project_not_found")] * 5


async def test_a_project_is_handed_over(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    path = f"/projects/{project['id']}"
    await ada.add(project["id"], bob, "viewer")

    handed = await ada.put(path, {"owner_id": bob.id, "name": "Ours"})
    members = (await bob.get(f"{path}/members")).json["members"]

    assert handed.status == 200
    assert (handed.json["owner_id"], handed.json["name"]) == (bob.id, "Ours")
    assert handed.headers["ETag"] == f'"{handed.json["version"]}"'
    assert (await bob.get(path)).json == handed.json
    assert [(m["user_id"], m["role"]) for m in members] == [(ada.id, "maintainer")]
    again = await ada.put(path, {"owner_id": ada.id})
    assert again.refusal == (403, "forbidden")


async def test_a_handover_that_is_repeated_gets_the_first_answer(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    path = f"/projects/{(await ada.project())['id']}"
    body = {"owner_id": bob.id}

    first = await ada.put(path, body, Idempotency_Key="k")
    second = await ada.put(path, body, Idempotency_Key="k")

    assert second.headers["Idempotency-Replayed"] == "true"
    assert (first.status, first.body) == (second.status, second.body)
    assert first.headers["ETag"] == second.headers["ETag"]


async def test_members_come_in_pages(board: Board) -> None:
    ada, others = await board.person(), [await board.person() for _ in range(3)]
    path = f"/projects/{(await ada.project())['id']}/members"
    for person in others:
        await ada.put(f"{path}/{person.id}", {"role": "viewer"})

    first = await ada.get(f"{path}?limit=2")
    await ada.delete(f"{path}/{others[0].id}")  # in front of what comes
    link = first.headers["Link"]
    second = await ada.get(link[1 : link.index(">")])
    skipped = await ada.get(f"{path}?offset=1")

    def ids(answer: Answer) -> list[int]:
        return [member["user_id"] for member in answer.json["members"]]

    assert ids(first) == [others[0].id, others[1].id]
    assert ids(second) == ids(skipped) == [others[2].id]
    assert (first.json["total"], first.json["limit"]) == (3, 2)
    assert (second.json["next_cursor"], "Link" in second.headers) == (None, False)


async def test_members_come_change_and_go(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    path = f"/projects/{(await ada.project())['id']}/members"

    added = await ada.put(f"{path}/{bob.id}", {"role": "viewer"})
    same = await ada.put(f"{path}/{bob.id}", {"role": "viewer"})
    changed = await ada.put(f"{path}/{bob.id}", {"role": "maintainer"})
    listed = await bob.get(path)
    removed = await ada.delete(f"{path}/{bob.id}")
    again = await ada.delete(f"{path}/{bob.id}")

    assert (added.status, added.headers["ETag"]) == (200, '"2"')
    assert same.body == added.body
    answers.Member().load(changed.json)
    assert (changed.json["role"], changed.json["version"]) == ("maintainer", 3)
    answers.MemberList().load(listed.json)
    assert listed.json["members"] == [changed.json]
    assert removed.status == 204
    assert again.refusal == (404, "member_not_found")
    assert (await bob.get(path)).status == 404


async def test_a_member_may_leave(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    await ada.add(project["id"], bob, "viewer")

    left = await bob.delete(f"/projects/{project['id']}/members/{bob.id}")

    assert left.status == 204
    assert (await bob.get(f"/projects/{project['id']}")).status == 404


async def test_the_owner_stays(board: Board) -> None:
    ada = await board.person()
    path = f"/projects/{(await ada.project())['id']}/members/{ada.id}"

    assert (await ada.delete(path)).refusal == (409, "owner_is_permanent")
    demoted = await ada.put(path, {"role": "viewer"})
    assert demoted.refusal == (409, "owner_is_permanent")


async def test_an_inbox_stays_what_it_is(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    inbox = (await ada.task())["project_id"]
    path = f"/projects/{inbox}"

    refused = [
        await ada.delete(path),
        await ada.put(path, {"status": "archived"}),
        await ada.put(path, {"owner_id": bob.id}),
        await ada.put(f"{path}/members/{bob.id}", {"role": "viewer"}),
    ]

    assert [a.refusal for a in refused] == [(409, "inbox_is_permanent")] * 4
    assert (await ada.put(path, {"name": "Mine"})).status == 200


INVALID: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": ""}, ["/name"]),
    ({"name": None}, ["/name"]),
    ({"name": "x" * 201}, ["/name"]),
    ({"description": "\0"}, ["/description"]),
    ({"status": "deleted"}, ["/status"]),
    ({"owner_id": NOBODY}, ["/owner_id"]),
    ({"owner_id": None}, ["/owner_id"]),
    ({"owner_id": 2**64}, ["/owner_id"]),
    ({"is_inbox": True}, ["/is_inbox"]),
]


async def test_a_change_that_is_not_valid_is_refused(board: Board) -> None:
    ada = await board.person()
    project = await ada.project()
    path = f"/projects/{project['id']}"
    for fields, pointers in INVALID:
        answer = await ada.put(path, fields)

        assert (answer.status, answer.pointers) == (422, pointers), fields
    assert (await ada.get(path)).json == project


async def test_a_member_has_to_exist_and_to_have_a_role(board: Board) -> None:
    ada = await board.person()
    path = f"/projects/{(await ada.project())['id']}/members"

    nobody = await ada.put(f"{path}/{NOBODY}", {"role": "viewer"})
    owner = await ada.put(f"{path}/{ada.id}", {"role": "owner"})
    none = await ada.put(f"{path}/{ada.id}", {})

    assert nobody.refusal == (404, "user_not_found")
    assert owner.pointers == none.pointers == ["/role"]
    assert (await ada.delete(f"{path}/{NOBODY}")).code == "member_not_found"
    assert (await ada.delete(f"{path}/none")).code == "not_found"


async def test_a_stranger_learns_nothing_from_naming_nobody(board: Board) -> None:
    ada, eve = await board.person(), await board.person()
    project = await ada.project()

    for number in (project["id"], NOBODY):
        path = f"/projects/{number}"
        asked = [
            await eve.get(path),
            await eve.put(path, {"owner_id": NOBODY}),
            await eve.put(f"{path}/members/{NOBODY}", {"role": "viewer"}),
            await eve.delete(f"{path}/members/{eve.id}"),
            await eve.delete(path),
        ]
        assert {a.refusal for a in asked} == {(404, "project_not_found")}


async def test_writes_hold_to_their_condition(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    path = f"/projects/{(await ada.project())['id']}"
    member = f"{path}/members/{bob.id}"
    role = {"role": "viewer"}

    absent = await ada.put(member, role, If_Match='"2"')
    assert absent.refusal == (412, "version_mismatch")
    assert (await ada.put(member, role)).headers["ETag"] == '"2"'
    refused = [
        await ada.put(path, {"name": "x"}, If_Match='"2"'),
        await ada.put(path, {"owner_id": bob.id}, If_Match='"2"'),
        await ada.delete(path, If_Match='"2"'),
        await ada.put(member, {"role": "member"}, If_Match='"1"'),
        await ada.delete(member, If_Match='"1"'),
    ]
    assert [a.json["current_version"] for a in refused] == [1, 1, 1, 2, 2]
    assert (await ada.put(path, {"name": "x"}, If_Match='"1"')).status == 200
    assert (await ada.put(member, {"role": "member"}, If_Match='"2"')).status == 200
    assert (await ada.get(path, If_None_Match='"3"')).status == 304


async def test_changes_that_race_a_deletion_are_made_or_not_found(
    board: Board,
) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    path = f"/projects/{project['id']}"
    task = {"title": "x", "project_id": project["id"]}

    done = await asyncio.gather(
        *(ada.post("/tasks", task) for _ in range(10)),
        ada.put(f"{path}/members/{bob.id}", {"role": "viewer"}),
        ada.delete(path),
        *(ada.post("/tasks", task) for _ in range(10)),
    )

    assert {answer.status for answer in done} <= {200, 201, 204, 404}
    left = "SELECT count(*) FROM tasks WHERE deleted_at IS NULL"
    assert await board.value(left) == 0
    assert await board.value("SELECT count(*) FROM members") == 0


async def test_a_role_found_in_the_database_counts_after_a_sweep(board: Board) -> None:
    ada, boss = await board.person(), await board.person()
    path = f"/projects/{(await ada.project())['id']}"
    assert (await boss.get(path)).status == 404

    await board.promote(boss, UserRole.MANAGER)
    seen = await boss.get(path)
    await board.promote(boss, UserRole.USER)

    assert seen.status == 200
    assert (await boss.get(path)).status == 404
