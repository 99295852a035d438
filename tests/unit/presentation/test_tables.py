"""Tables and cards that fit the terminal."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.quoting import escaped
from backctl.presentation.cards import card
from backctl.presentation.colors import RESET, painted
from backctl.presentation.folding import folded, shortened, text_width
from backctl.presentation.tables import MEASURED, Table
from backctl.presentation.terminal import display_width

NAMES = ("id", "must_change_password", "status", "revoked_because", "created_at")

text = st.one_of(
    st.text(max_size=60).map(escaped),
    st.text(alphabet="ab日e\u0301 ,.", max_size=200).map(str.strip),
    st.lists(st.text(alphabet="abc", min_size=1, max_size=12), max_size=20).map(" ".join),
)
tables = st.tuples(
    st.lists(st.tuples(*[text] * len(NAMES)), max_size=8),
    st.lists(st.sampled_from(NAMES), unique=True).map(tuple),
    st.integers(40, 200),
)


def drawn(
    rows: Sequence[tuple[str, ...]], spare: tuple[str, ...], columns: int, *, measured: int = MEASURED
) -> list[str]:
    table = Table(NAMES, rows[:measured], spare=spare, color=False, columns=columns)
    return (table.header() + "".join(map(table.line, rows))).splitlines()


def test_names_are_broken_after_other_columns_are_dropped() -> None:
    rows = [("n" * 30, "false", "ok", "the laptop was stolen on a train", "2026-11-28 09:12")]
    table = Table(NAMES, rows, spare=("must_change_password",), broken=("id",), color=False, columns=66)
    assert table.line(rows[0]).splitlines() == [
        f"{'n' * 14}  ok      the laptop was stolen on  2026-11-28 09:12",
        f"{'n' * 14}          a train",
        "nn",
    ]


@given(tables, st.lists(st.sampled_from(NAMES), unique=True))
def test_no_line_is_wider_than_the_terminal_whatever_names_are_broken(
    drawing: tuple[list[tuple[str, ...]], tuple[str, ...], int], broken: list[str]
) -> None:
    rows, spare, columns = drawing
    table = Table(NAMES, rows, spare=spare, broken=broken, color=False, columns=columns)
    lines = (table.header() + "".join(map(table.line, rows))).splitlines()
    assert all(display_width(line) <= columns for line in lines)


def squeezed(cell: str) -> str:
    return re.sub(r"\s", "", cell)


@given(tables, st.sampled_from([MEASURED, 1]))
def test_no_line_is_wider_than_the_terminal(
    drawing: tuple[list[tuple[str, ...]], tuple[str, ...], int], measured: int
) -> None:
    rows, spare, columns = drawing
    assert all(display_width(line) <= columns for line in drawn(rows, spare, columns, measured=measured))


@given(tables)
def test_no_title_is_broken_within_a_word(drawing: tuple[list[tuple[str, ...]], tuple[str, ...], int]) -> None:
    rows, spare, columns = drawing
    header = Table(NAMES, rows, spare=spare, color=False, columns=columns).header()
    words = {word for name in NAMES for word in name.upper().split("_")}
    assert set(header.split()) <= words
    for name in set(NAMES) - set(spare):
        assert not header or set(name.upper().split("_")) <= set(header.split())


@given(tables)
def test_a_name_that_is_not_spare_is_whole_whenever_all_of_them_fit(
    drawing: tuple[list[tuple[str, ...]], tuple[str, ...], int],
) -> None:
    rows, spare, columns = drawing
    essential = [at for at, name in enumerate(NAMES) if name not in spare]
    room = columns - 2 * (len(essential) - 1)
    for at in essential:
        room -= max([*map(len, NAMES[at].split("_")), *(text_width(row[at]) for row in rows)])
    if room >= 0:
        lines = drawn(rows, spare, columns)
        for row in rows:
            assert all(any(row[at] in line for line in lines) for at in essential if not {" ", ","} & set(row[at]))


def test_a_word_longer_than_a_wrapped_text_is_not_broken_while_a_spare_column_takes_room() -> None:
    rows = [
        ("n" * 10, "m" * 12, "a text that is slightly longer than a word", "because of a reason", "2026-11-28 09:12Z"),
        ("", "", "w" * 41, "", ""),
    ]
    assert any("w" * 41 in line for line in drawn(rows, ("id",), 106))


digits = st.lists(st.text(alphabet="x", min_size=1, max_size=30), max_size=12).map(" ".join)


@given(
    st.tuples(*[digits] * len(NAMES)), st.lists(st.sampled_from(NAMES), unique=True).map(tuple), st.integers(40, 120)
)
def test_columns_that_are_not_spare_are_complete(row: tuple[str, ...], spare: tuple[str, ...], columns: int) -> None:
    marked = tuple(cell.replace("x", str(at)) for at, cell in enumerate(row))
    text = "".join(drawn([marked], spare, columns))
    for at, name in enumerate(NAMES):
        assert text.count(str(at)) == marked[at].count(str(at)) or name in spare


@pytest.mark.parametrize("columns", [46, 60, 80])
def test_the_least_important_column_is_shortened_and_then_dropped(columns: int) -> None:
    rows = [("ada", "false", "active", "the laptop was stolen on a train", "2026-11-28 09:12")]
    lines = drawn(rows, ("revoked_because", "must_change_password"), columns)
    assert [line.rstrip() for line in lines] == {
        80: [
            "     MUST CHANGE",
            "ID   PASSWORD     STATUS  REVOKED BECAUSE                   CREATED AT",
            "ada  false        active  the laptop was stolen on a train  2026-11-28 09:12",
        ],
        60: [
            "     MUST",
            "     CHANGE",
            "ID   PASSWORD  STATUS  REVOKED BECAUSE      CREATED AT",
            "ada  false     active  the laptop was sto…  2026-11-28 09:12",
        ],
        46: [
            "     MUST CHANGE",
            "ID   PASSWORD     STATUS  CREATED AT",
            "ada  false        active  2026-11-28 09:12",
        ],
    }[columns]


def test_a_narrow_column_stays_where_a_more_important_one_does_not_fit() -> None:
    rows = [("i" * 36, "on", "ok", "x", "2026-11-28 09:12")]
    spare = ("must_change_password", "revoked_because", "status", "created_at")
    assert drawn(rows, spare, 53)[-1] == "i" * 36 + "  ok      x"


def test_a_title_of_several_words_is_wrapped_only_where_room_is_missing() -> None:
    rows = [("1", "false", "ok", "x", "y")]
    assert drawn(rows, (), 100)[0] == "ID  MUST CHANGE PASSWORD  STATUS  REVOKED BECAUSE  CREATED AT"
    assert drawn(rows, (), 59)[:2] == [
        "    MUST CHANGE",
        "ID  PASSWORD     STATUS  REVOKED BECAUSE  CREATED AT",
    ]


def test_one_very_long_name_does_not_change_the_others() -> None:
    rows = [(f"user{at}", "false", "active", "", "") for at in range(9)]
    rows.append(("n" * 90, "false", "active", "", ""))
    lines = drawn(rows, (), 60)
    assert lines[3] == "user0" + " " * 21 + "false     active"
    assert "".join(line.split()[0] for line in lines[-4:]) == "n" * 90


def test_rows_that_do_not_fit_a_table_are_printed_as_cards() -> None:
    rows = [("i" * 36, "false", "ok", "r" * 36, "2026-11-28 09:12")] * 2
    assert drawn(rows, (), 60) == [
        f"id:                   {'i' * 36}",
        "must_change_password: false",
        "status:               ok",
        f"revoked_because:      {'r' * 36}",
        "created_at:           2026-11-28 09:12",
        "",
        f"id:                   {'i' * 36}",
        "must_change_password: false",
        "status:               ok",
        f"revoked_because:      {'r' * 36}",
        "created_at:           2026-11-28 09:12",
    ]


def test_a_later_row_that_is_wider_stays_on_one_line_where_there_is_room() -> None:
    table = Table(("id", "status"), [("ada", "ok")], color=False, columns=40)
    assert table.line(("adalovelace", "ok")) == "adalovelace  ok\n"
    assert table.line(("a" * 40, "ok")) == f"aaa  ok\n{'aaa' + chr(10)}" * 1 + "".join(
        f"{'a' * min(3, 40 - at)}\n" for at in range(6, 40, 3)
    )


def test_without_a_width_nothing_is_wrapped() -> None:
    table = Table(("id", "note"), [("1", "a b " * 100)], spare=("note",), color=False, columns=None)
    assert table.line(("1", "a b " * 200)) == f"1   {('a b ' * 200).rstrip()}\n"


def test_escapes_and_combining_marks_are_not_broken() -> None:
    assert folded("abc\\u202edef", 6) == ["abc", "\\u202e", "def"]
    assert folded("e\u0301" * 4, 2) == ["e\u0301" * 2, "e\u0301" * 2]
    assert folded("日本語", 5) == ["日本", "語"]
    assert shortened("日本語", 5) == "日本…"
    assert shortened("日本語", 4) == "日…"
    assert shortened("ab\\u202e", 7) == "ab…"


def test_texts_are_wrapped_after_spaces_and_commas() -> None:
    assert folded("user:list,user:show, a", 12) == ["user:list,", "user:show, a"]
    assert folded("one\ntwo three", 5) == ["one", "two", "three"]


@given(text, st.integers(1, 60))
def test_wrapping_loses_nothing(cell: str, columns: int) -> None:
    lines = folded(cell, columns)
    assert "".join(map(squeezed, lines)) == squeezed(cell)
    assert columns == 1 or all(display_width(line) <= columns for line in lines)
    assert "".join(map(squeezed, folded(cell, columns, whole_words=True))) == squeezed(cell)


# Cards.


def test_the_values_of_a_card_are_aligned_and_wrapped_between_words() -> None:
    names, values = ("id", "finding"), ("7", "the keyring of this installation was replaced")
    assert card(names, values, color=False, columns=40) == (
        "id:      7\nfinding: the keyring of this\n         installation was replaced\n"
    )
    assert card(names, values, color=False, columns=None).splitlines()[1] == f"finding: {values[1]}"


def test_a_word_of_a_card_stays_whole_so_that_it_can_be_copied() -> None:
    uri = "otpauth://totp/" + "x" * 80
    assert card(("uri",), (uri,), color=False, columns=40) == f"uri: {uri}\n"


def test_a_narrow_card_prints_values_below_their_names() -> None:
    names, values = ("must_change_password", "ok"), ("the password was set by an administrator", "")
    assert card(names, values, color=False, columns=40) == (
        "must_change_password:\n  the password was set by an\n  administrator\nok:\n"
    )


# Colours.


def test_status_words_are_coloured_and_names_are_not() -> None:
    assert painted("status", "active") == f"\x1b[32mactive{RESET}"
    assert painted("state", "revoked") == f"\x1b[31mrevoked{RESET}"
    assert painted("status", "expired") == f"\x1b[33mexpired{RESET}"
    assert painted("status", "closed") == f"\x1b[2mclosed{RESET}"
    assert painted("username", "active") == "active"
    assert painted("status", "else") == "else"


def test_colours_take_no_columns() -> None:
    rows = [("1", "ok"), ("2", "revoked")]
    plain = Table(("id", "state"), rows, color=False, columns=80)
    coloured = Table(("id", "state"), rows, color=True, columns=80)
    for row in rows:
        assert re.sub(r"\x1b\[\d*m", "", coloured.line(row)) == plain.line(row)
    assert coloured.line(rows[1]) == f"2   \x1b[31mrevoked{RESET}\n"
    assert card(("state",), ("ok",), color=True, columns=80) == f"\x1b[1mstate:{RESET} \x1b[32mok{RESET}\n"
