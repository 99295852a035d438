"""What every command shares, shown on a program made for it: `frame` runs the private nouns in tests/cli/frame."""

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from tests.cli.scenes import MORE

_FRAME = Path(__file__).parent / "frame"


@pytest.fixture
def frame(machine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(machine, "command", lambda *args: [sys.executable, str(_FRAME), *args])
    return machine


# Help, version, slips.


def test_the_version_is_one_line(machine: Any) -> None:
    assert machine.run("--version").succeeded().out == "backctl 0.1.0\n"
    assert machine.run("-v", "--version").succeeded().out == "backctl 0.1.0\n"


def test_the_version_loads_next_to_nothing(machine: Any) -> None:
    code = "import sys; sys.argv[1:] = ['--version']; from backctl.__main__ import main; main(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=machine.environment, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[1].split())
    assert not loaded & {"typing", "re", "enum", "typer", "signal", "dataclasses", "json"}


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("usr",), ("--hlep",), ("help", "exit-codes")],
    ids=["help", "typo", "option", "other noun"],
)
def test_only_the_noun_that_was_typed_is_imported(machine: Any, arguments: tuple[str, ...]) -> None:
    code = (
        f"import sys; sys.argv[1:] = {arguments!r}\n"
        "from backctl.__main__ import main\nmain()\n"
        "print('loaded', *(name for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=machine.environment, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    commands = {name for name in loaded if name.startswith("backctl.presentation.commands.")}
    assert commands <= {"backctl.presentation.commands.help"}
    assert (len(commands) == 1) is (arguments[0] == "help")
    assert not loaded & {"rich", "json", "tomllib", "sqlalchemy", "pydantic", "platformdirs", "logging", "csv"}


def test_help_goes_to_stdout_and_names_every_noun(machine: Any) -> None:
    done = machine.run("--help").succeeded()
    assert done.err == ""
    for noun in ("user", "role", "audit", "config", "init", "doctor", "help"):
        assert f"\n  {noun} " in done.out


def test_every_leaf_shows_the_common_options(frame: Any) -> None:
    out = frame.run("item", "close", "--help").succeeded().out
    for flag in (
        *("-p, --profile", "--config", "-o, --output", "--fields", "--no-header", "-q, --quiet", "-v, --verbose"),
        *("--no-color", "--no-input", "--timeout", "--actor", "--reason", "-n, --dry-run", "-y, --yes", "--from-file"),
    ):
        assert flag in out
    assert "--dry-run" not in frame.run("item", "show", "--help").succeeded().out


def test_help_on_a_terminal_is_drawn_and_plain_where_colour_is_refused(frame: Any) -> None:
    assert "╭" in frame.at_terminal("item", "close", "--help").succeeded().out
    assert "╭" in frame.at_terminal("--help").succeeded().out
    for refusal in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"BACKCTL_NO_COLOR": "1"}):
        assert "╭" not in frame.at_terminal("--help", env=refusal).succeeded().out


def test_without_a_command_the_help_is_an_error(machine: Any) -> None:
    for arguments in ((), ("help",)):
        done = machine.run(*arguments)
        assert (done.code, done.out) == (2, "")
        assert "Usage: backctl" in done.err


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("hlep",), "'backctl' has no command 'hlep'", "did you mean 'help'?"),
        (("help", "exit-code"), "'backctl help' has no command 'exit-code'", "did you mean 'exit-codes'?"),
        (("zzzz",), "'backctl' has no command 'zzzz'", "see 'backctl --help'"),
        (("help", "exit-codes", "--outptu", "json"), "there is no option '--outptu'", "did you mean '--output'?"),
        (("help", "exit-codes", "-z"), "there is no option '-z'", "see 'backctl help exit-codes --help'"),
        (("help", "exit-codes", "--fields"), "option '--fields' needs a value", "see 'backctl help exit-codes --help'"),
        (("help", "exit-codes", "-q=3"), "there is no option '-='", "see 'backctl help exit-codes --help'"),
        (
            ("help", "exit-codes", "--quiet=3"),
            "option '--quiet' takes no value",
            "see 'backctl help exit-codes --help'",
        ),
        (("help", "exit-codes", "x", "y"), "unexpected argument 'x y'", "see 'backctl help exit-codes --help'"),
        (("user", "show"), "IDENT is missing", "see 'backctl user show --help'"),
        (("user", "create", "a@b.c"), "--username is missing", "see 'backctl user create --help'"),
        (("user", "list", "--limit", "x"), "--limit: 'x' is not a valid int", "see 'backctl user list --help'"),
        (
            ("help", "exit-codes", "--fields", "code,nix"),
            "--fields: there is no 'nix' here",
            "known fields: code, meaning",
        ),
        (
            ("help", "exit-codes", "-o", "id", "--fields", "code"),
            "--fields has no meaning with --output id",
            "use --output tsv --no-header",
        ),
    ],
)
def test_a_slip_is_told_in_our_form(machine: Any, arguments: tuple[str, ...], message: str, hint: str) -> None:
    done = machine.run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"backctl: error: {message}\nbackctl: hint: {hint}\n"


def test_an_unknown_form_names_the_known_ones(machine: Any) -> None:
    done = machine.run("help", "exit-codes", "-o", "xml")
    assert done.code == 2
    assert "--output: 'xml' is not one of 'table', 'json', 'jsonl', 'csv', 'tsv', 'id'" in done.err


@pytest.mark.parametrize(
    "words",
    [("-o", "json"), ("-ojson",), ("--output", "json"), ("--output=json",), ("-qojson",), ("-qo", "json")],
)
def test_a_slip_is_json_where_json_was_asked_for(machine: Any, words: tuple[str, ...]) -> None:
    done = machine.run("help", "exit-codes", *words, "--nope")
    assert (done.code, done.out) == (2, "")
    assert done.error == {
        "code": "usage",
        "exit": 2,
        "message": "there is no option '--nope'",
        "hint": done.error["hint"],
        "retryable": False,
    }


def test_a_slip_is_json_where_the_environment_says_so(machine: Any) -> None:
    done = machine.run("help", "exit-codez", env={"BACKCTL_OUTPUT": "json"})
    assert done.error["hint"] == "did you mean 'exit-codes'?"
    assert machine.run(env={"BACKCTL_OUTPUT": "json"}).error["message"] == "a command is missing"


def test_words_after_two_dashes_are_no_flags(frame: Any) -> None:
    done = frame.run("item", "show", "--", "-o", "json")
    assert done.code == 2
    assert done.err.startswith("backctl: error: unexpected argument 'json'")


def test_hostile_words_are_cut_and_escaped(frame: Any) -> None:
    long = frame.run("item", "show", "x", "y" * 100_000)
    assert long.code == 2
    assert len(long.err) < 400
    for word in ("\x1b[31mred", "a\u202eb", b"caf\xe9"):
        done = frame.run("item", word)
        assert done.code == 2
        assert done.err.isascii()
        assert done.err.replace("\n", "").isprintable()
    assert "is not UTF-8 text" in frame.run("item", "show", b"caf\xe9").err


def test_shared_values_are_judged_before_anything_happens(frame: Any) -> None:
    for flags in (
        ("--reason", "a\nb"),
        ("--reason", ""),
        ("--profile", "\x1b"),
        ("--timeout", "3"),
        ("--fields", "a,,b"),
    ):
        done = frame.run("item", "show", "x", *flags)
        assert (done.code, done.out) == (2, ""), flags


# Results.


def test_a_page_in_every_form(frame: Any) -> None:
    def page(*flags: str) -> str:
        out: str = frame.run("item", "list", *flags).succeeded().out
        return out

    assert page() == (
        "id\tname\tmade_at\ttags\n"
        "i0\titem 0\t1970-01-01T00:00:00.000000Z\ta,b\n"
        "i1\titem 1\t1970-01-01T00:00:00.000001Z\ta,b\n"
    )
    assert page("--no-header", "--fields", "name,id") == "item 0\ti0\nitem 1\ti1\n"
    assert page("-o", "csv", "--fields", "id,tags") == 'id,tags\r\ni0,"a,b"\r\ni1,"a,b"\r\n'
    assert page("-o", "id") == "i0\ni1\n"
    assert page("-o", "table", "--fields", "id,name") == "ID  NAME\ni0  item 0\ni1  item 1\n"
    assert [json.loads(line)["tags"] for line in page("-o", "jsonl").splitlines()] == [["a", "b"], ["a", "b"]]
    document = json.loads(page("-o", "json", "--fields", "id,made_at", "--count", "1"))
    assert document == {"items": [{"id": "i0", "made_at": "1970-01-01T00:00:00.000000Z"}], "next_cursor": None}


@pytest.mark.parametrize("whole", [(), ("--all",)], ids=["page", "all"])
def test_nothing_is_a_result_too(frame: Any, whole: tuple[str, ...]) -> None:
    def nothing(*flags: str) -> str:
        out: str = frame.run("item", "list", "--count", "0", *whole, *flags).succeeded().out
        return out

    assert nothing("-o", "json") == '{"items": [], "next_cursor": null}\n'
    assert nothing("-o", "jsonl") == ""
    assert nothing("-o", "id") == ""
    assert nothing() == "id\tname\tmade_at\ttags\n"
    assert nothing("--no-header") == ""


def test_the_next_page_is_a_notice_that_quiet_drops(frame: Any) -> None:
    assert frame.run("item", "list", "--cursor", "abc").succeeded().err == f"{MORE} --cursor abc\n"
    assert frame.run("item", "list", "--cursor", "abc", "-q").succeeded().err == ""
    done = frame.run("item", "list", "--cursor", "abc", "-o", "json").succeeded()
    assert (done.err, done.json["next_cursor"]) == ("", "abc")


def test_a_query_is_never_quiet(frame: Any) -> None:
    assert frame.run("item", "show", "x", "-q", "-o", "id").succeeded().out == "i1\n"


def test_a_mutation_says_whether_it_changed_anything(frame: Any) -> None:
    done = frame.run("item", "close", "x", "-o", "json").succeeded()
    assert (done.json["name"], done.json["changed"], "dry_run" in done.json) == ("x", True, False)
    done = frame.run("item", "close", "same", "-n", "-o", "json").succeeded()
    assert (done.json["changed"], done.json["dry_run"]) == (False, True)
    assert frame.run("item", "close", "x", "-q").succeeded().out == ""
    assert frame.run("item", "close", "x", "--fields", "changed,id,dry_run").out == "changed\tid\tdry_run\ntrue\ti1\t\n"


def test_a_made_password_is_shown_once_whatever_the_form(frame: Any) -> None:
    assert frame.run("item", "create", "--generate", "-o", "json").json["password"] == "pass word"
    assert frame.run("item", "create", "--generate", "-o", "table").out.splitlines()[-1] == "password: pass word"
    assert frame.run("item", "create", "--generate", "-q").out == "pass word\n"


def test_a_check_answers_with_its_exit_code(frame: Any) -> None:
    assert frame.run("item", "exists", "x", "-q").succeeded().out == ""
    done = frame.run("item", "exists", "none", "-o", "json")
    assert (done.code, done.json["name"], done.err) == (3, "none", "")


def test_a_bare_value_is_bare_everywhere_but_in_json(frame: Any) -> None:
    assert frame.run("ping").succeeded().out == "pong\n"
    assert frame.at_terminal("ping").succeeded().out == "pong\n"
    assert frame.run("ping", "-o", "json").json == {"answer": "pong"}


def test_errors_leave_stdout_empty_and_carry_their_code(frame: Any) -> None:
    done = frame.run("item", "show", "none")
    assert (done.code, done.out) == (3, "")
    assert done.err == "backctl: error: there is no 'none'\nbackctl: hint: see 'item list'\n"
    done = frame.run("item", "list", "--all", "--fail-at", "0", "-o", "json")
    assert (done.code, done.out) == (5, "")
    assert (done.error["code"], done.error["retryable"], done.error["exit"]) == ("database.locked", True, 5)


def test_a_bug_is_one_line_and_a_log(frame: Any) -> None:
    done = frame.run("item", "crash")
    assert (done.code, done.out) == (1, "")
    assert "Traceback" not in done.err
    assert "secret detail" not in done.err
    (log,) = frame.home.rglob("backctl.log")
    assert str(log) in done.err
    assert "ZeroDivisionError: secret detail" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    assert frame.run("item", "crash", "-o", "json").error["code"] == "internal"


def test_a_bug_without_a_place_for_the_log_is_still_one_line(frame: Any) -> None:
    done = frame.run("item", "crash", env={"XDG_STATE_HOME": "/dev/null/nowhere", "HOME": "/dev/null/nowhere"})
    assert done.code == 1
    assert "could not be written" in done.err


# Flags before the noun, and the environment.


def test_profile_and_verbose_work_before_the_noun(frame: Any) -> None:
    assert "peak" in frame.run("-v", "item", "list", "--all").succeeded().err
    for arguments in (
        ("-p", "east", "item", "change"),
        ("item", "change", "-p", "east"),
        ("-p", "x", "item", "change", "-p", "east"),
    ):
        done = frame.run(*arguments)
        assert done.code == 2
        assert "profile 'east'" in done.err


def test_the_environment_sets_defaults_that_flags_override(frame: Any) -> None:
    environment = {"BACKCTL_OUTPUT": "json", "BACKCTL_ACTOR": "cron", "BACKCTL_TIMEOUT": "2s"}
    done = frame.run("item", "change", env=environment).succeeded()
    assert (done.json["actor"], done.json["timeout"]) == ("cron", "2s")
    done = frame.run("item", "change", "--actor", "ada", "-o", "tsv", "--fields", "id", env=environment).succeeded()
    assert done.out == "id\ni1\n"
    assert frame.run("item", "show", "x", env={"BACKCTL_OUTPUT": "xml"}).code == 2


def test_no_variable_confirms_anything(frame: Any) -> None:
    environment = {"BACKCTL_YES": "1", "BACKCTL_DRY_RUN": "1", "BACKCTL_CONFIRM": "x"}
    assert frame.run("item", "close", "a-1", "b-2", env=environment).code == 8
    assert frame.run("item", "delete", "x", env=environment).code == 8


# Secrets.


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_bytes(b"hunter2\r\n")
    return str(path)


def test_a_secret_comes_in_four_ways(frame: Any, password_file: str) -> None:
    def length(*flags: str, **details: Any) -> int:
        number: int = frame.run("item", "create", "-o", "json", *flags, **details).succeeded().json["length"]
        return number

    assert length("--password-stdin", stdin="hunter2\n") == 7
    assert length("--password-stdin", stdin="hunter2\n\n") == 8
    assert length("--password-file", "-", stdin="") == 0
    assert length("--password-file", password_file) == 7
    with open(password_file, "rb") as file:
        assert length("--password-fd", str(file.fileno()), pass_fds=(file.fileno(),)) == 7
    assert length("--password-fd", "0", stdin="hunter2") == 7
    done = frame.run("item", "create", "-o", "json", "--password-env", "P", env={"P": "hunter2"}).succeeded()
    assert (done.json["length"], "warning" in done.json) == (7, False)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--password-stdin", "--password-env", "P"), "exclude each other"),
        (("--password-file", "nowhere"), "'nowhere' cannot be read"),
        (("--password-file", "."), "cannot be read"),
        (("--password-fd", "77"), "--password-fd 77 cannot be read"),
        (("--password-fd", "x"), "is not the number of an open descriptor"),
        (("--password-env", "MISSING"), "no variable 'MISSING'"),
        (
            ("--password-stdin", "--with-pin", "--pin-file", "-"),
            "both --password-stdin and --pin-file read standard input",
        ),
        ((), "no password was given, and there is no terminal to ask on"),
    ],
)
def test_a_secret_that_cannot_be_had_is_a_usage_error(frame: Any, flags: tuple[str, ...], message: str) -> None:
    done = frame.run("item", "create", *flags, env={"P": "x"})
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_the_hint_names_every_way(frame: Any) -> None:
    hint = "use --password-stdin, --password-file, --password-fd, --password-env or --generate"
    assert hint in frame.run("item", "create").err


def test_a_secret_is_bounded_utf8_text(frame: Any) -> None:
    done = frame.run("item", "create", "--password-stdin", stdin=b"caf\xe9")
    assert (done.code, "not UTF-8" in done.err, "caf" in done.err) == (2, True, False)
    done = frame.run("item", "create", "--password-stdin", stdin=b"x" * 65_537)
    assert (done.code, "longer than 65536 bytes" in done.err) == (2, True)


def test_a_hidden_prompt_asks_twice_and_shows_nothing(frame: Any) -> None:
    done = frame.at_terminal(
        "item",
        "create",
        "--no-color",
        "--fields",
        "length",
        keys=[("password: ", "hunter2\n"), ("password again: ", "hunter2\n")],
    ).succeeded()
    assert "hunter2" not in done.out
    assert done.out.splitlines()[-1] == "length: 7"


def test_a_slip_at_the_second_prompt_starts_over(frame: Any) -> None:
    keys = [("password: ", "one\n"), ("again: ", "two\n"), ("password: ", "three\n"), ("again: ", "three\n")]
    done = frame.at_terminal("item", "create", "--no-color", "--fields", "length", keys=keys).succeeded()
    assert "the two passwords differ" in done.out
    assert done.out.splitlines()[-1] == "length: 5"


def test_the_end_of_input_at_a_prompt_gives_up_cleanly(frame: Any) -> None:
    done = frame.at_terminal("item", "create", keys=[("password: ", "\x04")])
    assert done.code == 2
    assert "no password was given" in done.out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_at_a_hidden_prompt_gives_the_echo_back(frame: Any, number: int, code: int) -> None:
    master, slave = pty.openpty()
    process = frame.start("item", "create", stdin=slave, stdout=subprocess.DEVNULL, stderr=slave)
    shown = b""
    while b"password: " not in shown:
        shown += os.read(master, 1024)
    assert not termios.tcgetattr(slave)[3] & termios.ECHO
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert termios.tcgetattr(slave)[3] & termios.ECHO
    os.close(slave)
    os.close(master)


def test_no_input_never_asks(frame: Any) -> None:
    assert frame.at_terminal("item", "create", "--no-input").code == 2
    assert frame.at_terminal("item", "delete", "x", env={"BACKCTL_NO_INPUT": "1"}).code == 8


# Confirmation.


def test_without_a_terminal_a_guard_names_its_flag(frame: Any) -> None:
    done = frame.run("item", "close", "a-1", "b-2")
    assert (done.code, done.out) == (8, "")
    assert done.err == "backctl: error: not confirmed: close 2 items (a-1, b-2)?\nbackctl: hint: confirm with --yes\n"
    done = frame.run("item", "delete", "my thing")
    assert (done.code, "confirm with --confirm 'my thing'" in done.err) == (8, True)


def test_a_guard_is_passed_with_its_flag_or_a_dry_run(frame: Any) -> None:
    for flags in (("-y",), ("--yes",), ("-n",)):
        frame.run("item", "close", "a-1", "b-2", *flags).succeeded()
    frame.run("item", "delete", "x", "--confirm", "x").succeeded()
    frame.run("item", "delete", "x", "--dry-run").succeeded()
    assert frame.run("item", "delete", "x", "--confirm", "y").code == 8
    assert frame.run("item", "delete", "x", "--yes").code == 8


def test_a_person_confirms_with_yes_or_by_typing_the_name(frame: Any) -> None:
    question = "close 2 items (a-1, b-2)? [y/N] "
    assert frame.at_terminal("item", "close", "a-1", "b-2", keys=[(question, "y\n")]).code == 0
    for answer in ("\n", "no\n", "\x04"):
        assert frame.at_terminal("item", "close", "a-1", "b-2", keys=[(question, answer)]).code == 8
    assert frame.at_terminal("item", "delete", "x", keys=[("type 'x' to confirm: ", "x\n")]).code == 0
    assert frame.at_terminal("item", "delete", "x", keys=[("type 'x' to confirm: ", "X\n")]).code == 8


def test_a_protected_profile_asks_for_every_change_and_wants_a_reason(frame: Any) -> None:
    frame.config_file.parent.mkdir(parents=True, mode=0o700)
    frame.config_file.write_text("protected = true\n")
    frame.config_file.chmod(0o600)
    done = frame.run("item", "change", "--yes")
    assert (done.code, "--reason" in done.err) == (8, True)
    done = frame.run("item", "change", "--reason", "ticket 7")
    assert (done.code, "--yes" in done.err) == (8, True)
    frame.run("item", "change", "--reason", "ticket 7", "--yes").succeeded()
    frame.run("item", "change", "--dry-run").succeeded()
    keys = [("go on with 'change'? [y/N] ", "yes\n")]
    frame.at_terminal("item", "change", "--reason", "ticket 7", keys=keys).succeeded()


# Many at once.


def test_one_identity_answers_like_a_single_command(frame: Any) -> None:
    assert frame.run("item", "close", "abc", "-o", "json").json["name"] == "abc"
    assert frame.run("item", "close", "missing").code == 3


def test_many_are_reported_together_and_failures_named(frame: Any) -> None:
    done = frame.run("item", "close", "abc", "missing", "same", "-y", "-o", "json")
    assert done.code == 7
    assert [item["ident"] for item in done.json["items"]] == ["abc", "missing", "same"]
    assert done.json["items"][1]["error"]["code"] == "not_found"
    assert {name: done.json[name] for name in ("total", "done", "changed", "failed")} == {
        "total": 3,
        "done": 3,
        "changed": 1,
        "failed": 1,
    }
    assert done.error["message"] == "1 of 3 failed: 'missing'"
    done = frame.run("item", "close", "abc", "missing", "-y", "--fields", "ident,id,changed,error")
    assert done.code == 2  # `ident` and `error` belong to a report, not to the view
    done = frame.run("item", "close", "abc", "missing", "-y", "-o", "id")
    assert (done.code, done.out) == (7, "i1\n")
    done = frame.run("item", "close", "abc", "missing", "-y", "-q")
    assert (done.code, done.out) == (7, "")


@pytest.mark.parametrize("how", [("--from-file", "-"), ("-",)], ids=["from-file", "dash"])
def test_identities_come_from_stdin_as_lines_or_json_lines(frame: Any, how: tuple[str, ...]) -> None:
    lines = 'abc\r\n\n  def  \n{"id": "ghi", "email": "x@example.org"}\n{"email": "jkl@example.org", "username": "j"}'
    done = frame.run("item", "close", *how, "-y", "-o", "json", stdin=lines).succeeded()
    assert [item["ident"] for item in done.json["items"]] == ["abc", "def", "ghi", "jkl@example.org"]
    done = frame.run("item", "close", *how, "-o", "json", stdin="").succeeded()
    assert done.json["items"] == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"abc\ncaf\xe9\n", "line 2 of standard input is not UTF-8 text"),
        (b"abc\nd\0f\n", "line 2 of standard input: "),
        (b"abc\nd\x1bf\n", "line 2 of standard input: "),
        (b"{nope}", "line 1 of standard input: '{nope}' is not JSON"),
        (b'{"name": "x"}', "the object has neither 'id' nor 'email' nor 'username'"),
        (b"x" * 70_000, "line 1 of standard input: it is longer than 65536 bytes"),
    ],
)
def test_a_bad_line_stops_everything_before_the_first_change(frame: Any, lines: bytes, message: str) -> None:
    done = frame.run("item", "close", "--from-file", "-", "-y", stdin=lines)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_identities_come_from_one_place(frame: Any, tmp_path: Path) -> None:
    for arguments in (("abc", "--from-file", "x"), ("abc", "-"), (), ("--from-file", str(tmp_path / "none"))):
        assert frame.run("item", "close", "-y", *arguments).code == 2


def test_a_lost_backend_stops_the_batch_and_says_how_far_it_came(frame: Any) -> None:
    done = frame.run("item", "close", "abc", "locked", "def", "-y", "--fields", "id")
    assert (done.code, done.out) == (5, "id\ni1\n")
    assert "stopped: 1 of 3 done; run the same command again to finish the rest" in done.err
    done = frame.run("item", "close", "abc", "bug", "def", "-y", "-o", "json")
    assert (done.code, done.json["done"]) == (1, 1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_identity_at_hand_finish(frame: Any, number: int, code: int) -> None:
    gate, key = os.pipe()
    process = frame.start(
        *("item", "close", "abc", "def", "ghi", "-y", "-o", "json", "--gate", str(gate)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(gate,),
    )
    os.close(gate)
    os.write(key, b".")
    assert [process.stderr.readline() for _ in range(2)] == [b"at abc\n", b"at def\n"]
    process.send_signal(number)
    os.write(key, b".")
    out, err = process.communicate(timeout=60)
    os.close(key)
    assert process.returncode == code
    assert (json.loads(out)["done"], len(json.loads(out)["items"])) == (2, 2)
    assert err.splitlines()[1:] == [b"backctl: stopped: 2 of 3 done; run the same command again to finish the rest"]


def test_a_second_signal_stops_at_once(frame: Any) -> None:
    gate, key = os.pipe()
    process = frame.start(
        *("item", "close", "abc", "def", "-y", "-o", "json", "--gate", str(gate)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(gate,),
    )
    os.close(gate)
    assert process.stderr.readline() == b"at abc\n"
    process.send_signal(signal.SIGINT)
    assert b"interrupt again to stop at once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    os.close(key)
    assert process.returncode == 130
    assert json.loads(out)["done"] == 0
    assert b"Traceback" not in err


def test_a_reader_that_leaves_does_not_stop_changes(frame: Any) -> None:
    process = frame.start(
        *("item", "close", "--from-file", "-", "-y"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    _, err = process.communicate("".join(f"u{number}\n" for number in range(5_000)).encode() + b"missing\n", timeout=60)
    assert process.returncode == 7
    assert err == (b"backctl: 5001 done, 5000 changed, 1 failed\nbackctl: error: 1 of 5001 failed: 'missing'\n")


# Streams and signals.


@pytest.mark.parametrize("form", ["jsonl", "json", "tsv", "csv", "id", "table"])
def test_a_closed_pipe_ends_quietly(frame: Any, form: str) -> None:
    process = frame.start(
        *("item", "list", "--all", "--count", "1000000", "-o", form),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


def test_help_into_a_closed_pipe_is_quiet(machine: Any) -> None:
    for arguments in (("--help",), ("--version",), ("help", "exit-codes")):
        reader, writer = os.pipe()
        os.close(reader)
        process = machine.start(*arguments, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        assert process.communicate(timeout=60)[1] == b""
        assert process.returncode == 0


def test_a_full_disk_is_told(frame: Any) -> None:
    full = Path("/dev/full")
    if not full.exists():  # macOS has none, and no other way to fill a disk without filling it
        return
    for arguments in (("item", "list"), ("item", "list", "--all", "--count", "100000", "-o", "json")):
        with full.open("w") as stdout:
            process = frame.start(*arguments, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE)
            err = process.communicate(timeout=60)[1]
        assert process.returncode == 5
        assert b"standard output cannot be written" in err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_crash(frame: Any, closed: str) -> None:
    for arguments, code in (("item list", 0), ("item nope", 2), ("item create", 2), ("--help", 0)):
        script = f'"$0" "$1" {arguments} {closed}'
        done = subprocess.run(
            ["/bin/sh", "-c", script, sys.executable, str(_FRAME)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=frame.environment,
            timeout=60,
        )
        assert done.returncode == code, (arguments, closed, done.stderr)
        assert b"Traceback" not in done.stderr
        assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_quietly_after_cleaning_up(frame: Any, number: int, code: int) -> None:
    process = frame.start("item", "wait", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr.readline() == b"ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, b"", b"cleaned\n")


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]
)
def test_output_is_utf8_in_every_locale(frame: Any, locale: dict[str, str]) -> None:
    out = frame.run("item", "show", "\\u00e9", "--fields", "name", "--no-header", env=locale).succeeded().out
    assert out == "é\n"


# The terminal.


def test_a_terminal_gets_a_table_with_a_bold_header(frame: Any) -> None:
    out = frame.at_terminal("item", "list", "--fields", "id,name").succeeded().out
    assert out == "\x1b[1mID  NAME\x1b[0m\ni0  item 0\ni1  item 1\n"
    assert "\x1b" not in frame.at_terminal("item", "list", "--no-color").succeeded().out
    assert "\x1b" not in frame.at_terminal("item", "list", env={"NO_COLOR": "1"}).succeeded().out
    assert "\x1b" not in frame.at_terminal("item", "list", env={"TERM": "dumb"}).succeeded().out
    assert "\x1b[1m" in frame.run("item", "list", "-o", "table", env={"FORCE_COLOR": "1"}).succeeded().out


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "tsv", "csv"])
def test_stored_data_cannot_steer_a_terminal(frame: Any, form: str) -> None:
    out = frame.at_terminal("item", "show", "\\x1b[2J\\u202ered\\u009b", "-o", form, "--no-color").succeeded().out
    assert "red" in out
    assert out.replace("\r\n", "").replace("\n", "").replace("\t", "").isprintable()
    if form == "json":
        assert json.loads(out)["name"] == "\x1b[2J\u202ered\x9b"


def test_a_wide_table_keeps_the_first_column_whole_and_folds_the_last(machine: Any) -> None:
    out = machine.at_terminal("help", "exit-codes", env={"COLUMNS": "60"}).succeeded().out
    lines = out.splitlines()
    assert all(len(line) <= 60 + len("\x1b[1m\x1b[0m") for line in lines)
    assert "…" not in out
    assert any(line.startswith(" " * 6) for line in lines)


# The table of exit codes.


def test_the_exit_codes_are_printed(machine: Any) -> None:
    document = machine.run("help", "exit-codes", "-o", "json").succeeded().json
    assert [item["code"] for item in document["items"]] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130, 143]


def test_everything_streams_in_constant_memory(frame: Any) -> None:
    def peak(count: int) -> int:
        with open(os.devnull, "wb") as nowhere:
            process = frame.start(
                *("item", "list", "--all", "--count", str(count), "-o", "json", "-v"),
                stdin=subprocess.DEVNULL,
                stdout=nowhere,
                stderr=subprocess.PIPE,
            )
            err = process.communicate(timeout=60)[1]
        assert process.returncode == 0
        return int(err.split()[-1])

    assert peak(200_000) < 1.2 * peak(1_000)
