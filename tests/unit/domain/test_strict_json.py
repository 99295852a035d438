"""JSON passes unchanged except for its strings, and ambiguous JSON is rejected."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backctl.domain.errors import InputTooDeep, InvalidJson
from backctl.domain.strict_json import rewrite


def same(content: str, where: Callable[[], str], is_key: bool) -> str:
    return content


def shout(content: str, where: Callable[[], str], is_key: bool) -> str:
    return content.upper()


def through(text: str, *, max_depth: int = 50) -> str:
    return rewrite(text, same, max_depth=max_depth)


@pytest.mark.parametrize(
    "text",
    [
        '"x"',
        "1.10",
        "-0",
        "12345678901234567890123456789",
        "1E400",
        "1e+2",
        "true",
        " null\r\n",
        "[]",
        "{}",
        "[ ]",
        '{ "b" : 1 , "a" : [ 1.0 , 2.00 ] }\n',
        '{"a":{"a":{"a":[[],{}]}}}',
        '"\\u0041\\n\\/\\ud83d\\ude00"',  # escapes stay as written
        '["", "é", "\U0001f511"]',
        '{"":0}',
    ],
)
def test_what_is_not_replaced_passes_byte_for_byte(text: str) -> None:
    assert through(text) == text


def test_only_what_changes_is_written_anew() -> None:
    text = '{"A\\u0042" : "AB", "x":["\\u0041", "b\\"\\u00e9", 1.50]}'
    assert rewrite(text, shout, max_depth=5) == '{"A\\u0042" : "AB", "X":["\\u0041", "B\\"É", 1.50]}'


def test_each_string_is_told_with_its_place() -> None:
    told = []

    def tell(content: str, where: Callable[[], str], is_key: bool) -> str:
        told.append((content, where(), is_key))
        return content

    rewrite('{"a": "v1", "b/c~d": [{"e": "v2"}, "v3"], "f": "v4"}', tell, max_depth=5)
    assert told == [
        ("a", "", True),
        ("v1", "/a", False),
        ("b/c~d", "", True),
        ("e", "/b~1c~0d/*", True),
        ("v2", "/b~1c~0d/*/e", False),
        ("v3", "/b~1c~0d/*", False),
        ("f", "", True),
        ("v4", "/f", False),
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1, column 1"),
        ("  \n ", "line 2, column 2"),
        ("{", "line 1, column 2"),
        ('{"a"', "line 1, column 5"),
        ('{"a" 1}', "line 1, column 6"),
        ('{"a":}', "line 1, column 6"),
        ('{"a":1,}', "line 1, column 8"),
        ("{a:1}", "line 1, column 2"),
        ("{1:1}", "line 1, column 2"),
        ("[1,]", "line 1, column 4"),
        ("[1 2]", "line 1, column 4"),
        ("[1}", "line 1, column 3"),
        ("[,1]", "line 1, column 2"),
        ("]", "line 1, column 1"),
        ("1 2", "line 1, column 3"),
        ("{}{}", "line 1, column 3"),
        ("NaN", "line 1, column 1"),
        ("-Infinity", "line 1, column 1"),
        ("[1,\n Infinity]", "line 2, column 2"),
        ("01", "line 1, column 1"),
        ("1.", "line 1, column 1"),
        (".5", "line 1, column 1"),
        ("+1", "line 1, column 1"),
        ("1e", "line 1, column 1"),
        ("0x1", "line 1, column 1"),
        ("-", "line 1, column 1"),
        ("١", "line 1, column 1"),
        ("True", "line 1, column 1"),
        ("nullx", "line 1, column 1"),
        ("'a'", "line 1, column 1"),
        ('"a', "line 1, column 1"),
        ('"a\nb"', "line 1, column 1"),
        ('"\\x41"', "line 1, column 1"),
        ('"\\u12"', "line 1, column 1"),
        ("/* x */ 1", "line 1, column 1"),
        ("\ufeff1", "line 1, column 1"),
        ("\u00a01", "line 1, column 1"),
        ("[1]\0", "line 1, column 4"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(InvalidJson, match=f"at {place}$"):
        through(text)


@pytest.mark.parametrize("text", ['{"a":1,"b":2,"a":3}', '{"x":[{"a":1,"\\u0061":2}]}', '{"":1,"":1}'])
def test_a_member_that_stands_twice_is_refused(text: str) -> None:
    with pytest.raises(InvalidJson, match="appears twice in one object"):
        through(text)


def test_a_member_that_stands_twice_once_it_is_replaced_is_refused() -> None:
    with pytest.raises(InvalidJson, match="the member 'ROLE' appears twice in one object, at line 1, column 14"):
        rewrite('{"role": 1 , "ROLE": 2}', shout, max_depth=5)


def test_the_same_member_of_two_objects_is_fine() -> None:
    assert through('[{"a":1},{"a":{"a":2}}]') == '[{"a":1},{"a":{"a":2}}]'


def test_depth_is_bounded_and_not_by_the_interpreter() -> None:
    assert through("[" * 50 + "]" * 50)
    assert through("[" * 9_999 + "]" * 9_999, max_depth=9_999)
    for text in ("[" * 51, '{"a":' * 51, "[" * 100_000):
        with pytest.raises(InputTooDeep, match="deeper than 50"):
            through(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200)
@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_all_that_python_writes_passes_as_it_is(value: object, ascii_only: bool, indent: int | str | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert through(text) == text


@settings(max_examples=300)
@given(st.text(st.sampled_from('{}[]",:0123456789.eE+-truefalsn \\u\n'), max_size=30))
def test_what_is_accepted_is_what_an_independent_reader_accepts(text: str) -> None:
    def unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError
        return dict(pairs)

    def refuse(constant: str) -> object:
        raise ValueError(constant)

    try:
        json.loads(text, object_pairs_hook=unambiguous, parse_constant=refuse, parse_float=str, parse_int=str)
    except ValueError:
        with pytest.raises(InvalidJson):
            through(text)
    else:
        assert through(text) == text
