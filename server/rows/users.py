"""Users."""

from actors.domain.permissions import Action
from server import answers, queries, schemas, users
from server.route import DONE, EFFECT, OWN, READ, UNCHANGED, WRITE, Reply, Route

_USER = Reply(description="The user.", schema=answers.User, headers=("ETag",))

ROWS: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/users/me",
        handler=users.get_me,
        actions=OWN,
        summary="Show your account",
        tag="users",
        request_headers=READ,
        replies={200: _USER, 304: UNCHANGED},
    ),
    Route(
        method="PATCH",
        path="/users/me",
        handler=users.update_me,
        actions=OWN,
        summary="Change your names or your address",
        tag="users",
        body=schemas.MeUpdate,
        example={"first_name": "Ada", "last_name": "Lovelace"},
        request_headers=WRITE,
        replies={200: _USER},
        problems=(409,),
    ),
    Route(
        method="POST",
        path="/users/me/password",
        handler=users.change_password,
        actions=OWN,
        summary="Change your password, and end your other sessions",
        tag="users",
        is_secret=True,
        body=schemas.PasswordChange,
        example={
            "old_password": "correct horse battery",
            "new_password": "another horse, another battery",
        },
        request_headers=EFFECT,
        replies={204: DONE},
        problems=(409,),
    ),
    Route(
        method="GET",
        path="/users",
        handler=users.list_users,
        actions=(Action.LIST_USERS,),
        summary="List the users",
        tag="users",
        query=queries.UserListQuery,
        request_headers=READ,
        replies={
            200: Reply(
                description="A page of users.",
                schema=answers.UserList,
                headers=("ETag", "Link"),
            ),
            304: UNCHANGED,
        },
        problems=(400, 403),
    ),
    Route(
        method="GET",
        path="/users/{user_id}",
        handler=users.get_user,
        actions=(Action.SEE_USER,),
        summary="Show a user",
        tag="users",
        request_headers=READ,
        replies={200: _USER, 304: UNCHANGED},
    ),
    Route(
        method="PATCH",
        path="/users/{user_id}",
        handler=users.update_user,
        actions=(Action.CHANGE_USER,),
        summary="Change a user's role, names, or whether they may log in",
        tag="users",
        body=schemas.UserUpdate,
        example={"role": "manager"},
        request_headers=WRITE,
        replies={200: _USER},
        problems=(403, 409),
    ),
)
