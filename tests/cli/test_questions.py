"""How every command reads secrets and asks for confirmation, shown with the test program."""

import os
import pty
import signal
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest

# Secrets.


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_bytes(b"hunter2\r\n")
    return str(path)


def test_a_secret_comes_in_four_ways(sample: Any, password_file: str) -> None:
    def length(*flags: str, **details: Any) -> int:
        number: int = sample.run("item", "create", "-o", "json", *flags, **details).succeeded().json["length"]
        return number

    assert length("--password-stdin", stdin="hunter2\n") == 7
    assert length("--password-stdin", stdin="hunter2\n\n") == 8
    assert length("--password-file", "-", stdin="") == 0
    assert length("--password-file", password_file) == 7
    with open(password_file, "rb") as file:
        assert length("--password-fd", str(file.fileno()), pass_fds=(file.fileno(),)) == 7
    assert length("--password-fd", "0", stdin="hunter2") == 7
    done = sample.run("item", "create", "-o", "json", "--password-env", "P", env={"P": "hunter2"}).succeeded()
    assert (done.json["length"], "warning" in done.json) == (7, False)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--password-stdin", "--password-env", "P"), "cannot be combined"),
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
def test_a_secret_that_cannot_be_had_is_a_usage_error(sample: Any, flags: tuple[str, ...], message: str) -> None:
    done = sample.run("item", "create", *flags, env={"P": "x"})
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_the_hint_names_every_way(sample: Any) -> None:
    hint = "use --password-stdin, --password-file, --password-fd, --password-env or --generate"
    assert hint in sample.run("item", "create").err


def test_a_secret_is_bounded_utf8_text(sample: Any) -> None:
    done = sample.run("item", "create", "--password-stdin", stdin=b"caf\xe9")
    assert (done.code, "not UTF-8" in done.err, "caf" in done.err) == (2, True, False)
    done = sample.run("item", "create", "--password-stdin", stdin=b"x" * 65_537)
    assert (done.code, "longer than 65536 bytes" in done.err) == (2, True)


def test_a_hidden_prompt_asks_twice_and_shows_nothing(sample: Any) -> None:
    done = sample.at_terminal(
        "item",
        "create",
        "--no-color",
        "--fields",
        "length",
        keys=[("password: ", "hunter2\n"), ("password again: ", "hunter2\n")],
    ).succeeded()
    assert "hunter2" not in done.out
    assert done.out.splitlines()[-1] == "length: 7"


def test_a_slip_at_the_second_prompt_starts_over(sample: Any) -> None:
    keys = [("password: ", "one\n"), ("again: ", "two\n"), ("password: ", "three\n"), ("again: ", "three\n")]
    done = sample.at_terminal("item", "create", "--no-color", "--fields", "length", keys=keys).succeeded()
    assert "the two passwords differ" in done.out
    assert done.out.splitlines()[-1] == "length: 5"


def test_the_end_of_input_at_a_prompt_gives_up_cleanly(sample: Any) -> None:
    done = sample.at_terminal("item", "create", keys=[("password: ", "\x04")])
    assert done.code == 2
    assert "no password was given" in done.out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_at_a_hidden_prompt_gives_the_echo_back(sample: Any, number: int, code: int) -> None:
    master, slave = pty.openpty()
    process = sample.start("item", "create", stdin=slave, stdout=subprocess.DEVNULL, stderr=slave)
    shown = b""
    while b"password: " not in shown:
        shown += os.read(master, 1024)
    assert not termios.tcgetattr(slave)[3] & termios.ECHO
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert termios.tcgetattr(slave)[3] & termios.ECHO
    os.close(slave)
    os.close(master)


def test_no_input_never_asks(sample: Any) -> None:
    assert sample.at_terminal("item", "create", "--no-input").code == 2
    assert sample.at_terminal("item", "delete", "x", env={"BACKCTL_NO_INPUT": "1"}).code == 8


# Confirmation.


def test_without_a_terminal_a_guard_names_its_flag(sample: Any) -> None:
    done = sample.run("item", "close", "a-1", "b-2")
    assert (done.code, done.out) == (8, "")
    assert (
        done.err == "backctl: error: not confirmed: close 2 accounts (a-1, b-2)?\nbackctl: hint: confirm with --yes\n"
    )
    done = sample.run("item", "delete", "my thing")
    assert (done.code, "confirm with --confirm 'my thing'" in done.err) == (8, True)


def test_a_guard_is_passed_with_its_flag_or_a_dry_run(sample: Any) -> None:
    for flags in (("-y",), ("--yes",), ("-n",)):
        sample.run("item", "close", "a-1", "b-2", *flags).succeeded()
    sample.run("item", "delete", "x", "--confirm", "x").succeeded()
    sample.run("item", "delete", "x", "--dry-run").succeeded()
    assert sample.run("item", "delete", "x", "--confirm", "y").code == 8
    assert sample.run("item", "delete", "x", "--yes").code == 8


def test_a_person_confirms_with_yes_or_by_typing_the_name(sample: Any) -> None:
    question = "close 2 accounts (a-1, b-2)? [y/N] "
    assert sample.at_terminal("item", "close", "a-1", "b-2", keys=[(question, "y\n")]).code == 0
    for answer in ("\n", "no\n", "\x04"):
        assert sample.at_terminal("item", "close", "a-1", "b-2", keys=[(question, answer)]).code == 8
    assert sample.at_terminal("item", "delete", "x", keys=[("type 'x' to confirm: ", "x\n")]).code == 0
    assert sample.at_terminal("item", "delete", "x", keys=[("type 'x' to confirm: ", "X\n")]).code == 8


def test_a_protected_profile_asks_for_every_change_and_wants_a_reason(sample: Any) -> None:
    sample.configure("protected = true\n")
    done = sample.run("item", "change", "--yes")
    assert (done.code, "--reason" in done.err, "changing" in done.err) == (8, True, False)
    done = sample.run("item", "change", "it", "--reason", "ticket 7")
    assert done.err == "backctl: error: not confirmed: change it?\nbackctl: hint: confirm with --yes\n"
    assert done.code == 8
    assert "changing" in sample.run("item", "change", "--reason", "ticket 7", "--yes").succeeded().err
    assert "changing" not in sample.run("item", "change", "--dry-run").succeeded().err
    keys = [("change it? [y/N] ", "yes\n")]
    sample.at_terminal("item", "change", "it", "--reason", "ticket 7", keys=keys).succeeded()


def test_what_changes_nothing_is_neither_asked_about_nor_needs_a_reason(sample: Any) -> None:
    sample.configure("protected = true\n")
    done = sample.run("item", "change", "--same", "-o", "json").succeeded()
    assert (done.json["changed"], done.err) == (False, "")


def test_a_question_names_the_action_the_objects_and_the_profile(sample: Any) -> None:
    sample.configure("[profiles.production]\nprotected = true\n")
    flags = ("-p", "production", "--reason", "ticket 7")
    for words, question in (
        (("change", "it"), "change it in profile production?"),
        (("close", "a-1", "b-2"), "close 2 accounts (a-1, b-2) in profile production?"),
        (
            ("close", *(f"a-{n}" for n in range(7))),
            "close 7 accounts (a-0, a-1, a-2, a-3, a-4, …) in profile production?",
        ),
        (("close", "a-1"), "close a-1 in profile production?"),
    ):
        done = sample.run("item", *words, *flags)
        assert (done.code, done.err.splitlines()[0]) == (8, f"backctl: error: not confirmed: {question}")
        sample.at_terminal("item", *words, *flags, keys=[(f"{question} [y/N] ", "y\n")]).succeeded()
