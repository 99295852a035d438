"""Patterns of Redis. `tests/contracts/test_glob.py` compares them with real servers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.errors import InvalidInput
from backctl.domain.glob import PATTERN_MAX, Glob, literal_glob, parse_glob

TEXT_SIZE = 64 * 1024
SPECIAL_TEXTS = st.lists(st.sampled_from([bytes([byte]) for byte in b"ab*?[]^-\\!\x00\n\xff"]), max_size=12).map(
    b"".join
)
TEXTS = st.binary(max_size=40) | SPECIAL_TEXTS


@pytest.mark.parametrize(
    ("reason", "pattern", "matching", "others"),
    [
        ("bytes match themselves", b"user:1", [b"user:1"], [b"user:", b"user:12", b"xuser:1", b""]),
        ("case matters", b"User", [b"User"], [b"user", b"USER"]),
        ("a star matches any bytes", b"a*c", [b"ac", b"abc", b"a\n\x00\xffc", b"acc"], [b"a", b"abcd", b"bac"]),
        ("several stars are like one", b"a***c", [b"ac", b"abbc"], [b"a", b"c"]),
        ("a star at the end matches no bytes", b"a*", [b"a", b"ab"], [b"", b"ba"]),
        ("several stars at the end match no bytes", b"a**", [b"a", b"ab"], [b"", b"ba"]),
        ("one star matches the empty key", b"*", [b"", b"a"], []),
        ("two stars do not match the empty key", b"**", [b"a", b"ab"], [b""]),
        ("segments match in order", b"*a*b*", [b"ab", b"xaxbx", b"aab", b"aba"], [b"ba", b"a", b"b"]),
        ("the last segment is at the end", b"*ab", [b"ab", b"abab"], [b"aba", b"b"]),
        ("segments do not overlap", b"ab*ba", [b"abba", b"ab-ba"], [b"aba"]),
        ("a question mark matches one byte", b"a?c", [b"abc", b"a\nc", b"a\x00c"], [b"ac", b"abbc"]),
        ("it matches a byte, not a character", b"?", [b"e", b"\xff"], ["é".encode(), b""]),
        ("a class matches one of its bytes", b"h[ae]llo", [b"hallo", b"hello"], [b"hillo", b"hllo", b"haello"]),
        ("a caret negates a class", b"h[^e]llo", [b"hallo", b"h^llo"], [b"hello", b"hllo"]),
        ("a caret elsewhere is a member", b"[e^]", [b"e", b"^"], [b"a"]),
        ("an exclamation mark does not negate", b"[!e]", [b"!", b"e"], [b"a"]),
        ("a range includes its ends", b"[b-d]", [b"b", b"c", b"d"], [b"a", b"e", b"-"]),
        ("a reversed range is the same", b"[d-b]", [b"b", b"c", b"d"], [b"a", b"e", b"-"]),
        ("a hyphen at the start is a member", b"[-a]", [b"-", b"a"], [b"b"]),
        ("a hyphen after a range is a member", b"[a-c-e]", [b"b", b"-", b"e"], [b"d"]),
        ("a hyphen can start a range", b"[--0]", [b"-", b".", b"0"], [b",", b"1"]),
        ("a range can end with the bracket", b"[a-]", [b"]", b"^", b"a"], [b"-", b"b", b"\\"]),
        ("that bracket does not end the class", b"[a-]b", [b"a", b"b", b"]"], [b"ab", b"-b"]),
        ("a range can end with a backslash", b"[a-\\z]", [b"\\", b"a", b"z", b"]"], [b"b", b"-", b"["]),
        ("an escaped byte does not start a range", b"[\\a-c]", [b"a", b"-", b"c"], [b"b", b"\\"]),
        ("an escaped hyphen is a member", b"[\\-a]", [b"-", b"a"], [b"\\", b"^"]),
        ("a bracket in a class can be escaped", b"[\\]a]", [b"]", b"a"], [b"\\", b"]a]"]),
        ("other special bytes are members", b"[*?[]", [b"*", b"?", b"["], [b"a"]),
        ("a bracket at the start ends the class", b"[]a]", [], [b"]", b"a", b"]a]", b"a]"]),
        ("an empty class matches nothing", b"[]", [], [b"", b"[]", b"a"]),
        ("a negated empty class matches any byte", b"[^]", [b"a", b"^", b"\n"], [b"", b"ab"]),
        ("an unterminated class ends with the pattern", b"x[ab", [b"xa", b"xb"], [b"x", b"xc", b"x[ab", b"xab"]),
        ("the hyphen can be its last byte", b"[a-", [b"a", b"-"], [b"b"]),
        ("the backslash can be its last byte", b"[a\\", [b"a", b"\\"], [b"b"]),
        ("a star in it is a member", b"[a*", [b"a", b"*"], [b"ab", b"b"]),
        ("a bracket at the end matches nothing", b"a[", [], [b"a", b"a[", b"ab"]),
        ("a negated bracket at the end matches any byte", b"a[^", [b"ab", b"a^"], [b"a", b"abc"]),
        ("a bracket outside of a class is literal", b"a]", [b"a]"], [b"a"]),
        ("a caret and a hyphen outside are literal", b"^a-b", [b"^a-b"], [b"a-b"]),
        ("an escape makes a byte literal", b"\\*\\?\\[\\\\\\a", [b"*?[\\a"], [b"\\*\\?\\[\\\\\\a", b"bb[\\a"]),
        ("a backslash at the end is literal", b"a\\", [b"a\\"], [b"a", b"ab"]),
        ("an escaped star is not a trailing star", b"a\\*", [b"a*"], [b"a", b"ab"]),
        ("bytes of a range are signed", b"[\xfe-a]", [b"\xfe", b"\xff", b"\x00", b"a"], [b"\xfd", b"b"]),
        ("a reversed range of signed bytes", b"[a-\xfe]", [b"\xfe", b"\xff", b"\x00", b"a"], [b"\xfd", b"b"]),
        ("a range of high bytes", b"[\x80-\xfe]", [b"\x80", b"\xfe"], [b"\xff", b"\x7f", b"\x00"]),
        ("a negated range of signed bytes", b"[^a-\xfe]", [b"\xfd", b"b"], [b"\xfe", b"\xff", b"\x00", b"a"]),
        ("syntax of regular expressions is literal", b"(a|b)+.$\n", [b"(a|b)+.$\n"], [b"a", b"aaxx"]),
        ("the end is the end of the text", b"a", [b"a"], [b"a\n"]),
    ],
)
def test_a_pattern_matches_as_on_the_server(
    reason: str, pattern: bytes, matching: list[bytes], others: list[bytes]
) -> None:
    glob = parse_glob(pattern)
    assert [text for text in matching if not glob.matches(text)] == [], reason
    assert [text for text in others if glob.matches(text)] == [], reason


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        (b"user:1", b"user:1"),
        (b"user:*", b"user:"),
        (b"user:?:*", b"user:"),
        (b"user:[ab]", b"user:"),
        (b"*", b""),
        (b"a\\*b*", b"a*b"),
        (b"a\\\\*", b"a\\"),
        (b"a]^-\\", b"a]^-\\"),
        (b"\\", b"\\"),
        (b"\x00\xff\n?", b"\x00\xff\n"),
    ],
)
def test_the_literal_prefix_ends_before_the_first_special_element(pattern: bytes, literal: bytes) -> None:
    assert parse_glob(pattern).literal == literal


@given(SPECIAL_TEXTS, TEXTS)
def test_every_matching_text_starts_with_the_literal_prefix(pattern: bytes, end: bytes) -> None:
    glob = Glob(pattern)
    for text in (end, glob.literal + end, glob.literal[:-1] + end):
        assert text.startswith(glob.literal) or not glob.matches(text)


@given(TEXTS, TEXTS)
def test_a_literal_glob_matches_only_its_text(text: bytes, other: bytes) -> None:
    glob = Glob(literal_glob(text))
    assert glob.matches(text)
    assert glob.literal == text
    assert glob.matches(other) == (other == text)
    assert not glob.matches(text + b"\n")
    assert not glob.matches(literal_glob(text) + b"x")


@given(TEXTS, TEXTS)
def test_a_star_after_a_literal_glob_matches_every_text_with_that_prefix(text: bytes, other: bytes) -> None:
    glob = parse_glob(literal_glob(text) + b"*")
    assert glob.matches(text + other)
    assert glob.matches(other) == other.startswith(text)


@given(st.binary(min_size=1, max_size=PATTERN_MAX), TEXTS)
def test_every_pattern_can_be_compiled(pattern: bytes, text: bytes) -> None:
    assert parse_glob(pattern).matches(text) in (True, False)


@pytest.mark.timeout(20)  # backtracking into earlier segments would take years
@pytest.mark.parametrize(
    "pattern",
    [
        b"*a" * 255 + b"*b",
        b"*?" * 255 + b"*b",
        b"*[^b]" * 102 + b"b",
        b"a*" * 255 + b"?b",
        b"*" + b"a" * 510 + b"b",
        b"*" + b"a" * 509 + b"b*",
        b"*" + b"[^b]" * 127 + b"*b",
        b"*" * 510 + b"b",
        b"*[" + b"d-z" * 170,
        b"[a-\xfe]*" * 85 + b"b",
    ],
)
def test_a_hostile_pattern_does_not_take_exponential_time(pattern: bytes) -> None:
    glob = parse_glob(pattern)
    assert not glob.matches(b"a" * (TEXT_SIZE - 1) + b"c")
    assert not glob.matches(b"a" * TEXT_SIZE + b"\n")


@pytest.mark.parametrize("pattern", [b"", b"*" * (PATTERN_MAX + 1), b"\xff" * 5000])
def test_a_pattern_has_a_limited_length(pattern: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^the pattern (is empty|'.+' is longer than 512 bytes)$"):
        parse_glob(pattern)


def test_the_longest_pattern_is_accepted() -> None:
    assert parse_glob(b"a" * PATTERN_MAX).matches(b"a" * PATTERN_MAX)


def test_globs_with_the_same_pattern_are_equal() -> None:
    used = parse_glob(b"a*")
    assert used.matches(b"ab")
    assert used == parse_glob(b"a*")
    assert len({used, parse_glob(b"a*"), parse_glob(b"b*")}) == 2
