"""Faults while a key and its event are saved: after the next change, both exist or neither does."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.faults.conftest import COMMIT, Ground, once
from tests.servers import Servers

import backctl
from backctl.application.ports.security import KeyringChange
from backctl.domain.errors import ConnectionLost, DatabaseUnavailable, KeyringLocked
from backctl.domain.values import Instant
from backctl.infrastructure.host import now
from backctl.infrastructure.keyring.file import KeyFile
from backctl.infrastructure.keyring.maker import make_keyring

DRIVER = Path(__file__).with_name("keyring_driver.py")
SOURCE = Path(__file__).parents[2] / "src"
DAY = 86_400_000_000

STEPS = ("waiting", "locked", "staged", "recorded", "in place")


@dataclass(frozen=True)
class Place:
    """An installation whose keys are forty days old."""

    folder: Path
    url: str

    @property
    def keyring(self) -> Path:
        return self.folder / "keyring.json"

    def primary(self) -> str:
        return KeyFile(self.keyring).read().primary("sign").kid

    def staged(self) -> set[str]:
        return {name for name in os.listdir(self.folder) if name.endswith(".change")}

    def start(self, actions: str, *options: str, **variables: str) -> "subprocess.Popen[str]":
        environment = {
            **os.environ,
            **variables,
            "PYTHONPATH": str(SOURCE),
            "BACKCTL_DATABASE_URL": self.url,
            "BACKCTL_KEYRING_PATH": str(self.keyring),
            "BACKCTL_DATABASE_TIMEOUT": "60s",
            "BACKCTL_DATABASE_LOCK_TIMEOUT": "60s",
        }
        command = [sys.executable, str(DRIVER), actions, *options]
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def drive(self, actions: str, *options: str, **variables: str) -> list[Any]:
        """Return the steps and results that the driver printed until it ended or was killed."""
        process = self.start(actions, *options, **variables)
        out, err = process.communicate(timeout=120)
        assert process.returncode in (0, -9), err
        return [json.loads(line) for line in out.splitlines()]

    def answers(self, actions: str) -> list[Any]:
        return [said["answer"] for said in self.drive(actions) if "step" not in said]


@pytest.fixture(params=["sqlite", 18])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    KeyFile(tmp_path / "keyring.json").create(make_keyring(Instant(now() - 40 * DAY)))
    if request.param == "sqlite":
        yield initialised(Place(tmp_path, f"sqlite:///{tmp_path}/backctl.db"))
        return
    servers: Servers = request.getfixturevalue("servers")
    server = servers.postgres(request.param)
    with server.database() as name:
        yield initialised(Place(tmp_path, server.url(name)))


def initialised(place: Place) -> Place:
    environ = {"BACKCTL_DATABASE_URL": place.url, "BACKCTL_KEYRING_PATH": str(place.keyring)}
    with backctl.open_backend(environ=environ) as backend:
        assert backend.initialise(by=backend.by("setup")).changed
    return place


def test_every_step_is_announced_and_known_here(place: Place) -> None:
    said = place.drive("rotate")
    assert tuple(each["step"] for each in said[:-1]) == STEPS
    assert said[-1] == {"answer": True}


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_the_next_change_leaves_key_and_event_or_neither(place: Place, step: str) -> None:
    before = place.primary()
    place.drive("rotate", "--die-at", step)
    seen = place.primary()
    assert (seen != before) == (step == "in place")  # a reader sees the complete old or the complete new keyring
    assert len(place.staged()) == (step in ("staged", "recorded"))
    said = place.drive("add,promoted,verify")
    settled = [each["step"] for each in said if each.get("step") in ("finished", "given up")]
    assert settled == {"staged": ["given up"], "recorded": ["finished"]}.get(step, [])
    added, promoted, intact = (each["answer"] for each in said if "answer" in each)
    assert (added, intact) == (True, True)
    assert place.staged() == set()
    after = place.primary()
    assert promoted == ([after] if after != before else [])
    assert (after != before) == (step in ("recorded", "in place"))


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_killed_at_any_call_the_next_change_leaves_key_and_event_or_neither(place: Place) -> None:
    rounds, killed_after_commit, last = 0, 0, place.primary()
    while True:
        rounds += 1
        if place.drive("rotate", "--die-at-call", str(rounds))[-1:] == [{"answer": True}]:
            break
        killed_after_commit += any(name for name in place.staged())
        assert place.primary()
        added, promoted, intact = place.answers("add,promoted,verify")
        assert (added, intact) == (True, True)
        assert place.staged() == set()
        assert place.primary() == (promoted[-1] if promoted else last)
    assert rounds > 6
    assert killed_after_commit
    assert place.answers("promoted")[0][-1] == place.primary()


def test_an_audit_key_that_was_rotated_in_two_halves_leaves_the_chain_whole(place: Place) -> None:
    first = KeyFile(place.keyring).read().primary("audit").kid
    place.drive("rotate_audit", "--die-at", "recorded")
    assert place.answers("verify,add,verify,rotate_audit,add,verify") == [True] * 6
    ring = KeyFile(place.keyring).read()
    assert [key.state for key in ring.keys if key.purpose == "audit"] == ["retired", "retired", "primary"]
    assert first in ring.secrets("audit")


def test_a_change_after_an_interrupted_rotation_does_not_rotate_again(place: Place) -> None:
    place.drive("rotate_if_old", "--die-at", "recorded")
    said = place.drive("rotate_if_old")
    assert [each["step"] for each in said[:-1]] == ["waiting", "locked", "finished"]
    assert said[-1] == {"answer": False}
    assert place.answers("promoted") == [[place.primary()]]


def test_of_several_rotations_at_once_one_rotates(place: Place) -> None:
    """All of them read the same primary key before one gets the lock."""
    lock = os.open(place.folder / "backctl.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    processes = [place.start("rotate") for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"step": "waiting"}
    os.close(lock)
    outcomes = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in processes]
    assert sorted(outcome["answer"] for outcome in outcomes) == [False, False, True]
    ring = KeyFile(place.keyring).read()
    assert [key.state for key in ring.keys if key.purpose == "sign"] == ["retired", "primary"]
    assert place.answers("promoted,verify") == [[place.primary()], True]


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_rotation_that_has_to_be_tried_again_does_not_rotate_what_another_rotated_meanwhile(place: Place) -> None:
    environ = {"BACKCTL_DATABASE_URL": place.url, "BACKCTL_KEYRING_PATH": str(place.keyring)}
    turn: Any = {"older_than": 0, "overlap": DAY}
    with backctl.open_backend(environ=environ) as backend, backctl.open_backend(environ=environ) as other:
        own, by, tries = backend.keys, backend.by("cron"), []
        transactions = own.transactions()

        def change(**who: Any) -> KeyringChange:
            tries.append(who)
            if len(tries) == 1:
                assert other.keys.rotate(("sign",), **turn, by=by).changed
                raise ConnectionLost("the connection broke")
            return transactions.begin_keyring(**who)

        again = replace(transactions, begin_keyring=change, pause=lambda number: None)
        rotated = replace(own, transactions=lambda: again).rotate(("sign",), **turn, by=by)
        assert (len(tries), rotated.changed) == (2, False)
        assert len(own.all("sign")) == 2


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_change_waits_for_the_lock_as_long_as_it_may(place: Place) -> None:
    lock = os.open(place.folder / "backctl.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    environ = {"BACKCTL_DATABASE_URL": place.url, "BACKCTL_KEYRING_PATH": str(place.keyring)}
    with (
        backctl.open_backend(environ=environ | {"BACKCTL_DATABASE_TIMEOUT": "20ms"}) as backend,
        pytest.raises(KeyringLocked, match="another process is changing the keyring"),
    ):
        backend.keys.add("encrypt", by=backend.by("me"))
    os.close(lock)
    assert place.answers("add") == [True]


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_change_that_another_database_knows_about_is_left_for_it(place: Place) -> None:
    other = initialised(Place(place.folder, f"sqlite:///{place.folder}/other.db"))
    place.drive("rotate", "--die-at", "recorded")
    staged = place.staged()
    assert other.drive("add")[-1]["error"] == "KeyringLocked"
    assert place.staged() == staged
    assert place.answers("add,promoted") == [True, [place.primary()]]
    assert other.answers("add,verify") == [True, True]


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_damaged_change_does_not_replace_a_sound_keyring(place: Place) -> None:
    place.drive("rotate", "--die-at", "recorded")
    before = place.keyring.read_bytes()
    (staged,) = place.staged()
    os.truncate(place.folder / staged, 300)
    assert place.drive("add")[-1]["error"] == "KeyringDamaged"
    assert place.keyring.read_bytes() == before
    assert place.staged() == {staged}


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("step", ["staged", "recorded", "in place"])
def test_killed_while_it_is_wrapped_anew_the_keyring_opens_under_the_old_or_the_new(place: Place, step: str) -> None:
    keys = KeyFile(place.keyring).read()
    place.drive("wrap", "--die-at", step)
    said = place.drive("add", BACKCTL_KEYRING_PASSPHRASE="")[-1]
    assert said.get("error", "") == ("" if step == "staged" else "KeyringSealed")
    assert place.staged() == set()
    opened = KeyFile(place.keyring, passphrase=lambda: "sesame")
    assert opened.is_wrapped() == (step != "staged")
    assert opened.read().keys[:4] == keys.keys
    assert [said["answer"] for said in place.drive("add,verify", BACKCTL_KEYRING_PASSPHRASE="sesame")[-1:]] == [True]


def test_a_full_disk_changes_neither_the_key_nor_the_log(place: Place) -> None:
    before = place.keyring.read_bytes()
    said = place.drive("rotate", "--full-disk")[-1]
    assert said["error"] == "DiskFull"
    assert place.keyring.read_bytes() == before
    assert place.staged() == set()
    assert place.answers("promoted,verify,rotate") == [[], True, True]


def test_a_lost_answer_to_a_commit_that_was_made_completes_the_change(ground: Ground) -> None:
    backend = ground.backend(judge=once(COMMIT, "cut after"))
    made = backend.keys.rotate(("sign",), older_than=0, overlap=DAY, by=backend.by("me"))
    assert made.changed
    assert KeyFile(ground.folder / "keyring.json").read().primary("sign").kid == made.value.promoted_key_ids[0]


def test_a_commit_that_never_arrived_is_made_again(ground: Ground) -> None:
    backend = ground.backend(judge=once(COMMIT, "cut before"))
    made = backend.keys.rotate(("sign",), older_than=0, overlap=DAY, by=backend.by("me"))
    ring = KeyFile(ground.folder / "keyring.json").read()
    assert [key.state for key in ring.keys if key.purpose == "sign"] == ["primary", "retired"][::-1]
    assert ring.primary("sign").kid == made.value.promoted_key_ids[0]
    assert [name for name in os.listdir(ground.folder) if name.endswith(".change")] == []


def test_where_nobody_can_tell_whether_it_was_committed_the_next_change_finds_out(ground: Ground) -> None:
    path = ground.folder / "keyring.json"
    before = KeyFile(path).read().primary("sign").kid
    judge = once(COMMIT, "cut after", lambda: ground.wire.refuse())  # noqa: PLW0108 - the wire does not exist yet
    cut = ground.backend(judge=judge, DATABASE_TIMEOUT="1s")
    with pytest.raises(DatabaseUnavailable):
        cut.keys.rotate(("sign",), older_than=0, overlap=DAY, by=cut.by("me"))
    assert KeyFile(path).read().primary("sign").kid == before
    following = ground.backend()
    following.keys.add("encrypt", by=following.by("me"))
    assert KeyFile(path).read().primary("sign").kid != before
    assert following.audit.verify().ok
