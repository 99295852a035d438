import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from backctl.domain import errors as domain
from backctl.presentation.crash_log import is_private_log, unexpected
from backctl.presentation.errors import ExitCode, exit_code_of, wants_json


def _leaves(kind: type[domain.BackctlError]) -> Iterator[type[domain.BackctlError]]:
    for leaf in kind.__subclasses__():
        yield leaf
        yield from _leaves(leaf)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (domain.InvalidInput, 2),
        (domain.NotFound, 3),
        (domain.Conflict, 4),
        (domain.Unavailable, 5),
        (domain.AnswerIsNo, 6),
        (domain.PartialFailure, 7),
        (domain.Refused, 8),
        (domain.Unusable, 9),
    ],
)
def test_every_kind_has_one_exit_code(kind: type[domain.BackctlError], code: int) -> None:
    for leaf in (kind, *_leaves(kind)):
        error = leaf.__new__(leaf)
        assert exit_code_of(error) == code, leaf


def test_every_error_is_of_some_kind() -> None:
    assert {exit_code_of(leaf.__new__(leaf)) for leaf in _leaves(domain.BackctlError)} <= set(ExitCode) - {ExitCode.BUG}


def test_an_error_outside_every_kind_is_a_bug() -> None:
    assert exit_code_of(domain.BackctlError("lost")) is ExitCode.BUG


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("user list -o json", True),
        ("user list -o jsonl", True),
        ("user list -o csv", False),
        ("user list -vqojson", True),
        ("user list --output=json --output tsv", False),
        ("user list -- -o json", False),
        ("user list -o", False),
        ("user list -pojson", False),
        ("", False),
    ],
)
def test_json_is_recognised_in_bare_words(monkeypatch: pytest.MonkeyPatch, words: str, answer: bool) -> None:
    monkeypatch.delenv("BACKCTL_OUTPUT", raising=False)
    assert wants_json(words.split()) is answer


def test_flags_outdo_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKCTL_OUTPUT", "json")
    assert wants_json(["user", "list"])
    assert not wants_json(["user", "list", "-o", "tsv"])


# The log.


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "backctl" / "log" / "backctl.log"


def test_a_bug_is_added_to_a_private_log(log: Path) -> None:
    before = os.umask(0)
    try:
        for _ in range(2):
            assert str(log) in (unexpected(ZeroDivisionError()).hint or "")
    finally:
        os.umask(before)
    assert log.read_text().count("ZeroDivisionError") == 2
    assert [path.stat().st_mode & 0o7777 for path in (log.parent, log)] == [0o700, 0o600]


def a_link(log: Path, precious: Path) -> None:
    log.symlink_to(precious)


def another_name(log: Path, precious: Path) -> None:
    os.link(precious, log)


def a_pipe(log: Path, precious: Path) -> None:
    os.mkfifo(log)


def everybodys_folder(log: Path, precious: Path) -> None:
    log.parent.chmod(0o777)


@pytest.mark.parametrize("plant", [a_link, another_name, a_pipe, everybodys_folder])
def test_a_bug_is_written_nowhere_else(log: Path, tmp_path: Path, plant: Callable[[Path, Path], None]) -> None:
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    log.parent.mkdir(parents=True)
    plant(log, precious)
    assert unexpected(ZeroDivisionError()).hint == "the traceback could not be written to the log"
    assert precious.read_text() == "as it was"


@pytest.mark.parametrize(
    ("mode", "owner", "names", "private"),
    [
        (stat.S_IFREG | 0o600, 4711, 1, True),
        (stat.S_IFREG | 0o600, 4712, 1, False),
        (stat.S_IFREG | 0o600, 0, 1, False),
        (stat.S_IFREG | 0o600, 4711, 2, False),
        (stat.S_IFIFO | 0o600, 4711, 1, False),
    ],
)
def test_the_log_is_this_users_alone(mode: int, owner: int, names: int, private: bool) -> None:
    status = cast(os.stat_result, SimpleNamespace(st_mode=mode, st_uid=owner, st_nlink=names))
    assert is_private_log(status, user=4711) is private
