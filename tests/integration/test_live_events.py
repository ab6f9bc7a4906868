"""Live events: who hears which, in which order, and who hears nothing more."""

import asyncio
from typing import Any

from actors.domain.model import UserRole
from tests.running_app import Board, Listener, Person


def versions(events: list[Any]) -> list[int]:
    return [event["version"] for event in events]


async def test_events_come_in_order_and_without_gaps(board: Board) -> None:
    ada = await board.person()
    project = await ada.project()
    listeners = [await ada.listen() for _ in range(3)]

    made = await asyncio.gather(*(ada.task(project["id"]) for _ in range(40)))
    paths = [f"/tasks/{task['id']}" for task in made]
    both = {"title": "x", "status": "completed", "assigned_to": ada.id}
    await asyncio.gather(*(ada.put(path, both) for path in paths))
    await asyncio.gather(*(ada.delete(path) for path in paths))

    seen = [await listener.events() for listener in listeners]
    assert versions(seen[0]) == list(range(2, 2 + 40 * 5))
    assert seen[1] == seen[2] == seen[0]
    kinds = ["task_updated", "task_assigned", "task_completed"]
    assert [e["type"] for e in seen[0]][40:160] == kinds * 40


async def test_an_event_is_whole_and_says_what_changed(board: Board) -> None:
    ada = await board.person()
    task = await ada.task()
    listener = await ada.listen()

    path = f"/tasks/{task['id']}"
    answer = await ada.put(path, {"status": "in_progress"}, X_Request_ID="r-1")

    (event,) = await listener.events()
    assert event == {
        "type": "task_updated",
        "project_id": task["project_id"],
        "version": 3,
        "by": ada.id,
        "at": answer.json["updated_at"],
        "request_id": "r-1",
        "task": answer.json,
        "changes": {"status": {"old": "pending", "new": "in_progress"}},
    }


async def test_a_change_is_heard_before_it_is_answered(board: Board) -> None:
    ada = await board.person()
    listener = await ada.listen()

    for number in range(20):
        await ada.task()
        assert versions(await listener.events()) == [number + 2]


async def listen_all(*people: Person) -> list[Listener]:
    return [await person.listen() for person in people]


async def types_of(listeners: list[Listener]) -> list[list[str]]:
    return [await listener.types() for listener in listeners]


async def test_each_hears_what_they_may_see(board: Board) -> None:
    ada, bob, eve = [await board.person() for _ in range(3)]
    boss, root = [await board.person(UserRole(r)) for r in ("manager", "admin")]
    project = await ada.project()
    await ada.add(project["id"], bob, "viewer")
    listeners = await listen_all(ada, bob, eve, boss, root)

    await ada.task(project["id"])
    in_project = await types_of(listeners)
    await ada.task()
    in_inbox = await types_of(listeners)
    await ada.project()
    new_project = await types_of(listeners)

    made, none, found = ["task_created"], list[str](), ["project_created"]
    assert in_project == [made, made, none, made, made]
    assert in_inbox == [made, none, none, none, made]
    assert new_project == [found, none, none, found, found]


async def test_a_former_assignee_hears_that_and_nothing_more(board: Board) -> None:
    ada, bob, eve = [await board.person() for _ in range(3)]
    task = await ada.task()
    path = f"/tasks/{task['id']}"
    listeners = await listen_all(bob, eve)

    await ada.put(path, {"assigned_to": bob.id, "title": "x"})
    assigned = await types_of(listeners)
    await ada.put(path, {"title": "y"})
    while_assigned = await types_of(listeners)
    await ada.put(path, {"assigned_to": eve.id})
    passed_on = await types_of(listeners)
    await ada.put(path, {"title": "z"})
    await ada.delete(path)
    after = await types_of(listeners)

    assert assigned == [["task_assigned"], []]
    assert while_assigned == [["task_updated"], []]
    assert passed_on == [["task_assigned"], ["task_assigned"]]
    assert after == [[], ["task_updated", "task_deleted"]]


async def test_a_removed_member_hears_that_and_nothing_more(board: Board) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    listener = await bob.listen()
    path = f"/projects/{project['id']}/members/{bob.id}"

    await ada.task(project["id"])
    await ada.put(path, {"role": "viewer"})
    await ada.task(project["id"])
    await ada.put(path, {"role": "member"})
    await ada.delete(path)
    await ada.task(project["id"])
    await ada.put(f"/projects/{project['id']}", {"name": "x"})

    events = await listener.events()
    assert [event["type"] for event in events] == [
        "member_added",
        "task_created",
        "member_updated",
        "member_removed",
    ]
    assert versions(events) == [3, 4, 5, 6]


async def test_of_one_batch_each_hears_what_they_could_see_at_that_moment(
    board: Board,
) -> None:
    ada, bob = await board.person(), await board.person()
    project = await ada.project()
    path = f"/projects/{project['id']}/members/{bob.id}"
    listeners = await listen_all(ada, bob)

    await asyncio.gather(
        *(
            asyncio.gather(
                ada.put(path, {"role": "viewer"}),
                ada.task(project["id"]),
                ada.task(project["id"]),
                ada.delete(path),
                ada.task(project["id"]),
            )
            for _ in range(10)
        )
    )

    whole, partial = [await listener.events() for listener in listeners]
    is_member, expected = False, []
    for event in whole:
        of_bob = event["type"].startswith("member_")
        if is_member or of_bob:
            expected.append(event)
        if of_bob:
            is_member = event["type"] != "member_removed"
    assert versions(whole) == list(range(2, 2 + len(whole)))
    assert partial == expected


async def test_a_deleted_project_is_heard_of_once_by_its_members(board: Board) -> None:
    ada, bob, eve = [await board.person() for _ in range(3)]
    project = await ada.project()
    await ada.task(project["id"])
    await ada.add(project["id"], bob, "viewer")
    listeners = await listen_all(ada, bob, eve)

    await ada.delete(f"/projects/{project['id']}")

    gone = ["project_deleted"]
    assert await types_of(listeners) == [gone, gone, []]


async def test_a_handover_is_heard_by_both(board: Board) -> None:
    ada, bob, eve = [await board.person() for _ in range(3)]
    project = await ada.project()
    listeners = await listen_all(ada, bob, eve)

    await ada.put(f"/projects/{project['id']}", {"owner_id": bob.id})

    changed = ["project_updated", "member_added"]
    assert await types_of(listeners) == [changed, changed, []]


async def test_another_role_is_another_view(board: Board) -> None:
    ada, eve = await board.person(), await board.person()
    project = await ada.project()
    listener = await eve.listen()

    await ada.task(project["id"])
    await board.promote(eve, UserRole.MANAGER)
    await ada.task(project["id"])
    await board.promote(eve, UserRole.USER)
    await ada.task(project["id"])

    assert versions(await listener.events()) == [3]
