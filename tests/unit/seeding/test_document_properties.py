"""What the parsers of the standard library and PyYAML construct, the trees contain, each value with its line."""

import json
import tomllib
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.seeding.trees import Lines, lines, values

from backctl.application.seeding.documents import Node
from backctl.domain.errors import InvalidSeed
from backctl.infrastructure.documents import yaml_events
from backctl.infrastructure.documents.json_text import read_json
from backctl.infrastructure.documents.toml_text import read_toml
from backctl.infrastructure.documents.tree import Source
from backctl.infrastructure.documents.yaml_events import read_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=12
)
DOCUMENTS = st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4)
SPACE = st.text(" \t\r\n", max_size=3)
PARSERS = {"libyaml": yaml_events._parser, "pyyaml": yaml_events._python_parser}


def source() -> Source:
    return Source("seed", {})


def in_kinds(value: Any, number: Any = repr) -> Any:
    """A value in the form of `values`."""
    match value:
        case dict():
            return {key: in_kinds(item, number) for key, item in value.items()}
        case list():
            return [in_kinds(item, number) for item in value]
        case None:
            return "null", "null"
        case bool():
            return "boolean", "true" if value else "false"
        case int() | float():
            return "number", number(value)
    return "string", value


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


# JSON.


@given(DOCUMENTS | VALUES, st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_json_has_the_values_of_the_standard_library(value: Any, indent: Any, is_ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii)
    root = read_json(source(), text)
    assert root is not None
    assert values(root) == in_kinds(value)


@given(DOCUMENTS)
def test_each_value_of_indented_json_is_on_its_line(value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False)
    root = read_json(source(), text)
    assert root is not None
    written = text.split("\n")
    for found, line in lines(root):
        shown = json.dumps(found, ensure_ascii=False)
        assert shown in written[line - 1] or found in written[line - 1]
    assert [line for _, line in lines(root)] == sorted(line for _, line in lines(root))


@given(st.lists(st.tuples(SPACE, st.sampled_from(['"a"', "1", "true", "null", "{", "}", "[", "]", ",", ":", "x"]))))
def test_json_is_accepted_exactly_if_the_standard_library_accepts_it(tokens: list[tuple[str, str]]) -> None:
    text = "".join(space + token for space, token in tokens)
    try:
        expected: Any = json.loads(text, object_pairs_hook=_unique)
    except ValueError:
        expected = ValueError
    try:
        found = read_json(source(), text)
        assert (values(found) if found is not None else ValueError) == (
            in_kinds(expected) if expected is not ValueError else ValueError
        )
    except InvalidSeed:
        assert expected is ValueError or depth(expected) > 12


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key appears twice")
    return dict(pairs)


# YAML.


def in_yaml(text: str, parser: str) -> tuple[Any, Lines] | str:
    try:
        root = yaml_events._Reading(source(), PARSERS[parser](text)).whole()
    except (InvalidSeed, yaml.YAMLError):
        return "refused"
    # The parsers place a value that is not written differently.
    return "empty" if root is None else (values(root), [(text, line) for text, line in lines(root) if text])


@given(DOCUMENTS, st.sampled_from([None, False, True]), st.sampled_from([20, 200]))
def test_yaml_has_the_texts_that_were_dumped(value: Any, style: Any, width: int) -> None:
    plain = json.loads(json.dumps(value), parse_int=str, parse_float=str)
    text = yaml.safe_dump(plain, default_flow_style=style, width=width, allow_unicode=True, sort_keys=False)
    if "&id" in text or "? " in text or yaml_events._FORBIDDEN.search(text):
        return
    root = read_yaml(source(), text)
    assert root is not None
    assert _texts(values(root)) == _texts(in_kinds(plain))


def _texts(value: Any) -> Any:
    match value:
        case dict():
            return {key: _texts(item) for key, item in value.items()}
        case list():
            return [_texts(item) for item in value]
        case (_, text):
            return text
    return None


@given(st.text("ab:-[]{},'\"#&*!|>?%~ \n", max_size=24))
def test_both_parsers_of_yaml_agree_about_lines_and_values(text: str) -> None:
    found = [in_yaml(text, parser) if text.strip() else "refused" for parser in PARSERS]
    if "refused" not in found:
        assert found[0] == found[1]


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    for read in (read_yaml, read_json, read_toml):
        try:
            node: Node | None = read(source(), text)
        except InvalidSeed:
            continue
        assert node is None or values(node) is not None


# TOML.

KEYS = st.text("ab", min_size=1, max_size=2)
TOML_STRINGS = st.sampled_from(
    [
        "''",
        '""',
        '"a"',
        "'a\"'",
        '"\\u00e9\\""',
        '"""\na"b""c"""',
        '"""a\\\n  b"""',
        "'''\na'b\n'''",
        '"""x"""""',
        "'''x''''",
    ]
)
TOML_SCALARS = TOML_STRINGS | st.sampled_from(["true", "false", "0", "-1", "+1", "1_0", "0x1F", "1.5", "1e3"])
BREAKS = st.sampled_from(["", " ", "\n", " # x ]}\n", "\n\n"])


@st.composite
def _arrays(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    elements = draw(st.lists(inner, max_size=3))
    return "[" + "".join(f"{draw(BREAKS)}{element}{draw(BREAKS)}," for element in elements) + draw(BREAKS) + "]"


@st.composite
def _inline_tables(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    members = draw(st.lists(st.tuples(st.lists(KEYS, min_size=1, max_size=2), inner), max_size=3))
    return "{" + ", ".join(f"{'.'.join(key)} = {value}" for key, value in members) + "}"


TOML_VALUES = st.recursive(TOML_SCALARS, lambda inner: _arrays(inner) | _inline_tables(inner), max_leaves=5)


@st.composite
def _statements(draw: st.DrawFn) -> str:
    key = ".".join(draw(st.lists(KEYS, min_size=1, max_size=3)))
    form = draw(st.sampled_from(["{} = {}", "{} = {}", "[{}]", "[[{}]]", " '{}' = {} # x", "# {}"]))
    return form.format(key, draw(TOML_VALUES)) + draw(st.sampled_from(["\n", "\r\n", "\n\n"]))


@given(st.lists(_statements(), min_size=1, max_size=7))
def test_toml_has_the_values_of_the_standard_library(statements: list[str]) -> None:
    text = "".join(statements)
    try:
        expected: Any = tomllib.loads(text)
    except ValueError:
        expected = None
    if expected is None:
        with pytest.raises(InvalidSeed):
            read_toml(source(), text)
        return
    root = read_toml(source(), text)
    assert _numbers(values(root) if root is not None else {}) == in_kinds(expected)


def _numbers(value: Any) -> Any:
    """Numbers as the standard library writes them."""
    match value:
        case dict():
            return {key: _numbers(item) for key, item in value.items()}
        case list():
            return [_numbers(item) for item in value]
        case ("number", text):
            return "number", repr(float(text)) if any(mark in text for mark in ".e") else text
    return value


@given(st.lists(st.tuples(KEYS, TOML_STRINGS | st.just("[\n1,\n2]")), min_size=1, max_size=6))
def test_each_key_of_toml_is_on_its_line(members: list[tuple[str, str]]) -> None:
    text = "".join(f"[[t]]\nk{number}{key} = {value}\n" for number, (key, value) in enumerate(members))
    root = read_toml(source(), text)
    assert root is not None
    written = text.split("\n")
    for number, (key, _) in enumerate(members):
        (line,) = (line for found, line in lines(root) if found == f"k{number}{key}")
        assert written[line - 1].startswith(f"k{number}{key} = ")
