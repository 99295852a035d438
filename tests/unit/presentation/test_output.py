import csv
import io
import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.errors import UsageError
from backctl.domain.values import Instant, Secret
from backctl.presentation.output import Format, Renderer
from backctl.presentation.terminal import Sink


class Color(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Thing:
    name: str
    id: str | None
    flag: bool | None = None
    at: Instant | None = None
    parts: tuple[object, ...] = ()
    data: dict[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    left: str
    right: str


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def renderer(form: Format | None, stream: io.StringIO, fields: tuple[str, ...] | None = None) -> Renderer:
    return Renderer(form, fields=fields, header=True, sink=Sink(stream), color=False)


def one(form: Format, view: object) -> str:
    stream = io.StringIO(newline="")
    renderer(form, stream).one(view)
    return stream.getvalue()


def page(form: Format, items: list[Pair], stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO(newline="")
    renderer(form, stream).page(items, Pair, None)
    return stream.getvalue()


THING = Thing("n", None, False, Instant(1), ("a", 1, Color.RED), {"deep": {"x": [1]}})

pairs = st.lists(st.builds(Pair, st.text(), st.text()), max_size=5)
_UNESCAPED = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\\\": "\\"}


def test_json_keeps_the_kinds_of_values() -> None:
    @dataclass(frozen=True, slots=True)
    class Nested:
        thing: Thing

    assert json.loads(one(Format.JSON, THING)) == {
        "name": "n",
        "id": None,
        "flag": False,
        "at": "1970-01-01T00:00:00.000001Z",
        "parts": ["a", 1, "red"],
        "data": {"deep": {"x": [1]}},
    }
    assert json.loads(one(Format.JSONL, Nested(THING)))["thing"]["at"] == "1970-01-01T00:00:00.000001Z"


def test_cells_are_text() -> None:
    cells = one(Format.TSV, THING).splitlines()[1].split("\t")
    assert cells == ["n", "", "false", "1970-01-01T00:00:00.000001Z", "a,1,red", '{"deep": {"x": [1]}}']


def test_json_is_not_ascii_but_always_encodable() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    Renderer(Format.JSON, fields=None, header=True, sink=Sink(stream), color=False).one(Pair("é", "\udcff"))
    stream.seek(0)
    assert '"é"' in (text := stream.read())
    assert json.loads(text) == {"left": "é", "right": "\udcff"}


OF_MEMBERS = [form for form in Format if form is not Format.HEADERS]


@pytest.mark.parametrize("form", OF_MEMBERS)
def test_a_secret_has_no_place_in_a_result(form: Format) -> None:
    @dataclass(frozen=True, slots=True)
    class Leaking:
        secret: Secret

    with pytest.raises(TypeError, match="cannot hold a Secret"):
        one(form, Leaking(Secret("hunter2")))


def test_headers_are_those_that_the_view_names() -> None:
    class Answer:
        @staticmethod
        def headers_of(views: list["Answer"]) -> list[str]:
            return ["A: 1", f"B: {len(views)}"]

    assert one(Format.HEADERS, Answer()) == "A: 1\nB: 1\n"
    with pytest.raises(UsageError, match="--fields has no meaning with --output headers"):
        renderer(Format.HEADERS, io.StringIO(), ("up",))


def test_the_identifier_is_the_id_or_the_first_member() -> None:
    assert one(Format.ID, Thing("n", "7")) == "7\n"
    assert one(Format.ID, Pair("l", "r")) == "l\n"


@given(pairs)
def test_tsv_reads_back(items: list[Pair]) -> None:
    def unescaped(cell: str) -> str:
        out, rest = "", iter(cell)
        for character in rest:
            out += _UNESCAPED[character + next(rest)] if character == "\\" else character
        return out

    lines = page(Format.TSV, items).removesuffix("\n").split("\n")
    assert lines[0] == "left\tright"
    assert [Pair(*map(unescaped, line.split("\t"))) for line in lines[1:]] == items


@given(pairs)
def test_csv_reads_back(items: list[Pair]) -> None:
    rows = list(csv.reader(io.StringIO(page(Format.CSV, items), newline=""), strict=True))
    assert rows == [["left", "right"], *([item.left, item.right] for item in items)]


def test_csv_lines_end_with_a_line_feed_and_only_what_needs_quotes_has_them() -> None:
    items = [Pair("a b", "1,2"), Pair('"', "\r"), Pair("\n", ""), Pair("\r\n", "'")]
    assert page(Format.CSV, items) == 'left,right\na b,"1,2"\n"""","\r"\n"\n",\n"\r\n",\'\n'


def test_a_record_of_one_empty_cell_is_not_a_blank_line() -> None:
    stream = io.StringIO(newline="")
    renderer(Format.CSV, stream, ("left",)).page([Pair("", "x")], Pair, None)
    assert stream.getvalue() == 'left\n""\n'


@given(pairs)
def test_json_and_json_lines_read_back(items: list[Pair]) -> None:
    expected = [{"left": item.left, "right": item.right} for item in items]
    assert json.loads(page(Format.JSON, items)) == {"items": expected, "next_cursor": None}
    assert [json.loads(line) for line in page(Format.JSONL, items).split("\n")[:-1]] == expected


@given(pairs)
def test_nothing_on_a_terminal_steers_it(items: list[Pair]) -> None:
    for form in OF_MEMBERS:
        text = page(form, items, Terminal(newline="")).replace("\r\n", "\n")
        cells = text.replace("\n", "").replace("\t", "")
        assert not [character for character in cells if unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")]


@given(pairs)
def test_json_on_a_terminal_means_the_same(items: list[Pair]) -> None:
    assert json.loads(page(Format.JSON, items, Terminal(newline=""))) == json.loads(page(Format.JSON, items))


def test_identifiers_stand_one_a_line() -> None:
    @dataclass(frozen=True, slots=True)
    class Touched:
        added: tuple[str, ...]
        promoted: tuple[str, ...] = ()

    @dataclass(frozen=True, slots=True)
    class Claims:
        iss: str
        jti: str

    @dataclass(frozen=True, slots=True)
    class Counted:
        count: int
        name: str

    assert one(Format.ID, Touched(("a", "b"))) == "a\nb\n"
    assert one(Format.ID, Touched(())) == ""
    assert one(Format.ID, Claims("us", "t1")) == "t1\n"
    assert one(Format.ID, Counted(3, "n")) == one(Format.ID, Counted(True, "n")) == ""


def test_a_bare_value_gives_way_to_the_fields_that_were_asked_for() -> None:
    def shown(*fields: str) -> str:
        stream = io.StringIO(newline="")
        renderer(None, stream, fields or None).value("l", Pair("l", "r"))
        if fields:
            renderer(None, stream, fields).exactly(b"l", Pair("l", "r"))
        return stream.getvalue()

    assert shown() == "l\n"
    assert shown("right") == "right\nr\n" * 2
    with pytest.raises(UsageError):
        shown("nothing")


def test_what_stands_alone_is_shown_whatever_the_fields() -> None:
    def shown(form: Format | None) -> str:
        stream = io.StringIO(newline="")
        renderer(form, stream, ("left",)).alone("secret", {"password": "secret"})
        return stream.getvalue()

    assert (shown(None), shown(Format.JSON)) == ("secret\n", '{"password": "secret"}\n')


def test_fields_select_and_order() -> None:
    stream = io.StringIO(newline="")
    renderer(Format.TSV, stream, ("right", "left")).page([Pair("l", "r")], Pair, None)
    assert stream.getvalue() == "right\tleft\nr\tl\n"
    stream = io.StringIO(newline="")
    renderer(Format.JSON, stream, ("right",)).stream(iter([Pair("l", "r")]), Pair)
    assert json.loads(stream.getvalue())["items"] == [{"right": "r"}]


@pytest.mark.parametrize("form", [Format.JSON, Format.TSV, Format.TABLE])
def test_an_unknown_field_is_refused_naming_the_known(form: Format) -> None:
    stream = io.StringIO()
    renders: list[Callable[[Renderer], None]] = [
        lambda it: it.page([], Pair, None),
        lambda it: it.one(Pair("l", "r")),
        lambda it: it.require_known((Pair,), ("changed",)),
    ]
    for render in renders:
        with pytest.raises(UsageError) as caught:
            render(renderer(form, stream, ("up",)))
        assert "left, right" in (caught.value.hint or "")
    assert stream.getvalue() == ""


def test_a_failure_before_the_first_row_leaves_stdout_empty() -> None:
    def failing() -> object:
        raise RuntimeError

    for form in Format:
        stream = io.StringIO()
        with pytest.raises(RuntimeError):
            renderer(form, stream).stream((failing() for _ in range(1)), Pair)
        assert stream.getvalue() == ""


def test_wide_characters_take_two_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = page(Format.TABLE, [Pair("日本", "x"), Pair("e\u0301", "y"), Pair("abcd", "z")])
    assert table == "LEFT  RIGHT\n日本  x\ne\u0301     y\nabcd  z\n"


@dataclass(frozen=True, slots=True)
class Finding:
    SPARE: ClassVar = ("owner", "seen_at")
    BELOW: ClassVar = ("finding", "hint")

    check: str
    status: str
    owner: str
    seen_at: Instant
    finding: str
    hint: str | None


MINUTE = Instant(1795857153123456)  # 2026-11-28T09:12:33.123456Z
FINDINGS = [
    Finding("keyring.valid", "ok", "operations", MINUTE, "the keyring has 4 keys", None),
    Finding("disk", "fail", "operations", MINUTE, "the disk is full", "free some space"),
]


def table(form: Format = Format.TABLE, *, fields: tuple[str, ...] | None = None, empty: str = "") -> list[str]:
    stream = io.StringIO()
    writer = Renderer(form, fields=fields, header=True, sink=Sink(stream), color=False, empty=empty)
    writer.page(FINDINGS, Finding, None)
    return stream.getvalue().splitlines()


def test_a_hint_is_printed_below_its_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert table(empty="-") == [
        "CHECK          STATUS  OWNER       SEEN AT               FINDING",
        "keyring.valid  ok      operations  2026-11-28T09:12:33Z  the keyring has 4 keys",
        "disk           fail    operations  2026-11-28T09:12:33Z  the disk is full",
        " " * 57 + "hint: free some space",
    ]


def test_a_narrow_table_shortens_times_then_drops_what_is_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "75")
    assert table()[1] == "keyring.valid  ok      operations  2026-11-28 09:12  the keyring has 4 keys"
    monkeypatch.setenv("COLUMNS", "74")
    assert table()[1] == "keyring.valid  ok      2026-11-28 09:12  the keyring has 4 keys"
    monkeypatch.setenv("COLUMNS", "50")
    assert table()[1] == "keyring.valid  ok      the keyring has 4 keys"


def test_a_wide_table_shows_every_member_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert table(Format.WIDE, empty="-") == [
        "CHECK          STATUS  OWNER       SEEN AT                      FINDING                 HINT",
        "keyring.valid  ok      operations  2026-11-28T09:12:33.123456Z  the keyring has 4 keys  -",
        "disk           fail    operations  2026-11-28T09:12:33.123456Z  the disk is full        free some space",
    ]


def test_fields_that_were_asked_for_are_never_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    fields = ("check", "owner", "seen_at", "hint")
    assert table(fields=fields)[:5] == [
        "check:   keyring.valid",
        "owner:   operations",
        "seen_at: 2026-11-28 09:12",
        "hint:",
        "",
    ]


def test_one_object_in_a_table_is_a_card() -> None:
    assert one(Format.TABLE, Pair("x", "")) == "left:  x\nright:\n"


def test_a_table_shows_what_a_terminal_has_room_for_and_every_other_form_everything() -> None:
    @dataclass(frozen=True, slots=True)
    class Wide:
        TABLE: ClassVar = ("name",)

        id: str
        name: str

    def shown(form: Format, fields: tuple[str, ...] | None = None) -> str:
        stream = io.StringIO(newline="")
        renderer(form, stream, fields).page([Wide("1", "n")], Wide, None)
        return stream.getvalue()

    assert shown(Format.TABLE) == "NAME\nn\n"
    assert shown(Format.TABLE, ("id",)) == "ID\n1\n"
    assert shown(Format.TSV) == "id\tname\n1\tn\n"
