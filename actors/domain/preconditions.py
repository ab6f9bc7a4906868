"""What has to hold before a command is carried out."""

from actors.domain.commands import Command
from actors.domain.errors import (
    ActionForbidden,
    ProjectArchived,
    ProjectNotFound,
    VersionMismatch,
)
from actors.domain.model import Project, ProjectStatus
from actors.domain.permissions import Action, Standing, is_allowed
from actors.domain.state import ProjectState


def writable_project(state: ProjectState, command: Command, action: Action) -> Project:
    """Find the project, if the caller may do this in it as it is now."""
    standings = state.standings(command.caller)
    project = state.project
    if project is None or not is_allowed(Action.SEE_PROJECT, standings):
        raise ProjectNotFound
    allow(action, standings)
    refuse_archived(state)
    return project


def allow(action: Action, standings: frozenset[Standing]) -> None:
    """Raise ActionForbidden unless somebody who stands like this may do it."""
    if not is_allowed(action, standings):
        raise ActionForbidden


def refuse_archived(state: ProjectState) -> None:
    """Raise ProjectArchived if nothing in it may change."""
    if state.project and state.project.status is ProjectStatus.ARCHIVED:
        raise ProjectArchived


def match_version(command: Command, version: int) -> None:
    """Raise VersionMismatch unless the command accepts this version."""
    if command.if_match is not None and version not in command.if_match:
        raise VersionMismatch(version)
