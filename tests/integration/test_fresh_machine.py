"""A fresh machine: which calls create the installation, and which raise InstallationMissing."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import backctl
from backctl.application.attribution import Attribution
from backctl.backend import Backend
from backctl.domain.errors import BackctlError, InstallationMissing, InvalidInput
from backctl.domain.values import Actor, Expiry, Secret
from backctl.settings import load

ME = Actor("payroll", "deploy", "web-1")
DAY = 86_400_000_000
SOMEBODY = "0192f3a0-0000-7000-8000-000000000000"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "etc"))
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def backend(home: Path, told: list[str]) -> Iterator[Backend]:
    with Backend(load(environ={"BACKCTL_PASSWORDS_BCRYPT_COST": "4"}), notice=told.append) as backend:
        yield backend


def create(backend: Backend, *, reason: str | None = "hired", dry_run: bool = False) -> object:
    return backend.accounts.create(
        email="ada@example.org", username="ada", by=Attribution(ME, reason), dry_run=dry_run
    ).changed


def test_whoever_creates_the_first_account_has_created_the_installation(backend: Backend) -> None:
    assert create(backend)
    first, second = backend.audit.stream()
    assert [first.type, second.type] == ["InstallationCreated", "UserCreated"]
    for event in (first, second):
        assert (event.actor, event.os_user, event.host, event.reason) == ("payroll", "deploy", "web-1", "hired")


def test_an_installation_made_on_purpose_says_who_and_why(backend: Backend) -> None:
    assert backend.initialise(by=Attribution(ME, "new server")).changed
    (event,) = backend.audit.stream()
    assert (event.actor, event.reason) == ("payroll", "new server")


def change(backend: Backend, ident: str, dry_run: bool) -> object:
    return backend.accounts.update(ident, expiry=Expiry(), role="admin", by=Attribution(ME), dry_run=dry_run)


CHANGES: dict[str, Callable[[Backend, str, bool], object]] = {
    "update": change,
    "assign_role": lambda backend, ident, dry_run: backend.accounts.assign_role(
        ident, "admin", by=Attribution(ME), dry_run=dry_run
    ),
    "activate": lambda backend, ident, dry_run: backend.accounts.activate(ident, by=Attribution(ME), dry_run=dry_run),
    "deactivate": lambda backend, ident, dry_run: backend.accounts.deactivate(
        ident, by=Attribution(ME), dry_run=dry_run
    ),
    "delete": lambda backend, ident, dry_run: backend.accounts.delete(ident, by=Attribution(ME), dry_run=dry_run),
    "erase": lambda backend, ident, dry_run: backend.accounts.delete(
        ident, erase=True, by=Attribution(ME), dry_run=dry_run
    ),
    "set_password": lambda backend, ident, dry_run: backend.accounts.set_password(
        ident, Secret("correct horse battery"), by=Attribution(ME), dry_run=dry_run
    ),
    "enroll": lambda backend, ident, dry_run: backend.mfa.enroll(ident, by=Attribution(ME), dry_run=dry_run),
    "confirm": lambda backend, ident, dry_run: backend.mfa.confirm(
        ident, Secret("123456"), backend.mfa.new_recovery_codes(), by=Attribution(ME), dry_run=dry_run
    ),
    "disable": lambda backend, ident, dry_run: backend.mfa.disable(ident, by=Attribution(ME), dry_run=dry_run),
}


USES: dict[str, Callable[[Backend], object]] = {
    "show": lambda backend: backend.accounts.show("ada"),
    "get": lambda backend: backend.accounts.get("ada"),
    "exists": lambda backend: backend.accounts.exists("ada"),
    "page": lambda backend: backend.accounts.page(),
    "stream": lambda backend: list(backend.accounts.stream()),
    "count": lambda backend: backend.accounts.count(),
    "history": lambda backend: backend.accounts.history("ada"),
    "delete if it exists": lambda backend: backend.accounts.delete("ada", if_exists=True, by=Attribution(ME)),
    "authenticate": lambda backend: backend.authentication.authenticate("ada", Secret("x" * 9), by=Attribution(ME)),
    "mfa status": lambda backend: backend.mfa.status("ada"),
    "mfa reencrypt": lambda backend: backend.mfa.reencrypt(by=Attribution(ME)),
    "tokens issue": lambda backend: backend.tokens.issue("ada", by=Attribution(ME)),
    "tokens verify": lambda backend: backend.tokens.verify("x.y.z"),
    "tokens verify offline": lambda backend: backend.tokens.verify("x.y.z", offline=True),
    "sessions page": lambda backend: backend.sessions.page("ada"),
    "sessions revoke": lambda backend: backend.sessions.revoke_all(by=Attribution(ME)),
    "sessions sweep": lambda backend: backend.sessions.sweep(by=Attribution(ME)),
    "keys": lambda backend: backend.keys.all(),
    "jwks": lambda backend: backend.keys.jwks(),
    "add a key": lambda backend: backend.keys.add("sign", by=Attribution(ME)),
    "destroy a key": lambda backend: backend.keys.destroy("x", by=Attribution(ME)),
    "rotate": lambda backend: backend.keys.rotate(("sign",), older_than=DAY, overlap=DAY, by=Attribution(ME)),
    "encrypt": lambda backend: backend.encryption.encrypt("x", context="c"),
    "encrypt a stream": lambda backend: list(backend.encryption.encrypt_stream(io.BytesIO(b"x").read, context="c")),
    "decrypt": lambda backend: backend.encryption.decrypt("bk1.a.b", context="c"),
    "audit": lambda backend: backend.audit.verify(),
    "audit stream": lambda backend: list(backend.audit.stream()),
    "access": lambda backend: backend.access.check("ada", "user:list"),
    "database status": lambda backend: backend.database.status(),
    "database check": lambda backend: list(backend.database.check()),
    "database upgrade": lambda backend: backend.database.upgrade(by=Attribution(ME)),
    "warm": lambda backend: backend.accounts.warm(),
    "require": lambda backend: backend.require_installation(),
    "require keys": lambda backend: backend.require_keyring(),
}


@pytest.mark.parametrize("name", USES)
def test_a_service_that_needs_an_installation_raises_and_creates_nothing(
    backend: Backend, home: Path, told: list[str], name: str
) -> None:
    with pytest.raises(InstallationMissing, match=r"neither backctl\.db nor keyring.json exists"):
        USES[name](backend)
    assert (list(home.iterdir()), told) == ([], [])


@pytest.mark.parametrize("ident", ["nobody", "nobody@example.org", SOMEBODY])
@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_an_account_without_an_installation_raises_and_creates_nothing(
    backend: Backend, home: Path, told: list[str], name: str, dry_run: bool, ident: str
) -> None:
    with pytest.raises(InstallationMissing):
        CHANGES[name](backend, ident, dry_run)
    assert (list(home.iterdir()), told) == ([], [])


def test_a_service_that_started_before_the_installation_uses_it_afterwards(backend: Backend) -> None:
    for use in (lambda: backend.accounts.deactivate("ada", by=Attribution(ME)), backend.keys.all):
        with pytest.raises(InstallationMissing):
            use()
    assert create(backend)
    assert backend.accounts.deactivate("ada", by=Attribution(ME)).changed
    assert backend.audit.verify().events == 3
    assert backend.encryption.decrypt(backend.encryption.encrypt("x", context="c"), context="c") == b"x"


@pytest.mark.parametrize("reason", ["", "a\nb", "x" * 1001])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_reason_that_cannot_be_recorded_is_refused_before_anything_is_made(
    backend: Backend, home: Path, reason: str, dry_run: bool
) -> None:
    refusals: list[Callable[[], object]] = [
        lambda: create(backend, reason=reason, dry_run=dry_run),
        lambda: backend.initialise(by=Attribution(ME, reason), dry_run=dry_run),
        lambda: backend.accounts.deactivate("nobody", by=Attribution(ME, reason), dry_run=dry_run),
        lambda: backend.authentication.authenticate("nobody", Secret("x"), by=Attribution(ME, reason)),
    ]
    for refused in refusals:
        with pytest.raises(InvalidInput, match="the reason"):
            refused()
    assert list(home.iterdir()) == []


def test_a_named_database_that_is_missing_is_no_fresh_machine(home: Path) -> None:
    environ = {"BACKCTL_DATABASE_URL": f"sqlite:///{home}/own.db", "BACKCTL_KEYRING_PATH": f"{home}/keys.json"}
    with backctl.open_backend(environ=environ) as backend:
        uses: list[Callable[[], object]] = [
            lambda: create(backend),
            lambda: backend.accounts.deactivate("nobody", by=Attribution(ME)),
        ]
        for use in uses:
            with pytest.raises(BackctlError) as caught:
                use()
            assert caught.value.code == "installation.missing"
    assert list(home.iterdir()) == []
