"""Every rule of the product: a command and a state in, events or a refusal out.

Pure. What is allowed is decided on exactly the state that the events are applied to.
"""

from typing import assert_never

from actors.domain import project_rules, task_rules
from actors.domain.commands import (
    AddComment,
    Command,
    CreateProject,
    CreateTask,
    DeleteComment,
    DeleteProject,
    DeleteTask,
    PutMember,
    RemoveMember,
    UpdateComment,
    UpdateProject,
    UpdateTask,
)
from actors.domain.events import Event
from actors.domain.state import ProjectState


def decide(state: ProjectState, command: Command) -> tuple[Event, ...]:
    """Say what happens if `command` is carried out on `state`: perhaps nothing.

    Raises a DomainError where it may not be carried out.
    """
    match command:
        case CreateProject():
            return project_rules.create_project(state, command)
        case UpdateProject():
            return project_rules.update_project(state, command)
        case DeleteProject():
            return project_rules.delete_project(state, command)
        case PutMember():
            return project_rules.put_member(state, command)
        case RemoveMember():
            return project_rules.remove_member(state, command)
        case CreateTask():
            return task_rules.create_task(state, command)
        case UpdateTask():
            return task_rules.update_task(state, command)
        case DeleteTask():
            return task_rules.delete_task(state, command)
        case AddComment():
            return task_rules.add_comment(state, command)
        case UpdateComment():
            return task_rules.update_comment(state, command)
        case DeleteComment():
            return task_rules.delete_comment(state, command)
        case _:
            assert_never(command)
