"""Rows of an import: every good row is read with its line number, and every bad one fails alone."""

import csv
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.application.records import json_elements, lines
from backctl.application.transfer.mapping import Mapping
from backctl.application.transfer.raw_rows import BadRow, ImportFormat, Row, read_rows
from backctl.domain.errors import InputTooLarge, InvalidInput

BOM = b"\xef\xbb\xbf"


def reader(data: bytes, step: int = 1 << 20) -> Callable[[int], bytes]:
    source = io.BytesIO(data)
    return lambda most: source.read(min(most, step))


def rows(form: ImportFormat, data: bytes | str, *maps: str, step: int = 1 << 20) -> list[Row]:
    data = data.encode() if isinstance(data, str) else data
    return list(read_rows(reader(data, step), form, Mapping.parse(maps, nested=form != "csv")))


def plain(found: list[Row]) -> list[tuple[int, Any]]:
    """The rows in a form that can be compared: members, or the message of an error."""
    return [(row.line, row.error.message if isinstance(row, BadRow) else row[1]) for row in found]


def read(form: ImportFormat, data: bytes | str, *maps: str, step: int = 1 << 20) -> list[tuple[int, Any]]:
    return plain(rows(form, data, *maps, step=step))


# JSON lines.


def test_each_line_is_an_object() -> None:
    assert read("jsonl", b'{"email": "a"}\n\n  \r\n\t{"n": [1, null]}\r\n{"x": "\xc3\xa9"}') == [
        (1, {"email": "a"}),
        (4, {"n": [1, None]}),
        (5, {"x": "é"}),
    ]


@pytest.mark.parametrize("form", ["jsonl", "json", "django", "kratos"])
def test_a_byte_order_mark_may_stand_first(form: ImportFormat) -> None:
    assert [row.line for row in rows(form, BOM + b'{"model": "auth.user", "fields": {}, "traits": {}}')] == [1]


def test_no_lines_are_no_rows() -> None:
    assert read("jsonl", b"") == read("jsonl", BOM) == read("jsonl", b"\n\n") == []


BAD_OBJECTS = [
    (b'{"a": 1, "a": 2}', "its member 'a' appears twice"),
    (b'{"a": {"b": 1, "b": 1}}', "its member 'b' appears twice"),
    (b'{"a": NaN}', "it contains NaN, which is not JSON"),
    (b'{"a": -Infinity}', "it contains -Infinity, which is not JSON"),
    (b'{"a": "\xff"}', "it is not UTF-8"),
    (b'{"a": "\xed\xa0\x80"}', "it is not UTF-8"),
    (b'{"a": "\\ud800"}', "it contains an unpaired surrogate"),
    (b'{"\\udfff\\ud800": 1}', "it contains an unpaired surrogate"),
    (b'{"a": ' + b"[" * 20 + b"]" * 20 + b"}", "it is nested more than 20 levels deep"),
    (b'{"a": ' + b"[" * 9999 + b"]" * 9999 + b"}", "it is nested more than 20 levels deep"),
    (b'{"a": ' + b"1" * 5000 + b"}", "it contains a number that is too long"),
    (b'{"a": 1', "it is not valid JSON: there is an error at character 8"),
    (b"{'a': 1}", "it is not valid JSON: there is an error at character 2"),
    (b'{"a": "\x01"}', "it is not valid JSON: there is an error at character 8"),
    (b'{"a": 1} {}', "there is text after its JSON object"),
    (b'{"a": 1}}', "there is text after its JSON object"),
    (b"[1]", "it is not a JSON object"),
    (b"null", "it is not a JSON object"),
    (b'"text"', "it is not a JSON object"),
]


@pytest.mark.parametrize(("bad", "why"), BAD_OBJECTS)
def test_a_bad_line_fails_alone(bad: bytes, why: str) -> None:
    assert read("jsonl", b'{"n": 1}\n' + bad + b'\n{"n": 2}') == [(1, {"n": 1}), (2, why), (3, {"n": 2})]


def test_what_is_paired_or_shallow_is_read() -> None:
    deep = '{"a": ' + "[" * 19 + "]" * 19 + "}"
    assert read("jsonl", f'{{"a": "\\ud83d\\ude00 {{[{{[{{[{{[{{[{{[{{[{{[{{[{{[{{["}}\n{deep}') == [
        (1, {"a": "😀 {[{[{[{[{[{[{[{[{[{[{["}),
        (2, json.loads(deep)),
    ]


@pytest.mark.parametrize("step", [1 << 20, 4096])
def test_a_line_of_a_mebibyte_is_the_longest(step: int) -> None:
    exact = b'{"a": "' + b"x" * ((1 << 20) - 9) + b'"}'
    assert len(exact) == 1 << 20
    found = read("jsonl", exact + b"\n" + b'{"b": "' + b"y" * (20 << 20) + b'"}\n{"c": 1}\n', step=step)
    assert [line for line, _ in found] == [1, 2, 3]
    assert found[1:] == [(2, "it is longer than 1048576 bytes"), (3, {"c": 1})]


@pytest.mark.parametrize(
    "data", [b"[\n]", b'[{"a": 1}]', b'\n{\n"a": 1\n}', b"a,b\n1,2", b"\x1f\x8b\x08", b"PK\x03\x04", b"\xff\xfe{"]
)
def test_input_that_is_not_json_lines_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="not JSON lines") as error:
        rows("jsonl", data)
    assert "--format" in str(error.value.hint)


def test_an_endless_line_ends_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "ENDLESS", 4 << 20)
    with pytest.raises(InputTooLarge):
        list(read_rows(lambda most: b"{" * most, "jsonl", Mapping.none()))


# JSON.


@pytest.mark.parametrize("step", [1, 3, 1 << 20])
def test_an_array_has_a_row_for_each_object(step: int) -> None:
    data = '\n [\n  {"n": 1},\n  {\n    "n": "two\\\\",\n    "b": [1, {"c": "]}"}]\n  }\n , {"é": "\\""}\n]\n\n'
    assert read("json", data, step=step) == [
        (3, {"n": 1}),
        (4, {"n": "two\\", "b": [1, {"c": "]}"}]}),
        (8, {"é": '"'}),
    ]


@pytest.mark.parametrize("data", ["[]", " [ ]\n", '{"items": []}', '{"items": [], "next_cursor": null}'])
def test_an_array_may_be_empty(data: str) -> None:
    assert read("json", data) == []


@pytest.mark.parametrize("step", [1, 1 << 20])
def test_items_of_a_list_are_rows(step: int) -> None:
    data = '{"items": [\n{"n": 1},\n{"n": 2}\n], "total": 2,\n "next_cursor": null}\n'
    assert read("json", data, step=step) == [(2, {"n": 1}), (3, {"n": 2})]


@pytest.mark.parametrize("step", [1, 1 << 20])
def test_one_object_is_one_row(step: int) -> None:
    assert read("json", '\n{\n "email": "a",\n "items": 3\n}\n', step=step) == [(2, {"email": "a", "items": 3})]


@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize(("bad", "why"), [case for case in BAD_OBJECTS if case[0] != b'{"a": 1'])
def test_a_bad_element_fails_alone(bad: bytes, why: str, step: int) -> None:
    assert read("json", b'[{"n": 1},\n' + bad + b'\n,{"n": 2}]', step=step) == [(1, {"n": 1}), (2, why), (3, {"n": 2})]


@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (b"", 3),
        (b"{} {}", 2),
        (b"{}}", 2),
        (b"hello", 2),
        (b'{"a": "never closed\n}', 2),
        (b'{"a": never opened"\n}', 2),
        (b'{"a": "b\\\n}', 2),
        (b'\n{"a" 1}', 3),
    ],
)
def test_an_element_that_is_not_json_fails_alone(bad: bytes, line: int, step: int) -> None:
    found = read("json", b'[{"n": 1},\n' + bad + b'\n,{"n": 2}]', step=step)
    assert [row for row in found if isinstance(row[1], dict)] == [(1, {"n": 1}), (3 + bad.count(b"\n"), {"n": 2})]
    assert [row[0] for row in found if isinstance(row[1], str)] == [line]


def test_an_error_within_an_element_names_its_line_and_not_its_text() -> None:
    assert read("json", '[{\n "password": "top secret",\n "a": oops\n}]') == [
        (1, "it is not valid JSON: there is an error at character 7 of its line 3")
    ]


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("end", "found"),
    [
        (b"", [(2, {"b": 2}), (2, None)]),
        (b",", [(2, {"b": 2}), (2, None)]),
        (b",\n", [(2, {"b": 2}), (3, None)]),
        (b',\n{"c', [(2, {"b": 2}), (3, None)]),
        (b',\n{"c": "\xc3', [(2, {"b": 2}), (3, None)]),
        (b',\n{"c": {', [(2, {"b": 2}), (3, None)]),
        (b"]}", [(2, {"b": 2}), (2, None)]),
        (b"]\n[{}]", [(2, {"b": 2}), (3, None)]),
    ],
)
def test_the_rows_before_a_cut_are_read(end: bytes, found: list[tuple[int, Any]], step: int) -> None:
    result = read("json", b'[{"a": 1},\n{"b": 2}' + end, step=step)
    assert [(line, row if isinstance(row, dict) else None) for line, row in result] == [(1, {"a": 1}), *found]


@pytest.mark.parametrize("end", [b"", b",", b', "items": 1,', b"}}", b"]}", b', "a": 1, "a": 1}'])
def test_an_object_around_the_items_must_be_closed(end: bytes) -> None:
    assert read("json", b'{"items": [{"a": 1}]\n' + end) == [
        (1, {"a": 1}),
        (2, "the text after the array is not valid JSON"),
    ]


def test_an_object_that_is_cut_is_a_failed_row() -> None:
    assert read("json", '{\n"a": 1,\n') == [(1, "it is not valid JSON: there is an error at character 1 of its line 3")]


@pytest.mark.parametrize("step", [1 << 20, 4096])
def test_an_element_of_a_mebibyte_is_the_longest(step: int) -> None:
    exact = b'{"a": "' + b"x" * ((1 << 20) - 9) + b'"}'
    above = '{"a": "' + "é" * ((1 << 19) - 4) + '"}'
    long = b'{"b": "' + b"\\\\" * (2 << 20) + b'"}'
    found = read("json", b"[" + exact + b",\n" + above.encode() + b",\n" + long + b',\n{"c": 1}]', step=step)
    assert found[0] == (1, json.loads(exact))
    assert found[1:3] == [(2, "it is longer than 1048576 bytes"), (3, "it is longer than 1048576 bytes")]


def test_a_long_element_leaves_the_next_one_alone() -> None:
    long = b'{"b": "' + b'\\"\\\\' * (2 << 20) + b'",\n"c": {}}'
    assert read("json", b"[" + long + b',\n{"c": 1}]') == [(1, "it is longer than 1048576 bytes"), (3, {"c": 1})]


@pytest.mark.parametrize("data", [b"", b"  \n", b"a,b\n", b"1", b'"x"', b"\x1f\x8b\x08", b"\xff\xfe[\0", b"null"])
def test_input_that_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="not JSON") as error:
        rows("json", data)
    assert "--format" in str(error.value.hint)


@pytest.mark.parametrize("count", [2, 100_000])
def test_json_lines_are_not_json(count: int) -> None:
    with pytest.raises(InvalidInput, match="text after the first object") as error:
        rows("json", b'{"a": "x"}\n' * count)
    assert error.value.hint == "use --format jsonl for one object per line"


def test_an_endless_element_ends_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_elements, "ENDLESS", 4 << 20)
    blocks = chain([b"[{"], repeat(b"[" * (1 << 18)))
    with pytest.raises(InputTooLarge):
        list(read_rows(lambda most: next(blocks)[:most], "json", Mapping.none()))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside, max_size=3),
    max_leaves=6,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=4), max_size=5)


@given(OBJECTS, st.integers(1, 40), st.booleans(), st.sampled_from([None, 0, 2]))
def test_rows_are_what_a_json_parser_reads(
    objects: list[dict[str, Any]], step: int, ascii_only: bool, indent: int | None
) -> None:
    array = json.dumps(objects, ensure_ascii=ascii_only, indent=indent)
    text = "\n".join(json.dumps(found, ensure_ascii=ascii_only) for found in objects)
    assert read("jsonl", text, step=step) == list(enumerate(objects, 1))
    assert [row for _, row in read("json", array, step=step)] == objects
    assert [row for _, row in read("json", f'{{"items": {array}, "next": null}}', step=step)] == objects


@given(
    st.lists(
        st.sampled_from(['{"a": 1}', "{", "}", "[", "]", ",", '"', "\n", "\\", " ", "1", "é", '{"b": [']), max_size=12
    ),
    st.integers(1, 6),
    st.sampled_from(["jsonl", "json", "csv", "django", "kratos"]),
)
def test_blocks_make_no_difference(parts: list[str], step: int, form: ImportFormat) -> None:
    start = {"jsonl": '{"a": 1}\n', "json": "[", "csv": "email,role\n", "django": "[", "kratos": "["}[form]
    data = start + "".join(parts)
    assert read(form, data, step=step) == read(form, data)


@given(st.binary(max_size=40), st.sampled_from([b"", b"[", b'{"items": [', b"{", b"email,role\n"]))
@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "django", "kratos"])
def test_no_bytes_break_a_reader(form: ImportFormat, start: bytes, raw: bytes) -> None:
    try:
        found = rows(form, start + raw)
    except InvalidInput:
        return
    assert [row.line for row in found] == sorted(row.line for row in found)


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_memory_is_bounded(form: ImportFormat) -> None:
    """50 MB of rows in a fraction of that memory."""
    row = {"json": b'{"email": "%s"},\n', "jsonl": b'{"email": "%s"}\n', "csv": b'"%s"\n'}[form] % (b"x" * 1000)
    blocks = chain([{"json": b"[", "jsonl": b"", "csv": b"email\n"}[form] or row], repeat(row * 250, 200), [b"]", b""])
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_rows(lambda most: next(blocks), form, Mapping.none()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count >= 50_000
    assert peak < 8 << 20


# CSV.


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_each_record_has_the_members_of_the_header(step: int) -> None:
    data = BOM + b'email,"username",role\r\na@b.c,ada,\r\n\r\n"x@y.z","gra""ce\r\n,1",admin\n,,\nlast,,user'
    assert read("csv", data, step=step) == [
        (2, {"email": "a@b.c", "username": "ada"}),
        (4, {"email": "x@y.z", "username": 'gra"ce\r\n,1', "role": "admin"}),
        (6, {}),
        (7, {"email": "last", "role": "user"}),
    ]


def test_a_header_may_stand_alone() -> None:
    assert read("csv", "email,role\n") == read("csv", "email,role") == []


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("a", "its number of fields is 1, but the header has 2"),
        ("a,b,c", "its number of fields is 3, but the header has 2"),
        ('a"b,c', "its field 1 is not valid CSV (RFC 4180)"),
        ('a,"b" ', "its field 2 is not valid CSV (RFC 4180)"),
        ("a\rb,c", "its field 1 is not valid CSV (RFC 4180)"),
    ],
)
def test_a_bad_record_fails_alone(bad: str, why: str) -> None:
    assert read("csv", f"email,role\na,b\n{bad}\nc,d\n") == [
        (2, {"email": "a", "role": "b"}),
        (3, why),
        (4, {"email": "c", "role": "d"}),
    ]


def test_a_record_that_is_not_text_fails_alone() -> None:
    assert read("csv", b'email,role\n\xff,"a"\n\xff,b\nc,d\n') == [
        (2, "it is not UTF-8"),
        (3, "it is not UTF-8"),
        (4, {"email": "c", "role": "d"}),
    ]


def test_an_open_quote_at_the_end_is_a_failed_row() -> None:
    assert read("csv", 'email,role\na,b\n"c,d\n\ne,f\n') == [
        (2, {"email": "a", "role": "b"}),
        (3, "a quote that starts here is never closed"),
    ]


@pytest.mark.parametrize("step", [1 << 20, 4096])
def test_a_record_beyond_a_mebibyte_fails_and_the_next_line_is_read(step: int) -> None:
    long = "x" * (1 << 20)
    data = f'email,role\n"{long}",a\nb,c\n"d\n{long}\n"\ne,f\n'
    found = read("csv", data, step=step)
    assert found[:3] == [
        (2, "it is longer than 1048576 bytes"),
        (3, {"email": "b", "role": "c"}),
        (4, "it is longer than 1048576 bytes"),
    ]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "there is no header"),
        (BOM, "there is no header"),
        (b"\n", "there is no header"),
        (b"email,email\n", "two columns for email"),
        (b"email,phone\n", "an unknown column 'phone'"),
        (b"email,Role\n", "an unknown column 'Role'"),
        (b"email,\n", "an unknown column ''"),
        (b"email;role\n", "separated by ';', not by commas"),
        (b"email\trole\n", "separated by '.t', not by commas"),
        (b'"email\n', "a quote that starts here is never closed"),
        (b"\xff,email\n", "it is not UTF-8"),
        (b'{"email": "a"}\n', "the header cannot be read"),
        (b"x" * (2 << 20), "it is longer than"),
    ],
)
def test_a_header_that_cannot_be_used_ends_the_import(data: bytes, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as error:
        rows("csv", data)
    assert error.value.hint


def test_columns_that_only_describe_an_account_are_ignored() -> None:
    assert read("csv", "status,email,locked_until,has_password\nactive,a,never,true\n") == [(2, {"email": "a"})]


CELLS = st.lists(st.lists(st.text('ab",\n é', max_size=4), min_size=3, max_size=3), min_size=1, max_size=5)


@given(CELLS, st.sampled_from(["\r\n", "\n"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.integers(1, 30))
def test_rows_are_what_a_csv_reader_reads(table: list[list[str]], end: str, quoting: Any, step: int) -> None:
    text = io.StringIO(newline="")
    names = ["email", "username", "role"]
    csv.writer(text, lineterminator=end, quoting=quoting).writerows([names, *table])
    expected = [
        {name: cell for name, cell in record.items() if cell}
        for record in csv.DictReader(io.StringIO(text.getvalue(), newline=""))
    ]
    assert [row for _, row in read("csv", text.getvalue(), step=step)] == expected


# Mappings.


def test_a_mapping_renames_and_ignores_columns() -> None:
    maps = ("E-Mail=email", "a=b=username", "phone=", "=")
    assert read("csv", "E-Mail,a=b,phone,,role\na,b,c,d,e\n", *maps) == [
        (2, {"email": "a", "username": "b", "role": "e"})
    ]
    assert read("csv", "email,username\na,b\n", "email=username", "username=email") == [
        (2, {"username": "a", "email": "b"})
    ]


def test_a_mapping_reaches_into_objects() -> None:
    maps = ("traits.email=email", r"a\.b=role", "traits.name=", "rest=", "no.such=username")
    data = '{"traits": {"email": "e", "name": {"first": "f"}}, "a.b": "r", "rest": 1, "no": 2}'
    assert read("jsonl", data, *maps) == [(1, {"email": "e", "role": "r", "no": 2})]
    assert read("json", f"[{data}]", *maps) == [(1, {"email": "e", "role": "r", "no": 2})]
    assert read("jsonl", data, "traits.email=email", "traits=", "rest=", "no=", r"a\.b=") == [(1, {"email": "e"})]


def test_two_values_for_one_member_are_an_error() -> None:
    [row] = rows("jsonl", '{"mail": "a", "email": "b"}', "mail=email")
    assert isinstance(row, BadRow)
    assert (row.error.message, row.error.hint) == (
        "it has the member 'email', and another one is mapped to it",
        "ignore the first with --map email=",
    )
    with pytest.raises(InvalidInput, match="two columns for email"):
        rows("csv", "mail,email\na,b\n", "mail=email")


def test_a_mapped_column_must_be_there() -> None:
    with pytest.raises(InvalidInput, match="there is no column 'mail', which is mapped to email"):
        rows("csv", "email\na\n", "mail=email")
    assert read("csv", "email\na\n", "phone=") == [(2, {"email": "a"})]


# Generators.


def test_rows_are_read_as_they_are_needed() -> None:
    def blocks() -> Iterator[bytes]:
        yield b'{"a": 1}\n{"a": 2}\n{'
        raise AssertionError("read too early")

    source = blocks()
    found = read_rows(lambda most: next(source), "jsonl", Mapping.none())
    assert plain([next(found), next(found)]) == [(1, {"a": 1}), (2, {"a": 2})]
