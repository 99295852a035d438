"""A machine where nothing was made yet: who makes the installation, and what answers without making it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contracts.conftest import a_user

import backctl
from backctl.container import Container
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
def backend(home: Path, told: list[str]) -> Iterator[Container]:
    with Container(load(environ={"BACKCTL_PASSWORDS_BCRYPT_COST": "4"}), notice=told.append) as backend:
        yield backend


def create(backend: Container, *, reason: str | None = "hired", dry_run: bool = False) -> object:
    return backend.accounts.create(
        email="ada@example.org", username="ada", actor=ME, reason=reason, dry_run=dry_run
    ).changed


def test_whoever_creates_the_first_account_has_created_the_installation(backend: Container) -> None:
    assert create(backend)
    first, second = backend.audit.stream()
    assert [first.type, second.type] == ["InstallationCreated", "UserCreated"]
    for event in (first, second):
        assert (event.actor, event.os_user, event.host, event.reason) == ("payroll", "deploy", "web-1", "hired")


def test_an_installation_made_on_purpose_says_who_and_why(backend: Container) -> None:
    assert backend.initialise(ME, reason="new server").changed
    (event,) = backend.audit.stream()
    assert (event.actor, event.reason) == ("payroll", "new server")


def change(backend: Container, ident: str, dry_run: bool) -> object:
    return backend.accounts.update(ident, expiry=Expiry(), role="admin", actor=ME, dry_run=dry_run)


CHANGES: dict[str, Callable[[Container, str, bool], object]] = {
    "update": change,
    "assign_role": lambda backend, ident, dry_run: backend.accounts.assign_role(
        ident, "admin", actor=ME, dry_run=dry_run
    ),
    "activate": lambda backend, ident, dry_run: backend.accounts.activate(ident, actor=ME, dry_run=dry_run),
    "deactivate": lambda backend, ident, dry_run: backend.accounts.deactivate(ident, actor=ME, dry_run=dry_run),
    "delete": lambda backend, ident, dry_run: backend.accounts.delete(ident, actor=ME, dry_run=dry_run),
    "erase": lambda backend, ident, dry_run: backend.accounts.delete(ident, erase=True, actor=ME, dry_run=dry_run),
    "set_password": lambda backend, ident, dry_run: backend.accounts.set_password(
        ident, Secret("correct horse battery"), actor=ME, dry_run=dry_run
    ),
    "enroll": lambda backend, ident, dry_run: backend.mfa.enroll(ident, actor=ME, dry_run=dry_run),
    "confirm": lambda backend, ident, dry_run: backend.mfa.confirm(
        ident, Secret("123456"), backend.mfa.new_recovery_codes(), actor=ME, dry_run=dry_run
    ),
    "disable": lambda backend, ident, dry_run: backend.mfa.disable(ident, actor=ME, dry_run=dry_run),
}


@pytest.mark.parametrize("ident", ["nobody", "nobody@example.org", SOMEBODY])
@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_an_account_finds_none_and_makes_nothing(
    backend: Container, home: Path, told: list[str], name: str, dry_run: bool, ident: str
) -> None:
    with pytest.raises(UserNotFound, match=ident):
        CHANGES[name](backend, ident, dry_run)
    assert list(home.iterdir()) == []
    assert [notice.startswith("there is nothing at") for notice in told] == [True]


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_deletion_that_asks_for_no_account_is_content(backend: Container, home: Path, dry_run: bool) -> None:
    deletion = backend.accounts.delete("nobody", if_exists=True, actor=ME, dry_run=dry_run)
    assert (deletion.changed, deletion.value.id) == (False, None)
    assert list(home.iterdir()) == []


def test_a_login_is_refused_and_makes_nothing(backend: Container, home: Path) -> None:
    for code in (None, Secret("123456")):
        check = backend.authentication.authenticate("nobody", Secret("correct horse battery"), code, actor=ME)
        assert (check.ok, check.outcome) == (False, "refused")
    with pytest.raises(UserNotFound):
        backend.mfa.status("nobody")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("dry_run", [False, True])
def test_where_nobody_has_a_second_factor_no_secret_moves(backend: Container, home: Path, dry_run: bool) -> None:
    change = backend.mfa.reencrypt(actor=ME, dry_run=dry_run)
    assert (change.changed, change.value.moved, change.value.unusable) == (False, 0, ())
    assert list(home.iterdir()) == []


def test_a_service_that_found_nothing_creates_when_it_is_asked_to(backend: Container) -> None:
    with pytest.raises(UserNotFound):
        backend.accounts.deactivate("ada", actor=ME)
    assert create(backend)
    assert backend.accounts.deactivate("ada", actor=ME).changed
    assert backend.audit.verify().events == 3


@pytest.mark.parametrize("reason", ["", "a\nb", "x" * 1001])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_reason_that_cannot_be_recorded_is_refused_before_anything_is_made(
    backend: Container, home: Path, reason: str, dry_run: bool
) -> None:
    refusals: list[Callable[[], object]] = [
        lambda: create(backend, reason=reason, dry_run=dry_run),
        lambda: backend.initialise(ME, reason=reason, dry_run=dry_run),
        lambda: backend.accounts.deactivate("nobody", actor=ME, reason=reason, dry_run=dry_run),
        lambda: backend.authentication.authenticate("nobody", Secret("x"), actor=ME, reason=reason),
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
            lambda: backend.accounts.deactivate("nobody", actor=ME),
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
