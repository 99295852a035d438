"""Faults of a PostgreSQL server during batches: each change is made once, or reported as not made."""

from collections.abc import Callable

import pytest
from tests.faults.conftest import COMMIT, Fate, Ground, Judge

from backctl.application.transactions import BATCH_SIZE
from backctl.application.views import Change
from backctl.backend import Backend
from backctl.domain.errors import DatabaseLocked, DatabaseUnavailable, OutcomeUnknown

CROWD = 2 * BATCH_SIZE + 20


def at(number: int, word: bytes, fate: Fate, then: Callable[[], object] = lambda: None) -> Judge:
    """Apply `fate` to the `number`th block that contains `word`, after calling `then`; pass all others."""
    seen = 0

    def judge(block: bytes) -> Fate:
        nonlocal seen
        seen += word in block
        if word in block and seen == number:
            then()
            return fate
        return "pass"

    return judge


@pytest.fixture
def crowd(ground: Ground) -> list[str]:
    backend = ground.backend()
    names = [f"user{number:03}" for number in range(CROWD)]
    for name in names:
        backend.accounts.create(email=f"{name}@example.org", username=name, by=backend.by("test"))
    return names


def close_all(backend: Backend, names: list[str], done: list[bool]) -> None:
    """Deactivate the accounts, and append to `done` whether each one changed."""
    accounts = backend.accounts
    for outcome in accounts.change_each(names, accounts.steps.deactivating, by=backend.by("test")):
        assert isinstance(outcome, Change)
        done.append(outcome.changed)


def closed(ground: Ground) -> int:
    ((count,),) = ground.execute("SELECT count(*) FROM users WHERE NOT is_active AND version = 2")
    assert ground.execute("SELECT count(*) FROM events WHERE type = 'UserDeactivated'") == [(count,)]
    assert ground.backend().audit.verify().ok
    return int(count)


@pytest.mark.parametrize(
    ("number", "word", "fate"),
    [
        (2, COMMIT, "cut after"),
        (2, COMMIT, "cut before"),
        (BATCH_SIZE + 7, b"UPDATE users", "cut before"),
        (BATCH_SIZE + 7, b"SAVEPOINT attempt", "cut before"),
        (2 * BATCH_SIZE + 7, b"RELEASE SAVEPOINT attempt", "cut after"),
    ],
)
def test_a_lost_connection_repeats_the_transaction_that_was_lost_and_no_other(
    ground: Ground, crowd: list[str], number: int, word: bytes, fate: Fate
) -> None:
    done: list[bool] = []
    close_all(ground.backend(judge=at(number, word, fate)), crowd, done)
    assert done == [True] * CROWD
    assert closed(ground) == CROWD


@pytest.mark.parametrize("word", [b"UPDATE users", b"SAVEPOINT attempt"])
def test_what_was_said_to_be_done_before_the_server_went_away_is_done(
    ground: Ground, crowd: list[str], word: bytes
) -> None:
    done: list[bool] = []
    backend = ground.backend(
        judge=at(2 * BATCH_SIZE + 5, word, "cut before", lambda: ground.wire.refuse()),  # noqa: PLW0108 - no wire yet
        DATABASE_CONNECT_TIMEOUT="1s",
    )
    with pytest.raises(DatabaseUnavailable):
        close_all(backend, crowd, done)
    assert done == [True] * closed(ground)
    assert 0 < len(done) < CROWD
    again: list[bool] = []
    close_all(ground.backend(), crowd, again)
    assert again == [False] * len(done) + [True] * (CROWD - len(done))


def test_a_commit_of_which_nobody_can_tell_is_not_said_to_be_done(ground: Ground, crowd: list[str]) -> None:
    done: list[bool] = []
    backend = ground.backend(
        judge=at(2, COMMIT, "cut after", lambda: ground.wire.refuse()),  # noqa: PLW0108 - the wire does not exist yet
        DATABASE_CONNECT_TIMEOUT="1s",
    )
    with pytest.raises(OutcomeUnknown):
        close_all(backend, crowd, done)
    assert done == [True] * BATCH_SIZE
    assert closed(ground) == 2 * BATCH_SIZE


def test_a_row_that_somebody_keeps_locked_stops_the_run_and_not_what_came_before(
    ground: Ground, crowd: list[str]
) -> None:
    done: list[bool] = []
    with ground.connect() as stranger:
        stranger.execute("SELECT 1 FROM users WHERE username = %s FOR UPDATE", (crowd[BATCH_SIZE + 3],))
        with pytest.raises(DatabaseLocked):
            close_all(ground.backend(DATABASE_LOCK_TIMEOUT="1s"), crowd, done)
    assert done == [True] * BATCH_SIZE
    assert closed(ground) == BATCH_SIZE
