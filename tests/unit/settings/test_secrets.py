"""Secret settings: where they come from, when they are read, and that they are never shown."""

import fcntl
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.errors import InvalidConfiguration
from backctl.settings import SecretValue, Settings, load, redact_url
from backctl.settings.secrets import run_secret_command

Configure = Callable[..., Path]

URL = "sqlite:////srv/hunter2.db"


def python(program: str) -> str:
    """Return a TOML array that runs `program`."""
    return json.dumps([sys.executable, "-c", program])


def failure(text: str, configure: Configure) -> InvalidConfiguration:
    configure(text)
    loaded = load(environ={})
    with pytest.raises(InvalidConfiguration) as caught:
        loaded.settings.database.url.reveal()
    assert "hunter2" not in caught.value.message + str(caught.value.hint)
    return caught.value


@pytest.mark.parametrize(("content", "revealed"), [(URL, URL), (URL + "\n", URL), (URL + "\r\n", URL)])
def test_a_file_is_read_less_one_trailing_newline(
    configure: Configure, tmp_path: Path, content: str, revealed: str
) -> None:
    secret = configure(content, tmp_path / "url")
    path = configure(f'[database]\nurl_file = "{secret}"\n')
    loaded = load(environ={})
    assert loaded.origin("database.url") == f"file {secret} (file {path}:2)"
    assert loaded.database_url == "sqlite:////srv/hunter2.db"
    assert loaded.settings.database.url.reveal() == revealed


def test_a_second_trailing_newline_is_part_of_the_value(configure: Configure, tmp_path: Path) -> None:
    secret = configure(URL + "\n\n", tmp_path / "url")
    assert "control character" in failure(f'database.url_file = "{secret}"', configure).message


def test_a_file_is_not_opened_before_its_value_is_needed(configure: Configure) -> None:
    configure('database.url_file = "/nowhere/at/all"')
    loaded = load(environ={})
    assert loaded.entry("database.url").value == "***"
    with pytest.raises(InvalidConfiguration) as caught:
        loaded.settings.database.url.reveal()
    assert caught.value.message == "the file of database.url, '/nowhere/at/all', does not exist"


def test_a_variable_may_name_a_file(configure: Configure, tmp_path: Path) -> None:
    secret = configure(URL, tmp_path / "url")
    loaded = load(environ={"BACKCTL_DATABASE_URL_FILE": str(secret)})
    assert loaded.settings.database.url.reveal() == URL
    assert loaded.origin("database.url") == f"file {secret} (environment BACKCTL_DATABASE_URL_FILE)"


@pytest.mark.parametrize(
    ("mode", "reason"), [(0o604, "can be read by every user"), (0o620, "can be changed"), (0o606, "can be changed")]
)
def test_an_exposed_file_is_refused(configure: Configure, tmp_path: Path, mode: int, reason: str) -> None:
    secret = configure(URL, tmp_path / "url", mode)
    assert reason in failure(f'database.url_file = "{secret}"', configure).message


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xff", "UTF-8"), (b"x" * 70_000, "larger")]
)
def test_a_file_that_holds_no_value_is_refused(
    configure: Configure, tmp_path: Path, content: bytes, reason: str
) -> None:
    secret = configure(content, tmp_path / "url")
    assert reason in failure(f'database.url_file = "{secret}"', configure).message


def test_a_pipe_in_place_of_the_file_is_refused(configure: Configure, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "not a regular file" in failure(f'database.url_file = "{tmp_path}/pipe"', configure).message


def test_what_a_source_yields_is_checked_like_any_value(configure: Configure, tmp_path: Path) -> None:
    secret = configure("mysql://root:hunter2@h/d", tmp_path / "url")
    assert "scheme 'mysql'" in failure(f'database.url_file = "{secret}"', configure).message


@pytest.mark.parametrize(
    "sources",
    [
        ('url = ""', 'url_file = "/x"'),
        ('url_file = "/x"', 'url_command = ["x"]'),
        ('url_command = ["x"]', 'url = "sqlite:////x"'),
    ],
)
def test_two_sources_at_once_are_refused(configure: Configure, sources: tuple[str, str]) -> None:
    path = configure("".join(f"database.{source}\n" for source in sources))
    with pytest.raises(InvalidConfiguration) as caught:
        load(environ={})
    assert caught.value.message == f"'{path}', line 2: database.url is set twice"


def test_two_variables_at_once_are_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="also set by BACKCTL_DATABASE_URL"):
        load(environ={"BACKCTL_DATABASE_URL": URL, "BACKCTL_DATABASE_URL_FILE": "/x"})


def test_a_stronger_source_replaces_a_weaker_one_whatever_its_form(configure: Configure) -> None:
    configure('database.url_file = "/nowhere"\n[profiles.p.database]\nurl = "sqlite:////p.db"\n')
    assert load(profile="p", environ={}).settings.database.url.reveal() == "sqlite:////p.db"
    environ = {"BACKCTL_DATABASE_URL": "sqlite:////e.db"}
    assert load(profile="p", environ=environ).settings.database.url.reveal() == "sqlite:////e.db"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('"pass show url"', "must be an array of strings"),
        ("[]", "must be an array of strings"),
        ('[""]', "must be an array of strings"),
        ("[1]", "must be an array of strings"),
        ('["./here"]', "absolute path or a bare name"),
        ('["x", "a\\u0000b"]', "contains a NUL character"),
    ],
)
def test_a_command_that_is_none_is_refused_at_once(configure: Configure, value: str, reason: str) -> None:
    configure(f"database.url_command = {value}")
    with pytest.raises(InvalidConfiguration, match=reason):
        load(environ={})


def test_a_command_runs_once_and_only_when_its_value_is_needed(configure: Configure, tmp_path: Path) -> None:
    log = tmp_path / "log"
    path = configure(f"database.url_command = {python(f'open({str(log)!r}, chr(97)).write(chr(120)); print({URL!r})')}")
    loaded = load(environ=os.environ)
    assert loaded.origin("database.url") == f"command {sys.executable} (file {path}:1)"
    assert loaded.entry("database.url").value == "***"
    assert not log.exists()
    assert [loaded.settings.database.url.reveal() for _ in range(3)] == [URL] * 3
    assert log.read_text() == "x"


def test_a_command_gets_no_shell_no_input_no_variables_of_ours_and_no_current_folder(tmp_path: Path) -> None:
    program = (
        "import os, sys; print([sys.argv[1:], sys.stdin.read(), os.getcwd(),"
        " sorted(n for n in os.environ if n.startswith('BACKCTL'))])"
    )
    environ = {"BACKCTL_DATABASE_URL": "hunter2", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", program, "$(id)", "a b"]
    assert run_secret_command("x", command, environ, timeout=30) == "[['$(id)', 'a b'], '', '/', []]"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("print('hunter2'); raise SystemExit(3)", "exited with status 3"),
        ("print('hunter2'); raise SystemExit('hunter2')", "exited with status 1"),
        ("import os; print('hunter2', flush=True); os.kill(os.getpid(), 9)", "was killed by signal 9"),
        ("pass", "is empty"),
        ("import os; os.write(1, bytes([255]))", "does not hold UTF-8"),
        ("while True: print('hunter2' * 1000)", "printed more than 65536 bytes"),
    ],
)
def test_a_failing_command_says_why_without_its_output(configure: Configure, program: str, reason: str) -> None:
    assert reason in failure(f"database.url_command = {python(program)}", configure).message


def test_a_command_that_does_not_exist_is_said_so(configure: Configure) -> None:
    message = failure('database.url_command = ["/nowhere/at/all"]', configure).message
    assert message == "the command of database.url, '/nowhere/at/all', cannot be run: no such file or directory"


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    grandchild = (
        f"import fcntl; f = open({str(lock)!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX); f.write('held'); f.flush()"
    )
    arguments = f"[sys.executable, '-c', {grandchild + '; input()'!r}]"
    program = f"import subprocess, sys; subprocess.Popen({arguments}, stdin=subprocess.PIPE).wait()"
    with pytest.raises(InvalidConfiguration, match="did not finish within 3 s"):
        run_secret_command("x", [sys.executable, "-c", program], os.environ, timeout=3)
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # succeeds when the grandchild has ended
        assert file.read() == "held"


def test_a_daemon_that_keeps_the_output_open_does_not_hold_us_up() -> None:
    program = "import os, time; os.fork() or (os.setsid(), time.sleep(3)); os.write(1, b'x')"
    with pytest.raises(InvalidConfiguration, match="did not finish within 1 s"):
        run_secret_command("x", [sys.executable, "-c", program], os.environ, timeout=1)


def test_no_repr_shows_a_secret(configure: Configure) -> None:
    configure(f'database.url = "{URL}"')
    loaded = load(environ={})
    assert loaded.settings.database.url.reveal() == URL
    for thing in (loaded, loaded.settings, loaded.settings.database, SecretValue("hunter2"), Settings()):
        assert "hunter2" not in repr(thing) + str(thing) + f"{thing}"


def test_secrets_compare_by_value_when_written_down_and_by_source_otherwise() -> None:
    assert SecretValue("a") == SecretValue("a") != SecretValue("b")
    assert hash(SecretValue("a")) == hash(SecretValue("a"))
    assert SecretValue(read=str, source="/a") == SecretValue(read=str, source="/a") != SecretValue("")
    assert SecretValue("a") != "a"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("hunter2", "***"),
        ("sqlite:////srv/x.db", "sqlite:////srv/x.db"),
        ("sqlite:////srv/a:b@c.db", "sqlite:////srv/a:b@c.db"),
        ("postgresql://ada:hunter2@db:5432/app", "postgresql://ada:***@db:5432/app"),
        ("postgresql://ada@db/app", "postgresql://ada@db/app"),
        ("postgresql://ada:hun@ter/2@db/app", "postgresql://ada:***@db/app"),
        ("redis://:hunter2@cache/0", "redis://:***@cache/0"),
        ("postgresql://db/app?user=a&password=hunter2&x=1", "postgresql://db/app?user=a&password=***&x=1"),
        ("postgresql:///app?sslPassword=hunter2", "postgresql:///app?sslPassword=***"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@given(st.text(min_size=1), st.sampled_from(["", "/app", "/app?x=1"]))
def test_whatever_the_password_it_is_not_shown(noise: str, path: str) -> None:
    assert "hunter2" not in redact_url(f"postgresql://ada:{noise}hunter2{noise}@db{path}")
