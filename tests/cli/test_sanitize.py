"""`sanitize`: standard input becomes harmless output, and the command opens no database or keyring."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.cli.conftest import Machine, Outcome
from tests.cli.expected import refused
from tests.cli.files import contents

HOSTILE = (
    '{"na\\u202eme": "<b>Ada</b> &amp; co", "n": 1.10, "big": 12345678901234567890, "tags": ["<script>x</script>"]}'
)
CLEAN = '{"name": "Ada & co", "n": 1.10, "big": 12345678901234567890, "tags": [""]}'
ALLOWING = {"BACKCTL_SANITIZE_TAGS": "a,b", "BACKCTL_SANITIZE_ATTRIBUTES": "a.href"}


def sanitize(machine: Machine, *flags: str, stdin: str | bytes, env: dict[str, str] | None = None) -> Outcome:
    return machine.run("sanitize", *flags, stdin=stdin, env=env or {})


def test_text_comes_out_as_text_and_nothing_is_created(machine: Machine) -> None:
    done = sanitize(machine, stdin="a < b & c, <i>Ada</i>&#x202e; \x1b[31mred\r\n").succeeded()
    assert (done.out, done.err) == ("a < b & c, Ada [31mred\n", "")
    assert contents(machine.home) == {}


def test_with_tags_allowed_text_comes_out_as_html(machine: Machine) -> None:
    text = "a < b, <b>Ada</b> <a href=javascript:x onclick=y>z</a><i>w</i>"
    html = 'a &lt; b, <b>Ada</b> <a rel="noopener noreferrer">z</a>w'
    assert sanitize(machine, stdin=text, env=ALLOWING).succeeded().out == html


def test_a_document_keeps_every_byte_but_its_strings(machine: Machine) -> None:
    done = sanitize(machine, "--format", "json", stdin=HOSTILE).succeeded()
    assert (done.out, done.err) == (CLEAN, "")
    asked = sanitize(machine, "--format", "json", "-o", "json", stdin=HOSTILE + "\n").succeeded()
    assert asked.out == '{"value": ' + CLEAN + '\n, "changed": true}\n'
    assert asked.json["value"]["big"] == 12345678901234567890


def test_no_string_of_a_document_ends_in_an_open_end_tag(machine: Machine) -> None:
    document = '{"a</": "b</", "c": ["d&lt;/", "e</</"]}'
    done = sanitize(machine, "--format", "json", stdin=document).succeeded()
    assert json.loads(done.out) == {"a": "b", "c": ["d", "e"]}
    assert sanitize(machine, stdin="x</").succeeded().out == "x"


def test_a_text_as_an_object(machine: Machine) -> None:
    done = sanitize(machine, "-o", "json", stdin='say "x"').succeeded()
    assert done.json == {"value": 'say "x"', "changed": False}


LINES = f'{HOSTILE}\n\nNaN\n{{"a": 1, "a": 2}}\r\n"fine"'


def test_lines_that_fail_are_left_out_and_named(machine: Machine) -> None:
    done = sanitize(machine, "--format", "jsonl", stdin=LINES)
    assert (done.code, done.out) == (7, f'{CLEAN}\n\n"fine"')
    first, second, last = done.err.splitlines()
    assert first.startswith("backctl: error: line 3: invalid JSON: unexpected 'N'")
    assert second.startswith("backctl: error: line 4: the member 'a' appears twice")
    assert last == "backctl: error: 2 of 4 lines could not be cleaned: line 3, line 4"


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_lines_as_objects_hold_their_errors(machine: Machine, form: str) -> None:
    done = sanitize(machine, "--format", "jsonl", "-o", form, stdin=LINES)
    assert done.code == 7
    if form == "json":
        assert list(done.json) == ["items", "summary"]
        assert done.json["summary"] == {"total": 4, "changed": 1, "unchanged": 1, "failed": 2}
    items = json.loads(done.out)["items"] if form == "json" else [json.loads(line) for line in done.out.splitlines()]
    assert [item["line"] for item in items] == [1, 3, 4, 5]
    assert items[0] == {"line": 1, "value": json.loads(CLEAN), "changed": True}
    assert items[1]["error"]["code"] == "json.invalid"
    assert items[3] == {"line": 5, "value": "fine", "changed": False}
    assert json.loads(done.err)["error"]["code"] == "batch.partial"


def test_explain_tells_what_changes_instead_of_the_result(machine: Machine) -> None:
    done = sanitize(machine, "--format", "jsonl", "--explain", stdin=f"{HOSTILE}\n{HOSTILE}\n").succeeded()
    assert done.out == ("pointer\tpart\tkind\tcount\n\tkey\tbidi\t2\n/name\tvalue\thtml\t2\n/tags/*\tvalue\thtml\t2\n")
    nothing = sanitize(machine, "--explain", "-o", "json", "--fields", "kind", stdin="plain").succeeded()
    assert nothing.json == {"items": [], "next_cursor": None}
    failed = sanitize(machine, "--format", "jsonl", "--explain", "-o", "json", stdin="NaN\n")
    assert (failed.code, failed.json["items"]) == (7, [])
    line, summary = map(json.loads, failed.err.splitlines())
    assert (line["line"], line["error"]["code"]) == (1, "json.invalid")
    assert (summary["error"]["code"], summary["error"]["message"]) == (
        "batch.partial",
        "1 of 1 lines could not be cleaned: line 1",
    )


@pytest.mark.parametrize(
    ("flags", "stdin", "code"),
    [
        (("--format", "json"), "{", "json.invalid"),
        (("--format", "json"), '{"a": NaN}', "json.invalid"),
        (("--format", "json"), "[" * 65 + "]" * 65, "input.too_deep"),
        ((), "<div>" * 300, "input.too_deep"),
        ((), b"\xff", "input.invalid"),
        (("--format", "yaml"), "", "usage"),
        (("--fields", "kind"), "", "usage"),
    ],
)
def test_what_cannot_be_cleaned_is_one_error_and_no_output(
    machine: Machine, flags: tuple[str, ...], stdin: str | bytes, code: str
) -> None:
    refused(sanitize(machine, "-o", "json", *flags, stdin=stdin), 2, code)


def test_the_bounds_are_settings(machine: Machine) -> None:
    tight = {"BACKCTL_SANITIZE_MAX_BYTES": "10", "BACKCTL_SANITIZE_MAX_DEPTH": "1"}
    refused(sanitize(machine, "-o", "json", stdin="x" * 11, env=tight), 2, "input.too_large")
    refused(sanitize(machine, "-o", "json", "--format", "json", stdin="[[]]", env=tight), 2, "input.too_deep")


def test_an_allow_list_that_would_allow_everything_is_refused(machine: Machine, tmp_path: Path) -> None:
    done = sanitize(machine, "-o", "json", stdin="x", env={"BACKCTL_SANITIZE_TAGS": "b,script"})
    refused(done, 9, "config.invalid")
    machine.run("config", "set", "sanitize.tags", "b, p").succeeded()
    assert machine.run("config", "get", "sanitize.tags").succeeded().out == "b,p\n"
    assert sanitize(machine, stdin="<p>x</p><i>y</i>").succeeded().out == "<p>x</p>y"
    refused(machine.run("config", "set", "sanitize.attributes", "a.onclick", "-o", "json"), 2, "config.value_invalid")


@pytest.mark.parametrize("form", ["text", "jsonl"])
def test_standard_input_that_cannot_be_read_is_said_so(machine: Machine, tmp_path: Path, form: str) -> None:
    with (tmp_path / "out").open("wb") as writable:
        process = machine.start("sanitize", "--format", form, stdin=writable, stderr=subprocess.PIPE)
        _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (
        2,
        b"backctl: error: standard input cannot be read: Bad file descriptor\n",
    )
