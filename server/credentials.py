"""Where secrets come from: the environment, files, Vault; in development made once."""

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from server import hints
from server.datadir import DataDirError, give_to_owner, prepare

NAMES = (
    "DATABASE_URL",
    "REDIS_URL",
    "JWT_SECRET_KEY",
    "JWT_REFRESH_SECRET_KEY",
    "SENTRY_DSN",
    "SMTP_PASSWORD",
    "MONITORING_TOKEN",
)
GENERATED = ("JWT_SECRET_KEY", "JWT_REFRESH_SECRET_KEY")

_DATABASES = ("postgresql", "postgres")
_LEAST_BYTES = 32  # RFC 7518, 3.2: as long as the hash
_LEAST_DIFFERENT = 10  # a random hex string of 32 has 14 different digits
_PLACEHOLDERS = ("changeme", "yoursecret", "secretkey", "jwtsecret", "placeholder")
_VAULT_SECONDS = 5
_LOGIN = ("VAULT_TOKEN", "VAULT_ROLE_ID", "VAULT_SECRET_ID")


class CredentialError(Exception):
    """A secret cannot be had; the message names it, never its value."""


def from_environment(
    environ: Mapping[str, str], names: Iterable[str] = NAMES
) -> tuple[dict[str, str], list[str]]:
    """Read NAME, or the file that NAME_FILE names: the values, and what is wrong.

    White space around a value does not count, and an empty one is as good as none.
    """
    values, problems = {}, []
    for name in names:
        try:
            value = _given(environ, name)
        except CredentialError as error:
            problems.append(str(error))
            continue
        if value:
            values[name] = value
    return values, problems


def from_vault(environ: Mapping[str, str]) -> dict[str, str]:
    """Read the secrets from HashiCorp Vault, KV version 2, if VAULT_ADDR is set.

    Waits up to five seconds for each of two requests. Raises CredentialError.
    """
    address = environ.get("VAULT_ADDR", "").strip()
    if not address:
        return {}
    login, problems = from_environment(environ, _LOGIN)
    mount, _, path = environ.get("VAULT_PATH", "").strip("/ ").partition("/")
    if problems:
        raise CredentialError(problems[0])
    if not path:
        raise CredentialError("VAULT_PATH is missing, such as secret/boardcast")
    try:
        found = _read_vault(address, login, mount, path.removeprefix("data/"))
    except ImportError:
        raise CredentialError(
            "VAULT_ADDR is set, but hvac is not installed: pip install boardcast[vault]"
        ) from None
    return {name: str(found[name]).strip() for name in NAMES if found.get(name)}


def for_development(data_dir: Path, *, may_create: bool = True) -> dict[str, str]:
    """Make the keys once and keep them in the data directory, for our eyes only.

    If nothing may be created, only those that are kept are there. Raises
    CredentialError.
    """
    file = data_dir / "secrets.json"
    if not may_create and not os.path.lexists(data_dir):
        return {}
    try:
        file = prepare(data_dir) / file.name
        if not file.exists():
            if not may_create:
                return {}
            _write_once(file, {name: secrets.token_hex(32) for name in GENERATED})
        kept = json.loads(file.read_text())
        return {name: kept[name] for name in GENERATED}
    except DataDirError as error:
        raise CredentialError(str(error)) from error
    except OSError as error:
        raise CredentialError(f"cannot use {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CredentialError(f"{file} is damaged: remove it") from error


def weakness(secret: str) -> str | None:
    """Say what makes a key guessable, or None."""
    if len(secret.encode()) < _LEAST_BYTES:
        return f"is shorter than {_LEAST_BYTES} bytes"
    plain = "".join(letter for letter in secret.lower() if letter.isalnum())
    if len(set(secret)) < _LEAST_DIFFERENT or any(
        word in plain for word in _PLACEHOLDERS
    ):
        return "is a placeholder"
    return None


def unfit_for_production(values: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """List what production needs and does not get, unless the problem is known."""
    required = ("DATABASE_URL", "REDIS_URL", *GENERATED)
    problems = [
        f"{name} is missing; set it or {name}_FILE"
        for name in required
        if name not in values and not any(name in problem for problem in known)
    ]
    for name in GENERATED:
        reason = weakness(values[name]) if name in values else None
        if reason:
            problems.append(f"{name} {reason}; try: openssl rand -hex 32")
    keys = [values[name] for name in GENERATED if name in values]
    if len(keys) != len(set(keys)):
        problems.append(" and ".join(GENERATED) + " are the same")
    return problems


def wrong_urls(values: Mapping[str, str]) -> list[str]:
    """List the URLs that cannot be meant; their values hold passwords, and stay out."""
    problems = []
    if not _is_database(values.get("DATABASE_URL", "postgresql://")):
        problems.append("DATABASE_URL is not a URL that begins with postgresql://")
    if not _is_redis(values.get("REDIS_URL", "redis://")):
        problems.append(
            "REDIS_URL is not a URL that begins with redis://, "
            "or with redis+cluster:// and host:port, separated by commas"
        )
    return problems


def _is_database(text: str) -> bool:
    try:
        scheme, _ = urlsplit(text).scheme, urlsplit(text).port
    except ValueError:  # a port that is none, a bracket that is open
        return False
    return scheme in _DATABASES


def _is_redis(text: str) -> bool:
    try:
        hints.read(text)
    except ValueError:
        return False
    return True


def _given(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    file = environ.get(f"{name}_FILE", "").strip()
    if not file:
        return value
    if value:
        raise CredentialError(f"{name} and {name}_FILE are both set: choose one")
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise CredentialError(
            f"{name}_FILE: cannot read {file}: {error.strerror}"
        ) from error
    except UnicodeDecodeError:
        raise CredentialError(f"{name}_FILE: {file} is not text") from None


def _read_vault(
    address: str, login: Mapping[str, str], mount: str, path: str
) -> Mapping[str, object]:
    import hvac  # noqa: PLC0415 (an optional extra)
    from hvac.exceptions import VaultError  # noqa: PLC0415
    from requests.exceptions import RequestException  # noqa: PLC0415

    try:
        client = hvac.Client(
            url=address, token=login.get("VAULT_TOKEN"), timeout=_VAULT_SECONDS
        )
        if "VAULT_ROLE_ID" in login:
            client.auth.approle.login(
                role_id=login["VAULT_ROLE_ID"], secret_id=login.get("VAULT_SECRET_ID")
            )
        answer = client.secrets.kv.v2.read_secret_version(
            path=path, mount_point=mount, raise_on_deleted_version=True
        )
    except (VaultError, RequestException) as error:
        raise CredentialError(
            f"Vault at {address} refused {mount}/{path}: {type(error).__name__}"
        ) from error
    data: Mapping[str, object] = answer["data"]["data"]
    return data


def _write_once(file: Path, content: Mapping[str, str]) -> None:
    # Complete before it has its name, and never in place of another process's.
    unfinished = file.with_name(f"secrets-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(unfinished, flags, 0o600), "w") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(unfinished, file)
    except FileExistsError:
        return
    finally:
        unfinished.unlink()
    give_to_owner(file)
