"""Completion reads the configuration like a command does, except that it never reads a secret."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backctl.domain.errors import BackctlError
from backctl.settings import load
from backctl.suggestions.answers import Sources, is_plain

FILE = """
profile = "staging"
database.url = "sqlite:////srv/base.db"
roles.auditor = { permissions = [] }

[profiles.staging]
database.url = "sqlite:////srv/staging.db"
roles.tester = { permissions = [] }

[profiles.same]
database.url = "default"

[profiles.without]

[profiles.server]
database.url = "postgresql://db.example.org/backctl"

[profiles.kept-apart]
database.url_file = "/etc/backctl/url"

[profiles.asked-for]
database.url_command = ["false"]
"""

Configure = Callable[..., Path]


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Return a function that writes the user's configuration file."""
    for name in [name for name in os.environ if name.startswith(("XDG_", "BACKCTL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))

    def write(text: str, mode: int = 0o600) -> Path:
        file = tmp_path / "config" / "backctl" / "config.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    return write


def sources(profile: str | None = None, **variables: str) -> Sources:
    return Sources(os.environ | variables, profile, None)


@pytest.mark.parametrize("profile", [None, "staging", "same"])
def test_the_database_is_the_one_that_a_command_opens(configure: Configure, profile: str | None) -> None:
    configure(FILE)
    assert f"sqlite:///{sources(profile).database()}" == load(profile=profile, environ=os.environ).database_url


def test_a_profile_without_a_database_has_no_accounts_to_offer(configure: Configure) -> None:
    configure(FILE)
    with pytest.raises(BackctlError):
        sources("without").database()


@pytest.mark.parametrize("profile", ["server", "kept-apart", "asked-for"])
def test_a_server_and_a_secret_are_not_asked(configure: Configure, profile: str) -> None:
    configure(FILE)
    with pytest.raises(LookupError):
        sources(profile).database()
    assert sources(profile, BACKCTL_DATABASE_URL="sqlite:////srv/x.db").database() == "/srv/x.db"
    with pytest.raises(LookupError):
        sources(BACKCTL_DATABASE_URL_FILE="/etc/backctl/url").database()


def test_names_are_those_of_the_profile_in_force(configure: Configure) -> None:
    configure(FILE)
    assert list(sources().names("roles")) == [b"auditor", b"tester"]
    assert list(sources("same").names("roles")) == [b"auditor"]
    assert list(sources().names("profiles"))[:2] == [b"staging", b"same"]


def test_a_wrong_value_elsewhere_hides_no_names(configure: Configure) -> None:
    configure("[passwords]\nmin_length = 1\n[profiles.x]\n")
    assert list(sources().names("profiles")) == [b"x"]
    with pytest.raises(BackctlError):
        sources().database()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_read(configure: Configure, mode: int) -> None:
    configure(FILE, mode)
    with pytest.raises(BackctlError):
        sources().names("profiles")


@pytest.mark.parametrize(
    ("variables", "is_utf_8"),
    [
        ({"LC_ALL": "C.UTF-8"}, True),
        ({"LANG": "de_DE.utf8"}, True),
        ({"LC_CTYPE": "en_US.UTF-8", "LANG": "C"}, True),
        ({"LANG": "en_US.UTF-8", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, False),
        ({"LC_ALL": "", "LANG": "de_DE"}, False),
        ({"LANG": "ja_JP.SJIS"}, False),
        ({"LC_CTYPE": "C.UTF-8"}, False),  # set by Python
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, False),
        ({}, False),
    ],
)
def test_names_beyond_ascii_need_utf_8(variables: dict[str, str], is_utf_8: bool) -> None:
    assert Sources(variables, None, None).beyond_ascii is is_utf_8


@pytest.mark.parametrize("word", ["é", "straße", "日本語", "ада@пример.рф", "a", "a@b._+-"])
def test_letters_and_digits_of_all_scripts_are_plain_in_utf_8(word: str) -> None:
    assert is_plain(word.encode(), beyond_ascii=True)
    assert is_plain(word.encode()) is word.isascii()


@pytest.mark.parametrize(
    "word", ["", "é b", "é$", "é`", "é\u0301", "\u0301é", "é\u200b", "é\u202e", "é\u00a0", "é\x9b", "＄é", "-é", "é\n"]
)
def test_other_characters_are_plain_nowhere(word: str) -> None:
    assert not is_plain(word.encode(), beyond_ascii=True)
    assert not is_plain(b"\xff\xfe", beyond_ascii=True)


def test_without_a_file_there_are_no_names(configure: Configure) -> None:
    assert list(sources().names("roles")) == list(sources().names("profiles")) == []
