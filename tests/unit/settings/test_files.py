"""Configuration files that are rejected, and the messages for broken ones."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from backctl.domain.errors import InvalidConfiguration
from backctl.settings import load, locate

Configure = Callable[..., Path]


def refusal(path: Path | str | None = None) -> InvalidConfiguration:
    with pytest.raises(InvalidConfiguration) as caught:
        load(config_file=None if path is None else str(path), environ={})
    return caught.value


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_a_file_that_others_may_change_is_refused(configure: Configure, mode: int) -> None:
    path = configure("", mode=mode)
    error = refusal()
    assert error.message == f"the configuration file '{path}' can be changed by other users (mode {mode:04o})"
    assert error.hint == f"run chmod {mode & ~0o022:04o} on it"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o644, 0o444])
def test_a_file_that_others_may_only_read_is_accepted(configure: Configure, mode: int) -> None:
    configure("passwords.bcrypt_cost = 10", mode=mode)
    assert load(environ={}).settings.passwords.bcrypt_cost == 10


def test_a_file_of_a_stranger_is_refused(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    path = configure("")
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        owner = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert "neither to you nor to root" in refusal().message


def test_a_file_of_root_is_accepted_by_everybody(
    configure: Configure, unprivileged: Callable[[], AbstractContextManager[None]], public: Path
) -> None:
    path = configure("passwords.bcrypt_cost = 10", public / "config.toml", 0o644)
    with unprivileged():
        assert load(config_file=str(path), environ={}).settings.passwords.bcrypt_cost == 10


def test_a_file_that_may_not_be_read_is_an_error_and_not_passed_over(
    configure: Configure, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    path = configure("")
    path.chmod(0)
    with unprivileged():
        assert refusal().message == f"the configuration file '{path}' cannot be read: permission denied"
    path.parent.chmod(0)
    try:
        with unprivileged():
            assert refusal().message == f"the configuration file '{path}' cannot be read: permission denied"
    finally:
        path.parent.chmod(0o700)


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    path = tmp_path / "absent.toml"
    assert refusal(path).message == f"the configuration file '{path}' does not exist"
    with pytest.raises(InvalidConfiguration):
        load(environ={"BACKCTL_CONFIG": str(path)})


def test_links_are_followed_and_a_dangling_one_is_an_error(configure: Configure, user_file: Path, home: Path) -> None:
    target = configure("passwords.bcrypt_cost = 10", home / "elsewhere" / "real.toml")
    user_file.parent.mkdir(parents=True)
    user_file.symlink_to(target)
    assert load(environ={}).settings.passwords.bcrypt_cost == 10
    target.chmod(0o622)
    assert "can be changed by other users" in refusal().message
    target.unlink()
    assert "does not exist" in refusal().message


def test_a_link_to_itself_is_an_error(user_file: Path) -> None:
    user_file.parent.mkdir(parents=True)
    user_file.symlink_to(user_file)
    assert "cannot be read: too many levels of symbolic links" in refusal().message


def test_a_file_in_place_of_the_folder_means_there_is_no_configuration(user_file: Path) -> None:
    user_file.parent.parent.mkdir(parents=True)
    user_file.parent.write_text("")
    assert locate(None, {}) is None


def test_a_pipe_is_refused_without_waiting_for_its_other_end(user_file: Path) -> None:
    user_file.parent.mkdir(parents=True)
    os.mkfifo(user_file, 0o600)
    assert refusal().message.endswith("is not a regular file")


@pytest.mark.parametrize("path", ["/", "/dev/null", "", "."])
def test_folders_and_devices_are_refused(path: str) -> None:
    assert refusal(path).message.endswith("is not a regular file")


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "\udcff"])
def test_impossible_names_are_refused(path: str) -> None:
    assert "cannot be read" in refusal(path).message or "does not exist" in refusal(path).message


def test_a_megabyte_is_refused_before_it_is_parsed(configure: Configure) -> None:
    configure("# comment\n" * 100_000)
    assert refusal().message.endswith("is larger than 262144 bytes")


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"# fine\n# \xff\n", "line 2: not UTF-8"),
        ("a = 1\n".encode("utf-16"), "line 1: not UTF-8"),
        (b"[database]\n\0", "line 2: "),
        (b"[database]\nurl = ''\nurl = ''\n", "line 3: the key or table is defined twice"),
        (b"[database]\n[keyring]\n[database]\n", "line 3: the key or table is defined twice"),
        (b"[database]\nurl =\n", "line 2: invalid value"),
        (b"x = [1,\n2,\n", "line 2: "),
        (b"url = 'hunter2\n", "line 1: "),
        (b"\n\nx = " + b"9" * 5000, "line 3: a number is out of range"),
        (b"x = 2026-13-45\n", "line 1: "),
    ],
)
def test_a_broken_file_names_the_line(configure: Configure, data: bytes, place: str) -> None:
    path = configure(data)
    message = refusal().message
    assert message.startswith(f"'{path}', {place}")
    assert "hunter2" not in message
    assert message.isprintable()


@pytest.mark.parametrize("text", ["x = " + "[" * 100_000, "x = " + "{a=" * 50_000, "[" + "a." * 20_000 + "a]\n"])
def test_endless_nesting_is_refused_in_time(configure: Configure, text: str) -> None:
    configure(text)
    assert refusal().message.startswith("'")
