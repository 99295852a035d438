"""Records: only the selected values change, all other bytes stay the same, and errors name the line."""

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.application.records import rewriting
from backctl.application.records.csv import CsvRecords
from backctl.application.records.csv_cells import cell_texts, plain_cell, split_cells
from backctl.application.records.fields import ContextTemplate, Field, parse_fields
from backctl.application.records.json_lines import JsonLines
from backctl.application.records.rewriting import Lines, Replace, Shape, Tally, rewritten
from backctl.domain.errors import BackctlError, DecryptFailed, InvalidInput, UsageError


class Seen:
    """A replacement that records its arguments."""

    def __init__(self, change: Callable[[bytes], bytes] = lambda value: b"<" + value + b">") -> None:
        self.calls: list[tuple[bytes, bytes]] = []
        self._change = change

    def __call__(self, value: bytes, context: bytes) -> bytes:
        self.calls.append((value, context))
        return self._change(value)


class Run:
    """The result of processing some input."""

    def __init__(self, shape: Shape, data: bytes, replace: Replace | None = None, step: int = 1 << 20) -> None:
        source = io.BytesIO(data)
        self.tally = Tally()
        self.failures: list[tuple[int, str]] = []

        def failed(line: int, error: BackctlError) -> None:
            self.failures.append((line, error.message))

        pieces = rewritten(lambda most: source.read(min(most, step)), shape, replace or Seen(), self.tally, failed)
        self.out = b"".join(pieces)


def jsonl(fields: str, context: str = "c") -> JsonLines:
    return JsonLines(parse_fields(fields, nested=True), ContextTemplate.parse(context))


def table(fields: str, context: str = "c") -> CsvRecords:
    return CsvRecords(parse_fields(fields, nested=False), ContextTemplate.parse(context))


def same(value: bytes, context: bytes) -> bytes:
    return value


# Lines.


@pytest.mark.parametrize("step", [1, 2, 5, 1000])
def test_every_line_is_a_value_and_its_end_stays(step: int) -> None:
    seen = Seen()
    run = Run(Lines(b"c"), b"one\n\ntwo\r\n\0\xff\nlast", seen, step)
    assert run.out == b"<one>\n<>\n<two>\r\n<\0\xff>\n<last>"
    assert seen.calls == [(value, b"c") for value in (b"one", b"", b"two", b"\0\xff", b"last")]
    assert run.tally == Tally(records=5, values=5, changed=5, failed=0)


@pytest.mark.parametrize(("data", "count"), [(b"", 0), (b"\n", 1), (b"a", 1), (b"a\n", 1), (b"\n\n", 2)])
def test_no_line_is_made_up(data: bytes, count: int) -> None:
    run = Run(Lines(b""), data, same)
    assert (run.out, run.tally.records, run.tally.changed) == (data, count, 0)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_lines_that_do_not_change_are_the_same_bytes(data: bytes, step: int) -> None:
    assert Run(Lines(b""), data, same, step).out == data


def test_a_failed_line_is_left_out_and_the_others_are_written() -> None:
    def fussy(value: bytes, context: bytes) -> bytes:
        if value == b"bad":
            raise DecryptFailed
        return value.upper()

    run = Run(Lines(b""), b"a\nbad\nb\nbad", fussy)
    assert run.out == b"A\nB\n"
    assert run.failures == [(2, "decryption failed"), (4, "decryption failed")]
    assert run.tally == Tally(records=4, values=2, changed=2, failed=2)


def test_what_is_no_failure_of_a_record_ends_the_run() -> None:
    def broken(value: bytes, context: bytes) -> bytes:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Run(Lines(b""), b"a\n", broken)


def test_a_plaintext_with_a_line_end_is_no_line() -> None:
    run = Run(Lines(b""), b"a\nb\n", Seen(lambda value: b"x\ny" if value == b"a" else value))
    assert run.out == b"b\n"
    assert run.failures == [(1, "it contains a line break, so it does not fit on one line")]


@pytest.mark.parametrize("step", [3, 1000])
def test_a_line_beyond_the_bound_fails_alone(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(rewriting, "LONGEST", 10)
    run = Run(Lines(b""), b"a\n" + b"x" * 10 + b"\n" + b"y" * 11 + b"\nb\n" + b"z" * 100, same, step)
    assert run.out == b"a\n" + b"x" * 10 + b"\nb\n"
    assert [line for line, _ in run.failures] == [3, 5]
    assert run.tally.records == 5


def test_lines_come_out_as_they_come_in() -> None:
    blocks = iter([b"a\nb", b"c\nd\n", b""])
    pieces = rewritten(lambda most: next(blocks), Lines(b""), same, Tally(), lambda line, error: None)
    assert next(pieces) == b"a\n"
    assert next(pieces) == b"bc\nd\n"


# Chosen fields and contexts.


def test_fields_are_named_with_commas_dots_question_marks_and_backslashes() -> None:
    assert parse_fields("phone,address.street?", nested=True) == (
        Field("phone", ("phone",), False),
        Field("address.street", ("address", "street"), True),
    )
    assert parse_fields(r"a\.b,c\,d,e\?,f\\", nested=True) == (
        Field("a.b", ("a.b",), False),
        Field("c,d", ("c,d",), False),
        Field("e?", ("e?",), False),
        Field("f\\", ("f\\",), False),
    )
    assert parse_fields("a.b", nested=False) == (Field("a.b", ("a.b",), False),)


@pytest.mark.parametrize("text", ["", ",", "a,", "a..b", ".a", "?", "a,a", "a,a.b", "a.b,a", "a,b,a?"])
def test_fields_that_are_empty_or_overlap_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_fields(text, nested=True)


def test_a_context_is_filled_from_the_record() -> None:
    template = ContextTemplate.parse("u.{}:{id}/{{{name}}}")
    assert template.names == ("id", "name")
    assert template.context("phone", {"id": "7", "name": "ä"}.__getitem__) == "u.phone:7/{ä}".encode()
    assert ContextTemplate.constant("{id}").context("phone", str) == b"{id}"


@pytest.mark.parametrize("text", ["{", "}", "a}b", "{a{b}}", "{a}}"])
def test_single_braces_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        ContextTemplate.parse(text)


@pytest.mark.parametrize("filling", ["", "\ud800"])
def test_a_context_of_nothing_or_of_no_text_is_refused(filling: str) -> None:
    with pytest.raises(InvalidInput):
        ContextTemplate.parse("u:{id}").context("phone", lambda name: filling)


def test_a_context_cannot_hold_what_is_replaced() -> None:
    for make in (jsonl, table):
        with pytest.raises(UsageError):
            make("id,phone", "u:{id}")
    with pytest.raises(UsageError):
        jsonl("a", "u:{a.b}")


# JSON lines.


def test_the_chosen_strings_change_and_every_other_byte_stays() -> None:
    line = b'\t{ "id" :1.50, "x":[{"phone":"no"}], "phone" : "\\u00e4\\n" ,"a" : {"b":"q","c":null}, "n":1e400 } \r\n'
    seen = Seen()
    run = Run(jsonl("phone,a.b", "u.{}:{id}"), line, seen)
    assert run.out == line.replace(b'"\\u00e4\\n"', '"<ä\\n>"'.encode()).replace(b'"q"', b'"<q>"')
    assert seen.calls == [("ä\n".encode(), b"u.phone:1.50"), (b"q", b"u.a.b:1.50")]


def test_null_stays_and_what_may_be_missing_may_be_missing() -> None:
    data = b'{"phone":null}\n{}\n\n  \n'
    run = Run(jsonl("phone?"), data)
    assert (run.out, run.failures, run.tally) == (data, [], Tally(records=2))
    assert Run(jsonl("a.b?"), b'{"a":null}\n{"a":{}}').failures == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{}", "it has no field 'phone'"),
        (b'{"phone":1}', "its field 'phone' is not a string"),
        (b'{"phone":{"x":"y"}}', "its field 'phone' is not a string"),
        (b'{"phone":"a","phone":"b"}', "its field 'phone' appears twice"),
        (b'{"phone":"\\ud800"}', "its field 'phone' contains an unpaired surrogate"),
        (b'{"phone":"a"} x', "there is text after its JSON object"),
        (b'{"phone":"a"}{}', "there is text after its JSON object"),
        (b'["phone"]', "it is not a JSON object"),
        (b'"phone"', "it is not a JSON object"),
        (b'{"phone":"a"', "it is not a JSON object"),
        (b'{"phone":"a",}', "it is not a JSON object"),
        (b'{"phone":"a" "b":1}', "it is not a JSON object"),
        (b'{"phone" "a"}', "it is not a JSON object"),
        (b'{"phone":"a","n":NaN}', "it is not a JSON object"),
        (b'{"phone":"a\tb"}', "it is not a JSON object"),
        (b"{phone:1}", "it is not a JSON object"),
        (b"{", "it is not a JSON object"),
        (b"x", "it is not a JSON object"),
        (b'{"phone":"\xff"}', "it is not UTF-8"),
        (b'{"n":' + b"[" * 100_000 + b"}", "it is not a JSON object"),
        (b'{"phone":' * 5000 + b"}" * 5000, "its field 'phone' is not a string"),
    ],
)
def test_a_line_that_cannot_be_read_fails_without_being_shown(line: bytes, why: str) -> None:
    run = Run(jsonl("phone"), b'{"phone":"1"}\n' + line + b'\n{"phone":"2"}\n')
    assert run.out == b'{"phone":"<1>"}\n{"phone":"<2>"}\n'
    assert len(run.failures) == 1
    assert run.failures[0][0] == 2
    assert run.failures[0][1] in (why, "it is not a JSON object")


@pytest.mark.parametrize("line", [b'{"p":"x"}', b'{"p":"x","id":null}', b'{"p":"x","id":[1]}', b'{"p":"x","id":""}'])
def test_a_context_without_what_it_needs_fails(line: bytes) -> None:
    run = Run(jsonl("p", "u:{id}"), line)
    assert run.out == b""
    assert "'id'" in run.failures[0][1]


def test_a_plaintext_that_is_no_text_has_no_place_in_json() -> None:
    run = Run(jsonl("p"), b'{"p":"x"}', Seen(lambda value: b"\xff"))
    assert run.failures == [(1, "the new value of its field 'p' is not UTF-8, so JSON cannot contain it")]


def test_a_byte_order_mark_stays() -> None:
    assert Run(jsonl("p"), b'\xef\xbb\xbf{"p":"x"}\n').out == b'\xef\xbb\xbf{"p":"<x>"}\n'


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text('abp\\"{}', max_size=2), below, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(st.text('abp.\\"', max_size=2), JSON, max_size=4),
    st.text(st.characters(codec="utf-8")),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_what_a_json_parser_reads_afterwards_differs_in_the_chosen_string_alone(
    document: dict[str, Any], text: str, indent: int | None, ascii_only: bool
) -> None:
    document["chosen"] = {"p": text, "rest": document.get("p")}
    written = json.dumps(document, ensure_ascii=ascii_only, separators=(" , ", " : ") if indent else None)
    line = written.encode() + b"\n"
    assert Run(jsonl("chosen.p"), line, same).out == line
    seen = Seen()
    after = json.loads(Run(jsonl("chosen.p"), line, seen).out)
    assert seen.calls == [(text.encode(), b"c")]
    document["chosen"]["p"] = f"<{text}>"
    assert after == document


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader_of_json(raw: bytes) -> None:
    run = Run(jsonl("a,b.c", "u:{id}"), raw)
    assert run.tally.failed == len(run.failures) <= run.tally.records


# CSV.


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_cells_of_chosen_columns_change_and_every_other_byte_stays(step: int) -> None:
    data = b'\xef\xbb\xbf"id",phone ,"a ""b"""\r\n1,"x, ""y"" ",\xff\r\n\r\n2,\xff,"one\nline\r\n more"\n3,"",""'
    seen = Seen()
    run = Run(table("phone ", "u.{}:{id}"), data, seen, step)
    assert run.out == data.replace(b'"x, ""y"" "', b'"<x, ""y"" >"').replace(b"2,\xff", b"2,<\xff>").replace(
        b'3,""', b"3,<>"
    )
    assert seen.calls == [(b'x, "y" ', b"u.phone :1"), (b"\xff", b"u.phone :2"), (b"", b"u.phone :3")]
    assert run.tally == Tally(records=3, values=3, changed=3, failed=0)


def test_what_needs_quotes_gets_them() -> None:
    for plaintext, written in ((b"a,b", b'"a,b"'), (b'a"b', b'"a""b"'), (b"a\nb", b'"a\nb"'), (b"a\rb", b'"a\rb"')):
        run = Run(table("p"), b"p,q\nx,y\n", Seen(lambda value, plaintext=plaintext: plaintext))  # type: ignore[misc]
        assert run.out == b"p,q\n" + written + b",y\n"


@pytest.mark.parametrize(
    ("record", "line", "why"),
    [
        (b"1", 3, "its number of fields is 1, but the header has 2"),
        (b"1,2,3", 3, "its number of fields is 3, but the header has 2"),
        (b'a"b"c,2', 3, "its field 1 is not valid CSV (RFC 4180)"),
        (b'"a" ,2', 3, "its field 1 is not valid CSV (RFC 4180)"),
        (b'"a"",2\n', 3, "a quote that starts here is never closed"),
        (b'1,"never closed\n\n', 3, "a quote that starts here is never closed"),
        (b"a\rb,2", 3, "its field 1 is not valid CSV (RFC 4180)"),
        (b"\xff,", 3, "its field 'id', which the context needs, is not UTF-8"),
        (b",x", 3, "its field 'id', which the context needs, is empty"),
    ],
)
def test_a_record_that_cannot_be_read_fails_alone(record: bytes, line: int, why: str) -> None:
    run = Run(table("p", "u:{id}"), b"id,p\n1,a\n" + record)
    assert run.out == b"id,p\n1,<a>\n"
    assert run.failures == [(line, why)]


def test_a_quote_within_a_cell_takes_no_other_record_with_it() -> None:
    run = Run(table("p", "u:{id}"), b'id,p,q\n1,a,15" wide\n2,b,\n3,c,"d"e"\n4,"d\nd",12" high\n5,"e\ne",\n')
    assert run.out == b'id,p,q\n2,<b>,\n5,"<e\ne>",\n'
    assert [line for line, _ in run.failures] == [2, 4, 5]


def test_a_header_may_begin_with_a_mark_and_go_over_lines() -> None:
    assert Run(table("p"), b'\xef\xbb\xbf"i\nd",p\n1,a\n').out == b'\xef\xbb\xbf"i\nd",p\n1,<a>\n'


@pytest.mark.parametrize(
    "data", [b"", b"id\n1\n", b"id,p,p\n", b"id,id,p\n", b"p\nx\n", b'id,p"x"\n', b"\xff,p\n", b'"id,p\n']
)
def test_a_header_that_cannot_be_used_ends_the_run(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        Run(table("p", "u:{id}"), data)


def test_a_column_may_be_missing_and_a_table_may_have_one() -> None:
    assert Run(table("p?"), b"id\n1\n").out == b"id\n1\n"
    assert Run(table("p"), b"p\nx\n\ny").out == b"p\n<x>\n<>\n<y>"


def test_a_record_beyond_the_bound_fails_and_the_next_line_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backctl.application.records.csv.LONGEST", 12)
    run = Run(table("p"), b'p,q\n"xxxxxx\nyyyyyy\nzzzzzz,1\na,b\n')
    assert run.failures[0] == (2, "it is longer than 12 bytes")
    assert run.out.endswith(b"\n<a>,b\n")


CELLS = st.lists(st.lists(st.text('ab",\n ', max_size=4), min_size=3, max_size=3), min_size=1, max_size=5)


@given(CELLS, st.sampled_from(["\r\n", "\n"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.integers(1, 30))
def test_what_a_csv_reader_reads_afterwards_differs_in_the_chosen_column_alone(
    rows: list[list[str]], end: str, quoting: Any, step: int
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=quoting)
    writer.writerow(["id", "p", "rest"])
    writer.writerows(rows)
    data = text.getvalue().encode()
    assert Run(table("p"), data, same, step).out == data
    out = Run(table("p"), data, None, step).out.decode()
    read = list(csv.reader(io.StringIO(out, newline="")))
    assert read == [["id", "p", "rest"], *([a, f"<{b}>", c] for a, b, c in rows)]


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader_of_csv(raw: bytes) -> None:
    run = Run(table("p", "u:{id}"), b"id,p\n" + raw)
    assert run.tally.failed == len(run.failures) <= run.tally.records


@given(st.text('",a\r\n', max_size=12).filter(lambda text: '"' in text))
def test_the_cells_and_their_commas_are_the_whole_record(text: str) -> None:
    record = text.encode()
    try:
        cells = split_cells(record)
    except InvalidInput as error:
        number = int(error.message.removeprefix("its field ").split()[0])
        with pytest.raises(InvalidInput, match=re.escape(error.message)):
            cell_texts(record)
        assert 1 <= number <= record.count(b",") + 1
    else:
        assert b",".join(cells) == record
        assert cell_texts(record) == [plain_cell(cell).decode() for cell in cells]
        assert all(re.fullmatch(rb'"([^"]|"")*"|[^",\r\n]*', cell) for cell in cells)


@pytest.mark.parametrize("record", [b'"a"b' + b"x" * 500_000, b'x"' + b',"' * 250_000, b'"a' + b'""' * 250_000 + b"x"])
def test_an_invalid_record_is_refused_in_linear_time(record: bytes) -> None:
    with pytest.raises(InvalidInput, match="its field 1 is not valid CSV"):
        split_cells(record)
