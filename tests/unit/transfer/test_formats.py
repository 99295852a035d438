"""The formats of an export: what a JSON parser and the csv module read back is what was written."""

import csv
import io
import json
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.application.transfer import record
from backctl.application.transfer.formats import FORMATS, ExportFormat, written
from backctl.domain.values import EARLIEST, LATEST, Instant

NAMES = record.members(hashes=True, factors=True)
# No database contains NUL or unpaired surrogates.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
VALUES = {
    "text": TEXTS,
    "flag": st.booleans(),
    "time": st.integers(EARLIEST, LATEST) | st.sampled_from([EARLIEST, -1, 0, LATEST]),
    "number": st.integers(0, 2**63 - 1),
}
ACCOUNTS = st.lists(st.tuples(*(VALUES[record.KINDS[name]] | st.none() for name in NAMES)), max_size=7)

Row = Sequence[object]


def text_of(
    accounts: Sequence[Row],
    form: ExportFormat,
    *,
    size: int = 3,
    names: Sequence[str] = NAMES,
    header: bool = True,
    spreadsheet_safe: bool = False,
) -> str:
    """Return the export of the accounts in blocks of a size."""
    blocks = [list(zip(*accounts[at : at + size], strict=True)) for at in range(0, len(accounts), size)]
    return b"".join(written(blocks, names, form, header=header, spreadsheet_safe=spreadsheet_safe)).decode()


def shown(name: str, value: object) -> object:
    return Instant(value).isoformat() if record.KINDS[name] == "time" and isinstance(value, int) else value


def objects(accounts: Sequence[Row]) -> list[dict[str, object]]:
    return [{name: shown(name, value) for name, value in zip(NAMES, row, strict=True)} for row in accounts]


@given(ACCOUNTS, st.integers(1, 8))
def test_json_lines_are_those_of_the_json_module(accounts: list[Row], size: int) -> None:
    lines = [json.dumps(each, ensure_ascii=False) + "\n" for each in objects(accounts)]
    assert text_of(accounts, "jsonl", size=size) == "".join(lines)


@given(ACCOUNTS, st.integers(1, 8))
def test_a_json_document_is_a_list_of_the_command_line(accounts: list[Row], size: int) -> None:
    text = text_of(accounts, "json", size=size)
    assert text.endswith("}\n")
    assert json.loads(text) == {"items": objects(accounts), "next_cursor": None}


def cell(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


@given(ACCOUNTS, st.integers(1, 8), st.booleans())
def test_the_csv_module_reads_what_was_written(accounts: list[Row], size: int, header: bool) -> None:
    text = text_of(accounts, "csv", size=size, header=header)
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert (rows.pop(0) if header else list(NAMES)) == list(NAMES)
    assert rows == [[cell(value) for value in each.values()] for each in objects(accounts)]


def test_cells_are_quoted_only_where_needed() -> None:
    accounts = [("a", "b,c"), ('d"e', "f\rg"), ("h\ni", " j ")]
    assert text_of(accounts, "csv", names=("email", "role")) == 'email,role\na,"b,c"\n"d""e","f\rg"\n"h\ni", j \n'


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_spreadsheet_runs_no_cell(start: str) -> None:
    text = f"{start}cmd"
    (row,) = csv.reader(
        io.StringIO(
            text_of([(text, None, -1)], "csv", names=("email", "role", "version"), header=False, spreadsheet_safe=True),
            newline="",
        )
    )
    assert row == [f"'{text}", "", "-1"]
    assert text_of([("a=1",)], "csv", names=("email",), header=False, spreadsheet_safe=True) == "a=1\n"


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_without_accounts_is_valid(form: ExportFormat) -> None:
    wanted = {"jsonl": "", "json": '{"items": [], "next_cursor": null}\n', "csv": ",".join(NAMES) + "\n"}
    assert text_of([], form) == wanted[form]


@pytest.mark.parametrize("form", FORMATS)
def test_a_block_is_written_as_soon_as_it_arrives(form: ExportFormat) -> None:
    arrived = list[int]()

    def blocks() -> Iterator[list[list[str]]]:
        for number in range(3):
            arrived.append(number)
            yield [[str(number)]]

    pieces = written(blocks(), ("email",), form, header=False, spreadsheet_safe=False)
    for number in range(3):
        assert f"{number}".encode() in next(pieces)
        assert arrived == list(range(number + 1))


def test_many_days_take_little_memory() -> None:
    day = 86_400_000_000
    times = range(0, 30_000 * day, day + 1)
    text = text_of([(time,) for time in times], "csv", names=("created_at",), size=1000, header=False)
    assert text.split() == [Instant(time).isoformat() for time in times]
