"""Schemathesis asks all that the document says, and much that it does not."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from server.demo import PASSWORD as DEMO_PASSWORD
from server.demo import PEOPLE
from server.routes import ROUTES
from tests.e2e.servers import ROOT, Served, scratch_server

EXAMPLES = int(os.environ.get("BOARDCAST_SCHEMATHESIS_EXAMPLES", "2"))
# That of the document's examples, so that they are what an account would ask.
PASSWORD = "correct horse battery"
EXAMPLE = {"username": "mira", "email": "mira@example.com"}
KEEPER = {"username": PEOPLE[0].username, "password": DEMO_PASSWORD}
# What a role may not do, whoever it is about.
REFUSED: Mapping[str, Collection[str]] = {
    "user": {"GET /users", "PATCH /users/{user_id}"},
    "manager": {"PATCH /users/{user_id}"},
    "admin": set(),
}

pytestmark = pytest.mark.timeout(180 + 20 * EXAMPLES)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    unlimited = {
        "BOARDCAST_RATE_LIMIT_PER_MINUTE": "0",
        "BOARDCAST_LOGIN_LIMIT_PER_MINUTE": "0",
    }
    with scratch_server(unlimited) as server:
        asyncio.run(server.start("--demo"))
        call(server, "POST", "/auth/register", {**EXAMPLE, "password": PASSWORD})
        yield server
        assert server.stop() == 0


@pytest.mark.parametrize("role", REFUSED)
def test_the_server_and_its_document_say_the_same(
    served: Served, role: str, tmp_path: Path
) -> None:
    tested = make_account(served, f"the-{role}", role)
    run(served, tested, make_account(served, f"no-{role}", "user"), tmp_path)

    report = json.loads((tmp_path / "report.json").read_text())
    warned = {name for names in report["warnings"].values() for name in names}
    assert report["exit_code"] == 0
    assert report["operations"]["tested"] == len(ROUTES)
    assert report["operations"]["skipped"] == 0
    assert warned <= REFUSED[role], report["warnings"]
    assert not_served(tmp_path / "events.ndjson") == REFUSED[role]


def make_account(served: Served, name: str, role: str) -> dict[str, Any]:
    """Make an account of a role."""
    account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    made = call(served, "POST", "/auth/register", account)
    token = call(served, "POST", "/auth/login", KEEPER)["access_token"]
    return call(served, "PATCH", f"/users/{made['id']}", {"role": role}, token)


def run(
    served: Served, tested: dict[str, Any], other: dict[str, Any], directory: Path
) -> None:
    """Let Schemathesis ask as one user, and write its reports into a directory.

    It gets the document as a file: of an address, it would not ask for that again.
    """
    document, accounts = directory / "openapi.json", directory / "accounts.json"
    document.write_text(json.dumps(call(served, "GET", "/openapi.json")))
    both = {"tested": tested, "other": other}
    log_ins = [log_in_of(name, user["username"]) for name, user in both.items()]
    accounts.write_text(json.dumps({"auth": log_ins}))
    told = {
        "TESTED_URL": served.url,
        "TESTED": f"{tested['username']}:{PASSWORD}",
        "OTHER_ID": str(other["id"]),
        "KEEPER": ":".join(KEEPER.values()),
    }
    ended = subprocess.run(
        (
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", "tests/e2e/schemathesis.toml"),
            *("run", str(document), "--url", served.url),
            *("--auth-wfc", str(accounts)),
            *("--phases", "examples,coverage,fuzzing,stateful"),
            *("--checks", "all", "--mode", "all"),
            *("--max-examples", str(EXAMPLES), "--generation-deterministic"),
            *("--report", "json,ndjson"),
            *("--report-json-path", str(directory / "report.json")),
            *("--report-ndjson-path", str(directory / "events.ndjson")),
        ),
        cwd=ROOT,
        env=told | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stdout.write(ended.stdout)
    assert ended.returncode == 0, ended.stderr


def log_in_of(name: str, username: str) -> dict[str, Any]:
    """Write how a user logs in, in the manner of the Web Fuzzing Commons."""
    login = {"username": username, "password": PASSWORD}
    token = {
        "extractFrom": "body",
        "extractSelector": "/access_token",
        "sendIn": "header",
        "sendName": "Authorization",
        "sendTemplate": "Bearer {token}",
    }
    endpoint = {
        "endpoint": "/auth/login",
        "verb": "POST",
        "contentType": "application/json",
        "payloadRaw": json.dumps(login),
        "token": token,
    }
    return {"name": name, "loginEndpointAuth": endpoint}


def not_served(events: Path) -> set[str]:
    """Name the operations that were never answered by success."""
    names = {f"{route.method} {route.path}" for route in ROUTES}
    with events.open() as lines:
        for line in lines:
            scenario = json.loads(line).get("ScenarioFinished", {})
            names -= set(served_in(scenario.get("recorder", {})))
    return names


def served_in(recorder: dict[str, Any]) -> Iterator[str]:
    for key, interaction in recorder.get("interactions", {}).items():
        answer = interaction["response"]
        if answer is not None and answer["status_code"] < 300:
            case = recorder["cases"][key]["value"]
            yield f"{case['method']} {case['path']}"


def call(
    served: Served,
    method: str,
    path: str,
    body: Mapping[str, str] | None = None,
    token: str = "",
) -> Any:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    with closing(HTTPConnection("127.0.0.1", served.port, timeout=30)) as connection:
        connection.request(method, path, json.dumps(body), headers)
        answer = connection.getresponse()
        assert answer.status < 300, answer.read()
        return json.load(answer)
