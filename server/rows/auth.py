"""Accounts and sessions."""

from server import accounts, answers, auth, queries, schemas
from server.route import DONE, EFFECT, OWN, READ, UNCHANGED, VISIT, WRITE, Reply, Route

_PAIR = Reply(
    description="Two tokens.",
    schema=answers.TokenPair,
    headers=("Cache-Control",),
    links={
        "refresh": {
            "operationId": "refresh",
            "requestBody": {"refresh_token": "$response.body#/refresh_token"},
        }
    },
)

ROWS: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/auth/register",
        handler=accounts.register,
        actions=VISIT,
        summary="Make an account",
        tag="auth",
        is_secret=True,
        body=schemas.Register,
        example={
            "email": "mira@example.com",
            "username": "mira",
            "password": "correct horse battery",
            "first_name": "Mira",
        },
        replies={
            201: Reply(
                description="The account, with an inbox project of its own.",
                schema=answers.User,
                headers=("ETag", "Location", "Cache-Control"),
                links={
                    "logIn": {
                        "operationId": "login",
                        "requestBody": {
                            "email": "$request.body#/email",
                            "password": "$request.body#/password",
                        },
                    }
                },
            )
        },
        request_headers=WRITE,
        is_versioned=False,
        problems=(409, 429),
    ),
    Route(
        method="POST",
        path="/auth/login",
        handler=auth.login,
        actions=VISIT,
        summary="Log in",
        tag="auth",
        is_secret=True,
        body=schemas.Login,
        example={"email": "mira@example.com", "password": "correct horse battery"},
        request_headers=EFFECT,
        is_versioned=False,
        replies={200: _PAIR},
        problems=(401, 429),
    ),
    Route(
        method="POST",
        path="/auth/refresh",
        handler=auth.refresh,
        actions=VISIT,
        summary="Get a new pair for a refresh token, in the body or as Bearer",
        tag="auth",
        is_secret=True,
        body=schemas.Refresh,
        is_body_required=False,
        example={"refresh_token": "q9Jm3…"},
        request_headers=EFFECT,
        is_versioned=False,
        replies={200: _PAIR},
        problems=(401, 429),
    ),
    Route(
        method="POST",
        path="/auth/logout",
        handler=auth.logout,
        actions=OWN,
        summary="End this session",
        tag="auth",
        is_secret=True,
        request_headers=EFFECT,
        is_versioned=False,
        ends_session=True,
        replies={204: DONE},
    ),
    Route(
        method="GET",
        path="/auth/sessions",
        handler=auth.list_sessions,
        actions=OWN,
        summary="List your sessions",
        tag="auth",
        is_secret=True,
        query=queries.OffsetQuery,
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
        is_secret=True,
        request_headers=("If-Match",),
        is_versioned=False,
        replies={204: DONE},
    ),
)
