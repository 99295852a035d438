"""RFC 8785 without floating-point numbers: its own examples, and a comparison with a second implementation."""

import json
import random
from enum import StrEnum

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backctl.domain.canonical_json import canonical
from backctl.domain.values import Instant

relaxed = settings(deadline=None, max_examples=200)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=5),
    max_leaves=15,
)
_SHORT = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}


def utf16_units(text: str) -> list[int]:
    units: list[int] = []
    for code in map(ord, text):
        units += [code] if code < 0x10000 else [0xD800 + ((code - 0x10000) >> 10), 0xDC00 + (code & 0x3FF)]
    return units


def written(value: object) -> str:
    """A second implementation, directly from RFC 8785 §3.2."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, str):
        escapes = (_SHORT.get(code) or (f"\\u{code:04x}" if code < 0x20 else chr(code)) for code in map(ord, value))
        return '"' + "".join(escapes) + '"'
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    assert isinstance(value, dict)
    return "{" + ",".join(f"{written(name)}:{written(value[name])}" for name in sorted(value, key=utf16_units)) + "}"


@relaxed
@given(values)
@example({"\U0001f600": 1, "\ufb33": 2, "\ue000": 3, "\u20ac": 4})
@example("\x00\x1f\x7f\x80\u2028\u2029\u0085\uffff")
def test_it_writes_what_a_second_implementation_writes(value: object) -> None:
    assert canonical(value) == written(value).encode()
    assert json.loads(canonical(value)) == value


def shuffled(value: object, rng: random.Random) -> object:
    if isinstance(value, list):
        return tuple(shuffled(item, rng) for item in value)
    if isinstance(value, dict):
        return {name: shuffled(value[name], rng) for name in rng.sample(sorted(value), len(value))}
    return value


@relaxed
@given(values, st.randoms(use_true_random=False))
def test_the_order_of_members_does_not_matter(value: object, rng: random.Random) -> None:
    assert canonical(shuffled(value, rng)) == canonical(value)


def test_rfc_8785_section_3_2_2_example_but_for_its_floats() -> None:
    source = r'{"string": "\u20ac$\u000F\u000aA\u0027\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}'
    expected = r'{"literals":[null,true,false],"string":"€$\u000f\nA' + r"""'B\"\\\\\"/"}"""
    assert canonical(json.loads(source)) == expected.encode()


def test_rfc_8785_section_3_2_3_example_of_sorting() -> None:
    source = r"""{
      "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
      "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
    }"""
    assert list(json.loads(canonical(json.loads(source))).values()) == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # the test data that RFC 8785 appendix I refers to
        (
            r'{"1": {"f": {"f": "hi","F": 5} ,"\n": 56}, "10": { }, "": "empty", "a": { }, "111": [ { } ], "A": { }}',
            r'{"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{}],"A":{},"a":{}}',
        ),
        (
            '{"sin": 1, "pêche": 2, "péché": 3, "peach": 4}',
            '{"peach":4,"péché":3,"pêche":2,"sin":1}',
        ),
        (r'{"Unnormalized Unicode":"A\u030a"}', '{"Unnormalized Unicode":"A\u030a"}'),
        # the integers of appendix B within the supported range
        ("[0, -0, 9007199254740992, -9007199254740992]", "[0,0,9007199254740992,-9007199254740992]"),
    ],
)
def test_published_test_data(source: str, expected: str) -> None:
    assert canonical(json.loads(source)) == expected.encode()


class Colour(StrEnum):
    RED = "red"


def test_subclasses_are_written_as_what_they_are() -> None:
    assert canonical({"at": Instant(5), "colour": Colour.RED, "yes": True}) == b'{"at":5,"colour":"red","yes":true}'


@pytest.mark.parametrize(
    "value",
    [0.0, 1.5, float("nan"), float("inf"), 2**53 + 1, -(2**53) - 1, 10**400, "\ud800", {"\udfff": 1}, {1: "a"},
     {None: 1}, {True: 1}, b"bytes", {1, 2}, object(), [[{"a": [1.0]}]], 1j, frozenset()],
)  # fmt: skip
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - several messages; one comes from the codec
        canonical(value)
