"""`open_backend`: the same services, rules and event log for a Python program."""

from pathlib import Path

import pytest
from tests.cli.accounts import python
from tests.cli.conftest import Machine, Storage
from tests.cli.files import contents

import backctl
from backctl.application.views import Change, UserView
from backctl.domain.errors import (
    BackctlError,
    EmailTaken,
    InstallationMissing,
    InvalidConfiguration,
    InvalidInput,
    LastAdministrator,
    UnknownProfile,
    UsernameTaken,
    UserNotFound,
    WeakPassword,
)
from backctl.domain.repositories import Sort, UserCriteria
from backctl.domain.values import NEVER, Expiry, Instant, Secret

pytestmark = pytest.mark.every_database

GOOD = "correct horse battery"


@pytest.fixture
def environ(tmp_path: Path, storage: Storage) -> dict[str, str]:
    """Return an environment that names a separate installation, created by `initialise`."""
    environ = {
        "BACKCTL_DATABASE_URL": storage.new_url(tmp_path / "service"),
        "BACKCTL_KEYRING_PATH": f"{tmp_path}/service/keys.json",
        "BACKCTL_PASSWORDS_BCRYPT_COST": "4",
    }
    with backctl.open_backend(environ=environ) as backend:
        assert backend.initialise(by=backend.by("setup")).changed
    return environ


def test_accounts_are_made_found_and_closed(environ: dict[str, str]) -> None:
    with backctl.open_backend(environ=environ) as backend:
        me = backend.by("billing")
        made = backend.accounts.create(
            email="Ada@example.org",
            username="ada",
            password=backctl.Secret("correct horse battery"),
            by=me,
        )
        assert isinstance(made.value, UserView)
        assert made.changed
        assert backend.accounts.show("ADA") == backend.accounts.show(made.value.id) == made.value
        assert backend.accounts.find("nobody") is None
        assert backend.accounts.deactivate("ada", by=backend.by("billing", reason="left")).changed
        assert not backend.accounts.deactivate("ada", by=me).changed
        types = [event.type for event in backend.accounts.history("ada").items]
        assert types == ["UserCreated", "UserDeactivated"]
        assert backend.audit.verify().ok
        assert [role.name for role in backend.access.roles()] == ["user", "moderator", "admin"]
        assert {check.status for check in backend.doctor.examine()} <= {"ok", "warn"}


def test_accounts_are_ensured_changed_asked_about_and_deleted(environ: dict[str, str]) -> None:
    with backctl.open_backend(environ=environ) as backend:
        me, accounts = backend.by("billing"), backend.accounts

        def make() -> Change[UserView]:
            return accounts.create(email="ada@example.org", username="ada", by=me)

        for changed in (True, False):
            ensured = accounts.ensure(email="ADA@example.org", username="ada", create=make, update=False, by=me)
            assert ensured.changed is changed
        ensured = accounts.ensure(email="ada@example.org", username="eve", create=make, update=True, by=me)
        assert (ensured.value.username, ensured.value.version) == ("eve", 2)
        assert accounts.assign_role("eve", "moderator", by=me).changed
        assert backend.access.check("eve", "user:list").granted_by == "user:list"
        assert accounts.update("eve", expiry=Expiry(at=Instant(0)), by=me).value.expires_at == 0
        assert backend.access.explain("eve", "user:list").reason == "expired"
        assert accounts.update("eve", expiry=NEVER, by=me).value.expires_at is None
        with pytest.raises(InvalidInput):
            accounts.update("eve", expiry=Expiry(after=2**62), by=me)
        deleted = accounts.delete("eve", erase=True, by=me).value
        assert (deleted.id, deleted.erased_events) == (ensured.value.id, 5)
        assert not accounts.delete("eve", if_exists=True, by=me).changed
        assert backend.audit.verify().erased == 5


def test_the_rules_are_those_of_the_command_line(environ: dict[str, str]) -> None:
    with backctl.open_backend(environ=environ) as backend:
        me = backend.by()
        backend.accounts.create(email="ada@example.org", username="ada", role="admin", by=me)
        with pytest.raises(EmailTaken):
            backend.accounts.create(email="ADA@example.org", username="other", by=me)
        with pytest.raises(UsernameTaken):
            backend.accounts.create(email="other@example.org", username="ＡＤＡ", by=me)
        with pytest.raises(WeakPassword) as caught:
            backend.accounts.create(email="bob@example.org", username="bob", password=backctl.Secret("bob"), by=me)
        assert len(caught.value.violations) >= 2
        with pytest.raises(LastAdministrator):
            backend.accounts.deactivate("ada", by=me)
        with pytest.raises(UserNotFound):
            backend.accounts.activate("nobody", by=me)
        assert backend.accounts.count() == 1


@pytest.mark.embedded
def test_a_reason_is_judged_before_anything_else(machine: Machine) -> None:
    before = contents(machine.home)
    script = (
        "import backctl\n"
        "with backctl.open_backend() as backend:\n"
        "    try:\n"
        "        backend.accounts.create(email='a@example.org', username='ada', by=backend.by(reason='\\n'))\n"
        "    except backctl.domain.errors.InvalidInput as error:\n"
        "        print(error.message)\n"
    )
    assert "the reason" in python(machine, script).succeeded().out
    assert contents(machine.home) == before


def test_what_follows_a_failure_works(environ: dict[str, str]) -> None:
    with backctl.open_backend(environ=environ) as backend:
        me = backend.by()
        for number in range(3):
            with pytest.raises(BackctlError):
                backend.accounts.deactivate("nobody", by=me)
            backend.accounts.create(email=f"u{number}@example.org", username=f"user{number}", by=me)
        assert backend.accounts.count() == 3


def test_pages_and_streams(environ: dict[str, str]) -> None:
    with backctl.open_backend(environ=environ) as backend:
        me = backend.by()
        for number in range(5):
            backend.accounts.create(email=f"u{number}@example.org", username=f"user{number}", by=me)
        order = Sort("username", descending=True)
        first = backend.accounts.page(sort=order, limit=2)
        rest = backend.accounts.page(sort=order, limit=10, cursor=first.next_cursor)
        names = [user.username for user in (*first.items, *rest.items)]
        assert names == [user.username for user in backend.accounts.stream(sort=order)] == sorted(names, reverse=True)
        assert backend.accounts.count(UserCriteria(search="user3")) == 1
        assert backend.accounts.numbered_page(page=2, page_size=3).items == tuple(backend.accounts.stream())[3:]


def test_every_page_of_the_history_of_an_account_that_is_gone(environ: dict[str, str]) -> None:
    with backctl.open_backend(environ=environ) as backend:
        me = backend.by()
        ada = backend.accounts.create(email="ada@example.org", username="ada", password=Secret(GOOD), by=me).value.id
        for _ in range(3):
            backend.authentication.authenticate("ada", Secret(GOOD), by=me)
        backend.accounts.delete("ada", by=me)
        expected = ["UserCreated", *["LoginSucceeded"] * 3, "UserDeleted"]
        for newest_first in (False, True):
            found: list[str] = []
            cursor = None
            while True:
                page = backend.accounts.history(ada, limit=2, cursor=cursor, newest_first=newest_first)
                found += [event.type for event in page.items]
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert found == (expected[::-1] if newest_first else expected)


def test_a_dry_run_changes_nothing(environ: dict[str, str]) -> None:
    with backctl.open_backend(environ=environ) as backend:
        change = backend.accounts.create(email="a@example.org", username="ada", by=backend.by(), dry_run=True)
        assert change.changed
        assert backend.accounts.count() == 0
        assert [event.type for event in backend.audit.page().items] == ["InstallationCreated"]


def test_an_account_looked_at_stays_as_it_was_and_a_write_elsewhere_is_seen(environ: dict[str, str]) -> None:
    with backctl.open_backend(environ=environ) as one, backctl.open_backend(environ=environ) as other:
        assert one.accounts.count() == 0
        other.accounts.create(email="a@example.org", username="ada", by=other.by())
        assert one.accounts.count() == 1


@pytest.mark.embedded
def test_opening_is_cheap_and_using_says_what_is_wrong(tmp_path: Path) -> None:
    environ = {"BACKCTL_DATABASE_URL": f"sqlite:///{tmp_path}/nowhere.db"}
    with backctl.open_backend(environ=environ) as backend, pytest.raises(InstallationMissing):
        backend.accounts.count()
    with pytest.raises(InvalidConfiguration):
        backctl.open_backend(config_file=str(tmp_path / "missing.toml"), environ={})
    with pytest.raises(UnknownProfile):
        backctl.open_backend(profile="nowhere", environ=environ)


def test_a_closed_backend_opens_again_when_it_is_asked(environ: dict[str, str]) -> None:
    backend = backctl.open_backend(environ=environ)
    backend.accounts.create(email="a@example.org", username="ada", by=backend.by())
    backend.close()
    backend.close()
    assert backend.accounts.count() == 1
    backend.close()


@pytest.mark.embedded
def test_a_fresh_machine_needs_no_setup_from_python_either(machine: Machine) -> None:
    program = """
import backctl
from backctl.domain.errors import InstallationMissing
with backctl.open_backend() as backend:
    try:
        backend.accounts.count()
    except InstallationMissing as error:
        assert "neither backctl.db nor keyring.json exists" in error.message
    else:
        raise AssertionError("an installation was found")
    change = backend.accounts.create(email="a@example.org", username="ada", by=backend.by("script"))
    assert backend.accounts.count() == 1
    assert backend.audit.verify().events == 2
"""
    done = python(machine, program).succeeded()
    assert (done.out, done.err) == ("", "")
    assert machine.run("user", "count").succeeded().out == "1\n"


@pytest.mark.embedded
def test_cleaning_needs_no_installation_and_makes_none(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.touch(mode=0o600)
    config.write_text(f'database.url = "sqlite:///{tmp_path}/none.db"\n[sanitize]\ntags = ["b"]\n')
    with backctl.open_backend(environ={"BACKCTL_CONFIG": str(config)}) as backend:
        cleaned = backend.sanitizing.document(b'{"a": "<b>x</b><i>y</i>"}')
    assert (cleaned.text, cleaned.changed) == ('{"a": "<b>x</b>y"}', True)
    assert sorted(tmp_path.iterdir()) == [config]
