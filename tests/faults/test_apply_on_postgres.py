"""Faults of a PostgreSQL server during an apply: each account is changed once, and its generated password works."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.faults.conftest import COMMIT, Fate, Ground
from tests.faults.test_import_on_postgres import FAIL_SOMETIMES, in_second_batch, written
from tests.faults.test_reactions import crash, nothing

from backctl.application.seeding import applying
from backctl.application.seeding.applying import ApplyOptions, ApplyReport
from backctl.application.transfer.journal import ImportJournal
from backctl.backend import Backend
from backctl.domain.errors import DatabaseUnavailable, OutcomeUnknown, PlanStale, TransactionAborted
from backctl.domain.values import PasswordHash, Secret
from backctl.infrastructure.crypto.password_hasher import BcryptHasher

FEW, MANY = 3, 24
"""Accounts in each of three batches. Few are written with INSERT, many with COPY."""


@pytest.fixture(params=[FEW, MANY])
def batch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    return sized(request.param, monkeypatch)


def sized(size: int, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(applying, "BATCH_SIZE", size)
    return size


def seed(folder: Path, batch: int) -> str:
    """Write a seed whose accounts have generated passwords, and which changes `ada` at the end of the second batch."""
    users: list[dict[str, object]] = [
        {"email": f"user{number}@example.org", "username": f"user{number}", "password": {"generate": True}}
        for number in range(1, 3 * batch)
    ]
    users.insert(2 * batch - 1, {"email": "ada@example.org", "role": "moderator"})
    path = folder / "seed.json"
    path.write_text(json.dumps({"version": 1, "name": "ci", "users": users}))
    return str(path)


def apply(ground: Ground, backend: Backend, batch: int, done: list[int], *, is_saved: bool = False) -> ApplyReport:
    """Apply the seed, and append to `done` the numbers of accounts of each transaction."""
    seeding, file = backend.seeding, ground.folder / "secrets"
    desired = seeding.read([seed(ground.folder, batch)])
    plan = seeding.plan(desired)
    with closing(backend.files.grow(str(file), new=not file.exists())) as secrets:
        options = ApplyOptions(journal=ImportJournal(None, secrets))
        by = backend.by("test")
        if is_saved:
            saved = seeding.load(b"".join(seeding.saved(plan)).decode())
            return seeding.apply_saved(saved, options, by=by, progress=done.append).value
        return seeding.apply(desired, plan, options, by=by, progress=done.append).value


def seeded(ground: Ground) -> int:
    """Return the number of new accounts. Check that each has one event and label, and that its last password works."""
    found = dict(ground.execute("SELECT id::text, password_hash FROM users WHERE username LIKE 'user%'"))
    for kind in ("UserCreated", "UserSeeded"):
        events = ground.execute(f"SELECT subject FROM events WHERE type = '{kind}'")
        made = Counter(str(subject) for (subject,) in events)
        assert {subject: made[subject] for subject in found} == dict.fromkeys(found, 1)
        assert made.total() == len(found) + (2 if kind == "UserCreated" else 0)
    assert {str(account) for (account,) in ground.execute("SELECT user_id FROM seeded_accounts")} == set(found)
    promotions = ground.execute("SELECT count(*) FROM events WHERE type = 'UserRoleChanged'")
    assert promotions == ground.execute("SELECT count(*) FROM users WHERE role = 'moderator'")
    assert ground.backend().audit.verify().ok
    last = {secret["id"]: Secret(secret["password"]) for secret in written(ground, "secrets")}
    for account, encoded in found.items():
        assert BcryptHasher(4).verify(last[account], PasswordHash(encoded))
    return len(found)


def require_complete(ground: Ground, batch: int) -> None:
    """Check that all was done, and that applying the seed again changes nothing."""
    number = 3 * batch - 1
    assert seeded(ground) == number
    again = apply(ground, ground.backend(), batch, [])
    assert (again.created, again.updated, again.unchanged) == (0, 0, number + 1)
    assert len(written(ground, "secrets")) >= number


@pytest.mark.parametrize(
    ("size", "word", "fate", "then"),
    [
        (FEW, COMMIT, "cut after", nothing),
        (MANY, COMMIT, "cut after", nothing),
        (MANY, COMMIT, "cut before", crash),
        (FEW, b"seeded_accounts", "cut before", crash),
        (MANY, b'COPY "users"', "cut after", nothing),
    ],
)
def test_a_lost_connection_and_a_restart_repeat_no_change(
    ground: Ground,
    size: int,
    word: bytes,
    fate: Fate,
    then: Callable[[Ground], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch, done, cut = sized(size, monkeypatch), list[int](), list[bool]()

    def now() -> None:
        cut.append(True)
        then(ground)

    report = apply(ground, ground.backend(judge=in_second_batch(done, word, fate, now)), batch, done)
    assert cut
    assert (report.created, report.updated, report.unchanged) == (3 * batch - 1, 1, 0)
    assert len(written(ground, "secrets")) == 3 * batch - 1
    require_complete(ground, batch)


def test_a_batch_that_was_given_up_twice_is_written_at_the_third_try(ground: Ground, batch: int) -> None:
    ground.execute(FAIL_SOMETIMES.format(number=2 * batch, times=2, state="40001"))
    report = apply(ground, ground.backend(), batch, [])
    assert report.created == len(written(ground, "secrets")) == 3 * batch - 1
    require_complete(ground, batch)


def test_a_batch_that_is_given_up_every_time_leaves_nothing(ground: Ground, batch: int) -> None:
    ground.execute(FAIL_SOMETIMES.format(number=2 * batch - 1, times=3, state="40001"))
    done: list[int] = []
    with pytest.raises(TransactionAborted):
        apply(ground, ground.backend(), batch, done)
    assert seeded(ground) == len(written(ground, "secrets")) == sum(done) == batch
    apply(ground, ground.backend(), batch, [])
    require_complete(ground, batch)


@pytest.mark.parametrize("is_saved", [False, True])
def test_an_account_that_appears_while_its_batch_is_written(ground: Ground, batch: int, is_saved: bool) -> None:
    """The others are planned again; a saved plan is stale."""
    done: list[int] = []
    other = f"user{2 * batch - 1}@example.org"

    def create() -> None:
        backend = ground.backend()
        backend.accounts.create(email=other, username="another", by=backend.by("other"))

    word = b"INSERT INTO users" if batch == FEW else b'COPY "users"'
    backend = ground.backend(judge=in_second_batch(done, word, "pass", create))
    if is_saved:
        with pytest.raises(PlanStale, match="was to be created"):
            apply(ground, backend, batch, done, is_saved=True)
        number = batch
    else:
        report = apply(ground, backend, batch, done)
        assert (report.created, report.updated) == (3 * batch - 2, 2)
        number = 3 * batch - 2
    assert len(written(ground, "secrets")) == number


@pytest.mark.parametrize(
    ("size", "word", "fate", "error", "left"),
    [
        (MANY, b'COPY "users"', "cut before", DatabaseUnavailable, 1),
        (FEW, COMMIT, "cut before", OutcomeUnknown, 1),
        (MANY, COMMIT, "cut after", OutcomeUnknown, 2),
    ],
)
def test_an_apply_whose_server_went_away_is_finished_by_the_same_apply(
    ground: Ground,
    size: int,
    word: bytes,
    fate: Fate,
    error: type[Exception],
    left: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch, done = sized(size, monkeypatch), list[int]()
    backend = ground.backend(
        judge=in_second_batch(done, word, fate, lambda: ground.wire.refuse()),  # noqa: PLW0108 - the wire does not exist yet
        DATABASE_CONNECT_TIMEOUT="1s",
    )
    with pytest.raises(error):
        apply(ground, backend, batch, done)
    number = left * batch - (left == 2)
    assert seeded(ground) == number
    assert len(written(ground, "secrets")) == (batch if error is DatabaseUnavailable else 2 * batch - 1)
    report = apply(ground, ground.backend(), batch, [])
    assert (report.created, report.updated) == (3 * batch - 1 - number, left == 1)
    require_complete(ground, batch)
