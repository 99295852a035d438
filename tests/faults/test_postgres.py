"""Faults of a PostgreSQL server: a command succeeds after a few retries, or exits with 5 and changes nothing."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from tests.faults.conftest import COMMIT, Fate, Ground, Wire, once

from backctl.backend import Backend
from backctl.domain.errors import (
    ConnectionLost,
    DatabaseLocked,
    DatabaseMissing,
    DatabaseUnavailable,
    DatabaseUnusable,
    OutcomeUnknown,
    SchemaOutdated,
    SchemaTooNew,
    TransactionAborted,
)
from backctl.domain.values import Secret

FAIL_SOMETIMES = """
CREATE SEQUENCE tries;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tries') <= {times} THEN RAISE EXCEPTION 'given up' USING ERRCODE = '{state}'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fail BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION fail();
"""
SLOW = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(20); RETURN NEW; END $$;
CREATE TRIGGER wait BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION wait();
"""


def close_ada(backend: Backend) -> bool:
    return backend.accounts.deactivate("ada", by=backend.by("test")).changed


def assert_closed_once(ground: Ground) -> None:
    assert ground.execute("SELECT count(*) FROM events WHERE type = 'UserDeactivated'") == [(1,)]
    assert ground.execute("SELECT is_active, version FROM users WHERE username = 'ada'") == [(False, 2)]
    assert ground.backend().audit.verify().ok


def assert_untouched(ground: Ground) -> None:
    assert ground.execute("SELECT count(*) FROM events") == [(3,)]
    assert ground.execute("SELECT is_active, version FROM users WHERE username = 'ada'") == [(True, 1)]
    assert ground.backend().audit.verify().ok
    assert close_ada(ground.backend())  # and no lock is held


# Server missing, or access denied.


def test_a_server_that_is_down_is_worth_retrying_and_told_without_the_password(ground: Ground) -> None:
    backend = ground.backend()
    ground.server.stop()
    try:
        for use in (lambda: close_ada(backend), backend.accounts.count, backend.audit.page):
            with pytest.raises(DatabaseUnavailable, match="cannot be reached") as refusal:
                use()
            assert ground.server.password not in f"{refusal.value} {refusal.value.hint}"
    finally:
        ground.server.start()
    assert close_ada(backend)


def test_a_server_that_never_answers_is_given_up_after_the_connect_timeout(ground: Ground) -> None:
    answered = threading.Event()

    def hold(block: bytes) -> Fate:
        answered.wait(30)
        return "cut before"

    backend = ground.backend(judge=hold, DATABASE_CONNECT_TIMEOUT="2s")
    with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
        backend.accounts.count()
    answered.set()


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("//tester:", "//stranger:", DatabaseUnusable),
        ("//tester:", "//tester:wrong", DatabaseUnusable),
        ("/t", "/missing", DatabaseMissing),
        ("@127.0.0.1", "@nowhere.invalid", DatabaseUnavailable),
    ],
)
def test_what_the_url_gets_wrong_is_told_by_its_kind(
    ground: Ground, old: str, new: str, error: type[Exception]
) -> None:
    before, _, after = ground.server.url(ground.name).rpartition(old)
    backend = ground.backend(DATABASE_URL=before + new + after)
    for use in (lambda: close_ada(backend), backend.accounts.count, lambda: backend.initialise(by=backend.by())):
        with pytest.raises(error) as refusal:
            use()
        assert ground.server.password not in f"{refusal.value} {getattr(refusal.value, 'hint', '')}"


def test_a_database_that_can_only_be_read_is_read_and_not_written(ground: Ground) -> None:
    ground.execute(f"ALTER DATABASE {ground.name} SET default_transaction_read_only = on")
    backend = ground.backend()
    assert backend.accounts.count() == 2
    with pytest.raises(DatabaseUnusable, match="is read-only"):
        close_ada(backend)


def test_a_user_without_rights_is_told_so(ground: Ground) -> None:
    ground.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    try:
        backend = ground.backend(DATABASE_URL=ground.server.url(ground.name, user="guest", password="guest"))
        with pytest.raises(DatabaseUnusable, match="denies this user"):
            backend.accounts.count()
    finally:
        ground.execute("DROP ROLE guest")


@pytest.mark.parametrize(("revision", "error"), [("0000", SchemaOutdated), ("9999", SchemaTooNew)])
def test_another_revision_stops_reads_and_writes_and_is_left_alone(
    ground: Ground, revision: str, error: type[Exception]
) -> None:
    backend = ground.backend()
    assert backend.accounts.count() == 2  # a backend that is already open must notice the change, too
    ground.execute(f"UPDATE alembic_version SET version_num = '{revision}'")
    for use in (lambda: close_ada(backend), backend.accounts.count, backend.audit.verify):
        with pytest.raises(error):
            use()
    assert ground.execute("SELECT version_num FROM alembic_version") == [(revision,)]


# Connection lost.


def test_a_restart_in_the_middle_of_a_change_is_survived(ground: Ground) -> None:
    def restart() -> None:
        ground.server.stop()
        ground.server.start()

    assert close_ada(ground.backend(judge=once(b"UPDATE users", "cut before", restart)))
    assert_closed_once(ground)


def test_a_restart_between_two_questions_and_in_one_is_survived(ground: Ground) -> None:
    def restart() -> None:
        ground.server.kill()
        ground.server.start()

    backend = ground.backend(judge=once(b"count(*)", "cut before", restart))
    assert backend.accounts.count() == 2
    restart()
    assert backend.accounts.count() == 2
    restart()
    assert close_ada(backend)


def test_a_stream_that_breaks_off_says_so(ground: Ground) -> None:
    backend = ground.backend(judge=once(b"FETCH", "cut before"))
    with pytest.raises(ConnectionLost):
        list(backend.accounts.stream())
    assert len(list(backend.accounts.stream())) == 2


def test_a_commit_whose_answer_was_lost_is_found_in_the_log_and_not_repeated(ground: Ground) -> None:
    assert close_ada(ground.backend(judge=once(COMMIT, "cut after")))
    assert_closed_once(ground)


def test_a_commit_that_never_arrived_is_made_again(ground: Ground) -> None:
    assert close_ada(ground.backend(judge=once(COMMIT, "cut before")))
    assert_closed_once(ground)


def test_a_server_killed_at_the_commit_leaves_one_change(ground: Ground) -> None:
    def crash() -> None:
        ground.server.kill()
        ground.server.start()

    assert close_ada(ground.backend(judge=once(COMMIT, "cut before", crash)))
    assert_closed_once(ground)


def test_a_new_account_survives_a_lost_commit_as_one(ground: Ground) -> None:
    for fate, name in (("cut after", "bob"), ("cut before", "eve")):
        backend = ground.backend(judge=once(COMMIT, fate))  # type: ignore[arg-type]  # both are fates
        change = backend.accounts.create(email=f"{name}@example.org", username=name, by=backend.by())
        assert backend.accounts.show(name) == change.value
    assert ground.execute("SELECT count(*) FROM events WHERE type = 'UserCreated'") == [(4,)]


def test_an_outcome_that_nobody_can_tell_is_said_to_be_unknown(ground: Ground) -> None:
    backend = ground.backend(
        judge=once(COMMIT, "cut after", lambda: ground.wire.refuse()),  # noqa: PLW0108 - the wire does not exist yet
        DATABASE_CONNECT_TIMEOUT="1s",
    )
    with pytest.raises(OutcomeUnknown, match="it is unknown whether the change was made") as refusal:
        close_ada(backend)
    assert refusal.value.code == "database.outcome_unknown"
    assert not isinstance(refusal.value, TransactionAborted)
    assert_closed_once(ground)


def test_a_made_password_is_kept_where_nobody_can_tell_whether_it_has_an_account(ground: Ground) -> None:
    wire = Wire(ground.server.port, judge=once(COMMIT, "cut after", lambda: wire.refuse()))  # noqa: PLW0108 - see above
    environment = {
        "HOME": str(ground.folder),
        "BACKCTL_DATABASE_URL": ground.server.url(ground.name).replace(f":{ground.server.port}/", f":{wire.port}/"),
        "BACKCTL_KEYRING_PATH": str(ground.folder / "keyring.json"),
        "BACKCTL_DATABASE_CONNECT_TIMEOUT": "1s",
        "BACKCTL_PASSWORDS_BCRYPT_COST": "4",
    }
    command = (sys.executable, "-m", "backctl", "user", "create", "bob@example.org", "--username", "bob")
    done = subprocess.run(
        (*command, "--generate-password", "--secret-file", "bob.txt", "-q"),
        env=environment,
        cwd=ground.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 5, done.stderr
    assert "warning: 'bob.txt' is kept" in done.stderr
    assert "it is unknown whether the change was made" in done.stderr
    backend = ground.backend()
    password = Secret((ground.folder / "bob.txt").read_text().rstrip("\n"))
    assert backend.authentication.authenticate("bob", password, by=backend.by()).ok


# Cancelled by the server.


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_transaction_that_was_given_up_twice_is_made_at_the_third_try(ground: Ground, state: str) -> None:
    ground.execute(FAIL_SOMETIMES.format(times=2, state=state))
    assert close_ada(ground.backend())
    assert_closed_once(ground)


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_transaction_that_is_given_up_every_time_leaves_nothing(ground: Ground, state: str) -> None:
    ground.execute(FAIL_SOMETIMES.format(times=3, state=state))
    with pytest.raises(TransactionAborted):
        close_ada(ground.backend())
    assert ground.execute("SELECT last_value FROM tries") == [(3,)]
    assert_untouched(ground)


def test_a_deadlock_with_a_stranger_ends_well(ground: Ground) -> None:
    ground.execute(f"ALTER DATABASE {ground.name} SET deadlock_timeout = '50ms'")
    outcome: list[object] = []
    with ground.connect() as stranger:
        stranger.execute("SELECT seq FROM event_head FOR UPDATE")
        command = threading.Thread(target=lambda: outcome.append(close_ada(ground.backend())))
        command.start()
        while ground.execute("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
            assert command.is_alive()
        try:
            stranger.execute("SELECT id FROM users WHERE username = 'ada' FOR UPDATE")
        except psycopg.errors.DeadlockDetected:
            stranger.rollback()
    command.join(60)
    assert outcome == [True]
    assert_closed_once(ground)


def test_a_statement_that_takes_too_long_is_given_up(ground: Ground) -> None:
    ground.execute(SLOW)
    with pytest.raises(DatabaseUnavailable, match="in time"):
        close_ada(ground.backend(DATABASE_STATEMENT_TIMEOUT="200ms"))
    with pytest.raises(DatabaseUnavailable, match="in time"):
        close_ada(ground.backend(DATABASE_TIMEOUT="200ms"))  # database.timeout limits all waits
    ground.execute("DROP TRIGGER wait ON users")
    assert_untouched(ground)


@pytest.mark.parametrize("lock", ["SELECT * FROM event_head FOR UPDATE", "SELECT * FROM users FOR UPDATE"])
def test_a_lock_that_is_not_given_back_is_not_waited_for_for_ever(ground: Ground, lock: str) -> None:
    with held(ground, lock), pytest.raises(DatabaseLocked):
        close_ada(ground.backend(DATABASE_LOCK_TIMEOUT="200ms"))
    assert_untouched(ground)


def test_tables_being_changed_stop_reads_for_the_lock_timeout_only(ground: Ground) -> None:
    with held(ground, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"), pytest.raises(DatabaseLocked):
        ground.backend(DATABASE_LOCK_TIMEOUT="200ms").accounts.count()
    assert ground.backend().accounts.count() == 2


@contextmanager
def held(ground: Ground, statement: str) -> Iterator[None]:
    with ground.connect() as connection:
        connection.execute(statement)
        yield
        connection.rollback()
