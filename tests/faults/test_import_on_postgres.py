"""Faults of a PostgreSQL server during an import: each account is imported once, and its generated password works."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sized
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
from backctl.domain.errors import DatabaseUnavailable, EmailTaken, OutcomeUnknown, TransactionAborted
from backctl.domain.values import PasswordHash, Secret
from backctl.infrastructure.crypto.password_hasher import BcryptHasher

FEW, MANY = 3, 24
"""Rows in each of three batches. Few are written with INSERT, many with COPY."""

FAIL_SOMETIMES = """
CREATE SEQUENCE tries;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.username = 'user{number}' AND nextval('tries') <= {times} THEN
        RAISE EXCEPTION 'given up' USING ERRCODE = '{state}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fail BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION fail();
"""


def rows(batch: int) -> Iterator[RawRow]:
    for line in range(1, 3 * batch + 1):
        yield RawRow(line, {"email": f"user{line}@example.org", "username": f"user{line}"})


def in_second_batch(done: Sized, word: bytes, fate: Fate, then: Callable[[], object]) -> Judge:
    """Apply `fate` to the first block with `word` since the second batch inserts accounts."""
    has_begun, is_over = False, False

    def judge(block: bytes) -> Fate:
        nonlocal has_begun, is_over
        has_begun |= bool(done) and (b"INSERT INTO users" in block or b'COPY "users"' in block)
        if is_over or not has_begun or word not in block:
            return "pass"
        is_over = True
        then()
        return fate

    return judge


def import_(
    ground: Ground, backend: Backend, batch: int, done: list[RowOutcome], *, resume: bool = False, mode: Mode = "create"
) -> None:
    """Import three batches of rows with generated passwords, and append to `done` what became of them."""
    files = [str(ground.folder / name) for name in ("results", "secrets")]
    results, secrets = (backend.files.grow(file, new=not resume) for file in files)
    with closing(results), closing(secrets):
        journal = ImportJournal(results, secrets, resumed=resumed_ids(results.lines()))
        options = ImportOptions(mode, generate_passwords=True, batch_size=batch)
        for block in backend.imports.run(lambda: rows(batch), options, by=backend.by("test"), journal=journal):
            done += block


def written(ground: Ground, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ground.folder / name).read_text().splitlines()]


def imported(ground: Ground) -> int:
    """Return the number of new accounts. Check that each has one event, and that its last password works."""
    found = dict(ground.execute("SELECT id::text, password_hash FROM users WHERE username LIKE 'user%'"))
    events = ground.execute("SELECT subject FROM events WHERE type = 'UserImported'")
    assert Counter(str(subject) for (subject,) in events) == Counter(found.keys())
    assert ground.backend().audit.verify().ok
    last = {secret["id"]: Secret(secret["password"]) for secret in written(ground, "secrets")}
    for account, encoded in found.items():
        assert BcryptHasher(4).verify(last[account], PasswordHash(encoded))
    named = {each["id"] for each in written(ground, "results") if each["result"] == "created"}
    assert named >= found.keys()
    return len(found)


def require_complete(ground: Ground, batch: int, done: list[RowOutcome]) -> None:
    assert [outcome.result for outcome in done] == ["created"] * (3 * batch)
    assert imported(ground) == 3 * batch
    assert len(written(ground, "secrets")) == len(written(ground, "results")) == 3 * batch


@pytest.mark.parametrize(
    ("batch", "word", "fate", "then"),
    [
        (FEW, COMMIT, "cut after", nothing),
        (FEW, COMMIT, "cut before", nothing),
        (MANY, COMMIT, "cut before", crash),
        (FEW, b"INSERT INTO users", "cut before", crash),
        (FEW, b"INSERT INTO events", "cut after", crash),
        (MANY, b'COPY "users"', "cut before", crash),
        (MANY, b'COPY "users"', "cut after", nothing),
        (MANY, b"user30@example.org", "cut before", crash),
        (MANY, b'COPY "events"', "cut after", crash),
    ],
)
def test_a_lost_connection_and_a_restart_repeat_no_row(
    ground: Ground, batch: int, word: bytes, fate: Fate, then: Callable[[Ground], None]
) -> None:
    done: list[RowOutcome] = []
    cut = list[bool]()

    def now() -> None:
        cut.append(True)
        then(ground)

    import_(ground, ground.backend(judge=in_second_batch(done, word, fate, now)), batch, done)
    assert cut
    require_complete(ground, batch, done)


@pytest.mark.parametrize(("batch", "state"), [(FEW, "40001"), (MANY, "40P01")])
def test_a_batch_that_was_given_up_twice_is_written_at_the_third_try(ground: Ground, batch: int, state: str) -> None:
    ground.execute(FAIL_SOMETIMES.format(number=2 * batch, times=2, state=state))
    done: list[RowOutcome] = []
    import_(ground, ground.backend(), batch, done)
    assert ground.execute("SELECT last_value FROM tries") == [(3,)]
    require_complete(ground, batch, done)


def test_a_batch_that_is_given_up_every_time_leaves_nothing(ground: Ground) -> None:
    batch = MANY
    ground.execute(FAIL_SOMETIMES.format(number=2 * batch, times=3, state="40001"))
    done: list[RowOutcome] = []
    with pytest.raises(TransactionAborted):
        import_(ground, ground.backend(), batch, done)
    assert len(done) == len(written(ground, "secrets")) == len(written(ground, "results")) == imported(ground) == batch
    again: list[RowOutcome] = []
    import_(ground, ground.backend(), batch, again, resume=True)
    assert imported(ground) == 3 * batch


@pytest.mark.parametrize(("batch", "word"), [(FEW, b"INSERT INTO users"), (MANY, b'COPY "users"')])
def test_an_account_that_appears_while_its_batch_is_written_fails_alone(
    ground: Ground, batch: int, word: bytes
) -> None:
    done: list[RowOutcome] = []
    other = f"user{2 * batch}@example.org"

    def create() -> None:
        backend = ground.backend()
        backend.accounts.create(email=other, username="other", by=backend.by("other"))

    import_(ground, ground.backend(judge=in_second_batch(done, word, "pass", create)), batch, done)
    assert [each.email for each in done if each.error is not None] == [other]
    assert isinstance(done[2 * batch - 1].error, EmailTaken)
    assert imported(ground) == len(written(ground, "secrets")) == 3 * batch - 1


@pytest.mark.parametrize(
    ("mode", "batch", "word", "fate", "error", "left"),
    [
        ("upsert", FEW, b"INSERT INTO users", "cut before", DatabaseUnavailable, 1),
        ("create", MANY, b'COPY "users"', "cut before", DatabaseUnavailable, 1),
        ("create", FEW, COMMIT, "cut before", OutcomeUnknown, 1),
        ("create", FEW, COMMIT, "cut after", OutcomeUnknown, 2),
        ("upsert", MANY, COMMIT, "cut after", OutcomeUnknown, 2),
    ],
)
def test_an_import_whose_server_went_away_is_resumed(
    ground: Ground,
    batch: int,
    word: bytes,
    fate: Literal["cut before", "cut after"],
    error: type[Exception],
    left: int,
    mode: Mode,
) -> None:
    done: list[RowOutcome] = []
    backend = ground.backend(
        judge=in_second_batch(done, word, fate, lambda: ground.wire.refuse()),  # noqa: PLW0108 - the wire does not exist yet
        DATABASE_CONNECT_TIMEOUT="1s",
    )
    with pytest.raises(error):
        import_(ground, backend, batch, done, mode=mode)
    assert len(done) == batch
    assert len(written(ground, "secrets")) == (batch if error is DatabaseUnavailable else 2 * batch)
    assert imported(ground) == left * batch
    again: list[RowOutcome] = []
    import_(ground, ground.backend(), batch, again, resume=True, mode=mode)
    assert [each.result for each in again] == ["unchanged"] * (left * batch) + ["created"] * ((3 - left) * batch)
    assert imported(ground) == 3 * batch
