"""What Schemathesis is told besides the document: who asks, and what no schema can say.

A run may log its account out, rename it, demote it or give it another password; the
account is what it was again before anything else is asked.
"""

import os
from typing import Any
from uuid import uuid4

import requests
import schemathesis
from schemathesis import GenerationMode
from schemathesis.openapi.checks import RejectedPositiveData

URL = os.environ["TESTED_URL"]
EXAMPLE = "mira@example.com"
# Refusals of what is valid by the document, for what only the server can know.
BEYOND_THE_DOCUMENT = {
    "idempotency_key_reused",
    "invalid_cursor",
    "password_refused",
    "user_not_found",
}


class Account:
    """An account that stays what it is, whatever is done to it."""

    def __init__(self, login: str):
        self.username, self.password = login.split(":")
        self.token = self.log_in()["access_token"]
        me = self.ask("GET", "/users/me")
        self.id = int(me["id"])
        self.path = f"/users/{self.id}"
        self.names = {"username": me["username"], "email": me["email"]}
        self.standing = {"role": me["role"], "is_active": True}

    def log_in(self) -> dict[str, str]:
        login = {"username": self.username, "password": self.password}
        answer = requests.post(f"{URL}/auth/login", json=login, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        known = {"Authorization": f"Bearer {self.token}"}
        answer = requests.request(
            method, f"{URL}{path}", json=body, headers=known, timeout=30
        )
        if answer.status_code == requests.codes.unauthorized:  # its session has ended
            self.token = self.log_in()["access_token"]
            return self.ask(method, path, body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def give_back(self, path: str) -> None:
        """Make a project active and the tested account's again."""
        if not self.ask("GET", path)["is_inbox"]:
            self.ask("PATCH", path, {"status": "active", "owner_id": tested.id})


keeper = Account(os.environ["KEEPER"])
tested = Account(os.environ["TESTED"])


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.path == "/ws":
        kwargs["hooks"] = {"response": hang_up}
    keep_apart(case.path_parameters)
    keep_apart(case.body)
    if case.meta and case.meta.generation.mode is not GenerationMode.NEGATIVE:
        make_true(case)


def keep_apart(values):
    """Share nothing with the account that is not to see what is the tested one's."""
    for name in ("user_id", "assigned_to", "owner_id"):
        if isinstance(values, dict) and str(values.get(name)) == os.environ["OTHER_ID"]:
            values[name] = tested.id


def make_true(case):
    """Put in what is meant to be valid and cannot be made up."""
    headers = {"Idempotency-Key": str(uuid4()), "If-Match": "*", "X-Min-Version": "1"}
    for name in headers.keys() & case.headers.keys():
        case.headers[name] = headers[name]
    if "min_version" in case.query:
        case.query["min_version"] = "1"
    case.query.pop("cursor", None)  # it is signed
    if not isinstance(case.body, dict):
        return
    if case.body.get("email") == EXAMPLE and case.path == "/auth/register":
        case.body |= {"email": f"{uuid4()}@example.com", "username": str(uuid4())}
    if "old_password" in case.body:
        case.body["old_password"] = tested.password
    if "refresh_token" in case.body:
        case.body["refresh_token"] = tested.log_in()["refresh_token"]


def hang_up(response, **options):
    """Close the connection: nothing else can follow a socket on it."""
    response.connection.close()


@schemathesis.hook
def after_call(context, case, response):
    """Undo what would make the rest of the run another user's."""
    if not 200 <= response.status_code < 300:
        return
    match case.method.upper(), response.request.path_url.partition("?")[0]:
        case "PATCH", "/users/me":
            keep_session(response)
            tested.ask("PATCH", "/users/me", tested.names)
        case "POST", "/users/me/password":
            keep_session(response)
            other = case.body["new_password"]
            undo = {"old_password": other, "new_password": tested.password}
            tested.ask("POST", "/users/me/password", undo)
        case "PATCH", tested.path:
            keeper.ask("PATCH", tested.path, tested.standing)
        case "PATCH", keeper.path:
            tested.ask("PATCH", keeper.path, keeper.standing)
        case "PUT" | "PATCH", path if case.path == "/projects/{project_id}":
            if {"owner_id", "status"} & case.body.keys():
                keeper.give_back(path)


def keep_session(response):
    """Go on in the session of this answer: the others may have ended with it."""
    tested.token = response.request.headers["Authorization"].partition(" ")[2]


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if not isinstance(failure, RejectedPositiveData):
        return True
    return response.json().get("code") not in BEYOND_THE_DOCUMENT
