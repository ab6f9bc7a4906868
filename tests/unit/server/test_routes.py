"""Invariant 7: the router, the permission table and the document are one table."""

import pytest
from aiohttp import web
from small_app import small_app

from actors.domain.permissions import ALLOWED, Action
from server import keys
from server.openapi import document
from server.routes import ROUTES

PUBLIC = {
    "POST /auth/register",
    "POST /auth/login",
    "POST /auth/refresh",
    "GET /ws",
    "GET /",
    "GET /health",
    "GET /health/live",
    "GET /health/ready",
    "GET /metrics",
    "GET /openapi.json",
    "GET /asyncapi.json",
    "GET /docs",
    "GET /docs/{name}",
}


def routed(app: web.Application) -> set[str]:
    """What the router really knows; HEAD is part of GET."""
    return {
        f"{added.method} {added.resource.canonical}"
        for added in app.router.routes()
        if added.resource is not None and added.method != "HEAD"
    }


def test_the_router_and_the_document_list_the_same_operations():
    described = {
        f"{method.upper()} {path}"
        for path, operations in document(ROUTES)["paths"].items()
        for method in operations
    }

    assert routed(small_app(*ROUTES)) == described


def test_no_route_is_registered_without_the_middlewares_knowing_it():
    app = small_app(*ROUTES)

    assert set(app.router.routes()) == set(app[keys.ENDPOINTS])


def test_every_get_answers_head_but_the_websocket():
    app = small_app(*ROUTES)
    by_method = {
        method: {r.resource for r in app.router.routes() if r.method == method}
        for method in ("GET", "HEAD")
    }

    alone = by_method["GET"] - by_method["HEAD"]

    assert {resource.canonical for resource in alone if resource} == {"/ws"}


@pytest.mark.parametrize("row", ROUTES, ids=lambda row: f"{row.method} {row.path}")
def test_every_row_names_actions_of_the_permission_table(row):
    assert row.actions
    assert set(row.actions) <= ALLOWED.keys()
    assert row.actions == (Action.VISIT,) or Action.VISIT not in row.actions


def test_every_action_of_the_permission_table_has_a_row():
    used = {action for row in ROUTES for action in row.actions}

    assert used == set(ALLOWED) == set(Action)


def test_only_these_routes_answer_strangers():
    app = small_app(*ROUTES)

    open_to_all = {
        f"{endpoint.method} {endpoint.template}"
        for endpoint in app[keys.ENDPOINTS].values()
        if endpoint.is_public and endpoint.method != "HEAD"
    }

    assert open_to_all == PUBLIC


def test_no_row_is_there_twice():
    places = [(row.method, row.path) for row in ROUTES]

    assert len(places) == len(set(places))
