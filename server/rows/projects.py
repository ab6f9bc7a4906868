"""Projects, and what happened in them."""

from actors.domain.permissions import Action
from server import answers, log, projects, queries, schemas
from server.route import DONE, FRESH, UNCHANGED, WRITE, Reply, Route

_PROJECT = Reply(description="The project.", schema=answers.Project, headers=("ETag",))

ROWS: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/projects",
        handler=projects.list_projects,
        actions=(Action.LIST_VISIBLE,),
        summary="List the projects that you may see",
        tag="projects",
        query=queries.ProjectListQuery,
        request_headers=FRESH,
        replies={
            200: Reply(
                description="A page of projects.",
                schema=answers.ProjectList,
                headers=("ETag", "Link"),
            ),
            304: UNCHANGED,
        },
        problems=(400,),
    ),
    Route(
        method="POST",
        path="/projects",
        handler=projects.create_project,
        actions=(Action.CREATE_PROJECT,),
        summary="Create a project",
        tag="projects",
        body=schemas.ProjectCreate,
        example={"name": "Launch", "description": "Everything until the first of May"},
        request_headers=WRITE,
        is_versioned=False,
        replies={
            201: Reply(
                description="The new project; it is yours.",
                schema=answers.Project,
                headers=("ETag", "Location"),
            )
        },
    ),
    Route(
        method="GET",
        path="/projects/{project_id}",
        handler=projects.get_project,
        actions=(Action.SEE_PROJECT,),
        summary="Show a project",
        tag="projects",
        query=queries.FreshQuery,
        request_headers=FRESH,
        replies={200: _PROJECT, 304: UNCHANGED},
    ),
    Route(
        method="PUT",
        path="/projects/{project_id}",
        handler=projects.update_project,
        actions=(Action.CHANGE_PROJECT, Action.HAND_OVER_PROJECT),
        summary="Change the fields of a project that you name, its owner included",
        tag="projects",
        body=schemas.ProjectUpdate,
        example={"status": "archived"},
        request_headers=WRITE,
        replies={200: _PROJECT},
        problems=(403, 409),
    ),
    Route(
        method="PATCH",
        path="/projects/{project_id}",
        handler=projects.update_project,
        name="patch_project",
        actions=(Action.CHANGE_PROJECT, Action.HAND_OVER_PROJECT),
        summary="Merge a patch into a project: null clears a field",
        tag="projects",
        body=schemas.ProjectUpdate,
        example={"name": "Launch", "description": None},
        request_headers=WRITE,
        replies={200: _PROJECT},
        problems=(403, 409),
    ),
    Route(
        method="DELETE",
        path="/projects/{project_id}",
        handler=projects.delete_project,
        actions=(Action.DELETE_PROJECT,),
        summary="Delete a project and all of its tasks",
        tag="projects",
        request_headers=("If-Match",),
        replies={204: DONE},
        problems=(403, 409),
    ),
    Route(
        method="GET",
        path="/projects/{project_id}/events",
        handler=log.list_events,
        actions=(Action.SEE_PROJECT,),
        summary="Read what happened in a project after a version, the oldest first",
        tag="projects",
        query=queries.LogQuery,
        request_headers=FRESH,
        replies={
            200: Reply(
                description="Events of consecutive versions.",
                schema=answers.EventLog,
                headers=("ETag", "Link"),
            ),
            304: UNCHANGED,
        },
        problems=(410,),
    ),
)
