"""Write-behind to PostgreSQL whose connection is cut at every statement: each update is written exactly once."""

from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import Connection, text
from tests.faults.conftest import COMMIT, Fate, Ground, once

from backctl.application.ports.write_behind import Taken
from backctl.domain.errors import ConnectionLost, DatabaseUnavailable, OutcomeUnknown, Unavailable
from backctl.domain.write_behind import QueuedValue, WriterId

NOW = 1_795_000_000_000_000
UPDATES = [Taken(WriterId("counts", 1), key, QueuedValue(b"1"), NOW + 1, NOW, 0, b"") for key in (b"a", b"b")]


def write(connection: Connection, updates: Sequence[Taken]) -> None:
    connection.execute(
        text("INSERT INTO counts VALUES (:key, 1) ON CONFLICT (key) DO UPDATE SET times = counts.times + 1"),
        [{"key": update.key.decode()} for update in updates],
    )


@pytest.fixture
def counting(ground: Ground) -> Ground:
    ground.execute("CREATE TABLE counts (key TEXT PRIMARY KEY, times INTEGER)")
    return ground


def counts(ground: Ground) -> list[tuple[str, int]]:
    return ground.execute("SELECT key, times FROM counts ORDER BY key")


ONCE = [("a", 1), ("b", 1)]
WORDS = [
    b"INSERT INTO written_updates",
    b"SAVEPOINT writer",
    b"INSERT INTO counts",
    b"RELEASE SAVEPOINT writer",
    b"INSERT INTO written_queues",
    COMMIT,
]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("fate", ["cut before", "cut after"])
def test_a_cut_connection_writes_each_update_once(counting: Ground, word: bytes, fate: Fate) -> None:
    target = counting.backend(judge=once(word, fate))._storage.update_target()
    with pytest.raises(OutcomeUnknown if word == COMMIT else ConnectionLost) as caught:
        target.apply("q1", "counts", UPDATES, write, now=NOW)
    assert isinstance(caught.value, Unavailable)
    if word == COMMIT:
        assert "not written twice" in str(caught.value.hint)
    done = (word, fate) == (COMMIT, "cut after")
    assert counts(counting) == (ONCE if done else [])
    assert target.apply("q1", "counts", UPDATES, write, now=NOW) == (0 if done else 2)
    assert counts(counting) == ONCE
    assert target.position("q1") == NOW + 1


def test_a_server_that_is_away_is_unavailable_and_comes_back(counting: Ground) -> None:
    away = counting.backend(judge=lambda block: "pass", DATABASE_CONNECT_TIMEOUT="1s", DATABASE_TIMEOUT="1s")
    target = away._storage.update_target()
    assert target.apply("q1", "counts", UPDATES[:1], write, now=NOW) == 1
    counting.wire.refuse()
    away.close()
    calls: list[Callable[[], object]] = [
        lambda: target.apply("q1", "counts", UPDATES, write, now=NOW),
        lambda: target.position("q1"),
        lambda: target.forget("q1", written_before=NOW + 1, others_before=0),
    ]
    for call in calls:
        with pytest.raises(DatabaseUnavailable):
            call()
    assert counting.backend()._storage.update_target().apply("q1", "counts", UPDATES, write, now=NOW) == 1
    assert counts(counting) == ONCE
