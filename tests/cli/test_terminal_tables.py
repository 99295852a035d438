"""Lists on terminals of several widths, in the real program."""

import re

import pytest
from tests.cli.conftest import Machine

from backctl.presentation.terminal import display_width

pytestmark = pytest.mark.embedded

LONG = "christina.papadopoulou@subsidiary.example.com"
NARROW = {"COLUMNS": "80", "NO_COLOR": "1"}


@pytest.fixture
def office(machine: Machine) -> Machine:
    machine.create_user("ada", "--role", "admin", "--reason", "first day on 1 December, see ticket 4711 in the archive")
    machine.create_user("christina.papadopoulou", email=LONG)
    machine.run("token", "issue", "ada").succeeded()
    return machine


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 140])
@pytest.mark.parametrize(
    "words",
    [
        ("doctor",),
        ("token", "list", "ada"),
        ("key", "list"),
        ("user", "list"),
        ("audit", "list"),
        ("role", "list"),
        ("config", "show", "--origin"),
        ("db", "check"),
        ("user", "mfa", "status", "ada"),
        ("user", "show", "ada"),
    ],
    ids=" ".join,
)
def test_no_line_is_wider_than_the_terminal(office: Machine, words: tuple[str, ...], columns: int) -> None:
    screen = office.at_terminal(*words, env={"COLUMNS": str(columns), "NO_COLOR": "1"}).out
    too_wide = [line for line in screen.splitlines() if display_width(line) > columns]
    # In the card of a single object, a word that cannot be wrapped stays whole so that it can be copied.
    assert all("show" in words or "status" in words for _ in too_wide)
    assert "backctl: error" not in screen


def test_ids_and_names_are_whole_at_80_columns(office: Machine) -> None:
    users = office.run("user", "list", "-o", "json").succeeded().json["items"]
    screen = office.at_terminal("user", "list", env=NARROW).out
    for user in users:
        assert re.search(rf"^{user['username']} +{user['email']} ", screen, re.MULTILINE)
    for words in (("token", "list", "ada"), ("key", "list")):
        items = office.run(*words, "-o", "json").succeeded().json["items"]
        lines = office.at_terminal(*words, env=NARROW).out.splitlines()
        assert [line.split()[0] for line in lines[-len(items) :]] == [item["id"] for item in items]


def test_findings_are_wrapped_and_complete(office: Machine) -> None:
    findings = office.run("doctor", "-o", "json").json["items"]
    screen = " ".join(office.at_terminal("doctor", env=NARROW).out.split())
    squeezed = screen.replace(" ", "")
    for finding in findings:
        if "clock" not in finding["check"]:
            assert finding["finding"].replace(" ", "") in squeezed
        assert (finding["hint"] or "").replace(" ", "") in squeezed
    assert "…" not in screen


def test_a_wide_table_is_a_table_in_a_pipe_too(office: Machine) -> None:
    (view,) = office.run("user", "list", "-o", "json", "--search", "ada").succeeded().json["items"]
    for out in (
        office.run("user", "list", "-o", "wide", "--search", "ada", "--empty", "-").succeeded().out,
        office.at_terminal("user", "list", "-o", "wide", "--search", "ada", "--empty", "-", env=NARROW).out,
    ):
        header, row = out.splitlines()
        assert re.split(r"  +", header) == [name.upper().replace("_", " ") for name in view]
        assert view["created_at"] in row
        assert len(row.split()) == len(view)


def test_a_narrow_table_shows_times_to_the_minute_in_utc(office: Machine) -> None:
    (session,) = office.run("token", "list", "ada", "-o", "json").succeeded().json["items"]
    screen = office.at_terminal("token", "list", "ada", env=NARROW).out
    assert session["expires_at"][:16].replace("T", " ") in screen
    assert session["expires_at"][:16] in office.at_terminal("token", "list", "ada", env={"COLUMNS": "140"}).out


def test_status_words_are_coloured_if_colours_are_wanted(office: Machine) -> None:
    green = "\x1b[32mprimary\x1b[0m"
    assert green in office.at_terminal("key", "list").out
    assert green in office.run("key", "list", "-o", "table", env={"FORCE_COLOR": "1"}).out
    assert "\x1b" not in office.run("key", "list", env={"FORCE_COLOR": "1"}).out  # TSV
    assert "\x1b" not in office.at_terminal("key", "list", "--no-color").out
    assert "\x1b" not in office.at_terminal("key", "list", env={"NO_COLOR": "1", "FORCE_COLOR": "1"}).out


def test_the_qr_code_fits_a_terminal_of_24_lines(office: Machine) -> None:
    screen = office.at_terminal("user", "mfa", "enroll", "ada", env={**NARROW, "LINES": "24"}).succeeded().out
    code = [line for line in screen.splitlines() if set(line) <= set("█▀▄ ") and line]
    assert 20 < len(code) <= 23


def test_a_table_rounds_numbers_and_other_formats_do_not(machine: Machine) -> None:
    machine.run("cache", "set", "k", "1", "--ttl", "1h").succeeded()
    assert not re.search(r"\.[0-9]{2,}", machine.run("cache", "list", "-o", "table").succeeded().out)
    for form in ("wide", "json"):
        assert re.search(r"\.[0-9]{2,}", machine.run("cache", "list", "-o", form).succeeded().out)
