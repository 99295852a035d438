"""What all commands share, shown with the test program: parsing, results, and the terminal."""

import json
import subprocess
import sys
from typing import Any

import pytest
from tests.cli.expected import MORE, refused

# Help, version, mistakes.


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


COMMON = [
    *(
        "-p, --profile",
        "--config",
        "-o, --output",
        "--fields",
        "--no-header",
        "--empty",
        "-q, --quiet",
        "-v, --verbose",
    ),
    *("--no-color", "--no-input", "--timeout", "--actor", "--reason"),
]
OWN = ["-n, --dry-run", "-y, --yes", "--from-file", "--max-changes"]


def test_a_leaf_shows_its_own_options_and_names_the_topic_that_explains_the_others(sample: Any, machine: Any) -> None:
    out = sample.run("item", "close", "--help").succeeded().out
    assert [flag for flag in OWN if f"\n  {flag} " not in out] == []
    assert [flag for flag in COMMON if f"\n  {flag} " in out] == []
    assert "backctl help options" in out
    assert "--dry-run" not in sample.run("item", "show", "--help").succeeded().out
    topic = machine.run("help", "options", "--fields", "option", "--no-header").succeeded().out.splitlines()
    assert topic[: len(COMMON)] == COMMON
    assert set(OWN) < set(topic)


def test_help_on_a_terminal_is_drawn_and_plain_where_colour_is_refused(sample: Any) -> None:
    assert "╭" in sample.at_terminal("item", "close", "--help").succeeded().out
    assert "╭" in sample.at_terminal("--help").succeeded().out
    for refusal in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"BACKCTL_NO_COLOR": "1"}):
        assert "╭" not in sample.at_terminal("--help", env=refusal).succeeded().out


def test_without_a_command_the_help_is_an_error(machine: Any) -> None:
    done = machine.run()
    assert (done.code, done.out) == (2, "")
    assert "Usage: backctl" in done.err


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("hlep",), "'backctl' has no command 'hlep'", "did you mean 'help'?"),
        (("help", "exit-code"), "there is no command or topic 'exit-code'", "did you mean 'exit-codes'?"),
        (("help", "users"), "there is no command or topic 'users'", "did you mean 'user'?"),
        (("help", "zzzz"), "there is no command or topic 'zzzz'", "see 'backctl help help' for the topics"),
        (("help", "user", "creat"), "'backctl user' has no command 'creat'", "did you mean 'create'?"),
        (("help", "user", "list", "x"), "'backctl user list' has no command 'x'", "omit 'x'"),
        (
            ("help", "user", "-q"),
            "'help' takes the words of a command, without options",
            "see 'backctl help help' for the topics",
        ),
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
    assert "--output: 'xml' is not one of 'table', 'wide', 'json', 'jsonl', 'csv', 'tsv', 'id'" in done.err


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
        "profile": None,
    }


def test_a_slip_is_json_where_the_environment_says_so(machine: Any) -> None:
    done = machine.run("help", "exit-codez", env={"BACKCTL_OUTPUT": "json"})
    assert done.error["hint"] == "did you mean 'exit-codes'?"
    assert machine.run(env={"BACKCTL_OUTPUT": "json"}).error["message"] == "a command is missing"


def test_words_after_two_dashes_are_no_flags(sample: Any) -> None:
    done = sample.run("item", "show", "--", "-o", "json")
    assert done.code == 2
    assert done.err.startswith("backctl: error: unexpected argument 'json'")


def test_hostile_words_are_cut_and_escaped(sample: Any) -> None:
    long = sample.run("item", "show", "x", "y" * 100_000)
    assert long.code == 2
    assert len(long.err) < 400
    for word in ("\x1b[31mred", "a\u202eb", b"caf\xe9"):
        done = sample.run("item", word)
        assert done.code == 2
        assert done.err.isascii()
        assert done.err.replace("\n", "").isprintable()
    assert "is not UTF-8 text" in sample.run("item", "show", b"caf\xe9").err


def test_shared_values_are_judged_before_anything_happens(sample: Any) -> None:
    for flags in (
        ("change", "--reason", "a\nb"),
        ("change", "--reason", ""),
        ("show", "x", "--profile", "\x1b"),
        ("show", "x", "--timeout", "3"),
        ("show", "x", "--fields", "a,,b"),
    ):
        done = sample.run("item", *flags)
        assert (done.code, done.out) == (2, ""), flags


@pytest.mark.parametrize("option", ["--actor", "--reason"])
def test_only_commands_that_record_events_take_an_actor_and_a_reason(sample: Any, option: str) -> None:
    for command in (("item", "show", "x"), ("item", "list"), ("ping",)):
        for words in ((*command, option, "ada"), (*command, f"{option}=ada")):
            error = refused(sample.run(*words, "-o", "json"), 2, "usage")
            assert error["message"] == f"there is no option '{option}'"
            assert error["hint"] == f"omit {option}: this command records no events"
        assert option not in sample.run(*command, "--help").succeeded().out
    error = refused(sample.run("item", "search", option, "ada", "-o", "json"), 2, "usage")
    instead = {"--actor": "use --by to filter by actor", "--reason": "use --reason-contains to filter by reason"}
    assert error["hint"] == instead[option]
    for words in ((option, "ada", "item", "show", "x"), ("item", option, "ada", "show", "x")):
        error = refused(sample.run(*words, "-o", "json"), 2, "usage")
        assert error["hint"] == f"put {option} after a command that records events"
    for command in (("item", "change"), ("item", "measure")):
        assert sample.run(*command, option, "ada", "-o", "json").succeeded().json[option.removeprefix("--")] == "ada"
        assert option not in sample.run(*command, "--help").succeeded().out


def test_queries_ignore_the_variable_of_the_actor(sample: Any) -> None:
    for actor in ("", "a\x1bb", "x" * 201):
        sample.run("item", "show", "x", env={"BACKCTL_ACTOR": actor}).succeeded()
    for actor in ("a\x1bb", "x" * 201):
        assert sample.run("item", "measure", env={"BACKCTL_ACTOR": actor}).code == 2


# Results.


def test_a_page_in_every_form(sample: Any) -> None:
    def page(*flags: str) -> str:
        out: str = sample.run("item", "list", *flags).succeeded().out
        return out

    assert page() == (
        "id\tname\tmade_at\ttags\n"
        "i0\titem 0\t1970-01-01T00:00:00.000000Z\ta,b\n"
        "i1\titem 1\t1970-01-01T00:00:00.000001Z\ta,b\n"
    )
    assert page("--no-header", "--fields", "name,id") == "item 0\ti0\nitem 1\ti1\n"
    assert page("-o", "csv", "--fields", "id,tags") == 'id,tags\ni0,"a,b"\ni1,"a,b"\n'
    assert page("-o", "id") == "i0\ni1\n"
    assert page("-o", "table", "--fields", "id,name") == "ID  NAME\ni0  item 0\ni1  item 1\n"
    assert [json.loads(line)["tags"] for line in page("-o", "jsonl").splitlines()] == [["a", "b"], ["a", "b"]]
    document = json.loads(page("-o", "json", "--fields", "id,made_at", "--count", "1"))
    assert document == {"items": [{"id": "i0", "made_at": "1970-01-01T00:00:00.000000Z"}], "next_cursor": None}


@pytest.mark.parametrize("whole", [(), ("--all",)], ids=["page", "all"])
def test_nothing_is_a_result_too(sample: Any, whole: tuple[str, ...]) -> None:
    def nothing(*flags: str) -> str:
        out: str = sample.run("item", "list", "--count", "0", *whole, *flags).succeeded().out
        return out

    assert nothing("-o", "json") == '{"items": [], "next_cursor": null}\n'
    assert nothing("-o", "jsonl") == ""
    assert nothing("-o", "id") == ""
    assert nothing() == "id\tname\tmade_at\ttags\n"
    assert nothing("--no-header") == ""


def test_the_next_page_is_a_notice_that_quiet_drops(sample: Any) -> None:
    assert sample.run("item", "list", "--cursor", "abc").succeeded().err == f"{MORE} --cursor abc\n"
    assert sample.run("item", "list", "--cursor", "abc", "-q").succeeded().err == ""
    done = sample.run("item", "list", "--cursor", "abc", "-o", "json").succeeded()
    assert (done.err, done.json["next_cursor"]) == ("", "abc")


def test_a_query_is_never_quiet(sample: Any) -> None:
    assert sample.run("item", "show", "x", "-q", "-o", "id").succeeded().out == "i1\n"


def test_a_mutation_says_whether_it_changed_anything(sample: Any) -> None:
    done = sample.run("item", "close", "x", "-o", "json").succeeded()
    assert (done.json["name"], done.json["changed"], "dry_run" in done.json) == ("x", True, False)
    done = sample.run("item", "close", "same", "-n", "-o", "json").succeeded()
    assert (done.json["changed"], done.json["dry_run"]) == (False, True)
    assert sample.run("item", "close", "x", "-q").succeeded().out == ""
    assert (
        sample.run("item", "close", "x", "--fields", "changed,id,dry_run").out == "changed\tid\tdry_run\ntrue\ti1\t\n"
    )


def test_a_made_password_is_shown_once_whatever_the_form(sample: Any) -> None:
    assert sample.run("item", "create", "--generate", "-o", "json").json["password"] == "pass word"
    assert sample.run("item", "create", "--generate", "-o", "table").out.splitlines()[-1] == "password: pass word"
    assert sample.run("item", "create", "--generate", "-q").out == "pass word\n"


def test_a_check_answers_with_its_exit_code(sample: Any) -> None:
    assert sample.run("item", "exists", "x", "-q").succeeded().out == ""
    done = sample.run("item", "exists", "none", "-o", "json")
    assert (done.code, done.json, done.err) == (3, {"ok": False, "name": "none"}, "")


def test_a_bare_value_is_bare_everywhere_but_in_json(sample: Any) -> None:
    assert sample.run("ping").succeeded().out == "pong\n"
    assert sample.at_terminal("ping").succeeded().out == "pong\n"
    assert sample.run("ping", "-o", "json").json == {"answer": "pong"}


def test_errors_leave_stdout_empty_and_carry_their_code(sample: Any) -> None:
    done = sample.run("item", "show", "none")
    assert (done.code, done.out) == (3, "")
    assert done.err == "backctl: error: there is no 'none'\nbackctl: hint: see 'item list'\n"
    done = sample.run("item", "list", "--all", "--fail-at", "0", "-o", "json")
    assert (done.code, done.out) == (5, "")
    assert (done.error["code"], done.error["retryable"], done.error["exit"]) == ("database.locked", True, 5)


def test_a_bug_is_one_line_and_a_log(sample: Any) -> None:
    done = sample.run("item", "crash")
    assert (done.code, done.out) == (1, "")
    assert "Traceback" not in done.err
    assert "secret detail" not in done.err
    (log,) = sample.home.rglob("backctl.log")
    assert str(log) in done.err
    assert "ZeroDivisionError" in log.read_text()
    assert "in crash" in log.read_text()
    assert "\nbuiltins.ZeroDivisionError: secret detail" not in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600
    assert sample.run("item", "crash", "-o", "json").error["code"] == "internal"


def test_a_bug_without_a_place_for_the_log_is_still_one_line(sample: Any) -> None:
    done = sample.run("item", "crash", env={"XDG_STATE_HOME": "/dev/null/nowhere", "HOME": "/dev/null/nowhere"})
    assert done.code == 1
    assert "could not be written" in done.err


# Global flags and the environment.


def test_profile_and_verbose_work_before_the_noun(sample: Any) -> None:
    assert "peak" in sample.run("-v", "item", "list", "--all").succeeded().err
    for arguments in (
        ("-p", "east", "item", "change"),
        ("item", "change", "-p", "east"),
        ("-p", "x", "item", "change", "-p", "east"),
    ):
        done = sample.run(*arguments)
        assert done.code == 2
        assert "profile 'east'" in done.err


def test_the_environment_sets_defaults_that_flags_override(sample: Any) -> None:
    environment = {"BACKCTL_OUTPUT": "json", "BACKCTL_ACTOR": "cron", "BACKCTL_TIMEOUT": "2s"}
    done = sample.run("item", "change", env=environment).succeeded()
    assert (done.json["actor"], done.json["timeout"]) == ("cron", "2s")
    done = sample.run("item", "change", "--actor", "ada", "-o", "tsv", "--fields", "id", env=environment).succeeded()
    assert done.out == "id\ni1\n"
    assert sample.run("item", "show", "x", env={"BACKCTL_OUTPUT": "xml"}).code == 2


def test_no_variable_confirms_anything(sample: Any) -> None:
    environment = {"BACKCTL_YES": "1", "BACKCTL_DRY_RUN": "1", "BACKCTL_CONFIRM": "x"}
    assert sample.run("item", "close", "a-1", "b-2", env=environment).code == 8
    assert sample.run("item", "delete", "x", env=environment).code == 8


# The terminal.


def test_a_terminal_gets_a_table_with_a_bold_header(sample: Any) -> None:
    out = sample.at_terminal("item", "list", "--fields", "id,name").succeeded().out
    assert out == "\x1b[1mID  NAME\x1b[0m\ni0  item 0\ni1  item 1\n"
    assert "\x1b" not in sample.at_terminal("item", "list", "--no-color").succeeded().out
    assert "\x1b" not in sample.at_terminal("item", "list", env={"NO_COLOR": "1"}).succeeded().out
    assert "\x1b" not in sample.at_terminal("item", "list", env={"TERM": "dumb"}).succeeded().out
    assert "\x1b[1m" in sample.run("item", "list", "-o", "table", env={"FORCE_COLOR": "1"}).succeeded().out


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "tsv", "csv"])
def test_stored_data_cannot_steer_a_terminal(sample: Any, form: str) -> None:
    out = sample.at_terminal("item", "show", "\\x1b[2J\\u202ered\\u009b", "-o", form, "--no-color").succeeded().out
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
    assert [item["code"] for item in document["items"]] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 129, 130, 143]
