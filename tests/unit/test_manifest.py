"""The manifest for Kubernetes names what there is, and leaves time for the end."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.config import Config
from server.routes import ROUTES

MANIFEST = Path(__file__).parents[2] / "docs" / "kubernetes.yaml"


@pytest.fixture
def documents() -> Mapping[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text())}


@pytest.fixture
def settings(documents: Mapping[str, Any]) -> Mapping[str, str]:
    return dict(documents["ConfigMap"]["data"])


@pytest.fixture
def pod(documents: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(documents["Deployment"]["spec"]["template"]["spec"])


def test_its_settings_are_those_of_a_production(
    settings: Mapping[str, str], tmp_path: Path
) -> None:
    environ = dict(settings)
    for name, path in settings.items():
        if name.endswith("_FILE"):
            secret = tmp_path / Path(path).name
            secret.write_text(secrets.token_hex(32))
            environ[name] = str(secret)
    (tmp_path / "database-url").write_text("postgresql://boardcast@postgres/boardcast")

    config = Config.load(environ)

    assert config.is_production
    assert Config.mistyped(environ) == []


def test_its_probes_ask_for_routes_that_there_are(pod: Mapping[str, Any]) -> None:
    (container,) = pod["containers"]
    paths = {
        container[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }

    assert paths == {"/health/live", "/health/ready"}
    assert paths <= {route.path for route in ROUTES if route.method == "GET"}


def test_a_pod_has_the_time_to_drain_and_to_finish(
    settings: Mapping[str, str], pod: Mapping[str, Any]
) -> None:
    least = float(settings["BOARDCAST_DRAIN_SECONDS"]) + float(
        settings["BOARDCAST_SHUTDOWN_SECONDS"]
    )

    assert pod["terminationGracePeriodSeconds"] > least
