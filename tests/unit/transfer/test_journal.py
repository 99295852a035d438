"""The journal of an import: its lines, what a resumed run reads back, and what it refuses to read."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.importing import MemoryFile

from backctl.application.transfer.account_row import AccountRow
from backctl.application.transfer.import_steps import RowOutcome
from backctl.application.transfer.journal import NO_JOURNAL, GeneratedPassword, ImportJournal, resumed_ids
from backctl.domain.errors import InvalidInput, UnknownRole
from backctl.domain.values import Secret, UserId

IDS = [UserId(f"01935b1e-7c3a-7def-8abc-{number:012x}") for number in range(5)]
NOTHING = dict.fromkeys(AccountRow._fields)


def test_every_outcome_is_a_line_of_json() -> None:
    results, secrets = MemoryFile(), MemoryFile()
    journal = ImportJournal(results, secrets)
    created = RowOutcome(1, "created", IDS[1], "jürgen@example.org")
    failed = RowOutcome(2, "failed", None, "a\nb\ud800", UnknownRole("no role 'x'", hint="use another"))
    journal.write([created, failed], [GeneratedPassword(IDS[1], "jürgen@example.org", "jürgen", Secret('p"\\\n'))])
    assert results.content == (
        b'{"line": 1, "result": "created", "id": "01935b1e-7c3a-7def-8abc-000000000001", '
        b'"email": "j\xc3\xbcrgen@example.org"}\n'
        b'{"line": 2, "result": "failed", "id": null, "email": "a\\nb?", "error": {"code": "role.unknown", '
        b'"message": "no role \'x\'", "hint": "use another"}}\n'
    )
    assert [json.loads(line) for line in secrets.lines()] == [
        {"id": IDS[1], "email": "jürgen@example.org", "username": "jürgen", "password": 'p"\\\n'}
    ]
    assert journal.has_passwords


def test_passwords_are_written_first() -> None:
    """If the second file cannot be written, no result says that an account was created."""
    order = list[str]()

    class Noted(MemoryFile):
        def append(self, lines: bytes) -> None:
            order.append("password" if b"password" in lines else "result")

    created = RowOutcome(1, "created", IDS[1], "a@example.org")
    generated = GeneratedPassword(IDS[1], "a@example.org", "abc", Secret("secret"))
    ImportJournal(Noted(), Noted()).write([created], [generated])
    assert order == ["password", "result"]


def test_nothing_is_appended_when_there_is_nothing_to_write() -> None:
    results, secrets = MemoryFile(), MemoryFile()
    journal = ImportJournal(results, secrets)
    journal.write([], [])
    assert results.calls == secrets.calls == ""
    journal.keep()
    journal.undo()
    assert results.calls == secrets.calls == "ku"
    assert not journal.has_passwords


def test_an_import_needs_no_journal() -> None:
    NO_JOURNAL.write([RowOutcome(1, "created", IDS[1], "a@example.org")], [])
    NO_JOURNAL.keep()
    NO_JOURNAL.undo()
    assert NO_JOURNAL.id_of(1, "a@example.org") is None


def test_the_errors_can_be_described_otherwise() -> None:
    results = MemoryFile()
    journal = ImportJournal(results, describe=lambda error: error.code)
    journal.write([RowOutcome(1, "failed", None, None, UnknownRole("no"))], [])
    assert json.loads(results.content)["error"] == "role.unknown"


names = st.sampled_from(["a@example.org", "b@example.org", "c@example.org"])
outcomes = st.builds(
    RowOutcome,
    st.integers(1, 3),
    st.sampled_from(["created", "updated", "unchanged", "failed", "undone"]),
    st.sampled_from(IDS),
    st.none() | names,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(outcomes, max_size=12))
def test_a_resumed_run_knows_the_last_id_of_each_row(done: list[RowOutcome]) -> None:
    results = MemoryFile()
    ImportJournal(results).write(done, [])
    journal = ImportJournal(resumed=resumed_ids(results.lines()))
    expected = {(each.line, each.email): each.id for each in done if each.result == "created" and each.id is not None}
    for line in range(1, 4):
        for email in ("a@example.org", "b@example.org", "c@example.org", "d@example.org"):
            assert journal.id_of(line, email) == journal.for_dry_run().id_of(line, email) == expected.get((line, email))


def test_a_dry_run_writes_nothing() -> None:
    results, secrets = MemoryFile(), MemoryFile()
    dry = ImportJournal(results, secrets).for_dry_run()
    created = RowOutcome(1, "created", IDS[1], "a@example.org")
    dry.write([created], [GeneratedPassword(IDS[1], "a@example.org", "abc", Secret("secret"))])
    dry.keep()
    dry.undo()
    assert results.calls == secrets.calls == ""


GOOD = b'{"line": 1, "result": "created", "id": "%s", "email": "a@example.org"}\n' % IDS[1].encode()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: b"\n",
        lambda line: b"created\n",
        lambda line: b"\xff\n",
        lambda line: b"[" * 100_000 + b"\n",
        lambda line: b"null\n",
        lambda line: b"[]\n",
        lambda line: b"7\n",
        lambda line: line[:-9] + b"\n",  # incomplete, which only the last line of a file may be
        lambda line: line.replace(b"1,", b'"1",'),
        lambda line: line.replace(b"1,", b"1.0,"),
        lambda line: line.replace(b"1,", b"true,"),
        lambda line: line.replace(b'"line"', b'"row"'),
        lambda line: line.replace(b'"result"', b'"outcome"'),
        lambda line: line.replace(b'"id"', b'"ID"'),
        lambda line: line.replace(b'"email"', b'"mail"'),
        lambda line: line.replace(b'"a@example.org"', b"[]"),
        lambda line: line.replace(b'"%s"' % IDS[1].encode(), b"null"),
        lambda line: b'{"id": "x", "email": "a@example.org", "username": "a", "password": "secret"}\n',
    ],
)
def test_another_file_is_not_resumed(spoil: Callable[[bytes], bytes]) -> None:
    assert len(resumed_ids([GOOD])) == 1
    with pytest.raises(InvalidInput, match="line 2 is not the result of an import") as error:
        resumed_ids([GOOD, spoil(GOOD)])
    assert "secret" not in str(error.value)
