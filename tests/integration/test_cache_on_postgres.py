"""On PostgreSQL without Redis: values are cached in a file, but nothing about accounts and tokens."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.servers import POSTGRES_VERSIONS, Servers

import backctl
from backctl.backend import Backend
from backctl.domain.errors import TokenRevoked
from backctl.domain.values import Secret


@pytest.fixture(params=POSTGRES_VERSIONS)
def url(request: pytest.FixtureRequest, servers: Servers) -> Iterator[str]:
    server = servers.postgres(request.param)
    with server.database() as name:
        yield server.url(name)


@pytest.fixture
def backend(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """A backend with the account `ada`, which may cache answers about tokens."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    environ = {"BACKCTL_DATABASE_URL": url, "BACKCTL_TOKENS_REVOCATION_MAX_AGE": "1m"}
    with backctl.open_backend(environ=environ) as opened:
        opened.initialise(by=opened.by("test"))
        opened.accounts.create(email="ada@example.org", username="ada", by=opened.by("test"))
        yield opened


@pytest.fixture
def token(backend: Backend) -> Secret:
    issued = backend.tokens.issue("ada", by=backend.by("test")).value.access_token
    assert issued is not None
    return issued


def change(url: str) -> None:
    """Change the database as another machine would, which does not reach the file."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE users SET role = 'moderator'")
        connection.execute("UPDATE sessions SET revoked_at = created_at, revoked_because = 'requested'")


def keys(backend: Backend) -> set[str]:
    return {entry.key.split(":")[0] for entry in backend.cache_entries.entries("*")}


def test_nothing_about_accounts_and_tokens_is_cached(backend: Backend, token: Secret, url: str) -> None:
    for _ in range(2):
        assert backend.accounts.get("ada").role == "user"
        backend.tokens.verify(token)
    assert keys(backend) == set()
    change(url)
    assert backend.accounts.get("ada").role == "moderator"
    with pytest.raises(TokenRevoked):
        backend.tokens.verify(token)
    assert keys(backend) == set()


def test_entries_that_exist_are_not_used(backend: Backend, token: Secret, url: str) -> None:
    """For example, if `redis.url` was removed from the configuration, or another version stored them."""
    assert backend._cached_accounts.warm(backend.accounts.show("ada"))
    claims = backend.tokens._signed_by_us(token, backend.tokens.clock(), None)
    standing = backend._cached_standings.standing(claims)
    assert keys(backend) == {"user", "revocation"}
    change(url)
    assert backend._cached_accounts.get("ada").role == "user"
    assert backend._cached_standings.standing(claims) == standing  # so the entries are valid
    assert backend.accounts.get("ada").role == "moderator"
    with pytest.raises(TokenRevoked):
        backend.tokens.verify(token)


def test_other_values_are_cached(backend: Backend) -> None:
    loads: list[int] = []

    def load() -> int:
        loads.append(1)
        return len(loads)

    for _ in range(2):
        assert backend.cache.get_or_load("report:1", load) == 1
    assert backend.cache_entries.value("report:1").value == 1
    backend.cache.invalidate("report:*")
    assert backend.cache.get_or_load("report:1", load) == 2
