"""Handlers of projects and members: the parts of an answer, and their refusals."""

from server import answers
from tests.running_app import Board


async def test_a_created_project_says_where_it_is(board: Board) -> None:
    ada = await board.person()

    made = await ada.post("/projects", {"name": "x"})

    answers.Project().load(made.json)
    assert made.headers["Location"] == f"/projects/{made.json['id']}"
    assert made.headers["ETag"] == '"1"'
    assert (await ada.get(made.headers["Location"])).body == made.body


async def test_an_update_answers_with_the_project(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    path = f"/projects/{(await ada.project())['id']}"

    renamed = await ada.put(path, {"name": "y"})
    same = await ada.put(path, {"name": "y"})
    handed = await ada.put(path, {"owner_id": bob.id}, Idempotency_Key="k")
    again = await ada.put(path, {"owner_id": bob.id}, Idempotency_Key="k")

    assert (renamed.headers["ETag"], same.body) == ('"2"', renamed.body)
    assert handed.json["owner_id"] == bob.id
    assert handed.headers["ETag"] == '"3"'
    assert (again.body, again.headers["ETag"]) == (handed.body, '"3"')


async def test_users_that_are_not_there_are_pointed_at(board: Board) -> None:
    ada = await board.person()
    path = f"/projects/{(await ada.project())['id']}"

    heir = await ada.put(path, {"owner_id": 999})
    member = await ada.put(f"{path}/members/999", {"role": "viewer"})

    assert heir.refusal == (422, "user_not_found")
    assert heir.pointers == ["/owner_id"]
    assert member.refusal == (404, "user_not_found")


async def test_who_may_not_do_it_learns_nothing_of_users(board: Board) -> None:
    ada, viewer = await board.person(), await board.person()
    project = await ada.project()
    path = f"/projects/{project['id']}"
    await ada.put(f"{path}/members/{viewer.id}", {"role": "viewer"})
    task = await ada.task(project_id=project["id"])

    refused = [
        await viewer.put(path, {"owner_id": 999}),
        await viewer.put(f"{path}/members/999", {"role": "viewer"}),
        await viewer.put(f"/tasks/{task['id']}", {"assigned_to": 999}),
        await viewer.post(
            "/tasks", {"title": "x", "project_id": project["id"], "assigned_to": 999}
        ),
    ]

    assert [answer.refusal for answer in refused] == [(403, "forbidden")] * 4


async def test_strangers_learn_nothing(board: Board) -> None:
    ada, eve = await board.person(), await board.person()
    path = f"/projects/{(await ada.project())['id']}"

    refused = [
        await eve.get(path),
        await eve.put(path, {"owner_id": 999}),
        await eve.delete(path),
        await eve.get(f"{path}/members"),
        await eve.put(f"{path}/members/999", {"role": "viewer"}),
        await eve.delete(f"{path}/members/999"),
    ]

    assert [a.refusal for a in refused] == [(404, "project_not_found")] * 6


async def test_a_member_is_put_shown_and_removed(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    path = f"/projects/{(await ada.project())['id']}/members"

    put = await ada.put(f"{path}/{bob.id}", {"role": "viewer"})
    same = await ada.put(f"{path}/{bob.id}", {"role": "viewer"})
    listed = await ada.get(path)
    removed = await ada.delete(f"{path}/{bob.id}")
    empty = await ada.get(path)

    answers.Member().load(put.json)
    assert (same.body, same.headers["ETag"]) == (put.body, '"2"')
    answers.MemberList().load(listed.json)
    assert listed.json["members"] == [put.json]
    assert removed.status == 204
    answers.MemberList().load(empty.json)
    assert empty.json["total"] == 0


async def test_a_page_has_its_tag_and_the_link_to_the_next(board: Board) -> None:
    ada = await board.person()
    await ada.project()

    page = await ada.get("/projects?limit=1")
    after = await ada.get(page.headers["Link"][1:].partition(">")[0])
    known = await ada.get("/projects?limit=1", If_None_Match=page.headers["ETag"])

    assert len(after.json["projects"]) == 1
    assert "Link" not in after.headers
    assert (known.status, known.headers["Link"]) == (304, page.headers["Link"])


async def test_a_deleted_project_is_gone(board: Board) -> None:
    ada = await board.person()
    path = f"/projects/{(await ada.project())['id']}"

    assert (await ada.delete(path)).status == 204
    assert (await ada.get(path)).refusal == (404, "project_not_found")
