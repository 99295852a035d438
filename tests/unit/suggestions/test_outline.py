"""The quick reader of TOML: its answer is what the real parser answers, and what it does not know it leaves to that."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backctl.suggestions.outline import outline

SAMPLE = Path(__file__).parents[3] / "sample-config.toml"


def test_a_configuration_as_people_write_it_needs_no_parser() -> None:
    text = """
# Ours.
profile = "staging"   # from Monday on
protected = false

[database]
timeout = '5s'

[roles.auditor]
permissions = ["user:show", 'user:list',]
description = "reads # everything"

[roles.operator]
permissions = [ # most of
	"user:show",

    "user:list"    # and
    ,
    # no more
] # for now

[profiles.staging]
database.url = "sqlite:////srv/staging.db"
passwords.bcrypt_cost = 12
\tkeyring.path\t= "/srv/staging.json"

[profiles.production]
database.url_command = []
"""
    document = outline(text)
    assert document == tomllib.loads(text)
    assert list(document["profiles"]) == ["staging", "production"]  # type: ignore[call-overload]  # any document


def test_the_sample_needs_no_parser_whatever_is_uncommented() -> None:
    text = SAMPLE.read_text()
    assert outline(text) == tomllib.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        'a = "\\u0061"',
        'a = """b"""',
        "a = '''b'''",
        'a = {b = "c"}',
        'a = ["b"',
        "a = [\n\n# c\n",
        'a = [\n"b"\n"c"]',
        'a = [\n"b"] c',
        "a = [\n# \x07\n]",
        "a = [1]",
        'a = [["b"]]',
        'a = ["b" "c"]',
        "a = 1.5",
        "a = 1_000",
        "a = +1",
        "a = 0x1",
        "a = 012",
        "a = ١",
        "a = " + "9" * 19,
        "a = 2026-11-22",
        '"a" = "b"',
        "a.'b' = 1",
        "[[a]]",
        '["a"]',
        "[a",
        "[a] b",
        "[]",
        "a",
        "a =",
        "= 1",
        'a = "b',
        'a = "b" c',
        'a = "b" "c"',
        "a = 1\na = 2",
        "a = 1\n[a]",
        "[a]\n[a]",
        "[a.b]\n[a]",
        "a = 1\na.b = 2",
        "a = 1\r\nb = 2",
        "\ufeffa = 1",
        "a = 'b\x07'",
        "# \x00",
        "é = 1",
    ],
)
def test_whatever_is_written_in_another_way_is_left_to_the_parser(text: str) -> None:
    assert outline(text) is None


_WORD = st.sampled_from(["a", "b", "c", "a.b", "b.a", "a.b.c", " a . b ", "1", "é", '"a"', "", "a b"])
_VALUE = st.one_of(
    st.text("ab#=[]'\"\\, \t.\x07é", max_size=6).map(lambda text: f'"{text}"'),
    st.text("ab#=[]'\"\\, \t", max_size=6).map(lambda text: f"'{text}'"),
    st.text("0123456789_-+.ex", min_size=1, max_size=6),
    st.sampled_from(
        [
            "true",
            "false",
            "[]",
            "['a', 'b']",
            '["a",]',
            "[ 'a' , ]",
            "[,]",
            "[",
            "['a'",
            "['a',",
            "{}",
            "[1]",
            "nan",
            "True",
        ]
    ),
)
_LINE = st.one_of(
    st.tuples(_WORD, st.sampled_from(["=", " = ", "\t=\t", "", "=="]), _VALUE, st.sampled_from(["", " # é", " x"])).map(
        "".join
    ),
    _WORD.map(lambda word: f"[{word}]"),
    st.text("a.=[]#'\", \t1", max_size=8),
    st.sampled_from(["]", "'a',", ", 'b' # c", "] # c", "# ]"]),
    st.just(""),
)


@settings(deadline=None)
@given(st.lists(_LINE, max_size=6).map("\n".join))
def test_an_answer_is_always_the_one_of_the_parser(text: str) -> None:
    document = outline(text)
    if document is not None:
        assert document == tomllib.loads(text)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_ends_in_an_answer_or_in_none(text: str) -> None:
    document = outline(text)
    if document is not None:
        assert document == tomllib.loads(text)
