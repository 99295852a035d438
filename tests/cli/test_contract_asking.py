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
