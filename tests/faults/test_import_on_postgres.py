"""Faults of a PostgreSQL server during an import: each account is imported once, and its generated password works."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Literal

import pytest
from tests.faults.conftest import COMMIT, Fate, Ground, Judge
from tests.faults.test_reactions import crash, nothing

from backctl.application.transfer.import_steps import Mode, RowOutcome
from backctl.application.transfer.importing import ImportOptions
from backctl.application.transfer.journal import ImportJournal, resumed_ids
from backctl.application.transfer.raw_rows import RawRow
from backctl.backend import Backend
from backctl.domain.errors import DatabaseUnavailable, OutcomeUnknown
from backctl.domain.values import Secret

NEW = [f"user{number}" for number in range(9)]
BATCH = 3


def rows() -> Iterator[RawRow]:
    for line, name in enumerate(NEW, start=1):
        yield RawRow(line, {"email": f"{name}@example.org", "username": name})


def in_second_batch(done: list[RowOutcome], word: bytes, fate: Fate, then: Callable[[], object]) -> Judge:
    """Apply `fate` to the first block with `word` after an INSERT of the second batch; the INSERT itself may be it."""
    has_begun, is_over = False, False

    def judge(block: bytes) -> Fate:
        nonlocal has_begun, is_over
        has_begun |= bool(done) and b"INSERT INTO users" in block
        if is_over or not has_begun or word not in block:
            return "pass"
        is_over = True
        then()
        return fate

    return judge


def import_(
    ground: Ground, backend: Backend, done: list[RowOutcome], *, resume: bool = False, mode: Mode = "create"
) -> None:
    """Import the rows with generated passwords, and append to `done` what became of them."""
    files = [str(ground.folder / name) for name in ("results", "secrets")]
    results, secrets = (backend.files.grow(file, new=not resume) for file in files)
    with closing(results), closing(secrets):
        journal = ImportJournal(results, secrets, resumed=resumed_ids(results.lines()))
        options = ImportOptions(mode, generate_passwords=True, batch_size=BATCH)
        for block in backend.imports.run(rows, options, by=backend.by("test"), journal=journal):
            done += block


def written(ground: Ground, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ground.folder / name).read_text().splitlines()]


def imported(ground: Ground) -> int:
    """Return the number of new accounts. Check that each has one event, and that its last password works."""
    found = ground.execute("SELECT id::text, username FROM users WHERE username LIKE 'user%'")
    events = ground.execute("SELECT subject FROM events WHERE type = 'UserImported'")
    assert Counter(str(subject) for (subject,) in events) == Counter(account for account, _ in found)
    backend = ground.backend()
    assert backend.audit.verify().ok
    last = {secret["id"]: Secret(secret["password"]) for secret in written(ground, "secrets")}
    for account, username in found:
        assert backend.authentication.authenticate(username, last[account], by=backend.by()).ok
    named = {each["id"] for each in written(ground, "results") if each["result"] == "created"}
    assert named >= {account for account, _ in found}
    return len(found)


@pytest.mark.parametrize(
    ("word", "fate", "then"),
    [
        (COMMIT, "cut after", nothing),
        (COMMIT, "cut before", nothing),
        (COMMIT, "cut before", crash),
        (b"INSERT INTO users", "cut before", crash),
        (b"INSERT INTO events", "cut after", crash),
    ],
)
def test_a_lost_connection_and_a_restart_repeat_no_row(
    ground: Ground, word: bytes, fate: Fate, then: Callable[[Ground], None]
) -> None:
    done: list[RowOutcome] = []
    cut = list[bool]()

    def now() -> None:
        cut.append(True)
        then(ground)

    import_(ground, ground.backend(judge=in_second_batch(done, word, fate, now)), done)
    assert cut
    assert [outcome.result for outcome in done] == ["created"] * len(NEW)
    assert imported(ground) == len(NEW)
    assert len(written(ground, "secrets")) == len(written(ground, "results")) == len(NEW)


@pytest.mark.parametrize(
    ("word", "fate", "error", "left"),
    [
        (b"INSERT INTO users", "cut before", DatabaseUnavailable, BATCH),
        (COMMIT, "cut before", OutcomeUnknown, BATCH),
        (COMMIT, "cut after", OutcomeUnknown, 2 * BATCH),
    ],
)
@pytest.mark.parametrize("mode", ["create", "upsert"])
def test_an_import_whose_server_went_away_is_resumed(
    ground: Ground, word: bytes, fate: Literal["cut before", "cut after"], error: type[Exception], left: int, mode: Mode
) -> None:
    done: list[RowOutcome] = []
    backend = ground.backend(
        judge=in_second_batch(done, word, fate, lambda: ground.wire.refuse()),  # noqa: PLW0108 - the wire does not exist yet
        DATABASE_CONNECT_TIMEOUT="1s",
    )
    with pytest.raises(error):
        import_(ground, backend, done, mode=mode)
    assert len(done) == BATCH
    assert len(written(ground, "secrets")) == (BATCH if error is DatabaseUnavailable else 2 * BATCH)
    assert imported(ground) == left
    again: list[RowOutcome] = []
    import_(ground, ground.backend(), again, resume=True, mode=mode)
    assert [each.result for each in again] == ["unchanged"] * left + ["created"] * (len(NEW) - left)
    assert imported(ground) == len(NEW)
