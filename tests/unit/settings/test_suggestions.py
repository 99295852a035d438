"""What completion makes of the configuration is what the settings make of it, found without loading them."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import platformdirs.macos
import platformdirs.unix
import pytest

from backctl.domain.errors import BackctlError
from backctl.settings import load, profiles, user_file
from backctl.suggestions import configuration
from backctl.suggestions.configuration import Configuration, Nothing

Configure = Callable[..., Path]

FILE = """
profile = "staging"
database.url = "sqlite:////srv/base.db"
roles.auditor = { permissions = [] }

[profiles.staging]
database.url = "sqlite:////srv/staging.db"
roles.tester = { permissions = [] }

[profiles.inherits]
protected = true

[profiles.embedded]
database.url = ""

[profiles.server]
database.url = "postgresql://db.example.org/backctl"

[profiles.kept-apart]
database.url_file = "/etc/backctl/url"

[profiles.asked-for]
database.url_command = ["pass", "show", "url"]
"""


def seen(variables: dict[str, str] | None = None, **flags: str | None) -> Configuration:
    return Configuration(os.environ | (variables or {}), **({"profile": None, "config_file": None} | flags))


def both_databases(variables: dict[str, str], **flags: str | None) -> tuple[str | None, str | None]:
    """The file that the settings come to and the one that completion looks at; None is no file, or an error."""
    try:
        loaded = load(
            environ=os.environ | variables, profile=flags.get("profile"), config_file=flags.get("config_file")
        )
        scheme, _, path = loaded.database_url.partition(":///")
        settled = path if scheme == "sqlite" else None
    except BackctlError:
        settled = None
    try:
        return settled, seen(variables, **flags).database()
    except (Nothing, OSError):
        return settled, None


@pytest.mark.parametrize("profile", [None, "", "staging", "inherits", "embedded", "server", "nobody"])
@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"BACKCTL_PROFILE": ""},
        {"BACKCTL_PROFILE": "embedded"},
        {"BACKCTL_PROFILE": "server"},
        {"BACKCTL_DATABASE_URL": "sqlite:////srv/variable.db"},
        {"BACKCTL_DATABASE_URL": "postgresql://db.example.org/x", "BACKCTL_PROFILE": "staging"},
        {"BACKCTL_DATABASE_URL": "sqlite:///relative.db"},
        {"BACKCTL_DATABASE_URL": ""},
        {"BACKCTL_CONFIG": "/nowhere/config.toml"},
    ],
)
def test_the_database_is_the_one_that_a_command_would_open(
    configure: Configure, profile: str | None, variables: dict[str, str]
) -> None:
    configure(FILE)
    settled, looked_at = both_databases(variables, profile=profile)
    assert settled == looked_at


def test_without_a_file_it_is_the_embedded_one(home: Path) -> None:
    settled, looked_at = both_databases({})
    assert settled == looked_at == str(home / "data" / "backctl" / "backctl.db")
    assert seen().roles() == seen().profiles() == []
    with pytest.raises(Nothing):
        seen(profile="staging").database()


def test_the_users_file_goes_before_the_sites_and_a_flag_before_both(
    configure: Configure, site_file: Path, tmp_path: Path
) -> None:
    configure('database.url = "sqlite:////srv/site.db"', site_file)
    assert both_databases({}) == ("/srv/site.db", "/srv/site.db")
    configure('database.url = "sqlite:////srv/user.db"')
    assert both_databases({}) == ("/srv/user.db", "/srv/user.db")
    other = str(configure('database.url = "sqlite:////srv/other.db"', tmp_path / "other.toml"))
    assert both_databases({"BACKCTL_CONFIG": other}) == ("/srv/other.db", "/srv/other.db")
    assert both_databases({"BACKCTL_CONFIG": "/nowhere"}, config_file=other) == ("/srv/other.db", "/srv/other.db")
    assert both_databases({}, config_file="") == (None, None)


def test_the_names_are_those_of_the_file_and_of_the_profile_in_force(configure: Configure) -> None:
    configure(FILE)
    found = profiles(config_file=None, profile=None, environ=os.environ)
    assert seen().profiles() == [entry.name for entry in found]
    for name in ("staging", "inherits"):
        assert sorted(seen(profile=name).roles()) == sorted(load(profile=name, environ=os.environ).settings.roles)


@pytest.mark.parametrize("profile", ["kept-apart", "asked-for"])
def test_no_secret_is_read(configure: Configure, profile: str) -> None:
    configure(FILE)
    with pytest.raises(Nothing):
        seen(profile=profile).database()
    assert seen({"BACKCTL_DATABASE_URL": "sqlite:////srv/x.db"}, profile=profile).database() == "/srv/x.db"
    with pytest.raises(Nothing):
        seen({"BACKCTL_DATABASE_URL_FILE": "/etc/backctl/url"}).database()


@pytest.mark.parametrize("text", ["profiles = 1", "profiles.x = 1", "= ", "a = " + "[" * 100_000, "a = '\0'", "\xff"])
def test_a_file_that_makes_no_sense_offers_nothing(configure: Configure, text: str) -> None:
    configure(text.encode("latin-1"))
    with pytest.raises(Nothing):
        seen(profile="x").roles()
    with pytest.raises(Nothing):
        seen(profile="x").database()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_read(configure: Configure, mode: int) -> None:
    configure(FILE, mode=mode)
    with pytest.raises(Nothing):
        seen().profiles()


def test_neither_a_pipe_nor_a_file_beyond_the_limit_is_read(user_file: Path, configure: Configure) -> None:
    user_file.parent.mkdir(parents=True)
    os.mkfifo(user_file, mode=0o600)
    with pytest.raises(Nothing):
        seen().profiles()
    user_file.unlink()
    configure("#" * 300_000)
    with pytest.raises(Nothing):
        seen().profiles()


ENVIRONMENTS = [
    {"HOME": "/users/ada"},
    {"HOME": "/users/ada/"},
    {"HOME": "/users/ada", "XDG_CONFIG_HOME": "/cfg", "XDG_DATA_HOME": "/data", "XDG_CONFIG_DIRS": "/one:/two"},
    {"HOME": "/users/ada", "XDG_CONFIG_HOME": "relative", "XDG_DATA_HOME": "", "XDG_CONFIG_DIRS": "relative:/two"},
    {"HOME": ""},
    {},
]


@pytest.mark.parametrize("environ", ENVIRONMENTS)
@pytest.mark.parametrize(
    ("system", "folders"), [("Linux", platformdirs.unix.Unix), ("Darwin", platformdirs.macos.MacOS)]
)
def test_the_usual_places_are_those_of_the_platform(
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    system: str,
    folders: type[platformdirs.PlatformDirs],
) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((system, "", "", "", "")))
    expected = folders("backctl")
    assert list(configuration._usual_files(environ)) == [
        f"{expected.user_config_dir}/config.toml",
        f"{expected.site_config_dir}/config.toml",
    ]
    assert configuration._user_folder(environ, "XDG_DATA_HOME", ".local/share") == expected.user_data_dir


def test_pythons_of_homebrew_have_their_own_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Darwin", "", "", "", "")))
    monkeypatch.setattr(sys, "base_prefix", "/usr/local/opt/python@3.13/Frameworks/Python.framework/Versions/3.13")
    monkeypatch.delenv("XDG_CONFIG_DIRS")
    *_, site = configuration._usual_files(os.environ)
    assert site == f"{platformdirs.macos.MacOS('backctl').site_config_dir}/config.toml"
    assert site == "/usr/local/share/backctl/config.toml"


def test_on_this_machine_they_are_those_of_the_settings() -> None:
    assert next(iter(configuration._usual_files(os.environ))) == str(user_file())
