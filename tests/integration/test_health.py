"""Checks of `doctor`: all pass on a fresh machine, and each fault fails the check for it."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.installations import HEALTH_CHECKS, sqlite_installation

from backctl.application.attribution import Attribution
from backctl.application.database_views import CheckView
from backctl.application.doctor import DoctorService
from backctl.domain.events import LoginFailed
from backctl.domain.values import Actor, Instant
from backctl.infrastructure.host import now
from backctl.infrastructure.keyring.file import KeyFile
from backctl.infrastructure.keyring.maker import make_keyring
from backctl.infrastructure.sqlite.installation import SqliteInstallation

HOUR_US = 3600 * 1_000_000


class Machine:
    """An installation with a clock and a configuration, to be damaged and examined."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "backctl.db"
        self.keyring = folder / "keyring.json"
        self.config = folder.parent / "config.toml"
        self.config.write_text("")
        self.config.chmod(0o644)
        self.time = now()
        self.installation = self.open(12)

    def open(self, cost: int) -> SqliteInstallation:
        return sqlite_installation(self.database, self.keyring, clock=lambda: self.time, bcrypt_cost=cost)

    def examine(self) -> dict[str, CheckView]:
        views = list(DoctorService(self.installation.probes(leeway=10_000_000, config_file=self.config)).examine())
        assert [view.check for view in views] == HEALTH_CHECKS
        return {view.check: view for view in views}

    def unwell(self) -> dict[str, str]:
        """Return the checks that are not ok."""
        return {check: view.status for check, view in self.examine().items() if view.status != "ok"}

    def execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(statement)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "data")
    yield machine
    machine.installation.close()


@pytest.fixture
def machine(fresh: Machine) -> Machine:
    fresh.installation.create(Attribution(Actor("tests", "tester", "here")))
    return fresh


def test_a_missing_installation_is_one_failure_and_stays_missing(fresh: Machine) -> None:
    found = fresh.examine()
    assert [check for check, view in found.items() if view.status == "fail"] == ["database.open"]
    assert "there is no installation" in found["database.open"].finding
    assert found["keyring.valid"].finding == "not checked: there is no installation"
    assert not fresh.folder.exists()


def test_a_keyring_without_a_database_is_a_missing_installation(fresh: Machine) -> None:
    fresh.folder.mkdir(mode=0o700)
    KeyFile(fresh.keyring).create(make_keyring(fresh.time))
    found = fresh.examine()
    assert [check for check, view in found.items() if view.status == "fail"] == ["database.open"]
    assert found["keyring.valid"].status == "ok"


def test_a_new_installation_is_healthy(machine: Machine) -> None:
    assert machine.unwell() == {}
    assert machine.installation.describe().installation_id in machine.examine()["database.open"].finding


def test_looking_changes_nothing(machine: Machine) -> None:
    before = {path.name: (path.read_bytes(), path.stat().st_mode) for path in machine.folder.iterdir()}
    machine.examine()
    assert {path.name: (path.read_bytes(), path.stat().st_mode) for path in machine.folder.iterdir()} == before


def test_a_lost_database_fails_where_storage_was_named(machine: Machine) -> None:
    machine.database.unlink()
    machine.database.symlink_to("nowhere")
    assert {check for check, status in machine.unwell().items() if status == "fail"} == {"database.open"}
    assert "not checked" in machine.examine()["database.integrity"].finding


def test_something_else_in_the_database_s_place_fails(machine: Machine) -> None:
    machine.database.write_bytes(b"no database at all, but long enough to have a header" * 100)
    assert machine.unwell()["database.open"] == "fail"
    assert machine.unwell()["database.integrity"] == "warn"


def test_another_revision_is_told(machine: Machine) -> None:
    machine.execute("UPDATE alembic_version SET version_num = '0000'")
    assert machine.unwell() == {"database.revision": "warn"}
    machine.execute("UPDATE alembic_version SET version_num = '9999'")
    assert machine.unwell() == {"database.revision": "fail"}


def test_a_damaged_page_is_found(machine: Machine) -> None:
    content = bytearray(machine.database.read_bytes())
    page = content.index(b"InstallationCreated") // 4096 * 4096
    content[page + 3 : page + 40] = b"\xff" * 37
    machine.database.write_bytes(content)
    assert machine.unwell()["database.integrity"] == "fail"


def test_an_index_that_disagrees_with_its_table_is_found(machine: Machine) -> None:
    with closing(sqlite3.connect(machine.database)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("CREATE TABLE other (id INTEGER PRIMARY KEY, kid TEXT)")
        connection.execute("CREATE INDEX ix_other ON other (kid)")
        connection.execute("INSERT INTO other (kid) VALUES ('a')")
        # Give it the index of an empty table, so that the row is in the table but not in the index.
        connection.execute("CREATE TABLE twin (id INTEGER PRIMARY KEY, kid TEXT)")
        connection.execute("CREATE INDEX ix_twin ON twin (kid)")
        connection.execute(
            "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'ix_twin') "
            "WHERE name = 'ix_other'"
        )
        connection.execute("DELETE FROM sqlite_schema WHERE name = 'ix_twin'")
    view = machine.examine()["database.integrity"]
    assert view.status == "fail"
    assert "index" in view.finding


def test_a_row_without_its_owner_is_found(machine: Machine) -> None:
    machine.execute("CREATE TABLE badges (user_id TEXT REFERENCES users (id))")
    machine.execute("INSERT INTO badges VALUES ('nobody')")
    assert machine.unwell() == {"database.integrity": "fail"}


MODES: dict[str, dict[int, str | None]] = {
    ".": {0o755: "warn", 0o750: "warn", 0o777: "fail", 0o770: "fail", 0o1777: "warn"},
    "backctl.db": {0o640: "warn", 0o644: "fail", 0o660: "fail"},
    "backctl.db-wal": {0o644: "fail"},
    "backctl.db-shm": {0o640: "warn"},
    "backctl.db.0001.1.bak": {0o604: "fail"},
    "../config.toml": {0o664: "fail", 0o646: "fail", 0o600: None},
}


@pytest.mark.parametrize(
    ("name", "mode", "status"), [(name, *found) for name, modes in MODES.items() for found in modes.items()]
)
def test_what_others_can_reach_is_found(machine: Machine, name: str, mode: int, status: str | None) -> None:
    keeper = sqlite3.connect(machine.database)  # keeps the -wal and -shm files in the folder
    with closing(keeper):
        with keeper:
            keeper.execute("UPDATE alembic_version SET version_num = version_num")
        (machine.folder / "backctl.db.0001.1.bak").touch(mode=0o600)
        (machine.folder / name).chmod(mode)
        assert machine.unwell().get("files.permissions") == status
        if status is not None:
            assert f"{mode:04o}" in machine.examine()["files.permissions"].finding


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_a_folder_on_the_way_in_which_everybody_may_replace_things_is_told(
    machine: Machine, tmp_path: Path, mode: int
) -> None:
    """A user who can rename a folder can replace it; a link is only as safe as the path of its target."""
    (tmp_path / "shared" / "mine").mkdir(parents=True)
    for path in (machine.config, machine.keyring):
        target = path.rename(tmp_path / "shared" / "mine" / path.name)
        path.symlink_to(target)
        (tmp_path / "shared").chmod(mode)
        found = machine.examine()["files.permissions"]
        is_open = mode == 0o777
        assert (found.status == "fail", f"{tmp_path / 'shared'} has mode 0777" in found.finding) == (is_open, is_open)
        target.rename(path)


def exposed(machine: Machine) -> None:
    machine.keyring.chmod(0o644)


def damaged(machine: Machine) -> None:
    machine.keyring.write_bytes(machine.keyring.read_bytes()[:-9])


def lost(machine: Machine) -> None:
    machine.keyring.unlink()


@pytest.mark.parametrize("spoil", [exposed, damaged, lost])
def test_an_unusable_keyring_fails_with_a_hint(machine: Machine, spoil: Callable[[Machine], None]) -> None:
    spoil(machine)
    unwell = machine.unwell()
    assert unwell.pop("files.permissions", None) == ("fail" if spoil is exposed else None)
    assert unwell == {"keyring.valid": "fail", "keyring.matches": "warn"}
    assert machine.examine()["keyring.valid"].hint


def test_the_keyring_of_another_installation_fails(machine: Machine) -> None:
    machine.keyring.unlink()
    KeyFile(machine.keyring).create(make_keyring(machine.time))
    assert machine.unwell() == {"keyring.matches": "fail"}


@pytest.mark.parametrize("name", [".", "backctl.db", "../config.toml", ".."])
def test_what_belongs_to_another_user_is_told(machine: Machine, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = machine.folder / name
    real = Path.stat

    def stat(file: Path, **options: bool) -> object:
        status = real(file, **options)
        if os.path.abspath(file) != os.path.abspath(path):
            return status
        members = {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}
        return SimpleNamespace(**members | {"st_uid": 4711})

    monkeypatch.setattr(Path, "stat", stat)
    found = machine.examine()["files.permissions"]
    assert (found.status, "belongs to user 4711" in found.finding) == ("fail", True)


@pytest.mark.parametrize(("mode", "status"), [(0o755, None), (0o775, "fail"), (0o777, "fail"), (0o1777, None)])
def test_a_configuration_that_others_may_replace_is_told(machine: Machine, mode: int, status: str | None) -> None:
    machine.config.parent.chmod(mode)
    assert machine.unwell().get("files.permissions") == status


def test_cheap_hashes_are_warned_of(machine: Machine) -> None:
    machine.installation = machine.open(9)
    assert machine.unwell() == {"passwords.cost": "warn"}
    machine.installation = machine.open(10)
    assert machine.unwell() == {}


def test_a_clock_behind_what_was_written_is_warned_of(machine: Machine) -> None:
    real = machine.time
    machine.time = Instant(real - HOUR_US)
    assert machine.unwell() == {"clock.sane": "warn", "keyring.valid": "warn"}
    assert "an event is from" in machine.examine()["clock.sane"].finding
    machine.time = Instant(real - 60 * 1_000_000)
    assert machine.unwell() == {}


def test_an_account_from_the_future_is_warned_of(machine: Machine) -> None:
    machine.execute(
        "INSERT INTO users (id, email, email_key, email_domain, username, username_key, role, is_active, "
        "must_change_password, mfa_state, created_at, updated_at, version) VALUES ('one', 'a@b.org', 'a@b.org', "
        f"'b.org', 'ada', 'ada', 'user', 1, 0, 'off', 0, {machine.time + HOUR_US}, 1)"
    )
    found = machine.examine()["clock.sane"]
    assert (found.status, "a change of an account is from" in found.finding) == ("warn", True)


@pytest.mark.parametrize(("ahead_us", "status"), [(300_000_000, "ok"), (HOUR_US, "warn")])
def test_a_key_from_the_future_is_warned_of(machine: Machine, ahead_us: int, status: str) -> None:
    machine.time = Instant(machine.installation.open_keyring().primary("sign").primary_since - ahead_us)
    found = machine.examine()["keyring.valid"]
    assert (found.status, "keys from the future" in found.finding) == (status, status == "warn")
    # Audit and index keys are not rotated by age.
    assert found.finding.count("(primary, ") == (2 if status == "warn" else 0)


def test_an_event_from_the_future_is_warned_of_although_later_ones_are_not(machine: Machine) -> None:
    """Its id begins with its time, so it is the greatest."""
    with machine.installation.unit_of_work(by=Attribution(Actor("tests", "tester", "here")), dry_run=False) as work:
        work.record(LoginFailed("unknown", cause="unknown"), LoginFailed("unknown", cause="unknown"))
        work.commit()
    machine.execute(
        f"UPDATE events SET occurred_at = {machine.time + HOUR_US}, id = '7fffffff-ffff-7fff-bfff-ffffffffffff' "
        "WHERE seq = 1"
    )
    found = machine.examine()["clock.sane"]
    assert (found.status, "an event is from" in found.finding) == ("warn", True)


def test_a_clock_behind_the_file_is_warned_of(machine: Machine) -> None:
    later = (machine.time + HOUR_US) * 1000
    os.utime(machine.database, ns=(later, later))
    assert machine.unwell() == {"clock.sane": "warn"}
    assert "the database file" in machine.examine()["clock.sane"].finding


def test_a_clock_before_this_program_fails_even_on_a_fresh_machine(fresh: Machine) -> None:
    fresh.time = Instant(0)
    assert fresh.unwell()["clock.sane"] == "fail"


def test_a_time_beyond_the_calendar_stops_no_other_check(machine: Machine) -> None:
    machine.execute("UPDATE events SET occurred_at = 9000000000000000000")
    assert machine.unwell() == {"clock.sane": "fail"}


def test_tokens_revoked_under_a_clock_that_was_ahead_fail(machine: Machine) -> None:
    tolerated, refused = machine.time + 10_000_000, machine.time + 10_000_001
    machine.execute(f"INSERT INTO token_issuers VALUES ('here', {tolerated})")
    assert machine.unwell() == {}
    machine.execute(f"UPDATE token_issuers SET not_before = {refused}")
    found = machine.examine()["tokens.issuable"]
    assert (found.status, str(Instant(refused)) in found.finding) == ("fail", True)
    assert "token revoke --all" in str(found.hint)


# A column with a time in the future, and a change of the session after that.
WARNED_OF = [("created_at", "created_at = created_at"), ("not_before", "not_before = not_before")]
HARMLESS = [("created_at", "revoked_at = 1"), ("created_at", "expires_at = 1"), ("issued_at", "issued_at = issued_at")]


@pytest.mark.parametrize(("column", "change"), [*WARNED_OF, *HARMLESS])
def test_sessions_from_a_clock_that_was_ahead_are_warned_of(machine: Machine, column: str, change: str) -> None:
    columns = dict.fromkeys(("created_at", "issued_at", "access_ttl"), int(machine.time))
    columns |= dict.fromkeys(("expires_at", "ends_at"), machine.time + 10 * HOUR_US)
    columns[column] = machine.time + HOUR_US
    machine.execute(
        f"INSERT INTO sessions (id, user_id, issuer, client_id, audience, scope, {', '.join(columns)}) "
        f"VALUES ('one', 'nobody', 'here', 'x', 'x', '', {', '.join(map(str, columns.values()))})"
    )
    machine.execute(f"UPDATE sessions SET {change}")
    assert machine.examine()["tokens.issuable"].status == ("warn" if (column, change) in WARNED_OF else "ok")


def test_a_folder_that_is_none_fails_every_check_that_needs_it(fresh: Machine) -> None:
    fresh.folder.write_bytes(b"mine")
    failed = {check for check, status in fresh.unwell().items() if status == "fail"}
    assert failed >= {"database.open", "files.permissions", "keyring.valid"}
