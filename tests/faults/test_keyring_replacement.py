"""Faults while a lost keyring is replaced: the same command again succeeds, and the event log stays whole."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.faults.conftest import COMMIT, Ground, once
from tests.faults.test_keyring_change import STEPS, Place, initialised, place

import backctl
from backctl.application.views import Change
from backctl.backend import Backend
from backctl.domain.errors import FileTaken, KeyringLocked
from backctl.domain.values import Identity, Username
from backctl.infrastructure.keyring.file import KeyFile

__all__ = ["place"]

EVENTS = 4
"""The number of events before the keyring is lost."""
REPLACED = [True, True, "ada"]
on_sqlite = pytest.mark.parametrize("place", ["sqlite"], indirect=True)


@contextmanager
def opened(place: Place) -> Iterator[Backend]:
    environ = {"BACKCTL_DATABASE_URL": place.url, "BACKCTL_KEYRING_PATH": str(place.keyring)}
    with backctl.open_backend(environ=environ) as backend:
        yield backend


@pytest.fixture
def lost(place: Place) -> Place:
    """An installation with two accounts, one with a second factor, whose keyring is lost."""
    with opened(place) as backend:
        by = backend.by("setup")
        for name in ("ada", "bob"):
            backend.accounts.create(email=f"{name}@example.org", username=name, role="admin", by=by)
        backend.mfa.enroll("ada", by=by)
        assert backend.audit.verify().events == EVENTS
    place.keyring.rename(place.folder / "lost.json")
    return place


def replaced_again(place: Place) -> object:
    """Run the command again, and return its answer. Check that the keyring was replaced once and can be changed."""
    answer, again, added, unverified = place.answers("replace_lost,replace_lost,add,unverified")
    assert (again, added, unverified) == ([False, False], True, [EVENTS, None])
    assert place.staged() == set()
    with opened(place) as backend:
        found = [event.type for event in backend.audit.stream()][EVENTS:]
        assert found == ["KeyringReplaced", "MfaDisabled", "IssuerTokensRevoked", "KeyAdded"]
        assert backend.accounts.show("ada").mfa == "off"
    return answer


def test_every_step_is_announced(lost: Place) -> None:
    said = lost.drive("replace_lost")
    assert tuple(each["step"] for each in said[:-1]) == STEPS
    assert said[-1] == {"answer": REPLACED}
    assert lost.keyring.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("step", STEPS[2:])  # nothing has happened before
def test_killed_at_a_step_the_same_command_again_succeeds(lost: Place, step: str) -> None:
    lost.drive("replace_lost", "--die-at", step)
    assert lost.keyring.exists() == (step == "in place")
    assert len(lost.staged()) == (step in ("staged", "recorded"))
    # Whichever of the two commands has disabled the second factor, the list is printed.
    assert replaced_again(lost) == ([False, False] if step == "in place" else REPLACED)


@on_sqlite
def test_killed_at_any_call_the_same_command_again_succeeds(lost: Place) -> None:
    database = lost.folder / "backctl.db"
    before = database.read_bytes()
    rounds, ended = 0, False
    while not ended:
        rounds += 1
        for path in (lost.keyring, *lost.folder.glob("backctl.db-*")):
            path.unlink(missing_ok=True)
        database.write_bytes(before)
        ended = lost.drive("replace_lost", "--die-at-call", str(rounds))[-1:] == [{"answer": REPLACED}]
        assert replaced_again(lost) in ([[False, False]] if ended else [REPLACED, [False, False]])
    assert rounds > 6


@on_sqlite
def test_a_file_that_was_not_written_completely_is_discarded(lost: Place) -> None:
    lost.drive("replace_lost", "--die-at", "staged")
    (staged,) = lost.staged()
    os.truncate(lost.folder / staged, 300)
    assert replaced_again(lost) == REPLACED


def test_a_full_disk_changes_nothing(lost: Place) -> None:
    assert lost.drive("replace_lost", "--full-disk")[-1]["error"] == "DiskFull"
    assert not lost.keyring.exists()
    assert lost.staged() == set()
    assert replaced_again(lost) == REPLACED


@on_sqlite
@pytest.mark.parametrize("step", ["staged", "recorded"])
def test_an_interrupted_change_has_left_the_keyring_itself(place: Place, step: str) -> None:
    """Nothing is lost then: the staged file has every key of the database."""
    before = place.primary()
    place.drive("rotate", "--die-at", step)
    place.keyring.unlink()
    assert place.answers("replace_lost,verify,add,verify") == [[True, False], True, True, True]
    assert place.primary() != before
    assert place.staged() == set()


@on_sqlite
def test_a_change_of_another_database_is_left_for_it(lost: Place) -> None:
    (lost.folder / "lost.json").rename(lost.keyring)
    other = initialised(Place(lost.folder, f"sqlite:///{lost.folder}/other.db"))
    other.drive("rotate", "--die-at", "recorded")
    lost.keyring.unlink()
    staged = lost.staged()
    with opened(lost) as backend, pytest.raises(KeyringLocked, match="another database"):
        backend.keyring_replacement.replace(by=backend.by())
    assert lost.staged() == staged
    assert other.answers("replace_lost") == [[True, False]]  # it belongs to both databases
    with opened(lost) as backend:
        assert backend.audit.verify().ok


@on_sqlite
def test_an_old_keyring_that_was_put_back_meanwhile_is_not_overwritten(
    lost: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, stage = (lost.folder / "lost.json").read_bytes(), KeyFile.stage_first

    def put_back(file: KeyFile, *arguments: Any) -> Path:
        staged = stage(file, *arguments)
        (lost.folder / "lost.json").rename(lost.keyring)
        return staged

    with opened(lost) as backend, monkeypatch.context() as patched:
        patched.setattr(KeyFile, "stage_first", put_back)
        with pytest.raises(FileTaken, match="a keyring was put at"):
            backend.keyring_replacement.replace(by=backend.by())
    assert lost.keyring.read_bytes() == old
    assert lost.drive("replace_lost")[-1]["error"] == "KeyringMismatch"
    lost.keyring.unlink()
    assert replaced_again(lost) == REPLACED


def rename(work: Any) -> Change[None]:
    user = work.users.get(Identity.parse("bob"))
    user.rename(Username.parse("robert"), now=user.updated_at)
    work.write()
    return Change(None, changed=True)


def test_a_writer_that_has_read_the_lost_key_reads_the_new_one(lost: Place) -> None:
    (lost.folder / "lost.json").rename(lost.keyring)
    with opened(lost) as writer, opened(lost) as other:
        tries = []

        def replace_first() -> None:  # after the writer has read the key, and before its transaction
            tries.append(1)
            if len(tries) == 1:
                lost.keyring.unlink()
                assert other.keyring_replacement.replace(by=other.by()).changed

        assert writer._transactions.run(rename, by=writer.by(), prepare=replace_first).changed
        assert len(tries) == 2
        view = other.audit.verify()
        assert (view.unverified, view.broken_seq) == (EVENTS, None)


@pytest.mark.parametrize("place", [18], indirect=True)
def test_a_transaction_that_has_begun_before_the_replacement_is_repeated(lost: Place) -> None:
    (lost.folder / "lost.json").rename(lost.keyring)
    with opened(lost) as writer, opened(lost) as other:
        tries = []

        def step(work: Any) -> Change[None]:
            tries.append(1)
            if len(tries) == 1:
                lost.keyring.unlink()
                assert other.keyring_replacement.replace(by=other.by()).changed
            return rename(work)

        assert writer._transactions.run(step, by=writer.by()).changed
        assert len(tries) == 2
        view = other.audit.verify()
        assert (view.unverified, view.broken_seq) == (EVENTS, None)


def test_a_running_writer_follows_the_replacement(lost: Place) -> None:
    (lost.folder / "lost.json").rename(lost.keyring)
    writer = lost.start("rename")
    assert writer.stdout is not None
    for _ in range(5):
        assert json.loads(writer.stdout.readline()) == {"step": "renaming"}
    lost.keyring.unlink()
    with opened(lost) as backend:
        change = backend.keyring_replacement.replace(by=backend.by())
        out, err = writer.communicate(timeout=120)
        answer = json.loads(out.splitlines()[-1])
        assert answer["answer"] > 0, err
        view = backend.audit.verify()
        assert (view.unverified, view.broken_seq) == (change.value.unverified, None)
        assert change.value.unverified > EVENTS
        assert backend.accounts.show("ada@example.org").username == f"ada{answer['answer']}"


def test_a_lost_answer_to_a_commit_that_was_made_completes_the_replacement(ground: Ground) -> None:
    (ground.folder / "keyring.json").unlink()
    backend = ground.backend(judge=once(COMMIT, "cut after"))
    assert backend.keyring_replacement.replace(by=backend.by("me")).value.replaced
    view = backend.audit.verify()
    assert (view.unverified > 0, view.broken_seq) == (True, None)
