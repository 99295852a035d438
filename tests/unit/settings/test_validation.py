"""Validation reports all problems at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backctl.settings import validate, validate_file

Configure = Callable[..., Path]


def messages(**arguments: object) -> list[str]:
    given = {"config_file": None, "profile": None, "environ": {}, **arguments}
    return [finding.message for finding in validate(**given)]  # type: ignore[arg-type]  # set by each test


def test_a_sound_configuration_has_no_findings(configure: Configure) -> None:
    configure("[passwords]\nbcrypt_cost = 10\n[profiles.p]\ndatabase.url = 'default'\n")
    assert messages() == []
    assert messages(profile="p", environ={"BACKCTL_DATABASE_TIMEOUT": "1s", "BACKCTL_OUTPUT": "json"}) == []


def test_every_profile_needs_a_database(configure: Configure) -> None:
    path = configure("[profiles.p]\n[profiles.q]\ndatabase.url = ''\n[profiles.r]\ndatabase.url = 'default'\n")
    lacking = [
        f"'{path}', line 1: profile 'p' has no database.url",
        f"'{path}', line 2: profile 'q' has no database.url",
    ]
    assert messages() == lacking
    assert messages(profile="r") == lacking
    assert [finding.message for finding in validate_file(str(path))] == lacking
    assert messages(environ={"BACKCTL_DATABASE_URL": "sqlite:////srv/x.db"}) == []
    hint = validate(config_file=None, profile=None, environ={})[0].hint
    assert hint.startswith("run 'backctl config set profiles.p.database.url URL'")


def test_no_configuration_at_all_has_no_findings() -> None:
    assert messages() == []


def test_every_problem_is_listed_with_its_place(configure: Configure) -> None:
    path = configure("typo = 1\n[passwords]\nbcrypt_cost = 1\nmin_length = 1\n[roles]\nx = 1\n[profiles.p.oops]\n")
    assert messages(environ={"BACKCTL_KEYRING_ALLOW_GROUP_READ": "never"}) == [
        f"'{path}', line 1: unknown key 'typo'",
        f"'{path}', line 3: passwords.bcrypt_cost is 1; it must be a whole number from 4 to 17",
        f"'{path}', line 4: passwords.min_length is 1; it must be a whole number from 8 to 64",
        f"'{path}', line 6: roles.x is 1; it must be a table",
        f"'{path}', line 7: unknown key 'profiles.p.oops'",
        "environment BACKCTL_KEYRING_ALLOW_GROUP_READ: keyring.allow_group_read is 'never'; it must be true or false",
    ]


def test_a_file_that_cannot_be_parsed_is_one_finding(configure: Configure) -> None:
    path = configure("a = 1\nb =\n")
    assert messages() == [f"'{path}', line 2: invalid value"]


def test_an_unknown_profile_is_a_finding(configure: Configure) -> None:
    configure("[profiles.prod]\n")
    assert messages(profile="prd") == ["profile 'prd' is not configured"]


def test_a_misspelt_variable_is_a_finding_and_a_foreign_one_is_not() -> None:
    findings = validate(
        config_file=None, profile=None, environ={"BACKCTL_DATABSE_URL": "hunter2", "BACKCTL_XYZ": "1", "PATH": ""}
    )
    assert [(finding.message, finding.hint) for finding in findings] == [
        ("environment 'BACKCTL_DATABSE_URL': no setting uses this variable", "did you mean BACKCTL_DATABASE_URL?")
    ]


def test_secret_sources_are_followed_in_the_configuration_in_force_only(configure: Configure) -> None:
    path = configure('database.url_file = "/nowhere/at/all"')
    assert messages() == ["the file of database.url, '/nowhere/at/all', does not exist"]
    assert validate_file(str(path)) == []


def test_one_file_is_checked_without_the_environment(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKCTL_DATABASE_TIMEOUT", "never")
    configure("typo = 1\n")
    assert validate_file(str(configure("", tmp_path / "other.toml"))) == []
    assert [f.message for f in validate_file(str(tmp_path / "absent"))] == [
        f"the configuration file '{tmp_path}/absent' does not exist"
    ]
