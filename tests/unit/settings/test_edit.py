"""Changing one value keeps everything else and never writes a file that cannot be loaded."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backctl.domain.errors import (
    BackctlError,
    DiskFull,
    FolderUnusable,
    InvalidConfiguration,
    InvalidSetting,
    UnknownSetting,
)
from backctl.settings import SETTINGS, load, set_value, unset_value

Configure = Callable[..., Path]

LAID_OUT = """\
# the top

profile = "prod"   # chosen

[database]  # where
  # how long
timeout = "1s"     # a while

[roles]
auditor = { permissions = ["user:read"], description = "x" }

[profiles.prod]
passwords.bcrypt_cost = 10

[profiles.prod.keyring]
allow_group_read = false

# the end
"""


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


CHANGES = {  # a key and its new value, and what changes in the file
    ("database.timeout", "2m"): ('timeout = "1s"     # a while', 'timeout = "2m"     # a while'),
    ("profiles.prod.passwords.bcrypt_cost", "11"): ("bcrypt_cost = 10", "bcrypt_cost = 11"),
    ("profiles.prod.keyring.allow_group_read", "true"): ("group_read = false", "group_read = true"),
    ("roles.auditor.description", "y"): ('description = "x"', 'description = "y"'),
    ("roles.auditor.permissions", "[]"): ('["user:read"]', "[]"),
    ("roles.auditor.permissions", "a:b, c:d"): ('["user:read"]', '["a:b", "c:d"]'),
}


@pytest.mark.parametrize(("change", "lines"), CHANGES.items())
def test_only_the_value_changes(configure: Configure, change: tuple[str, str], lines: tuple[str, str]) -> None:
    key, text = change
    path = configure(LAID_OUT)
    assert set_value(path, key, text)
    assert path.read_text() == LAID_OUT.replace(*lines)
    assert not set_value(path, key, text)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("protected", "yes", True),
        ("database.url", "sqlite:////srv/x.db", "sqlite:////srv/x.db"),
        ("database.url_file", "/run/secrets/url", "/run/secrets/url"),
        ("database.url_command", '["pass", "show", "a, b"]', ["pass", "show", "a, b"]),
        ("keyring.path", "/srv/keyring.json", "/srv/keyring.json"),
        ("passwords.min_length", "15", 15),
        ("accounts.allow_special_domains", "true", True),
        ("roles.helper.permissions", "user:read,user:activate", ["user:read", "user:activate"]),
        ('roles."night shift".permissions', "user:read", ["user:read"]),
        ("profiles.new.protected", "true", True),
        ("profiles.new.database.timeout", "3s", "3s"),
        ("profiles.new.roles.helper.permissions", '["user:read"]', ["user:read"]),
    ],
)
def test_what_is_not_there_yet_is_added_and_every_line_stays(
    configure: Configure, key: str, text: str, value: object
) -> None:
    for before in (LAID_OUT, "", "# only a comment\n", "[database]\n"):
        path = configure(before)
        assert set_value(path, key, text)
        changed = path.read_text()
        kept = before.replace("\n\n", "\n").splitlines()
        assert [line for line in changed.splitlines() if line in kept and line] == kept
        found: object = tomllib.loads(changed)
        for part in key.replace('"', "").split("."):
            assert isinstance(found, dict)
            found = found[part]
        assert found == value
        assert not set_value(path, key, text)


@pytest.mark.parametrize(
    ("key", "gone"),
    [
        ("database.timeout", 'timeout = "1s"     # a while\n'),
        ("profile", 'profile = "prod"   # chosen\n'),
        ("profiles.prod.passwords.bcrypt_cost", "passwords.bcrypt_cost = 10\n"),
        ("profiles.prod.keyring.allow_group_read", "allow_group_read = false\n"),
        ("roles.auditor.description", ', description = "x"'),
    ],
)
def test_only_the_value_goes(configure: Configure, key: str, gone: str) -> None:
    path = configure(LAID_OUT)
    assert unset_value(path, key, dry_run=True)
    assert path.read_text() == LAID_OUT
    assert unset_value(path, key)
    assert "".join(path.read_text().split()) == "".join(LAID_OUT.replace(gone, "").split())
    assert not unset_value(path, key)


@pytest.mark.parametrize("key", ["database.url", "keyring.path", "profiles.new.protected", "roles.x.permissions"])
def test_what_is_not_there_stays_away(configure: Configure, home: Path, key: str) -> None:
    for before in (LAID_OUT.replace("prod", "new"), "", "# only a comment\n"):
        path = configure(before)
        assert not unset_value(path, key)
        assert path.read_text() == before
    assert not unset_value(home / "nothing" / "config.toml", key)
    assert not (home / "nothing").exists()


LAYOUTS = {  # what is left of a file without passwords.bcrypt_cost
    "passwords.bcrypt_cost = 10\n": "",
    "passwords = { bcrypt_cost = 10 }\n": "passwords = {  }\n",
    "[passwords]\nbcrypt_cost = 10\n": "[passwords]\n",
    "profiles.a.passwords.bcrypt_cost = 10\n": "",
    "passwords.bcrypt_cost = 99\n": "",
}


@pytest.mark.parametrize("before", LAYOUTS)
def test_a_value_goes_from_every_layout(configure: Configure, before: str) -> None:
    path = configure(before)
    assert unset_value(path, "profiles.a.passwords.bcrypt_cost" if "profiles" in before else "passwords.bcrypt_cost")
    assert path.read_text() == LAYOUTS[before]
    assert load(environ={}).settings.passwords.bcrypt_cost == 12


NEEDED = {  # a key, and a file that cannot be loaded without it, or not at all
    "roles.x.permissions": '[roles.x]\npermissions = ["user:read"]\ndescription = "y"\n',
    "profiles.a.protected": 'profile = "a"\nprofiles.a.protected = true\n',
    "protected": "typo = 1\nprotected = true\n",
}


@pytest.mark.parametrize(("key", "before"), NEEDED.items())
def test_nothing_goes_that_the_rest_needs(configure: Configure, key: str, before: str) -> None:
    path = configure(before)
    with pytest.raises(InvalidConfiguration):
        unset_value(path, key)
    assert path.read_text() == before


def test_what_was_never_a_key_cannot_be_taken_out(configure: Configure) -> None:
    path = configure(LAID_OUT)
    with pytest.raises(UnknownSetting) as caught:
        unset_value(path, "database.timeot")
    assert caught.value.hint == "did you mean database.timeout?"


def test_a_top_level_key_is_added_above_the_tables(configure: Configure) -> None:
    path = configure("[database]\ntimeout = '1s'\n[profiles.prod]\n")
    assert set_value(path, "profile", "prod")
    assert load(environ={}).settings.profile == "prod"


def test_the_file_and_its_folder_are_created_for_the_owner_alone(user_file: Path) -> None:
    assert set_value(user_file, "passwords.bcrypt_cost", "10")
    assert mode(user_file) == 0o600
    assert mode(user_file.parent) == 0o700
    assert mode(user_file.parent.parent) == 0o700
    assert load(environ={}).settings.passwords.bcrypt_cost == 10
    assert [path.name for path in user_file.parent.iterdir()] == ["config.toml"]


def test_the_mode_of_a_file_and_a_link_to_it_stay(configure: Configure, home: Path, user_file: Path) -> None:
    target = configure("passwords.bcrypt_cost = 10\r\n", home / "elsewhere" / "real.toml", 0o644)
    user_file.parent.mkdir(parents=True)
    user_file.symlink_to(target)
    assert set_value(user_file, "passwords.bcrypt_cost", "11")
    assert user_file.is_symlink()
    assert mode(target) == 0o644
    assert target.read_bytes() == b"passwords.bcrypt_cost = 11\r\n"


def test_a_dry_run_answers_and_writes_nothing(configure: Configure, home: Path) -> None:
    path = configure(LAID_OUT)
    assert set_value(path, "database.timeout", "2s", dry_run=True)
    assert not set_value(path, "database.timeout", "1s", dry_run=True)
    assert path.read_text() == LAID_OUT
    assert set_value(home / "new" / "config.toml", "database.timeout", "1s", dry_run=True)
    assert not (home / "new").exists()
    with pytest.raises(InvalidSetting):
        set_value(path, "database.timeout", "x", dry_run=True)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("database.timeot", "did you mean database.timeout?"),
        ("bcrypt_cost", "did you mean passwords.bcrypt_cost?"),
        ("profiles.prod", None),
        ("profiles.prod.profile", None),
        ("roles.x", None),
        ("roles.x.permission", None),
        ('"database.timeout"', "did you mean database.timeout?"),
        ("keyring.path_file", None),
        ("", None),
        ("a b", None),
        ("database.timeout\n", None),
        ("database.timeout = '1s' #", None),
        ("x" * 100_000, None),
    ],
)
def test_an_unknown_key_is_refused(configure: Configure, key: str, hint: str | None) -> None:
    path = configure(LAID_OUT)
    with pytest.raises(UnknownSetting) as caught:
        set_value(path, key, "1")
    assert len(caught.value.message) < 300
    if hint:
        assert caught.value.hint == hint
    assert path.read_text() == LAID_OUT


WRONG_VALUES = {  # the values of a key that are refused with the same message
    ("passwords.bcrypt_cost", "is 99; it must be a whole number from 4 to 17"): ["99"],
    ("passwords.bcrypt_cost", "is ''; it must be a whole number from 4 to 17"): [""],
    ("database.timeout", "is '10'; it must be a duration from 0s to 1h"): ["10"],
    ("database.url", "has the scheme 'mysql', which is not supported"): ["mysql://root:hunter2@h/d"],
    ("database.url_command", "must be an array of strings"): ["pass show", '["a"]\nx = 1'],
    ("roles.x.permissions", "must be an array of strings"): ["[1]", "[" * 50_000],
    ("protected", "is 'perhaps'; it must be true or false"): ["perhaps"],
}


@pytest.mark.parametrize(("key", "complaint"), WRONG_VALUES)
def test_a_wrong_value_is_the_callers_input(configure: Configure, key: str, complaint: str) -> None:
    path = configure(LAID_OUT)
    for text in WRONG_VALUES[key, complaint]:
        with pytest.raises(InvalidSetting) as caught:
            set_value(path, key, text)
        assert caught.value.message.startswith(f"{key} {complaint}")
        assert "hunter2" not in caught.value.message
        assert path.read_text() == LAID_OUT


UNLOADABLE = {  # a message, and the file and the new value that lead to it
    "database.url is set twice": ("database.url_file = '/x'\n", "database.url", ""),
    "profile 'b' is not configured": ("[profiles.a]\n", "profile", "b"),
    "roles.x has no permissions": ("", "roles.x.description", "y"),
    "unknown key 'typo'": ("typo = 1\n", "passwords.bcrypt_cost", "10"),
    "'passwords' is not a table": ("passwords = 1\n", "passwords.bcrypt_cost", "10"),
    "line 1: invalid value": ("a = \n", "passwords.bcrypt_cost", "10"),
}


@pytest.mark.parametrize("message", UNLOADABLE)
def test_what_would_not_load_is_not_written(configure: Configure, message: str) -> None:
    before, key, text = UNLOADABLE[message]
    path = configure(before)
    with pytest.raises(InvalidConfiguration) as caught:
        set_value(path, key, text)
    assert message in caught.value.message
    assert path.read_text() == before


def test_a_wrong_value_of_the_file_can_be_put_right(configure: Configure) -> None:
    path = configure("[passwords]\nbcrypt_cost = 99  # oops\n")
    assert set_value(path, "passwords.bcrypt_cost", "12")
    assert path.read_text() == "[passwords]\nbcrypt_cost = 12  # oops\n"
    configure("protected = 1\n")
    assert set_value(path, "protected", "true")
    assert load(environ={}).settings.protected


def test_an_exposed_file_is_not_edited(configure: Configure) -> None:
    path = configure("", mode=0o666)
    with pytest.raises(InvalidConfiguration, match="can be changed by other users"):
        set_value(path, "passwords.bcrypt_cost", "10")


def test_what_may_not_be_written_is_said_so(
    configure: Configure, unprivileged: Callable[[], AbstractContextManager[None]], public: Path
) -> None:
    path = configure("", public / "config.toml", 0o644)
    public.chmod(0o555)
    with unprivileged(), pytest.raises(InvalidConfiguration, match="cannot be written: permission denied"):
        set_value(path, "passwords.bcrypt_cost", "10")
    assert path.read_text() == ""


@pytest.mark.parametrize("path", ["/dev/null/config.toml", "/proc/nowhere/config.toml", "/a\0b"])
def test_an_impossible_place_is_said_so(path: str) -> None:
    with pytest.raises(InvalidConfiguration):
        set_value(Path(path), "passwords.bcrypt_cost", "10")


def test_of_many_changes_at_once_none_is_lost(configure: Configure) -> None:
    path = configure("")
    program = (
        "import sys, pathlib; from backctl.settings import set_value;"
        "set_value(pathlib.Path(sys.argv[1]), f'roles.r{sys.argv[2]}.permissions', 'user:read')"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    children = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(number)], env=environ) for number in range(8)
    ]
    assert [child.wait() for child in children] == [0] * 8
    assert len(load(environ={}).settings.roles) == 8


def test_a_failed_write_leaves_the_old_file_and_no_other(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    path = configure(LAID_OUT)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="no space left"):
        set_value(path, "database.timeout", "2s")
    assert path.read_text() == LAID_OUT
    assert [entry.name for entry in path.parent.iterdir()] == ["config.toml"]


def test_what_a_killed_process_has_staged_is_removed_by_the_next_one(configure: Configure) -> None:
    path = configure(LAID_OUT)
    for name in (".config.toml.0123456789abcdef.new", ".other.toml.0123456789abcdef.new", ".config.toml.new"):
        path.with_name(name).write_text("half")
        path.with_name(name).chmod(0o644)
    assert set_value(path, "database.timeout", "2s")
    assert {entry.name for entry in path.parent.iterdir()} == {"config.toml", ".config.toml.new"}


def test_nothing_is_written_where_everybody_may_replace_files(configure: Configure) -> None:
    path = configure(LAID_OUT)
    path.parent.chmod(0o777)
    with pytest.raises(FolderUnusable, match="every user can replace files"):
        set_value(path, "database.timeout", "2s")
    assert path.read_text() == LAID_OUT
    path.parent.chmod(0o1777)
    assert set_value(path, "database.timeout", "2s")


def test_a_link_that_a_stranger_has_planted_is_not_followed(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configure(LAID_OUT)
    for target in (path, path.with_name("nothing")):
        link = path.with_name("planted.toml")
        link.symlink_to(target)
        monkeypatch.setattr(os, "geteuid", lambda: 4711 if os.getuid() == 0 else 0)
        if os.getuid() == 0:
            os.lchown(link, 4712, 4712)
        with pytest.raises(FolderUnusable, match="is a link that belongs to user"):
            set_value(link, "database.timeout", "2s")
        link.unlink()
    assert (path.read_text(), path.with_name("nothing").exists()) == (LAID_OUT, False)


texts = st.one_of(
    st.text(max_size=8), st.sampled_from(["", "true", "12", "10s", "/x", "sqlite:////x.db", "[]", '["a"]'])
)
extra_keys = ["profile", "roles.a.permissions", "profiles.p.protected", "database.url_file", "database.url_command"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([*SETTINGS, *extra_keys]), st.none() | texts), max_size=5))
def test_whatever_is_set_and_unset_the_file_loads_afterwards(
    user_file: Path, changes: list[tuple[str, str | None]]
) -> None:
    user_file.unlink(missing_ok=True)
    for key, text in changes:
        before = user_file.read_bytes() if user_file.exists() else None
        try:
            changed = unset_value(user_file, key) if text is None else set_value(user_file, key, text)
        except BackctlError:
            changed = False
        after = user_file.read_bytes() if user_file.exists() else None
        assert changed == (before != after)
        load(environ={})


@pytest.mark.parametrize("text", ["b, p", '["b", "p"]', "b,p,"])
def test_a_list_is_written_as_an_array(configure: Configure, text: str) -> None:
    path = configure("")
    assert set_value(path, "sanitize.tags", text)
    assert path.read_text() == '[sanitize]\ntags = ["b", "p"]\n'
    assert not set_value(path, "sanitize.tags", text)
    assert set_value(path, "sanitize.tags", "")
    assert load(environ={}).settings.sanitize.tags == ()


def test_a_list_that_defeats_its_purpose_is_not_written(configure: Configure) -> None:
    path = configure("# mine\n")
    with pytest.raises(InvalidSetting, match="contains 'script', which cannot be made safe"):
        set_value(path, "sanitize.tags", "b,script")
    assert path.read_text() == "# mine\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_bytes(text.encode())
    return file


CRLF = '# c\r\n[tokens]\r\nissuer = "a" # x\r\n\r\n[passwords]\r\nmin_length = 9\r\n'


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tokens.issuer", "b"),
        ("tokens.audience", "b"),
        ("passwords.bcrypt_cost", "10"),
        ("database.url", "sqlite:////a/b.db"),
        ("profiles.p.tokens.issuer", "b"),
        ("protected", "true"),
        ("sanitize.tags", "a,b"),
    ],
)
def test_a_file_with_windows_line_ends_keeps_them(tmp_path: Path, key: str, value: str) -> None:
    file = written(tmp_path, CRLF)
    assert set_value(file, key, value)
    content = file.read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n")
    assert content.startswith(b"# c\r\n") or key == "protected"
    assert unset_value(file, key)
    content = file.read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('[tokens]\r\nissuer="a"', '[tokens]\r\nissuer="a"\r\naudience = "b"\r\n'),
        ('[tokens]\nissuer="a"', '[tokens]\nissuer="a"\naudience = "b"\n'),
        ('# 1\n# 2\r\n[tokens]\r\nissuer="a"\r\n', '# 1\n# 2\r\n[tokens]\r\nissuer="a"\r\naudience = "b"\r\n'),
        ('# 1\n# 2\r\n[tokens]\nissuer="a"\r\n', '# 1\n# 2\r\n[tokens]\nissuer="a"\r\naudience = "b"\n'),
        ("# only\r\n", '# only\r\n\r\n[tokens]\r\naudience = "b"\r\n'),
        ("", '[tokens]\naudience = "b"\n'),
    ],
)
def test_a_new_line_ends_like_most_lines_and_the_others_stay(tmp_path: Path, before: str, after: str) -> None:
    file = written(tmp_path, before)
    set_value(file, "tokens.audience", "b")
    assert file.read_bytes() == after.encode()
