"""Settings: where they come from, what is refused, and what is never shown."""

import stat
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from server import credentials
from server.config import Config, ConfigError

KEY = "5b0f3a9c71d24e86b7a1c2d3e4f50617"
OTHER_KEY = "9a8b7c6d5e4f30211203f4e5d6c7b8a9"
PRODUCTION = {
    "BOARDCAST_ENV": "production",
    "DATABASE_URL": "postgresql://app:pass-word@db/boardcast",
    "REDIS_URL": "redis://:pass-word@cache:6379/0",
    "JWT_SECRET_KEY": KEY,
    "JWT_REFRESH_SECRET_KEY": OTHER_KEY,
}
KEYS = {"JWT_SECRET_KEY": KEY, "JWT_REFRESH_SECRET_KEY": OTHER_KEY}


def problems(environ: Mapping[str, str], **overrides: Any) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        Config.load(environ, **overrides)
    return refusal.value.problems


def test_every_setting_has_a_variable_of_its_own_and_a_sentence():
    names = [item.metadata["env"] for item in fields(Config)]

    assert len(set(names)) == len(names)
    assert all(item.metadata["help"] for item in fields(Config))


def test_each_variable_reaches_its_setting():
    config = Config.load(
        {
            **KEYS,
            "BOARDCAST_HOST": "0.0.0.0",
            "BOARDCAST_PORT": "9000",
            "BOARDCAST_DATA_DIR": "/srv/data",
            "BOARDCAST_CORS_ORIGINS": "https://a.example, http://localhost:3000",
            "BOARDCAST_GROUP_COMMIT": "false",
            "BOARDCAST_RATE_LIMIT_PER_MINUTE": "0",
            "BOARDCAST_LOGIN_LIMIT_PER_MINUTE": "5",
            "BOARDCAST_TRUSTED_PROXIES": "10.0.0.0/8, ::1,192.0.2.7",
            "BOARDCAST_DATABASE_TIMEOUT_SECONDS": "0.5",
            "BOARDCAST_LOG_FORMAT": "console",
            "DATABASE_URL": "postgres://db/x",
            "REDIS_URL": "unix:///run/valkey.sock",
            "MONITORING_TOKEN": "m",
            "SENTRY_DSN": "https://s",
            "SMTP_PASSWORD": "p",
        }
    )

    assert (config.host, config.port) == ("0.0.0.0", 9000)
    assert config.data_dir == Path("/srv/data")
    assert config.cors_origins == ("https://a.example", "http://localhost:3000")
    assert config.group_commit is False
    assert (config.rate_limit_per_minute, config.login_limit_per_minute) == (0, 5)
    assert config.trusted_proxies == ("10.0.0.0/8", "::1", "192.0.2.7")
    assert config.database_timeout_seconds == 0.5
    assert config.log_format == "console"
    assert config.database_url == "postgres://db/x"
    assert config.redis_url == "unix:///run/valkey.sock"
    assert (config.monitoring_token, config.sentry_dsn) == ("m", "https://s")
    assert config.smtp_password == "p"
    assert (config.jwt_secret, config.jwt_refresh_secret) == (
        KEY.encode(),
        OTHER_KEY.encode(),
    )


def test_nothing_given_means_development_with_the_servers_that_come_along():
    config = Config.load(KEYS)

    assert not config.is_production
    assert (config.database_url, config.redis_url) == (None, None)
    assert (config.host, config.port, config.workers) == ("127.0.0.1", 8080, 1)


def test_an_override_goes_before_the_environment_and_none_does_not_count():
    environ = {**KEYS, "BOARDCAST_PORT": "9000", "BOARDCAST_HOST": "::1"}

    config = Config.load(environ, port=9001, host=None)

    assert (config.host, config.port) == ("::1", 9001)


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_variable_is_as_good_as_none(blank: str):
    config = Config.load({**KEYS, "BOARDCAST_PORT": blank, "DATABASE_URL": blank})

    assert config.port == 8080
    assert config.database_url is None


@pytest.mark.parametrize(
    ("is_terminal", "expected"), [(True, "console"), (False, "json")]
)
def test_logs_are_for_people_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, expected: str
):
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: is_terminal))

    assert Config.load(KEYS).log_format == expected


def test_all_problems_are_told_at_once():
    told = problems(
        {
            **KEYS,
            "BOARDCAST_PORT": "70000",
            "BOARDCAST_SESSION_DAYS": "soon",
            "BOARDCAST_LOG_LEVEL": "loud",
            "BOARDCAST_CORS_ORIGINS": "example.org",
            "BOARDCAST_DEMO": "perhaps",
            "DATABASE_URL": "mysql://db",
        }
    )

    beginnings = sorted(problem.split(":")[0].split(" ")[0] for problem in told)
    assert beginnings == [
        "BOARDCAST_CORS_ORIGINS",
        "BOARDCAST_DEMO",
        "BOARDCAST_LOG_LEVEL",
        "BOARDCAST_PORT",
        "BOARDCAST_SESSION_DAYS",
        "DATABASE_URL",
    ]


def test_origins_are_spelt_as_browsers_do():
    given = " https://Board.Example:443,http://localhost:80 ,http://a.example:8080"

    config = Config.load({**KEYS, "BOARDCAST_CORS_ORIGINS": given})

    assert config.cors_origins == (
        "https://board.example",
        "http://localhost",
        "http://a.example:8080",
    )


@pytest.mark.parametrize(
    "given",
    ["https://a.example/", "https://a.example/x", "a.example", "null", "https://"],
)
def test_what_no_browser_calls_an_origin_is_refused(given: str):
    (problem,) = problems({**KEYS, "BOARDCAST_CORS_ORIGINS": given})

    assert "BOARDCAST_CORS_ORIGINS" in problem


def test_every_origin_may_be_let_in_but_not_in_production():
    everyone = {"BOARDCAST_CORS_ORIGINS": "*"}

    assert Config.load({**KEYS, **everyone}).cors_origins == ("*",)
    (problem,) = problems({**PRODUCTION, **everyone})
    assert problem.startswith("BOARDCAST_CORS_ORIGINS: name the origins")


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:port/0",
        "http://cache",
        "cache:6379",
        "//[",
        "redis://cache?colour=red",
        "redis+cluster://:7000",
        "redis+cluster://a:1,,b:2",
        "redis+cluster://a:1/7",
        "unix+cluster:///socket",
        "redis+cluster://a:1,b:port",
    ],
)
def test_what_is_no_address_of_redis_is_refused_without_showing_it(url: str):
    told = problems({**KEYS, "REDIS_URL": url})

    assert len(told) == 1
    assert "REDIS_URL" in told[0]
    assert url not in told[0]


def test_secrets_are_in_no_text_of_the_configuration():
    environ = {**PRODUCTION, "MONITORING_TOKEN": "watch-me", "SMTP_PASSWORD": "mail-me"}

    text = repr(Config.load(environ))

    for secret in (KEY, OTHER_KEY, "pass-word", "watch-me", "mail-me"):
        assert secret not in text


def test_production_is_content_with_everything_given(tmp_path: Path):
    config = Config.load(PRODUCTION, data_dir=tmp_path / "data")

    assert config.is_production
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "name", ["DATABASE_URL", "REDIS_URL", "JWT_SECRET_KEY", "JWT_REFRESH_SECRET_KEY"]
)
def test_production_names_what_is_missing(name: str):
    environ = {key: value for key, value in PRODUCTION.items() if key != name}

    told = problems(environ)

    assert len(told) == 1
    assert told[0].startswith(f"{name} is missing")


@pytest.mark.parametrize(
    "weak",
    [
        "s3cr3t",
        "a" * 64,
        "abab" * 10,
        "change-me-change-me-change-me-0123456789",
        "your_secret_key_your_secret_key_123456",
    ],
)
def test_production_refuses_a_guessable_key_without_showing_it(weak: str):
    told = problems({**PRODUCTION, "JWT_SECRET_KEY": weak})

    assert len(told) == 1
    assert told[0].startswith("JWT_SECRET_KEY is")
    assert weak not in told[0]


def test_production_refuses_one_key_for_both_purposes():
    told = problems({**PRODUCTION, "JWT_REFRESH_SECRET_KEY": KEY})

    assert told == ["JWT_SECRET_KEY and JWT_REFRESH_SECRET_KEY are the same"]


def test_development_makes_keys_once_for_our_eyes_only(tmp_path: Path):
    first = Config.load({}, data_dir=tmp_path / "data")
    second = Config.load({}, data_dir=tmp_path / "data")

    file = tmp_path / "data" / "secrets.json"
    assert first.jwt_secret == second.jwt_secret
    assert first.jwt_secret != first.jwt_refresh_secret
    assert credentials.weakness(first.jwt_secret.decode()) is None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_a_given_key_goes_before_a_made_one(tmp_path: Path):
    config = Config.load({"JWT_SECRET_KEY": KEY}, data_dir=tmp_path)

    assert config.jwt_secret == KEY.encode()


@pytest.mark.parametrize("text", ["", "[]", '{"JWT_SECRET_KEY": "x"}', "\udcff"])
def test_damaged_made_keys_are_told_in_one_line(tmp_path: Path, text: str):
    (tmp_path / "secrets.json").write_bytes(text.encode(errors="surrogateescape"))

    assert problems({}, data_dir=tmp_path) == [
        f"{tmp_path / 'secrets.json'} is damaged: remove it"
    ]


def test_a_data_directory_that_is_none_is_told_in_one_line(tmp_path: Path):
    (tmp_path / "data").write_text("")

    assert "is not a directory" in problems({}, data_dir=tmp_path / "data")[0]


def test_keys_made_by_two_at_once_are_the_same(tmp_path: Path):
    file = tmp_path / "secrets.json"
    credentials._write_once(file, {"made": "first"})
    credentials._write_once(file, {"made": "second"})

    assert "first" in file.read_text()
    assert list(tmp_path.iterdir()) == [file]


def test_a_secret_is_read_from_a_file_without_its_white_space(tmp_path: Path):
    (tmp_path / "key").write_text(f"{KEY}\n")
    environ = {
        name: text for name, text in PRODUCTION.items() if name != "JWT_SECRET_KEY"
    }

    config = Config.load({**environ, "JWT_SECRET_KEY_FILE": str(tmp_path / "key")})

    assert config.jwt_secret == KEY.encode()


def test_a_file_that_cannot_be_read_is_the_only_problem_told(tmp_path: Path):
    environ = {name: text for name, text in PRODUCTION.items() if name != "REDIS_URL"}
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    missing = problems({**environ, "REDIS_URL_FILE": str(tmp_path / "none")})
    binary = problems({**environ, "REDIS_URL_FILE": str(tmp_path / "binary")})

    assert len(missing) == len(binary) == 1
    assert "No such file" in missing[0]
    assert "is not text" in binary[0]


def test_a_secret_given_twice_is_refused(tmp_path: Path):
    told = problems({**PRODUCTION, "REDIS_URL_FILE": str(tmp_path / "x")})

    assert told == ["REDIS_URL and REDIS_URL_FILE are both set: choose one"]


class FakeVault:
    """As much of hvac as is used; it keeps what it was asked."""

    def __init__(self, secrets: Mapping[str, str], error: Exception | None = None):
        self._secrets, self._error = secrets, error
        self.asked: list[Any] = []
        self.auth = SimpleNamespace(approle=SimpleNamespace(login=self._login))
        self.secrets = SimpleNamespace(
            kv=SimpleNamespace(v2=SimpleNamespace(read_secret_version=self._read))
        )

    def __call__(self, **options: Any) -> "FakeVault":
        self.asked.append(options)
        return self

    def _login(self, **login: Any) -> None:
        self.asked.append(login)

    def _read(self, **what: Any) -> Mapping[str, Any]:
        self.asked.append(what)
        if self._error:
            raise self._error
        return {"data": {"data": self._secrets}}


class VaultError(Exception):
    pass


class RequestException(Exception):
    pass


def install(monkeypatch: pytest.MonkeyPatch, vault: FakeVault) -> None:
    for name, contents in {
        "hvac": {"Client": vault},
        "hvac.exceptions": {"VaultError": VaultError},
        "requests": {},
        "requests.exceptions": {"RequestException": RequestException},
    }.items():
        module = ModuleType(name)
        module.__dict__.update(contents)
        monkeypatch.setitem(sys.modules, name, module)


VAULT = {
    "BOARDCAST_ENV": "production",
    "VAULT_ADDR": "https://vault.example:8200",
    "VAULT_PATH": "kv/data/apps/boardcast",
}


def test_secrets_come_from_vault_and_the_environment_goes_first(
    monkeypatch: pytest.MonkeyPatch,
):
    vault = FakeVault({**PRODUCTION, "REDIS_URL": "redis://from-vault"})
    install(monkeypatch, vault)

    config = Config.load(
        {**VAULT, "VAULT_TOKEN": "t", "DATABASE_URL": "postgresql://from-environment"}
    )

    assert config.redis_url == "redis://from-vault"
    assert config.database_url == "postgresql://from-environment"
    assert vault.asked[0]["token"] == "t"
    assert vault.asked[1]["mount_point"] == "kv"
    assert vault.asked[1]["path"] == "apps/boardcast"


def test_vault_is_entered_by_a_role_too(monkeypatch: pytest.MonkeyPatch):
    vault = FakeVault(PRODUCTION)
    install(monkeypatch, vault)

    Config.load({**VAULT, "VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s"})

    assert vault.asked[1] == {"role_id": "r", "secret_id": "s"}


@pytest.mark.parametrize("error", [VaultError("sealed"), RequestException("away")])
def test_a_vault_that_refuses_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception
):
    install(monkeypatch, FakeVault({}, error))

    told = problems({**VAULT, "VAULT_TOKEN": "t"})

    assert len(told) == 1
    assert told[0].startswith("Vault at https://vault.example:8200 refused")


def test_vault_without_its_library_or_path_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "hvac", None)

    assert "boardcast[vault]" in problems({**VAULT, "VAULT_TOKEN": "t"})[0]
    assert "VAULT_PATH" in problems({**VAULT, "VAULT_PATH": ""})[0]
    assert "VAULT_TOKEN_FILE" in problems({**VAULT, "VAULT_TOKEN_FILE": "/none"})[0]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BOARDCAST_PROT", "BOARDCAST_PORT"),
        ("BOARDCAST_CORS", "BOARDCAST_CORS_ORIGINS"),
        ("BOARDCAST_ACCESS_TOKEN_SECOND", "BOARDCAST_ACCESS_TOKEN_SECONDS"),
    ],
)
def test_a_mistyped_setting_is_told_with_what_is_meant(name: str, meant: str):
    sentence = f"{name} is no setting; did you mean {meant}?"

    assert Config.mistyped({**KEYS, name: "1"}) == [sentence]
    assert problems({**PRODUCTION, name: "1"}) == [sentence]
    Config.load({**KEYS, name: "1"})


def test_a_name_that_is_like_no_other_gets_no_suggestion():
    (sentence,) = Config.mistyped({"BOARDCAST_QQQQ": "1", "OTHER_PORT": "1"})

    assert sentence == "BOARDCAST_QQQQ is no setting"


def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_mistake():
    names = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_8080_TCP_ADDR")
    environ = {f"BOARDCAST_{name}": "10.0.0.1" for name in names}

    assert Config.mistyped(environ) == []


def test_every_setting_may_be_set():
    assert Config.mistyped({i.metadata["env"]: "" for i in fields(Config)}) == []


@pytest.mark.parametrize(
    "text", ["10.0.0.0/33", "10.0.0.1/8", "proxy", "10.0.0.0/8,x", "1.2.3.4.5", "*"]
)
def test_a_proxy_that_is_no_network_is_refused(text: str):
    (problem,) = problems({**KEYS, "BOARDCAST_TRUSTED_PROXIES": text})

    assert problem.startswith("BOARDCAST_TRUSTED_PROXIES: ")
    assert "10.0.0.0/8" in problem


@pytest.mark.parametrize("name", ["RATE", "LOGIN"])
@pytest.mark.parametrize("text", ["-1", "x", "1.5"])
def test_a_limit_that_is_none_is_refused(name: str, text: str):
    name = f"BOARDCAST_{name}_LIMIT_PER_MINUTE"

    (problem,) = problems({**KEYS, name: text})

    assert problem.startswith(f"{name}: ")
