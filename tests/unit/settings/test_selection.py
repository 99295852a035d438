"""Profiles are found in the same way as by commands, and selecting one changes one line."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backctl.domain.errors import InvalidConfiguration, UnknownProfile
from backctl.settings import load, profiles, use_profile

Configure = Callable[..., Path]

# Any name that TOML allows, even if a shell does not.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def basic_string(text: str) -> str:
    return '"' + "".join(f"\\U{ord(character):08x}" for character in text) + '"'


def test_an_entry_is_what_loading_the_profile_gives(configure: Configure, home: Path) -> None:
    path = configure(
        'profile = "b"\nprotected = true\n[profiles.a]\nprotected = false\ndatabase.url = "default"\n'
        '[profiles.b]\ndatabase.url = "sqlite:////srv/b.db"\n[profiles.c]\ndatabase.url_file = "/nowhere"\n'
        "[profiles.d]\n"
    )
    assert profiles(config_file=None, profile=None, environ={}) == [
        ("a", False, False, str(home / "data" / "backctl" / "backctl.db"), f"file {path}:3"),
        ("b", True, True, "/srv/b.db", f"file {path}:6"),
        ("c", False, True, "***", f"file {path}:8"),
        ("d", False, True, None, f"file {path}:10"),
    ]
    for entry in profiles(config_file=None, profile="a", environ={}):
        assert entry.protected is load(profile=entry.name, environ={}).settings.protected
        assert entry.in_force is (entry.name == "a")


def test_a_profile_without_a_name_cannot_be_chosen(configure: Configure) -> None:
    path = configure('[profiles.""]\n')
    assert profiles(config_file=None, profile=None, environ={}) == []
    with pytest.raises(UnknownProfile):
        use_profile(path, "")


def test_a_file_that_does_not_load_lists_nothing(configure: Configure) -> None:
    path = configure("[profiles.a]\ntypo = 1\n[profiles]\nb = 2\n")
    with pytest.raises(InvalidConfiguration, match="line"):
        profiles(config_file=None, profile=None, environ={})
    path.write_text("[profiles.a]\ntypo = 1\n")
    with pytest.raises(InvalidConfiguration, match=r"line 2: unknown key 'profiles\.a\.typo'"):
        profiles(config_file=None, profile=None, environ={})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('profile = "a"  # why\n[profiles.a]\n[profiles.b]\n', 'profile = "b"  # why\n[profiles.a]\n[profiles.b]\n'),
        ("'profile' = 'a'\n[profiles]\na = {}\nb = {}\n", "'profile' = \"b\"\n[profiles]\na = {}\nb = {}\n"),
    ],
)
def test_a_selection_is_replaced_in_its_place(configure: Configure, before: str, after: str) -> None:
    path = configure(before)
    assert use_profile(path, "b")
    assert path.read_text() == after
    assert not use_profile(path, "b")


@pytest.mark.parametrize(
    "text",
    [
        "[profiles.b]\n",
        "# top\n\n[profiles.b]  # b\n# end",
        "protected = false\n[profiles.b]\n",
        "profiles.b.protected = true\n",
        "profiles = { b = { protected = true } }\n",
        'profile = ""\n[profiles.b]\n',
        "[database]\r\ntimeout = '1s'\r\n[profiles.b]\r\n",
    ],
)
def test_a_selection_is_added_and_taken_away_again(configure: Configure, text: str) -> None:
    path = configure(text)
    document = tomllib.loads(text)
    assert use_profile(path, "b")
    assert tomllib.loads(path.read_text()) == {**document, "profile": "b"}
    for line in text.splitlines():
        assert line in path.read_text() or "profile =" in line
    assert load(environ={}).settings.profile == "b"
    assert use_profile(path, None)
    document.pop("profile", None)
    assert tomllib.loads(path.read_text()) == document
    assert not use_profile(path, None)


def test_a_dangling_selection_can_be_mended(configure: Configure) -> None:
    path = configure('profile = "gone"\n[profiles.b]\n')
    with pytest.raises(InvalidConfiguration):
        load(environ={})
    assert use_profile(path, "b")
    assert load(environ={}).settings.profile == "b"


def test_a_file_with_another_fault_is_left_alone(configure: Configure) -> None:
    path = configure("typo = 1\n[profiles.b]\n")
    with pytest.raises(InvalidConfiguration, match="unknown key 'typo'"):
        use_profile(path, "b")
    assert path.read_text() == "typo = 1\n[profiles.b]\n"


def test_no_file_selects_no_profile(user_file: Path) -> None:
    assert not use_profile(user_file, None)
    with pytest.raises(UnknownProfile, match="'b' is not configured"):
        use_profile(user_file, "b")
    assert not user_file.parent.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(name=NAMES)
def test_any_name_can_be_selected(configure: Configure, name: str) -> None:
    path = configure(f"[profiles.{basic_string(name)}]\n")
    assert use_profile(path, name)
    assert load(environ={}).settings.profile == name
    (entry,) = profiles(config_file=None, profile=None, environ={})
    assert (entry.name, entry.in_force) == (name, True)
