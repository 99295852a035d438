"""`backctl config …` with the real program."""

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.cli.expected import refused

URL = "sqlite:////srv/hunter2.db"


def write(machine: Any, text: str) -> Path:
    path: Path = machine.config_file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_show_lists_every_value_and_creates_nothing(machine: Any) -> None:
    items = machine.run("config", "show", "-o", "json").succeeded().json["items"]
    values = {item["key"]: item["value"] for item in items}
    assert set(items[0]) == {"key", "value"}
    assert values["database.timeout"] == "10s"
    assert values["passwords.bcrypt_cost"] == 4
    assert values["keyring.allow_group_read"] is False
    assert list(machine.home.iterdir()) == []


def test_show_origin_says_where_each_value_comes_from(machine: Any) -> None:
    path = write(machine, "[passwords]\nmin_length = 10\n[profiles.prod]\nprotected = true\n")
    lines = machine.run("config", "show", "--origin", "-p", "prod").succeeded().out.splitlines()
    assert lines[0] == "key\tvalue\torigin"
    assert "profile\tprod\tflag --profile" in lines
    assert f"protected\ttrue\tfile {path}:4" in lines
    assert f"passwords.min_length\t10\tfile {path}:2" in lines
    assert "passwords.bcrypt_cost\t4\tenvironment BACKCTL_PASSWORDS_BCRYPT_COST" in lines
    assert "database.timeout\t10s\tdefault" in lines


def test_the_profile_of_the_environment_is_said_to_come_from_there(machine: Any) -> None:
    write(machine, "[profiles.prod]\n")
    entry = machine.run("config", "get", "profile", "-o", "json", env={"BACKCTL_PROFILE": "prod"}).succeeded().json
    assert entry == {"key": "profile", "value": "prod", "origin": "environment BACKCTL_PROFILE"}


def test_a_secret_command_is_neither_run_nor_shown(machine: Any) -> None:
    path = write(machine, '[database]\nurl_command = ["touch", "ran", "hunter2"]\n')
    shown = machine.run("config", "show", "--origin").succeeded()
    assert f"database.url\t***\tcommand touch (file {path}:2)" in shown.out.splitlines()
    assert machine.run("config", "get", "database.url").succeeded().out == "***\n"
    assert "hunter2" not in shown.out + shown.err
    assert not (machine.home / "ran").exists()


def test_path_is_the_file_in_force_or_where_it_would_be(machine: Any) -> None:
    assert machine.run("config", "path").succeeded().out == f"{machine.config_file}\n"
    assert machine.run("config", "path", "-o", "json").json == {"file": str(machine.config_file), "exists": False}
    other = machine.home / "other.toml"
    assert machine.run("config", "path", "--config", str(other)).succeeded().out == f"{other}\n"
    assert machine.run("config", "path", env={"BACKCTL_CONFIG": str(other)}).succeeded().out == f"{other}\n"


def test_get_prints_the_bare_value(machine: Any) -> None:
    write(machine, '[roles.auditor]\npermissions = ["user:list", "user:show"]\n')
    assert machine.run("config", "get", "database.timeout").succeeded().out == "10s\n"
    assert machine.run("config", "get", "keyring.allow_group_read").succeeded().out == "false\n"
    assert machine.run("config", "get", "keyring.path").succeeded().out == "\n"
    assert machine.run("config", "get", "roles.auditor.permissions").succeeded().out == "user:list,user:show\n"


def test_get_of_an_unknown_key_names_the_nearest(machine: Any) -> None:
    outcome = machine.run("config", "get", "database.timeot", "-o", "json")
    assert outcome.code == 2
    assert outcome.error["code"] == "config.key_unknown"
    assert outcome.error["hint"] == "did you mean database.timeout?"


def test_set_changes_one_value_keeps_comments_and_repeats_quietly(machine: Any) -> None:
    path = write(machine, "# mine\n[passwords]\nmin_length = 10  # why\n")
    first = machine.run("config", "set", "passwords.min_length", "15", "-o", "json").succeeded().json
    assert first == {"key": "passwords.min_length", "value": 15, "file": str(path), "changed": True}
    assert path.read_text() == "# mine\n[passwords]\nmin_length = 15  # why\n"
    assert machine.run("config", "set", "passwords.min_length", "15", "-o", "json").succeeded().json["changed"] is False


def test_set_creates_the_file_for_its_owner_alone(machine: Any) -> None:
    machine.run("config", "set", "database.timeout", "2s").succeeded()
    assert machine.config_file.stat().st_mode & 0o777 == 0o600
    assert machine.config_file.parent.stat().st_mode & 0o777 == 0o700
    assert machine.run("config", "get", "database.timeout").succeeded().out == "2s\n"


def test_set_of_a_file_that_was_asked_for_creates_it_there(machine: Any) -> None:
    other = machine.home / "new" / "other.toml"
    machine.run("config", "set", "database.timeout", "2s", "--config", str(other)).succeeded()
    assert tomllib.loads(other.read_text()) == {"database": {"timeout": "2s"}}
    assert not machine.config_file.exists()


def test_a_dry_run_of_set_writes_nothing(machine: Any) -> None:
    result = machine.run("config", "set", "database.timeout", "2s", "--dry-run", "-o", "json").succeeded().json
    assert (result["changed"], result["dry_run"]) == (True, True)
    assert list(machine.home.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["passwords.bcrypt_cost", "99"], "config.value_invalid"),
        (["passwords.bcrypt", "9"], "config.key_unknown"),
        (["passwords.bcrypt_cost"], "usage"),
        (["keyring.document", "hunter2"], "usage"),
        (['profiles.p."keyring"."passphrase"', "hunter2"], "usage"),
        (["database.url", "hunter2"], "config.value_invalid"),
        (["database.url", "default"], "config.value_invalid"),
        (["redis.url", "default"], "config.value_invalid"),
        (["profiles.p.redis.url", "default"], "config.value_invalid"),
        (["database.timeout", "1s", "--value-stdin"], "usage"),
    ],
)
def test_a_wrong_set_is_a_usage_error_and_writes_nothing(machine: Any, arguments: list[str], code: str) -> None:
    outcome = machine.run("config", "set", *arguments, "-o", "json")
    assert outcome.code == 2
    assert outcome.error["code"] == code
    assert "hunter2" not in outcome.err
    assert list(machine.home.iterdir()) == []


def test_a_secret_comes_in_four_ways_and_is_not_repeated(machine: Any) -> None:
    file = machine.home / "url"
    file.write_text(f"{URL}\n")
    reading, writing = os.pipe()
    os.write(writing, URL.encode())
    os.close(writing)
    ways: list[tuple[list[str], dict[str, Any]]] = [
        (["--value-stdin"], {"stdin": f"{URL}\n"}),
        (["--value-file", str(file)], {}),
        (["--value-fd", str(reading)], {"pass_fds": [reading]}),
        (["--value-env", "MY_URL"], {"env": {"MY_URL": URL}}),
    ]
    for flags, given in ways:
        machine.config_file.unlink(missing_ok=True)
        outcome = machine.run("config", "set", "database.url", *flags, **given).succeeded()
        assert tomllib.loads(machine.config_file.read_text()) == {"database": {"url": URL}}
        assert outcome.err == ""
    os.close(reading)


@pytest.mark.parametrize(
    ("key", "url"),
    [
        ("database.url", "sqlite:////srv/backctl.db"),
        ("database.url", "postgresql://ada@db.example.org:5432/backctl?sslmode=verify-full"),
        ("database.url", "postgresql://db/backctl?passfile=/etc/pass&sslkey=/etc/key"),
        ("database.url", ""),
        ("redis.url", "redis://localhost:6379/0"),
        ("redis.url", "rediss://ada@cache?cert_file=/etc/cert&key_file=/etc/key"),
        ("redis.url", "unix:///run/redis.sock"),
        ("profiles.staging.database.url", "sqlite:////srv/staging.db"),
        ("profiles.staging.database.url", "default"),
    ],
)
def test_a_url_without_a_password_can_be_an_argument(machine: Any, key: str, url: str) -> None:
    done = machine.run("config", "set", key, url, "-o", "json").succeeded()
    assert (done.json["changed"], done.err) == (True, "")
    written: Any = tomllib.loads(machine.config_file.read_text())
    for part in key.split("."):
        written = written[part]
    assert written == url


@pytest.mark.parametrize("prefix", ["", "profiles.staging."])
@pytest.mark.parametrize(
    ("key", "url"),
    [
        ("database.url", "postgresql://ada:hunter2@db/backctl"),
        ("database.url", "postgresql://db/backctl?password=hunter2"),
        ("database.url", "postgresql://db/backctl?sslmode=require&sslpassword=hunter2"),
        ("database.url", "postgresql://ada:hunter2?/@db/backctl"),
        ("database.url", "ada:hunter2@db/backctl"),
        ("database.url", "mysql://ada:hunter2@db/backctl"),
        ("redis.url", "redis://:hunter2@localhost"),
        ("redis.url", "redis://ada:hunter2@localhost"),
        ("redis.url", "unix://:hunter2@/run/redis.sock"),
        ("redis.url", "redis+sentinel://localhost/service?sentinel_password=hunter2"),
    ],
)
def test_a_url_with_a_password_cannot_be_an_argument(machine: Any, prefix: str, key: str, url: str) -> None:
    error = refused(machine.run("config", "set", prefix + key, url, "-o", "json"), 2, "usage")
    assert error["message"].startswith(f"the value of {prefix}{key} contains a password")
    assert "--value-stdin" in error["hint"]
    assert "hunter2" not in str(error)
    assert list(machine.home.iterdir()) == []


ROLE = '[roles.auditor]\npermissions = ["user:lst", "billing:refund", "audit:*"]\n'
ODD = (
    "backctl: warning: roles.auditor.permissions: permission 'user:lst': 'backctl user' has no command 'lst'; "
    "did you mean 'user:list'?"
)


def test_a_misspelt_permission_of_a_role_is_valid_with_a_warning(machine: Any) -> None:
    machine.configure(ROLE)
    for words in ((), (str(machine.config_file),)):
        done = machine.run("config", "validate", *words, "-o", "json").succeeded()
        assert ODD in done.err.splitlines()
        assert done.err.count("warning") == 1
    assert machine.run("role", "show", "auditor", "-q").succeeded().err == ""


def test_a_misspelt_permission_is_set_with_a_warning(machine: Any) -> None:
    value = '["user:lst", "billing:refund", "audit:*"]'
    done = machine.run("config", "set", "roles.auditor.permissions", value).succeeded()
    assert done.err == f"{ODD}\n"
    done = machine.run("config", "set", "roles.auditor.permissions", "user:list,billing:refund").succeeded()
    assert done.err == ""


def test_a_password_in_a_refused_url_is_not_repeated(machine: Any) -> None:
    outcome = machine.run("config", "set", "database.url", "--value-stdin", stdin="mysql://root:hunter2@h/d")
    assert outcome.code == 2
    assert "hunter2" not in outcome.out + outcome.err


def test_unset_takes_a_value_out_and_says_what_counts_instead(machine: Any) -> None:
    path = write(machine, "# mine\n[passwords]\nmin_length = 10\n")
    removed = machine.run("config", "unset", "passwords.min_length", "-o", "json").succeeded()
    assert removed.json == {"key": "passwords.min_length", "file": str(path), "changed": True}
    assert (removed.err, path.read_text()) == ("", "# mine\n[passwords]\n")
    variable = {"BACKCTL_PASSWORDS_MIN_LENGTH": "12"}
    again = machine.run("config", "unset", "passwords.min_length", "-o", "json", env=variable).succeeded()
    assert again.json["changed"] is False
    assert again.err == "backctl: passwords.min_length is still set: environment BACKCTL_PASSWORDS_MIN_LENGTH\n"


def test_a_protected_profile_asks_before_its_file_changes(machine: Any) -> None:
    path = write(machine, "protected = true\n")
    arguments = ("config", "set", "protected", "false")
    assert machine.run(*arguments, "--yes").code == 8
    assert machine.run(*arguments, "--reason", "moving").code == 8
    assert path.read_text() == "protected = true\n"
    machine.run(*arguments, "--reason", "moving", "--yes").succeeded()
    assert path.read_text() == "protected = false\n"


def test_validate_of_a_sound_configuration_is_0(machine: Any) -> None:
    assert machine.run("config", "validate", "-o", "json").succeeded().json == {"ok": True, "items": []}
    path = write(machine, "[passwords]\nmin_length = 10\n")
    machine.run("config", "validate").succeeded()
    machine.run("config", "validate", str(path)).succeeded()


def test_validate_lists_every_problem_and_ends_with_9(machine: Any) -> None:
    path = write(machine, "typo = 1\n[passwords]\nbcrypt_cost = 99\n")
    outcome = machine.run("config", "validate", "-o", "json", env={"BACKCTL_DATABSE_URL": "x"})
    assert outcome.code == 9
    messages = [item["message"] for item in outcome.json["items"]]
    assert messages == [
        f"'{path}', line 1: unknown key 'typo'",
        f"'{path}', line 3: passwords.bcrypt_cost is 99; it must be a whole number from 4 to 17",
        "environment 'BACKCTL_DATABSE_URL': no setting uses this variable",
    ]
    assert machine.run("config", "validate", "-q").out == ""


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("passwords.min_length", "12", 12),
        ("protected", "TRUE", True),
        ("database.timeout", "60s", "1m"),
        ("tokens.issuer", "here", "here"),
        ("redis.namespace", "12", "12"),
        ("keyring.path", "", None),
        ("sanitize.tags", "b,i", ["b", "i"]),
        ("sanitize.tags", "", []),
        ("redis.url", "redis://u:secret@h/0", "redis://u:***@h/0"),
        ("keyring.passphrase", "secret", "***"),
        ("keyring.passphrase", "", None),
        ("ratelimit.policies.login.limit", "7", 7),
        ("ratelimit.policies.login.window", "120s", "2m"),
        ("roles.support.permissions", "user:list", ["user:list"]),
    ],
)
def test_set_and_get_print_the_same_value(machine: Any, key: str, text: str, value: object) -> None:
    write(
        machine,
        '[ratelimit.policies.login]\nlimit = 2\nwindow = "1m"\n[roles.support]\npermissions = ["user:show"]\n',
    )
    given = machine.run("config", "set", key, "--value-stdin", "-o", "json", "-y", "--reason", "x", stdin=text)
    shown = machine.run("config", "get", key, "-o", "json").succeeded().json
    assert (given.succeeded().json["value"], shown["value"]) == (value, value)
    assert type(given.json["value"]) is type(shown["value"])


def test_validate_knows_what_a_role_may_hold(machine: Any) -> None:
    path = write(machine, '[roles.Admin]\npermissions = ["user:list"]\n')
    for arguments in ([], [str(path)]):
        outcome = machine.run("config", "validate", *arguments, "-o", "json")
        assert (outcome.code, list(outcome.json), outcome.json["ok"]) == (9, ["ok", "items"], False)
        assert "'Admin' is not a role name" in outcome.json["items"][0]["message"]


def test_validate_examines_the_roles_and_limits_of_every_profile(machine: Any) -> None:
    database = "database.url = 'default'\n"
    path = write(
        machine,
        f"[profiles.p]\n{database}[profiles.p.roles.auditor]\npermissions = ['user:lst']\n[profiles.q]\n{database}",
    )
    for arguments in ([], [str(path)], ["-p", "q"]):
        done = machine.run("config", "validate", *arguments).succeeded()
        assert "warning: profiles.p.roles.auditor.permissions: permission 'user:lst'" in done.err
        assert done.err.count("warning") == 1
    write(machine, f"[profiles.p]\n{database}[profiles.p.roles.Auditor]\npermissions = []\n[profiles.q]\n{database}")
    for arguments in ([], [str(path)], ["-p", "p"], ["-p", "q"]):
        found = machine.run("config", "validate", *arguments, "-o", "json")
        assert (found.code, len(found.json["items"])) == (9, 1)
        assert "'Auditor' is not a role name" in found.json["items"][0]["message"]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("profiles.p.passwords.min_length", "12", 12),
        ("profiles.p.database.url", "default", "default"),
        ("profiles.p.database.url", "sqlite:////srv/p.db", "sqlite:////srv/p.db"),
        ("profiles.p.redis.url", "redis://localhost", "redis://localhost"),
        ("profiles.p.database.url", "postgresql://u:secret@h/d", "postgresql://u:***@h/d"),
        ("profiles.p.protected", "true", True),
        ("profiles.p.redis.url_file", "/run/redis", "/run/redis"),
        ("profiles.p.redis.url_command", '["pass", "redis"]', ["pass", "redis"]),
        ("profiles.p.roles.auditor.permissions", "user:list", ["user:list"]),
        ("profiles.p.ratelimit.policies.login.limit", "7", 7),
        ("profiles.'a b'.database.timeout", "60s", "1m"),
        ("roles.'support'.description", "Helps", "Helps"),
        ("keyring.passphrase_file", "/run/secret", "/run/secret"),
        ("database.url_command", '["pass", "db"]', ["pass", "db"]),
    ],
)
def test_get_knows_every_key_that_set_takes(machine: Any, key: str, text: str, value: object) -> None:
    write(
        machine,
        '[roles.support]\npermissions = []\n[ratelimit.policies.login]\nlimit = 2\nwindow = "1m"\n'
        '[profiles.p]\n[profiles.p.ratelimit.policies.login]\nlimit = 3\nwindow = "1m"\n[profiles."a b"]\n',
    )
    given = machine.run("config", "set", key, "--value-stdin", "-o", "json", stdin=text).succeeded().json
    shown = machine.run("config", "get", key, "-o", "json").succeeded().json
    assert (given["key"], given["value"]) == (shown["key"], value)
    assert (shown["value"], type(shown["value"])) == (value, type(value))
    assert shown["origin"].startswith(f"file {machine.config_file}:")


@pytest.mark.parametrize(
    ("key", "value", "origin"),
    [
        ("profiles.p.passwords.min_length", 9, "file"),
        ("profiles.p.database.url", None, "missing"),
        ("profiles.p.roles.support.permissions", ["user:show"], "file"),
        ("profiles.p.redis.url_file", None, "default"),
        ("roles.support.description", None, "default"),
        ("ratelimit.policies.login.burst", 0, "file"),
        ("keyring.document_command", None, "default"),
    ],
)
def test_get_shows_what_is_not_set_as_what_applies_instead(machine: Any, key: str, value: object, origin: str) -> None:
    write(
        machine,
        "[passwords]\nmin_length = 9\n[roles.support]\npermissions = ['user:show']\n[profiles.p]\n"
        '[ratelimit.policies.login]\nlimit = 2\nwindow = "1m"\n',
    )
    shown = machine.run("config", "get", key, "-o", "json").succeeded().json
    assert (shown["value"], shown["origin"].partition(" ")[0]) == (value, origin)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("profiles.q.passwords.min_length", "profile.unknown"),
        ("profiles.p.passwords.min_lenght", "config.key_unknown"),
        ("profiles.p.profile", "config.key_unknown"),
        ("profiles.p", "config.key_unknown"),
        ("profiles.p.profiles.p.database.url", "config.key_unknown"),
        ("roles.nobody.permissions", "config.key_unknown"),
        ("roles.support.colour", "config.key_unknown"),
        ("passwords.min_length_file", "config.key_unknown"),
        ("", "config.key_unknown"),
        ("'", "config.key_unknown"),
    ],
)
def test_get_of_a_key_that_is_none_is_a_usage_error(machine: Any, key: str, code: str) -> None:
    write(machine, "[roles.support]\npermissions = []\n[profiles.p]\n")
    refused(machine.run("config", "get", key, "-o", "json"), 2, code)


def test_validate_of_another_file_looks_at_nothing_else(machine: Any) -> None:
    write(machine, "typo = 1\n")
    other = machine.home / "other.toml"
    other.write_text("protected = true\n")
    other.chmod(0o600)
    machine.run("config", "validate", str(other)).succeeded()
    assert machine.run("config", "validate", str(machine.home / "absent")).code == 9


def test_a_broken_configuration_stops_every_command_that_reads_it(machine: Any) -> None:
    path = write(machine, "[databse]\n")
    for arguments in (["config", "show"], ["config", "set", "database.timeout", "1s"], ["role", "list"]):
        outcome = machine.run(*arguments, "-o", "json")
        assert outcome.code == 9
        assert outcome.out == ""
        assert outcome.error["code"] == "config.invalid"
        assert outcome.error["message"] == f"'{path}', line 1: unknown key 'databse'"
        assert outcome.error["hint"] == "did you mean database?"


def test_an_unknown_profile_is_a_usage_error(machine: Any) -> None:
    write(machine, "[profiles.production]\n")
    outcome = machine.run("config", "show", "-p", "prodution", "-o", "json")
    assert outcome.code == 2
    assert outcome.error["code"] == "profile.unknown"
    assert json.loads(outcome.err)["error"]["hint"] == "did you mean 'production'?"


def test_set_under_a_profile_changes_that_profile_alone(machine: Any) -> None:
    database = "database.url = 'default'\n"
    path = write(machine, f"[profiles.prod]\n{database}passwords.min_length = 15\n[profiles.test]\n")
    done = machine.run("config", "set", "-p", "prod", "passwords.min_length", "20").succeeded()
    assert done.err == ""
    assert tomllib.loads(path.read_text()) == {
        "profiles": {"prod": {"database": {"url": "default"}, "passwords": {"min_length": 20}}, "test": {}},
    }
    assert machine.run("config", "get", "-p", "test", "passwords.min_length").out == "8\n"


def test_set_says_when_another_place_goes_before_the_file(machine: Any) -> None:
    write(machine, 'profile = "prod"\n[profiles.prod.passwords]\nmin_length = 15\n')
    done = machine.run("config", "set", "passwords.min_length", "20").succeeded()
    assert "overrides this value" in done.err
    done = machine.run("config", "set", "passwords.bcrypt_cost", "11").succeeded()
    assert "environment BACKCTL_PASSWORDS_BCRYPT_COST overrides this value" in done.err
