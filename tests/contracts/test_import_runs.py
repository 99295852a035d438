"""Imports of many rows: transactions, the order of their rows, the guard, and other processes."""

from collections.abc import Callable, Iterator, Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.event import listen
from tests.contracts.conftest import Store, a_user
from tests.contracts.importing import (
    Importer,
    MeddlingHasher,
    Members,
    MemoryFile,
    a_row,
    codes,
    lines,
    on_one_database,
    people,
    resuming,
)
from tests.contracts.test_guard import CountingGuard

from backctl.application.transfer.journal import ImportJournal
from backctl.domain.errors import ConfirmationRequired
from backctl.domain.repositories import EVERY_USER, AccountKeys
from backctl.domain.user import User
from backctl.domain.values import Identity, Username
from backctl.infrastructure.probes import ok
from backctl.infrastructure.sql.checks import Examined, probes
from backctl.infrastructure.sql.comparison import Schema
from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork
from backctl.infrastructure.sql.user_repository import SqlUserRepository

with_other_writers = pytest.mark.parametrize("store", ["postgres16", "postgres18"], indirect=True)
"""For writers that run while a transaction is open; SQLite has one lock for all."""


@pytest.fixture
def importer(store: Store) -> Iterator[Importer]:
    """An installation with the administrator `root` and the account `ada`."""
    store.add(a_user("root", role="admin"), a_user("ada"))
    importer = Importer(store)
    yield importer
    assert importer.reader.verify_chain(store.audit_keys).intact


# Transactions.


@pytest.mark.parametrize("size", [1, 7, 20, 21, 1000])
def test_a_transaction_has_at_most_one_batch(importer: Importer, size: int) -> None:
    commits = list[int]()
    listen(importer.store.engine, "commit", lambda _: commits.append(1))
    rows = people(45)
    found = 0
    for block in importer.blocks(rows, batch_size=size):
        found += len(block)
        assert importer.reader.count_users(EVERY_USER) == 2 + found
    assert len(commits) == -(-45 // size)
    assert [data["username"] for type_, data in importer.events() if type_ == "UserImported"] == [
        row["username"] for row in rows
    ]


def test_nothing_happens_before_the_outcomes_are_read(importer: Importer) -> None:
    blocks = importer.blocks(people(3), batch_size=2)
    assert importer.reader.count_users(EVERY_USER) == 2
    next(blocks)
    assert importer.reader.count_users(EVERY_USER) == 4


def test_a_stop_ends_the_run_before_the_next_transaction(importer: Importer) -> None:
    def stop() -> bool:
        return importer.reader.count_users(EVERY_USER) >= 5

    outcomes = [each for block in importer.blocks(people(9), batch_size=2, stop=stop) for each in block]
    assert len(outcomes) == 4
    assert importer.reader.count_users(EVERY_USER) == 6


@on_one_database
def test_rows_without_a_change_need_no_commit(importer: Importer) -> None:
    commits = list[int]()
    listen(importer.store.engine, "commit", lambda _: commits.append(1))
    assert importer.results(a_row("ada"), a_row("bob", role="king"), mode="skip") == ["unchanged", "role.unknown"]
    assert commits == []


@pytest.mark.parametrize("count", [1, 30])  # more than 20 rows are inserted together
def test_the_check_of_the_database_knows_imported_accounts(importer: Importer, count: int) -> None:
    def unused() -> Schema:
        raise AssertionError

    examined = Examined(importer.store.engine.connect, unused, lambda connection: ok("sound"), lambda connection: ())
    (probe,) = (probe for probe in probes(examined) if probe.check == "contents.accounts")
    importer.run(*people(count))
    found = probe.examine()
    assert (found.status, found.finding) == ("ok", f"accounts: {count + 2}, each with its creation event")
    with importer.store.work() as work:
        work.session.execute(text("DELETE FROM users WHERE username = 'user0'"))
        work.commit()
    assert "disappeared without a deletion event" in probe.examine().finding


# The order of the rows of one transaction.


@pytest.mark.parametrize("size", [1, 10])
@pytest.mark.parametrize("secret", [{}, {"password": "correct horse"}])
def test_names_that_an_update_frees_can_be_used_by_later_rows(importer: Importer, size: int, secret: Members) -> None:
    ada = importer.user("ada")
    rows = [
        a_row("lovelace", id=ada.id),
        a_row("new", email="ada@example.org") | secret,  # the address was Ada's when passwords were hashed
        a_row("ada", email="third@example.org") | secret,
    ]
    assert importer.results(*rows, mode="upsert", batch_size=size) == ["updated", "created", "created"]
    assert importer.names() == {
        "root@example.org": "root",
        "lovelace@example.org": "lovelace",
        "ada@example.org": "new",
        "third@example.org": "ada",
    }
    assert importer.user("lovelace").id == ada.id
    if secret:
        assert importer.fits("new", "correct horse")
        assert importer.fits("ada", "correct horse")


def test_a_generated_password_for_an_address_that_an_update_frees(importer: Importer) -> None:
    secrets = MemoryFile()
    rows = [a_row("lovelace", id=importer.user("ada").id), a_row("new", email="ada@example.org")]
    outcomes = importer.run(*rows, mode="upsert", generate_passwords=True, journal=ImportJournal(None, secrets))
    assert codes(outcomes) == ["updated", "created"]
    (line,) = lines(secrets.durable)
    assert (line["id"], line["email"], line["username"]) == (outcomes[1].id, "ada@example.org", "new")
    assert importer.fits("new", str(line["password"]))


def test_names_cannot_be_used_before_they_are_free(importer: Importer) -> None:
    rows = [a_row("ada", email="b@example.org"), a_row("lovelace", email="ada@example.org")]
    assert importer.results(*rows, mode="upsert") == ["user.username_taken", "updated"]


def test_names_that_two_accounts_exchange(importer: Importer) -> None:
    importer.run(a_row("bob"))
    ids = [importer.user(name).id for name in ("ada", "bob")]
    rows: list[Members] = [{"id": ids[0], "username": "bob"}, {"id": ids[1], "username": "ada"}]
    assert importer.results(*rows, mode="upsert") == ["user.username_taken"] * 2
    third: Members = {"email": "ada@example.org", "username": "third"}
    assert importer.results(third, {"id": ids[1], "username": "ada"}, mode="upsert") == ["updated"] * 2
    assert importer.results({"id": ids[0], "username": "bob"}, mode="upsert") == ["updated"]
    assert [importer.user(each).username.name for each in ids] == ["bob", "ada"]


def test_two_rows_can_name_one_account_differently(importer: Importer) -> None:
    rows: list[Members] = [
        {"id": importer.user("ada").id, "role": "moderator"},
        {"email": "ada@example.org", "username": "lovelace"},
    ]
    assert importer.results(*rows, mode="upsert") == ["updated"] * 2
    user = importer.user("lovelace")
    assert (user.role, user.version) == ("moderator", 3)


# All or nothing.


@pytest.mark.parametrize("size", [1, 3, 100])
def test_all_or_nothing_makes_one_transaction(importer: Importer, size: int) -> None:
    rows = [*people(5), a_row("ada", role="moderator")]
    assert importer.results(*rows, mode="upsert", all_or_nothing=True, batch_size=size) == ["created"] * 5 + ["updated"]
    blocks = list(importer.blocks(rows, mode="upsert", all_or_nothing=True, batch_size=size))
    assert [codes(block) for block in blocks] == [["unchanged"] * 6]


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("failing", [a_row("bad", role="king"), a_row("bad", email="root@example.org", role="user")])
def test_a_failed_row_undoes_all(importer: Importer, size: int, failing: Members) -> None:
    before = importer.events()
    results, secrets = MemoryFile(), MemoryFile()
    changed: Members = {"email": "ada@example.org", "role": "moderator"}
    rows = [*people(4), changed, a_row("root", is_active=True), failing | {"line": 9}]
    outcomes = importer.run(
        *rows,
        mode="upsert",
        all_or_nothing=True,
        generate_passwords=True,
        batch_size=size,
        journal=ImportJournal(results, secrets),
    )
    assert [each.result for each in outcomes] == ["undone"] * 5 + ["unchanged", "failed"]
    assert importer.events() == before
    assert importer.user("ada").role == "user"
    assert secrets.content == b""
    assert [line["result"] for line in lines(results.durable)] == [each.result for each in outcomes]


# The guard.


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("lets_pass", [True, False])
def test_the_guard_is_asked_once_before_the_first_change(importer: Importer, size: int, lets_pass: bool) -> None:
    guard = importer.guard = CountingGuard(importer.store, lets_pass=lets_pass)
    rows = [a_row("ada"), a_row("bad", role="king"), *people(4)]
    results = MemoryFile()
    try:
        outcomes = importer.run(*rows, mode="skip", batch_size=size, journal=ImportJournal(results))
    except ConfirmationRequired:
        assert not lets_pass
        assert (results.calls, importer.event_types()) == ("", ["UserCreated"] * 2)
    else:
        assert codes(outcomes) == ["unchanged", "role.unknown"] + ["created"] * 4
        assert len(lines(results.durable)) == 6
    assert guard.asked == 1


def test_the_guard_is_not_asked_when_nothing_changes(importer: Importer) -> None:
    results = MemoryFile()
    importer.run(*people(2), journal=ImportJournal(results))
    guard = importer.guard = CountingGuard(importer.store, lets_pass=False)
    rows = [*people(2), a_row("bad", role="king")]
    assert importer.results(*rows, journal=resuming(results)) == ["unchanged", "unchanged", "role.unknown"]
    assert [line["result"] for line in lines(results.durable)][2:] == ["unchanged", "unchanged", "failed"]
    assert importer.results(*people(3), dry_run=True, mode="skip")[2] == "created"
    assert guard.asked == 0


# Other processes.


def a_namesake(kind: str) -> User:
    """Return an account that has one key of the row `user7`."""
    other = a_user("other")
    match kind:
        case "id":
            return a_user("other", id=IDS[7])
        case "email":
            return a_user("other", email=a_user("user7").email)
    return a_user("user7", email=other.email)


IDS = [a_user().id for _ in range(30)]


@with_other_writers
@pytest.mark.parametrize("count", [8, 30])  # more than 20 rows are inserted together
@pytest.mark.parametrize("kind", ["id", "email", "username"])
@pytest.mark.parametrize("mode", ["create", "upsert", "skip"])
def test_an_account_that_appears_after_the_look_up_is_seen(
    importer: Importer, monkeypatch: pytest.MonkeyPatch, count: int, kind: str, mode: str
) -> None:
    others = [a_namesake(kind)]

    def lock_holders(repository: SqlUserRepository, keys: Sequence[AccountKeys]) -> None:
        original(repository, keys)
        if others:
            importer.store.add(others.pop())

    original = SqlUserRepository.lock_holders
    monkeypatch.setattr(SqlUserRepository, "lock_holders", lock_holders)
    rows = [row | {"id": user_id} for row, user_id in zip(people(count), IDS, strict=False)]
    results = MemoryFile()
    found = importer.results(*rows, mode=mode, journal=ImportJournal(results))
    assert importer.pauses == [2]
    expected = {
        "create": {"id": "user.id_taken", "email": "user.email_taken"},
        "upsert": {"id": "updated", "email": "updated"},
        "skip": {"id": "unchanged", "email": "unchanged"},
    }
    assert found.pop(7) == expected[mode].get(kind, "user.username_taken")
    assert found == ["created"] * (count - 1)
    assert results.calls == "uuak"  # the transaction was aborted before it was written down
    assert importer.event_types().count("UserImported") == count - 1


def test_an_account_that_appears_gets_no_generated_password(importer: Importer) -> None:
    bob = a_user("bob")
    importer.hasher = MeddlingHasher(lambda: importer.store.add(bob))
    secrets = MemoryFile()
    found = importer.results(
        a_row("bob"),
        a_row("eve"),
        mode="upsert",
        update_secrets=True,
        generate_passwords=True,
        journal=ImportJournal(None, secrets),
    )
    assert found == ["unchanged", "created"]
    assert importer.user("bob").password_hash == bob.password_hash
    assert [line["username"] for line in lines(secrets.durable)] == ["eve"]


@pytest.mark.parametrize(
    "leave",
    [
        lambda work, bob: (work.users.remove(bob), bob.delete(erased=False, now=bob.created_at)),
        lambda work, bob: (
            bob.rename(Username.parse("rob"), now=bob.created_at),
            bob.change_email(a_user("rob").email, now=bob.created_at),
        ),
    ],
    ids=["deleted", "renamed"],
)
@pytest.mark.parametrize("mode", ["create", "upsert", "skip"])
def test_the_password_of_an_account_that_disappears_is_not_lost(
    importer: Importer, mode: str, leave: Callable[[SqlUnitOfWork, User], object]
) -> None:
    def meddle() -> None:
        with importer.store.work() as work:
            leave(work, work.users.get(Identity.parse("bob")))
            work.commit()

    importer.store.add(a_user("bob"))
    importer.hasher = MeddlingHasher(meddle)
    outcomes = importer.run(a_row("bob", password="correct horse"), a_row("eve", password="battery staple"), mode=mode)
    assert codes(outcomes) == ["created", "created"]
    assert importer.fits("bob", "correct horse")
    assert importer.fits("eve", "battery staple")
