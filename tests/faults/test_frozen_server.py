"""A process of the server that is stopped enforces no timeout; the client gives up by itself."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.faults.conftest import COMMIT, Ground, once

from backctl.backend import Backend
from backctl.domain.errors import DatabaseUnavailable, OutcomeUnknown

_PIDS = (
    "SELECT pid FROM pg_stat_activity "
    "WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@contextmanager
def frozen_at(ground: Ground, word: bytes) -> Iterator[Backend]:
    """Yield a backend. The server process that it uses is stopped before it reads the first block with `word`."""
    stopped: list[int] = []

    def stop() -> None:
        for (pid,) in ground.execute(_PIDS):
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)

    backend = ground.backend(
        judge=once(word, "pass", stop), DATABASE_STATEMENT_TIMEOUT="300ms", DATABASE_LOCK_TIMEOUT="300ms"
    )
    try:
        yield backend
        assert stopped
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


READS: dict[str, tuple[bytes, Callable[[Backend], object]]] = {
    "a snapshot": (b"REPEATABLE READ", lambda backend: backend.accounts.count()),
    "a query": (b"FROM users", lambda backend: backend.accounts.count()),
    "a stream": (b"DECLARE", lambda backend: list(backend.accounts.stream())),
    "a block of a stream": (b"FETCH", lambda backend: list(backend.accounts.stream())),
    "the chain": (b"FETCH", lambda backend: backend.audit.verify()),
}


@pytest.mark.parametrize("read", READS)
def test_a_read_ends_although_the_server_does_not_answer(ground: Ground, read: str) -> None:
    word, use = READS[read]
    with frozen_at(ground, word) as backend, pytest.raises(DatabaseUnavailable, match="stopped answering"):
        use(backend)
    assert ground.backend().accounts.count() == 2


def deactivate(backend: Backend) -> bool:
    return backend.accounts.deactivate("ada", by=backend.by("test")).changed


@pytest.mark.parametrize("word", [b"FOR UPDATE", b"UPDATE users", b"INSERT INTO events"])
def test_a_change_ends_and_is_not_made(ground: Ground, word: bytes) -> None:
    with frozen_at(ground, word) as backend, pytest.raises(DatabaseUnavailable, match="stopped answering"):
        deactivate(backend)
    assert ground.execute("SELECT is_active FROM users WHERE username = 'ada'") == [(True,)]
    assert deactivate(ground.backend())


def test_a_commit_without_an_answer_has_an_unknown_outcome(ground: Ground) -> None:
    with frozen_at(ground, COMMIT) as backend, pytest.raises(OutcomeUnknown):
        deactivate(backend)
    assert ground.backend().audit.verify().ok
