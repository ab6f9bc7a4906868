"""Members of projects."""

from actors.domain.permissions import Action
from server import answers, projects, queries, schemas
from server.route import DONE, FRESH, UNCHANGED, WRITE, Reply, Route

ROWS: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/projects/{project_id}/members",
        handler=projects.list_members,
        actions=(Action.SEE_PROJECT,),
        summary="List the members of a project",
        tag="projects",
        query=queries.FreshPageQuery,
        request_headers=FRESH,
        replies={
            200: Reply(
                description="A page of members, by their ids.",
                schema=answers.MemberList,
                headers=("ETag", "Link"),
            ),
            304: UNCHANGED,
        },
        problems=(400,),
    ),
    Route(
        method="PUT",
        path="/projects/{project_id}/members/{user_id}",
        handler=projects.put_member,
        actions=(Action.MANAGE_MEMBERS,),
        summary="Add a member, or change the role of one",
        tag="projects",
        body=schemas.MemberPut,
        example={"role": "maintainer"},
        request_headers=WRITE,
        replies={
            200: Reply(
                description="The member.", schema=answers.Member, headers=("ETag",)
            )
        },
        problems=(403, 409),
    ),
    Route(
        method="DELETE",
        path="/projects/{project_id}/members/{user_id}",
        handler=projects.remove_member,
        actions=(Action.MANAGE_MEMBERS, Action.LEAVE_PROJECT),
        summary="Remove a member, or leave",
        tag="projects",
        request_headers=("If-Match",),
        replies={204: DONE},
        problems=(403, 409),
    ),
)
