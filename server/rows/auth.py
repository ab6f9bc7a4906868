"""Accounts and sessions."""

from server import answers, auth, schemas
from server.route import DONE, OWN, READ, UNCHANGED, VISIT, Reply, Route

_PAIR = Reply(
    description="Two tokens.", schema=answers.TokenPair, headers=("Cache-Control",)
)

ROWS: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/auth/register",
        handler=auth.register,
        actions=VISIT,
        summary="Make an account",
        tag="auth",
        body=schemas.Register,
        example={
            "email": "ada@example.com",
            "username": "ada",
            "password": "correct horse battery",
            "first_name": "Ada",
        },
        replies={
            201: Reply(
                description="The account, with an inbox project of its own.",
                schema=answers.User,
                headers=("Location",),
            )
        },
        problems=(409,),
    ),
    Route(
        method="POST",
        path="/auth/login",
        handler=auth.login,
        actions=VISIT,
        summary="Log in",
        tag="auth",
        body=schemas.Login,
        example={"email": "ada@example.com", "password": "correct horse battery"},
        replies={200: _PAIR},
        problems=(401,),
    ),
    Route(
        method="POST",
        path="/auth/refresh",
        handler=auth.refresh,
        actions=VISIT,
        summary="Get a new pair for a refresh token, in the body or as Bearer",
        tag="auth",
        body=schemas.Refresh,
        is_body_required=False,
        example={"refresh_token": "q9Jm3…"},
        replies={200: _PAIR},
        problems=(401,),
    ),
    Route(
        method="POST",
        path="/auth/logout",
        handler=auth.logout,
        actions=OWN,
        summary="End this session",
        tag="auth",
        replies={204: DONE},
    ),
    Route(
        method="GET",
        path="/auth/sessions",
        handler=auth.list_sessions,
        actions=OWN,
        summary="List your sessions",
        tag="auth",
        query=schemas.OffsetQuery,
        request_headers=READ,
        replies={
            200: Reply(
                description="A page of them.",
                schema=answers.SessionList,
                headers=("ETag", "Cache-Control"),
            ),
            304: Reply(
                description=UNCHANGED.description, headers=("ETag", "Cache-Control")
            ),
        },
    ),
    Route(
        method="DELETE",
        path="/auth/sessions/{session_id}",
        handler=auth.end_session,
        actions=OWN,
        summary="End one of your sessions",
        tag="auth",
        replies={204: DONE},
    ),
)
