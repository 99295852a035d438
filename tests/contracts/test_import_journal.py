"""The files that an import writes, in every outcome of a transaction, and runs that continue from them."""

import json
from collections.abc import Iterator

import pytest
from sqlalchemy.event import listen
from tests.contracts.conftest import Store, a_user
from tests.contracts.importing import (
    Importer,
    MemoryFile,
    a_row,
    codes,
    lines,
    on_one_database,
    people,
    resuming,
)

from backctl.application.transfer.journal import ImportJournal
from backctl.domain.errors import DiskFull, OutcomeUnknown, TransactionAborted
from backctl.domain.repositories import EVERY_USER
from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork


@pytest.fixture
def importer(store: Store) -> Iterator[Importer]:
    """An installation with the administrator `root` and the account `ada`."""
    store.add(a_user("root", role="admin"), a_user("ada"))
    importer = Importer(store)
    yield importer
    assert importer.reader.verify_chain(store.audit_keys).intact


def test_the_files_are_written_before_the_commit(importer: Importer) -> None:
    results, secrets, seen = MemoryFile(), MemoryFile(), list[tuple[int, int]]()
    listen(
        importer.store.engine,
        "commit",
        lambda _: seen.append((len(results.content.splitlines()), len(secrets.content.splitlines()))),
    )
    rows = [*people(3), a_row("ada"), a_row("x"), a_row("hash", password="correct horse")]
    outcomes = importer.run(
        *rows, mode="skip", generate_passwords=True, batch_size=2, journal=ImportJournal(results, secrets)
    )
    assert seen == [(2, 2), (4, 3), (6, 3)]
    assert (results.calls, secrets.calls) == ("uakuakuak", "uakuakuk")
    assert results.content == results.durable
    assert [(line["line"], line["result"], line["id"], line["email"]) for line in lines(results.content)] == [
        each[:4] for each in outcomes
    ]
    error = lines(results.content)[4]["error"]
    assert isinstance(error, dict)
    assert error["code"] == "user.username_invalid"
    for line in lines(secrets.content):
        assert importer.fits(str(line["username"]), str(line["password"]))


@on_one_database
@pytest.mark.parametrize("which", [0, 1])
def test_a_file_that_cannot_be_written_ends_the_run_and_leaves_no_lines(importer: Importer, which: int) -> None:
    files = (MemoryFile(), MemoryFile())
    blocks = importer.blocks(people(4), generate_passwords=True, batch_size=2, journal=ImportJournal(*files))
    next(blocks)
    files[which].fails = DiskFull("results")
    with pytest.raises(DiskFull):
        next(blocks)
    assert [file.content == file.durable for file in files] == [True, True]
    assert [len(lines(file.content)) for file in files] == [2, 2]
    assert importer.reader.count_users(EVERY_USER) == 4


@on_one_database
def test_lines_of_a_commit_with_an_unknown_outcome_are_kept(
    importer: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def commit(work: SqlUnitOfWork) -> None:
        original(work)
        raise OutcomeUnknown("the connection broke")

    original = SqlUnitOfWork.commit
    monkeypatch.setattr(SqlUnitOfWork, "commit", commit)
    results, secrets = MemoryFile(), MemoryFile()
    with pytest.raises(OutcomeUnknown):
        importer.run(*people(2), generate_passwords=True, journal=ImportJournal(results, secrets))
    assert (len(lines(results.durable)), len(lines(secrets.durable))) == (2, 2)
    assert importer.pauses == []


@on_one_database
def test_lines_of_an_aborted_transaction_are_replaced(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = [TransactionAborted("deadlock"), TransactionAborted("deadlock")]

    def commit(work: SqlUnitOfWork) -> None:
        if fails:
            raise fails.pop()
        original(work)

    original = SqlUnitOfWork.commit
    monkeypatch.setattr(SqlUnitOfWork, "commit", commit)
    results, secrets = MemoryFile(), MemoryFile()
    outcomes = importer.run(*people(2), generate_passwords=True, journal=ImportJournal(results, secrets))
    assert importer.pauses == [2, 3]
    assert (results.calls, secrets.calls) == ("uauauak", "uauauak")
    assert [line["id"] for line in lines(results.durable)] == [each.id for each in outcomes]
    assert [line["id"] for line in lines(secrets.durable)] == [each.id for each in outcomes]
    assert {importer.user(str(each.id)).username.name for each in outcomes} == {"user0", "user1"}
    assert importer.event_types().count("UserImported") == 2


# Resumed runs.


@pytest.mark.parametrize("mode", ["create", "upsert", "skip"])
@pytest.mark.parametrize("line", [None, 1])
@pytest.mark.parametrize("named", [False, True])
def test_a_resumed_run_does_the_rest(importer: Importer, mode: str, line: int | None, named: bool) -> None:
    """After a crash, results can describe rows whose transaction was lost. All rows can be on one line."""
    rows = [row | ({} if line is None else {"line": line}) for row in people(6)]
    if named:
        rows = [row | {"id": a_user().id} for row in rows]
    results = MemoryFile()
    first = importer.run(*rows[:3], mode=mode, journal=ImportJournal(results))
    lost = [each | {"line": line or number, "id": a_user().id} for number, each in enumerate(rows[3:5], 4)]
    for each in lost:
        results.content += (
            json.dumps({"line": each["line"], "result": "created", "id": each["id"], "email": each["email"]}).encode()
            + b"\n"
        )
    expected = ["unchanged"] * 3 + ["created"] * 3
    assert importer.results(*rows, mode=mode, dry_run=True, journal=resuming(results)) == expected
    again = importer.run(*rows, mode=mode, journal=resuming(results))
    assert codes(again) == expected
    assert [each.id for each in again[:3]] == [each.id for each in first]
    if not named:
        assert [each.id for each in again[3:5]] == [each["id"] for each in lost]
    assert importer.event_types().count("UserImported") == 6
    assert importer.results(*rows, mode=mode, journal=resuming(results)) == ["unchanged"] * 6


@on_one_database
def test_a_changed_input_is_not_confused_by_old_results(importer: Importer) -> None:
    results = MemoryFile()
    importer.run(*people(2), journal=ImportJournal(results))
    assert importer.results(a_row("other"), a_row("user0"), journal=resuming(results)) == [
        "created",
        "user.email_taken",
    ]


@on_one_database
def test_a_resumed_run_makes_no_second_password(importer: Importer) -> None:
    results, secrets = MemoryFile(), MemoryFile()
    importer.run(*people(2), generate_passwords=True, journal=ImportJournal(results, secrets))
    before = importer.user("user0").password_hash
    importer.run(*people(3), generate_passwords=True, journal=resuming(results, secrets))
    assert [line["username"] for line in lines(secrets.durable)] == ["user0", "user1", "user2"]
    assert importer.user("user0").password_hash == before
