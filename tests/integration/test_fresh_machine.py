"""A fresh machine: which calls create the installation, and which work without creating it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contracts.conftest import a_user

import backctl
from backctl.application.attribution import Attribution
from backctl.backend import Backend
from backctl.domain.errors import BackctlError, InvalidInput, UserNotFound
from backctl.domain.values import Actor, Expiry, Identity, Secret
from backctl.infrastructure.sqlite.empty import EmptyUnitOfWork
from backctl.settings import load

ME = Actor("payroll", "deploy", "web-1")
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


@pytest.mark.parametrize("ident", ["nobody", "nobody@example.org", SOMEBODY])
@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_an_account_finds_none_and_makes_nothing(
    backend: Backend, home: Path, told: list[str], name: str, dry_run: bool, ident: str
) -> None:
    with pytest.raises(UserNotFound, match=ident):
        CHANGES[name](backend, ident, dry_run)
    assert list(home.iterdir()) == []
    assert [notice.startswith("there is no database at") for notice in told] == [True]


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_deletion_that_asks_for_no_account_is_content(backend: Backend, home: Path, dry_run: bool) -> None:
    deletion = backend.accounts.delete("nobody", if_exists=True, by=Attribution(ME), dry_run=dry_run)
    assert (deletion.changed, deletion.value.id) == (False, None)
    assert list(home.iterdir()) == []


def test_a_login_is_refused_and_makes_nothing(backend: Backend, home: Path) -> None:
    for code in (None, Secret("123456")):
        check = backend.authentication.authenticate("nobody", Secret("correct horse battery"), code, by=Attribution(ME))
        assert (check.ok, check.outcome) == (False, "refused")
    with pytest.raises(UserNotFound):
        backend.mfa.status("nobody")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("dry_run", [False, True])
def test_where_nobody_has_a_second_factor_no_secret_moves(backend: Backend, home: Path, dry_run: bool) -> None:
    change = backend.mfa.reencrypt(by=Attribution(ME), dry_run=dry_run)
    assert (change.changed, change.value.moved, change.value.unusable) == (False, 0, ())
    assert list(home.iterdir()) == []


def test_a_service_that_found_nothing_creates_when_it_is_asked_to(backend: Backend) -> None:
    with pytest.raises(UserNotFound):
        backend.accounts.deactivate("ada", by=Attribution(ME))
    assert create(backend)
    assert backend.accounts.deactivate("ada", by=Attribution(ME)).changed
    assert backend.audit.verify().events == 3


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
            assert caught.value.code == "database.missing"
    assert list(home.iterdir()) == []


def test_an_account_cannot_be_added_to_nothing() -> None:
    with EmptyUnitOfWork() as work:
        with pytest.raises(RuntimeError):
            work.users.add(a_user())
        with pytest.raises(UserNotFound):
            work.users.get(Identity.parse("ada"))
        assert list(work.users.lock_administrators()) == []
        assert work.erase_events(SOMEBODY) == 0
        work.commit()
