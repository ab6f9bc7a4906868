"""What lists show, and what is hidden whoever asks; the rest is test_access.py."""

from actors.domain.model import UserRole
from tests.running_app import Board
from tests.scenes import make_cast, make_scene


async def test_lists_show_what_each_may_see_and_no_more(board: Board) -> None:
    cast = await make_cast(board)
    scene = await make_scene(cast, "stranger", {"own task"}, {"task_id"})
    sees_project = {"viewer", "member", "maintainer", "owner", "manager", "admin"}
    sees_task = sees_project | {"stranger", "assignee"}
    everybody = {cast.colleague.id, *(p.id for p in cast.people.values())} - {0}

    for who, person in cast.people.items():
        if who in {"anonymous", "disabled"}:
            continue
        tasks = (await person.get("/tasks")).json["tasks"]
        listed = (await person.get("/projects?limit=100")).json["projects"]
        shown = {project["id"] for project in listed}
        inboxes = {p["owner_id"] for p in listed if p["is_inbox"]}
        assert [task["id"] for task in tasks] == (
            [scene.ids["task_id"]] if who in sees_task else []
        )
        assert (scene.ids["project_id"] in shown) == (who in sees_project)
        assert inboxes == (everybody if who == "admin" else {person.id})


async def test_managers_do_not_see_the_inboxes_of_others(board: Board) -> None:
    ada = await board.person()
    boss, admin = [await board.person(UserRole(r)) for r in ("manager", "admin")]
    task = await ada.task(title="Private")
    inbox, path = f"/projects/{task['project_id']}", f"/tasks/{task['id']}"

    hidden = [
        await boss.get(path),
        await boss.put(path, {"title": "x"}),
        await boss.delete(path),
        await boss.get(inbox),
        await boss.get(f"{inbox}/members"),
        await boss.post("/tasks", {"title": "x", "project_id": task["project_id"]}),
    ]

    assert [answer.status for answer in hidden] == [404] * 6
    assert (await boss.get("/tasks")).json["total"] == 0
    assert (await boss.get("/tasks?q=private")).json["total"] == 0
    assert (await boss.get(f"/tasks?project_id={task['project_id']}")).json[
        "total"
    ] == 0
    assert (await admin.get(path)).json == task
    assert (await admin.get("/tasks")).json["tasks"] == [task]


async def test_a_manager_sees_a_task_of_an_inbox_that_is_theirs_to_do(
    board: Board,
) -> None:
    ada, boss = await board.person(), await board.person(UserRole.MANAGER)
    task = await ada.task(assigned_to=boss.id)

    assert (await boss.get(f"/tasks/{task['id']}")).status == 200
    assert (await boss.get("/tasks")).json["tasks"] == [task]
    assert (await boss.get(f"/projects/{task['project_id']}")).status == 404


async def test_a_manager_has_an_inbox_like_everybody(board: Board) -> None:
    boss = await board.person(UserRole.MANAGER)

    task = await boss.task()

    assert (await boss.get("/tasks")).json["tasks"] == [task]
    listed = (await boss.get("/projects")).json["projects"]
    assert [project["id"] for project in listed] == [task["project_id"]]


async def test_nobody_ends_the_session_of_another(board: Board) -> None:
    ada, eve = await board.person(), await board.person(UserRole.ADMIN)
    listed = (await ada.get("/auth/sessions")).json["sessions"]

    answer = await eve.delete(f"/auth/sessions/{listed[0]['id']}")

    assert answer.refusal == (404, "session_not_found")
    assert (await ada.get("/users/me")).status == 200


async def test_a_task_does_not_move_to_another_project(board: Board) -> None:
    ada = await board.person()
    task, project = await ada.task(), await ada.project()

    moved = await ada.put(f"/tasks/{task['id']}", {"project_id": project["id"]})

    assert (moved.status, moved.pointers) == (422, ["/project_id"])
