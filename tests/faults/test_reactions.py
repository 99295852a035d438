"""Reactions when the server or the connection fails during COMMIT: called once if the change was saved, else never."""

from collections.abc import Callable, Sequence
from typing import Literal

import pytest
from tests.faults.conftest import COMMIT, Ground, once
from tests.faults.test_postgres import FAIL_SOMETIMES, assert_closed_once, close_ada

from backctl.application.reactions import LoggedEvent
from backctl.domain.errors import OutcomeUnknown, TransactionAborted

Calls = list[Sequence[LoggedEvent]]


@pytest.fixture
def calls() -> Calls:
    return []


def assert_once(ground: Ground, calls: Calls) -> None:
    assert_closed_once(ground)
    ((event,),) = calls
    assert ground.execute("SELECT seq, id::text FROM events WHERE type = 'UserDeactivated'") == [(event.seq, event.id)]


def nothing(_ground: Ground) -> None:
    """Leave the server as it is."""


def crash(ground: Ground) -> None:
    ground.server.kill()
    ground.server.start()


@pytest.mark.parametrize(
    ("fate", "then"),
    [("cut after", nothing), ("cut before", nothing), ("cut before", crash)],
    ids=["made, but its answer lost", "never arrived", "server killed"],
)
def test_a_lost_commit_is_reacted_to_once(
    ground: Ground, calls: Calls, fate: Literal["cut after", "cut before"], then: Callable[[Ground], None]
) -> None:
    backend = ground.backend(judge=once(COMMIT, fate, lambda: then(ground)), reactions=(calls.append,))
    assert close_ada(backend)
    assert_once(ground, calls)


def test_an_unknown_outcome_is_not_reacted_to(ground: Ground, calls: Calls) -> None:
    backend = ground.backend(
        judge=once(COMMIT, "cut after", lambda: ground.wire.refuse()),  # noqa: PLW0108 - the wire does not exist yet
        reactions=(calls.append,),
        DATABASE_CONNECT_TIMEOUT="1s",
    )
    with pytest.raises(OutcomeUnknown):
        close_ada(backend)
    assert calls == []


@pytest.mark.parametrize(("aborted", "made"), [(2, True), (3, False)])
def test_aborted_attempts_are_not_reacted_to(ground: Ground, calls: Calls, aborted: int, made: bool) -> None:
    ground.execute(FAIL_SOMETIMES.format(times=aborted, state="40P01"))
    backend = ground.backend(reactions=(calls.append,))
    if made:
        assert close_ada(backend)
        assert_once(ground, calls)
    else:
        with pytest.raises(TransactionAborted):
            close_ada(backend)
        assert calls == []
