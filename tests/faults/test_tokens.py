"""Token operations that race, are killed or lose their server: tokens work once, and a replay ends the session."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.cli.accounts import Person, fresh, populate
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.processes import together
from tests.faults.conftest import COMMIT, Fate, Ground, once

from backctl.application.token_views import IssuedTokens
from backctl.backend import Backend
from backctl.domain.errors import TokenReused, TokenRevoked
from backctl.domain.values import Secret

# Refreshes with the token in the file `refresh` and kills itself before the statement with the given number; with the
# number after the last statement, right after the COMMIT.
_DYING = """
import os, signal, sys
import backctl
from sqlalchemy import Engine, event

left = [int(sys.argv[1])]

def step(*_):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

with backctl.open_backend() as backend:
    for moment in ("before_cursor_execute", "commit"):
        event.listen(Engine, moment, step)
    backend.tokens.refresh(backctl.Secret(open("refresh").read()), by=backend.by())
    step()
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = fresh(tmp_path)
    populate(machine, [Person("ada")])
    return machine


def a_pair(machine: Machine) -> dict[str, Any]:
    """Issue new tokens and write the refresh token to the file `refresh`."""
    pair: dict[str, Any] = machine.run("token", "issue", "ada", "--pair", "-o", "json").succeeded().json
    (machine.home / "refresh").write_text(pair["refresh_token"])
    return pair


def rows(machine: Machine, statement: str) -> list[Any]:
    with closing(sqlite3.connect(machine.data / "backctl.db", timeout=60)) as database:
        return database.execute(statement).fetchall()


def test_of_eight_processes_that_refresh_with_one_token_one_wins_and_no_live_token_survives(machine: Machine) -> None:
    pair = a_pair(machine)
    command = machine.command("token", "refresh", "--token-file", "refresh", "-o", "json")
    ends = together(machine, [command] * 8)
    assert sorted(end.code for end in ends) == [0, *[6] * 7], [end.err for end in ends]
    for end in ends:
        if end.code == 6:
            refused(end, 6, "token.reused")
    winner = next(end for end in ends if end.code == 0).json
    verdicts = machine.run("token", "verify", "--batch", stdin=f"{pair['access_token']}\n{winner['access_token']}\n")
    assert (verdicts.code, verdicts.out.count('"revoked"')) == (7, 2)
    refused(machine.run("token", "refresh", "-o", "json", stdin=winner["refresh_token"]), 6, "token.revoked")
    assert rows(machine, "SELECT count(*) FROM events WHERE type = 'RefreshTokenReused'") == [(1,)]
    machine.run("audit", "verify").succeeded()


def test_a_refresh_that_is_killed_happened_whole_or_not_at_all(machine: Machine) -> None:
    a_pair(machine)
    machine.run("db", "backup", "whole.db").succeeded()
    database, finished = machine.data / "backctl.db", False
    for step in range(1, 100):
        for name in ("backctl.db", "backctl.db-wal", "backctl.db-shm"):
            (machine.data / name).unlink(missing_ok=True)
        shutil.copy(machine.home / "whole.db", database)
        died = subprocess.run(
            [sys.executable, "-c", _DYING, str(step)],
            env=machine.environment,
            cwd=machine.home,
            capture_output=True,
            timeout=60,
            check=False,
        )
        ((used,),) = rows(machine, "SELECT count(*) FROM refresh_tokens WHERE used_at IS NOT NULL")
        ((tokens,),) = rows(machine, "SELECT count(*) FROM refresh_tokens")
        ((refreshed,),) = rows(machine, "SELECT count(*) FROM events WHERE type = 'SessionRefreshed'")
        if died.returncode == 0:
            break
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert not finished
        finished = used == 1
        assert (used, tokens, refreshed) == ((1, 2, 1) if finished else (0, 1, 0))
    assert step > 8
    assert finished
    machine.run("audit", "verify").succeeded()
    refused(machine.run("token", "refresh", "--token-file", "refresh", "-o", "json"), 6, "token.reused")


# On a server.


@pytest.fixture
def backend(ground: Ground) -> Iterator[Backend]:
    with ground.backend() as backend:
        yield backend


def issue(backend: Backend) -> IssuedTokens:
    return backend.tokens.issue("ada", pair=True, by=backend.by()).value


def refresh(backend: Backend, tokens: IssuedTokens) -> IssuedTokens:
    assert tokens.refresh_token is not None
    return backend.tokens.refresh(tokens.refresh_token, by=backend.by()).value


def access_of(tokens: IssuedTokens) -> Secret:
    assert tokens.access_token is not None
    return tokens.access_token


@pytest.mark.parametrize("fate", ["cut before", "cut after"])
def test_a_refresh_whose_commit_was_lost_gives_tokens_that_work(ground: Ground, backend: Backend, fate: Fate) -> None:
    first = issue(backend)
    second = refresh(ground.backend(judge=once(COMMIT, fate)), first)
    assert backend.tokens.verify(access_of(second)).sid == first.session_id
    assert refresh(backend, second).session_id == first.session_id
    assert ground.execute("SELECT count(*) FROM events WHERE type = 'SessionRefreshed'") == [(2,)]
    assert backend.audit.verify().ok


@pytest.mark.parametrize("fate", ["cut before", "cut after"])
def test_a_replay_ends_the_session_though_its_commit_was_lost(ground: Ground, backend: Backend, fate: Fate) -> None:
    first = issue(backend)
    second = refresh(backend, first)
    with pytest.raises(TokenReused):
        refresh(ground.backend(judge=once(COMMIT, fate)), first)
    with pytest.raises(TokenRevoked):
        backend.tokens.verify(access_of(second))
    assert ground.execute("SELECT count(*) FROM events WHERE type = 'RefreshTokenReused'") == [(1,)]


def test_a_server_that_restarts_in_a_refresh_loses_nothing(ground: Ground, backend: Backend) -> None:
    def restart() -> None:
        ground.server.kill()
        ground.server.start()

    first = issue(backend)
    second = refresh(ground.backend(judge=once(b"UPDATE refresh_tokens", "cut before", restart)), first)
    assert backend.tokens.verify(access_of(second)).sid == first.session_id


def test_a_verification_asks_again_when_its_connection_was_lost(ground: Ground, backend: Backend) -> None:
    tokens = issue(backend)
    asking = ground.backend(judge=once(b"WITH asked", "cut before"))
    assert asking.tokens.verify(access_of(tokens)).revocation == "checked"


def test_two_accounts_that_end_each_others_sessions_do_not_wait_for_ever(ground: Ground, backend: Backend) -> None:
    """Accounts are always locked before their sessions, which prevents a deadlock."""
    from concurrent.futures import ThreadPoolExecutor

    def work(number: int) -> int:
        done = 0
        with ground.backend() as mine:
            for turn in range(4):
                tokens = issue(mine)
                if (number + turn) % 3 == 0:
                    mine.accounts.assign_role("ada", ("user", "moderator")[turn % 2], by=mine.by())
                elif (number + turn) % 3 == 1:
                    mine.sessions.revoke_user("ada", by=mine.by())
                else:
                    mine.sessions.revoke(tokens.session_id, by=mine.by())
                done += 1
        return done

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [4] * 4
    assert backend.audit.verify().ok
