"""Line numbers of TOML keys in generated documents whose lines are known."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from backctl.settings.positions import line_numbers, parse_key
from backctl.settings.schema import KeyPath


def paths(value: object, prefix: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the path of every table and value that tomllib reads, including those of tables in arrays."""
    found = {prefix} if prefix else set()
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= paths(inner, (*prefix, key))
    elif isinstance(value, list):
        for inner in value:
            found |= paths(inner, prefix)
    return found


def certain(value: object, prefix: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the paths that are not in an array."""
    found = {prefix} if prefix else set()
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= certain(inner, (*prefix, key))
    return found


def assert_found(lines: dict[KeyPath, int], text: str) -> None:
    document = tomllib.loads(text)
    assert certain(document) <= set(lines) <= paths(document)


def test_each_kind_of_key_is_found_on_its_line() -> None:
    text = '''# comment with [table] and key = 1
title = "x" # = [no]

[database]
  url = """
[not.a.table]
key = 1 \\"""
"""
"quoted key".'lit.eral' = [ # comment ]
  1, "]",
  { a = 1, b = [2,
    3] },
]

[[servers]]
name = 'a#b'
[servers.inner]
x = 1979-05-27 07:32:32
[[servers]]
name = """""two quotes"""""
[profiles . "prod\\u0041" . database]
timeout = '10s'
'''
    lines = line_numbers(text)
    assert_found(lines, text)
    assert lines[("title",)] == 2
    assert lines[("database",)] == 4
    assert lines[("database", "url")] == 5
    assert lines[("database", "quoted key", "lit.eral")] == 9
    assert lines[("servers",)] == 15
    assert lines[("servers", "name")] == 16
    assert lines[("servers", "inner", "x")] == 18
    assert lines[("profiles", "prodA", "database", "timeout")] == 22


def test_carriage_returns_do_not_shift_the_lines() -> None:
    assert line_numbers('a = 1\r\n\r\n[b]\r\nc = """\r\n"""\r\nd = 2\r\n')[("b", "d")] == 6


def test_a_document_nested_beyond_the_interpreters_stack_still_answers() -> None:
    assert line_numbers("a = 1\nb = " + "[" * 100_000 + "]" * 100_000) == {("a",): 1}


bare_keys = st.text("abAB01_-", min_size=1, max_size=4)
any_text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=6)


def basic(text: str) -> str:
    return '"' + "".join(f"\\U{ord(c):08x}" if c in '"\\' else c for c in text) + '"'


@st.composite
def keys(draw: st.DrawFn) -> str:
    """Draw a part of a key, bare or quoted. The document adds a counter that makes it unique."""
    text = draw(any_text)
    return draw(st.sampled_from([basic(text), "'" + text.replace("'", "") + "'", draw(bare_keys)]))


scalars = st.sampled_from(
    [
        "1",
        "-0.5e3",
        "true",
        "1979-05-27 07:32:32Z",
        "0xff",
        '""',
        "''",
        '"a # [b] = {c}"',
        "'[x]'",
        '"""\n[t]\nk = 1\n\\""" \n"""',
        "'''\n\"\"\"\n[[t]]\n'''",
        '""""quoted"" """',
        "'''a''b''''",
        '"\\\\"',
    ]
)
blanks = st.sampled_from(["", "\n", "# [x] y = 1\n", "  \n\n", "\r\n"])
joints = st.sampled_from(["", "\n", " # ] }\n ", "\r\n  "])


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    kind = draw(st.sampled_from(["scalar", "array", "table"])) if depth else "scalar"
    if kind == "scalar":
        return draw(scalars)
    count = draw(st.integers(0, 3))
    if kind == "array":
        items = [draw(joints) + draw(values(depth=depth - 1)) + draw(joints) for _ in range(count)]
        return "[" + ",".join(items) + draw(st.sampled_from(["", "\n"])) + "]"
    return "{ " + ", ".join(f"k{i} = {draw(values(depth=0))}" for i in range(count)) + " }"


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[int, int]]:
    """Draw a TOML text and the line of each assignment. Each key ends in a different number, so keys never collide."""
    text = ""
    expected: dict[int, int] = {}
    number = 0
    array = ""
    for section in range(draw(st.integers(0, 4))):
        text += draw(blanks)
        if section:
            name = draw(keys())
            header = f"s{draw(st.integers(0, 2))}x{section} . {name}"
            if array and draw(st.booleans()):
                text += array
            elif draw(st.booleans()):
                text += (array := f"[[{header}]]\n")
            else:
                text += f"[ {header} ]\n"
        for _ in range(draw(st.integers(0, 3))):
            text += draw(blanks) + draw(st.sampled_from(["", "  ", "\t"]))
            expected[number] = text.count("\n") + 1
            prefix = f"p{number} . {draw(keys())} . " if draw(st.booleans()) else ""
            text += f"{prefix}number-{number} = {draw(values())}{draw(st.sampled_from(['', ' # n = 1']))}\n"
            number += 1
    return text, expected


@given(documents())
def test_every_key_that_tomllib_sees_has_its_own_line(document: tuple[str, dict[int, int]]) -> None:
    text, expected = document
    lines = line_numbers(text)
    assert_found(lines, text)
    assert {number: line for path, line in lines.items() if (number := _number(path)) is not None} == expected


def _number(path: KeyPath) -> int | None:
    last = path[-1]
    return int(last.removeprefix("number-")) if isinstance(last, str) and last.startswith("number-") else None


@given(st.lists(st.one_of(bare_keys, any_text), min_size=1, max_size=4))
def test_a_dotted_key_splits_as_tomllib_splits_it(parts: list[str]) -> None:
    assert parse_key(".".join(basic(part) for part in parts)) == tuple(parts)


@given(st.text(max_size=12))
def test_what_tomllib_refuses_as_a_key_is_no_key(text: str) -> None:
    parts = parse_key(text)
    if parts is not None:
        value: object = tomllib.loads(f"{text} = 0")
        for part in parts:
            assert isinstance(value, dict)
            (value,) = (value[part],)
        assert value == 0


def test_long_strings_with_and_without_an_end_are_read_in_time() -> None:
    text = 'a = """\n' + "x" * 100_000 + '""x' * 20_000 + '"""\nb = 1\n'
    assert line_numbers(text)[("b",)] == 3
    assert parse_key('"' + "a" * 200_000) is None
    assert parse_key('"' + "a" * 200_000 + '"') == ("a" * 200_000,)
