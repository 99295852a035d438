"""Documents are read strictly, with the line of each value, and nothing in them expands."""

import os
from pathlib import Path

import pytest
from tests.unit.seeding.trees import lines, tree, values

from backctl.application.seeding.documents import DEEPEST, Node
from backctl.domain.errors import InputTooLarge, InvalidSeed, UsageError
from backctl.infrastructure.documents import reading, yaml_events
from backctl.infrastructure.documents.reading import read_document

FORMS = ("yaml", "json", "toml")


def refusal(folder: Path, form: str, text: str | bytes) -> str:
    """The message without the name of the file."""
    with pytest.raises(InvalidSeed) as refused:
        tree(folder, form, text)
    file, comma, message = refused.value.message.partition(", ")
    assert (file, comma) == (str(folder / f"seed.{form}"), ", ")
    return message


@pytest.fixture(params=["libyaml", "pyyaml"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pyyaml":
        monkeypatch.setattr(yaml_events, "_parser", yaml_events._python_parser)


# All formats.

EXAMPLES = {
    "yaml": """\
version: 1
users:
  - {email: ada@example.org, password: {env: X}}
  - email: "bob@example.org"
    tags: [a,
      'b']
    active: true
""",
    "json": """\
{"version": 1,
"users": [
  {"email": "ada@example.org", "password": {"env": "X"}},
  {"email": "bob@example.org",
    "tags": ["a",
      "b"],
    "active": true}]}
""",
    "toml": """\
version = 1
[[users]]
email = "ada@example.org"; password = {env = "X"}
[[users]]
email = "bob@example.org"
tags = ["a",
  "b"]
active = true
""".replace("; ", "\n"),
}
LINES = {
    "yaml": "version 1 1 1 users 2 email 3 ada@example.org 3 password 3 env 3 X 3 "
    "email 4 bob@example.org 4 tags 5 a 5 b 6 active 7 true 7",
    "json": "version 1 1 1 users 2 email 3 ada@example.org 3 password 3 env 3 X 3 "
    "email 4 bob@example.org 4 tags 5 a 5 b 6 active 7 true 7",
    "toml": "version 1 1 1 users 2 email 3 ada@example.org 3 password 4 env 4 X 4 "
    "email 6 bob@example.org 6 tags 7 a 7 b 8 active 9 true 9",
}


@pytest.mark.parametrize("form", FORMS)
def test_each_value_has_its_line(form: str, tmp_path: Path) -> None:
    words = LINES[form].split()
    expected = [(text, int(line)) for text, line in zip(words[::2], words[1::2], strict=True)]
    assert lines(tree(tmp_path, form, EXAMPLES[form])) == expected


@pytest.mark.parametrize("form", FORMS)
def test_windows_line_ends_and_a_byte_order_mark_change_nothing(form: str, tmp_path: Path) -> None:
    changed = b"\xef\xbb\xbf" + EXAMPLES[form].replace("\n", "\r\n").encode()
    assert tree(tmp_path, form, changed) == tree(tmp_path, form, EXAMPLES[form])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", ["", "\n\n", " \n"])
def test_an_empty_file_is_refused(form: str, text: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, form, text) == "line 1: the file is empty"


@pytest.mark.parametrize("form", FORMS)
def test_text_that_is_not_utf8_is_refused_with_its_line(form: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, form, EXAMPLES[form].encode() + b"# \xff\n") == (
        f"line {EXAMPLES[form].count(chr(10)) + 1}: it is not UTF-8 text"
    )


@pytest.mark.parametrize(
    ("form", "text", "line"),
    [
        ("yaml", "a: 1\nb: 2\na: 3\n", 3),
        ("yaml", "{x: 1, 'x': 2}", 1),
        ("json", '{"a": 1,\n"a": 2}', 2),
        ("json", '{"a": {},\n"\\u0061": 2}', 2),
        ("toml", "a = 1\nb = 2\na = 3\n", 3),
        ("toml", "[t]\na = 1\n[t]\nb = 2\n", 3),
        ("toml", "a = {b = 1,\tb = 2}", 1),
    ],
)
def test_duplicate_keys_are_refused(form: str, text: str, line: int, tmp_path: Path) -> None:
    message = refusal(tmp_path, form, text)
    assert message.startswith(f"line {line}: ")
    assert form == "toml" or "appears twice" in message


@pytest.mark.parametrize("form", FORMS)
def test_nesting_is_limited(form: str, tmp_path: Path) -> None:
    def nested(levels: int) -> str:
        inner = "[" * (levels - 1) + "]" * (levels - 1)
        return f"a = {inner}" if form == "toml" else f'{{"a": {inner}}}'

    tree(tmp_path, form, nested(DEEPEST))
    for levels in (DEEPEST + 1, 5000):
        assert refusal(tmp_path, form, nested(levels)) == f"line 1: it is nested deeper than {DEEPEST} levels"


@pytest.mark.parametrize("text", [".".join("a" * 40) + " = 1", "[" + ".".join("a" * 40) + "]", "[a.b.c.d.e.f]\n"])
def test_long_dotted_keys_of_toml_are_nested_too(text: str, tmp_path: Path) -> None:
    assert "nested deeper" in refusal(tmp_path, "toml", text if "40" in text else text + ".".join("a" * 13) + " = 1")


@pytest.mark.parametrize("form", FORMS)
def test_a_file_has_a_largest_size(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGEST", len(EXAMPLES[form]))
    tree(tmp_path, form, EXAMPLES[form])
    with pytest.raises(InputTooLarge):
        tree(tmp_path, form, EXAMPLES[form] + "\n")


def test_elements_of_a_list_are_handed_over_as_they_are_read(tmp_path: Path) -> None:
    for form in FORMS:
        path = tmp_path / f"seed.{form}"
        path.write_text(EXAMPLES[form])
        taken: list[Node] = []
        root = read_document(str(path), {"users": taken.append, "version": taken.append})
        whole = values(read_document(str(path), {}))
        assert [values(node) for node in taken] == whole["users"]
        assert values(root) == {**whole, "users": []}


# Files.


@pytest.mark.parametrize("name", ["seed", "seed.yml.bak", "seed.xml", ".yaml"])
def test_another_ending_is_a_usage_error_that_names_the_three(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        read_document(str(tmp_path / name), {})
    assert all(form in str(refused.value.hint) for form in FORMS)


def test_standard_input_is_not_a_seed_file() -> None:
    with pytest.raises(UsageError, match="standard input"):
        read_document("-", {})


def test_endings_may_be_in_upper_case_and_yml(tmp_path: Path) -> None:
    for name in ("a.YML", "b.Yaml"):
        (tmp_path / name).write_text("a: 1")
        assert values(read_document(str(tmp_path / name), {})) == {"a": ("plain", "1")}


def test_what_is_not_a_readable_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("folder.yaml", "pipe.yaml", "missing.yaml", "nul\0.yaml"):
        with pytest.raises(UsageError) as error:
            read_document(str(tmp_path / name), {})
        assert (error.value.hint is not None) == (name == "pipe.yaml")


# YAML.


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    "text",
    [
        *("no", "on", "off", "y", "yes", "1e3", "0123", "0x1f", "1_000", "12:30:45", "2026-01-02", ".nan", ".inf"),
        *("1.0", "true", "false", "True", "-x", "=", "user{n}"),
    ],
)
def test_an_unquoted_scalar_stays_as_it_is_written(text: str, tmp_path: Path) -> None:
    assert values(tree(tmp_path, "yaml", f"a: {text}\n")) == {"a": ("plain", text)}


@pytest.mark.usefixtures("parser")
def test_quoted_and_block_scalars_are_strings(tmp_path: Path) -> None:
    text = "a: 'no'\nb: \"true\"\nc: |\n  x\n  y\nd: >-\n  x\n  y\ne: ''\nf:\ng: ~\nh: null\non: x\n"
    assert values(tree(tmp_path, "yaml", text)) == {
        "a": ("string", "no"),
        "b": ("string", "true"),
        "c": ("string", "x\ny\n"),
        "d": ("string", "x y"),
        "e": ("string", ""),
        "f": ("null", ""),
        "g": ("null", "~"),
        "h": ("null", "null"),
        "on": ("plain", "x"),
    }


BILLION_LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{after}: &{after} [*{name}, *{name}]\n" for name, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BILLION_LAUGHS, "line 1: anchors are not supported"),
        ("a: 1\nb: &x 1\n", "line 2: anchors are not supported"),
        ("a: 1\nb: &x {}\n", "line 2: anchors are not supported"),
        ("a: 1\n&x b: 1\n", "line 2: anchors are not supported"),
        ("a: 1\nb: *x\n", "line 2: aliases are not supported"),
        ("*x : 1\n", "line 1: aliases are not supported"),
        ("a: !!python/object/apply:os.system ['true']\n", "line 1: tags are not supported"),
        ("a:\n  !!str 1\n", "line 2: tags are not supported"),
        ("!!set {a}\n", "line 1: tags are not supported"),
        ("a: ! x\n", "line 1: tags are not supported"),
        ("%TAG ! tag:example.org,2000:\n---\na: 1\n", "line 2: tags are not supported"),
        ("<<: {a: 1}\n", "line 1: merge keys are not supported"),
        ("a: 1\n---\nb: 2\n", "line 2: there is a second document"),
        ("a: 1\n...\n---\n", "line 3: there is a second document"),
        ("? [a]\n: 1\n", "line 1: a key is a list or a mapping"),
        ("{a: 1, {b: 1}: 2}\n", "line 1: a key is a list or a mapping"),
        ("a: 1\n? \n: 2\n", "line 2: a key is missing"),
        ("a: 1\n~: 2\n", "line 2: a key is missing"),
        ("a: 1\nb: \x01\n", "line 2: the character '\\x01' is not allowed in YAML"),
        ("a: x\u2028y\n", "line 1: the character '\\u2028' is not allowed in YAML"),
        ("a: 'x\x85'\n", "line 1: the character '\\x85' is not allowed in YAML"),
        ("a: \ufeff\n", "line 1: the character '\\ufeff' is not allowed in YAML"),
    ],
)
def test_yaml_that_expands_or_is_ambiguous_is_refused(text: str, message: str, tmp_path: Path) -> None:
    if text.startswith("%TAG"):  # the two parsers place the start of a document differently
        assert refusal(tmp_path, "yaml", text).endswith(": tags are not supported")
    else:
        assert refusal(tmp_path, "yaml", text) == message


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    "text", ["a: b: c\n", "a: [1,\n", "a: 1\n b: 2\n", "a: 'x\n", "\ta: 1\n", "a: @x\n", "- a\nb: 1\n"]
)
def test_invalid_yaml_is_refused_with_a_line(text: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, "yaml", text).split(": ")[1] == "it is not YAML"


@pytest.mark.usefixtures("parser")
def test_a_single_document_may_have_markers(tmp_path: Path) -> None:
    assert values(tree(tmp_path, "yaml", "%YAML 1.1\n---\na: 1\n...\n")) == {"a": ("plain", "1")}


@pytest.mark.usefixtures("parser")
def test_only_comments_are_an_empty_file(tmp_path: Path) -> None:
    assert refusal(tmp_path, "yaml", "# nothing\n") == "line 1: the file is empty"


# JSON.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a":\nNaN}', "line 2: it is not JSON: NaN is not JSON"),
        ('{"a": -Infinity}', "line 1: it is not JSON: -Infinity is not JSON"),
        ("[1,]", "line 1: it is not JSON: unexpected ']'"),
        ('{"a": 1,}', "line 1: it is not JSON: unexpected '}'"),
        ('{"a": 01}', "line 1: it is not JSON: unexpected '0'"),
        ("{'a': 1}", "line 1: it is not JSON: unexpected '''"),
        ('{"a": 1', "line 1: it is not JSON: unexpected end"),
        ('{"a"\n: 1}\n{', "line 3: it is not JSON: unexpected '{'"),
        ('{"a": 1]', "line 1: it is not JSON: unexpected ']'"),
        ("[1}", "line 1: it is not JSON: unexpected '}'"),
        ("// x\n{}", "line 1: it is not JSON: unexpected '/'"),
        ("{1: 2}", "line 1: it is not JSON: unexpected '1'"),
        ('{"a": "\\ud800"}', "line 1: a string contains half of a surrogate pair"),
        ('{"\\udc00": 1}', "line 1: a string contains half of a surrogate pair"),
    ],
)
def test_invalid_json_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, "json", text) == message


@pytest.mark.parametrize("text", ['{"password": "hunter2}', '{"password": "hunter2\n"}', '{"password": "hunter2\\x"}'])
def test_a_string_that_is_not_closed_is_not_repeated(text: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, "json", text)
    assert "a string is in the wrong place or not closed" in message
    assert "hunter2" not in message


# TOML.


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb =\n", 2),
        ("a = 1\nb\n", 2),
        ("a = [1,\n", 2),
        ("a = 'x\n", 1),
        ("a = {b = 1\n", 1),
        ("a = 1 b = 2\n", 1),
        ("x = 1\n[a\n", 2),
        ("a = 1\n[a.b]\n", 2),
        ("a = [1]\n[[a]]\n", 2),
        ("a = 1979-13-01\n", 1),
    ],
)
def test_invalid_toml_is_refused_with_its_line(text: str, line: int, tmp_path: Path) -> None:
    message = refusal(tmp_path, "toml", text)
    assert ": it is not TOML" in message
    assert abs(int(message.removeprefix("line ").partition(":")[0]) - line) <= 1


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "+nan", "1e999"])
def test_numbers_that_are_not_finite_are_refused(number: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, "toml", f"a = 1\nb = {number}\n") == "line 2: infinity and NaN are not supported"


def test_dates_and_numbers_of_toml_are_texts(tmp_path: Path) -> None:
    text = "a = 2026-01-02\nb = 2026-01-02 03:04:05Z # c\nc = 0x1F\nd = 1_000\ne = 1.5\nf = [12:30:00]\n"
    assert values(tree(tmp_path, "toml", text)) == {
        "a": ("plain", "2026-01-02"),
        "b": ("plain", "2026-01-02 03:04:05Z"),
        "c": ("number", "31"),
        "d": ("number", "1000"),
        "e": ("number", "1.5"),
        "f": [("plain", "12:30:00")],
    }


def test_tables_of_toml_may_be_written_in_any_order(tmp_path: Path) -> None:
    text = '[a.b]\nx = 1\n[[u]]\nm.n = 1\n[u.p]\nq = 2\n[[u]]\n[a]\n"y z".w = """\n1"\n2"""\nk = 1\n'
    root = tree(tmp_path, "toml", text)
    assert values(root) == {
        "a": {"b": {"x": ("number", "1")}, "y z": {"w": ("string", '1"\n2')}, "k": ("number", "1")},
        "u": [{"m": {"n": ("number", "1")}, "p": {"q": ("number", "2")}}, {}],
    }
    assert ("k", 12) in lines(root)
