"""Precedence, profiles, origins, and the message for each kind of wrong value."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_type_hints

import pytest
from psycopg.conninfo import conninfo_to_dict

from backctl.domain.errors import InvalidConfiguration, InvalidSetting, UnknownProfile, UnknownSetting
from backctl.settings import DEFAULTS, SETTINGS, LoadedSettings, SecretValue, load

Configure = Callable[..., Path]


def refusal(**arguments: object) -> InvalidConfiguration:
    with pytest.raises(InvalidConfiguration) as caught:
        load(**{"environ": {}, **arguments})  # type: ignore[arg-type]  # tests also pass wrong values
    return caught.value


def origins(loaded: LoadedSettings) -> dict[str, str]:
    return {entry.key: entry.origin for entry in loaded.entries()}


def test_without_any_configuration_everything_is_the_default(home: Path) -> None:
    loaded = load(environ={})
    assert loaded.settings == DEFAULTS
    assert loaded.file is None
    assert not loaded.names_storage
    assert set(origins(loaded).values()) == {"default"}
    assert loaded.database_url == f"sqlite:///{home}/data/backctl/backctl.db"
    assert loaded.keyring_file == home / "data" / "backctl" / "keyring.json"
    assert not (home / "data").exists()


def test_the_schema_and_the_model_name_the_same_values_with_the_same_types() -> None:
    kinds = {
        "boolean": bool,
        "integer": int,
        "duration": int,
        "path": str,
        "string": str,
        "database-url": SecretValue,
        "redis-url": SecretValue,
        "list": tuple[str, ...],
        "secret": SecretValue,
    }
    modelled = {}
    for field, section in DEFAULTS._asdict().items():
        if field in ("profile", "tables"):
            continue
        if hasattr(section, "_fields"):
            modelled.update({f"{field}.{name}": kind for name, kind in get_type_hints(type(section)).items()})
        else:
            modelled[field] = type(section)
    assert modelled == {key: kinds[setting.kind] for key, setting in SETTINGS.items()}


def test_every_value_of_a_file_arrives_with_its_line(configure: Configure) -> None:
    path = configure(
        """\
protected = true
[database]
url = "sqlite:////srv/accounts.db"
timeout = "500ms"
[keyring]
path = "/srv/keyring.json"
allow_group_read = true
[accounts]
allow_special_domains = true
[passwords]
min_length = 15
bcrypt_cost = 10
[roles.auditor]
permissions = ["user:read", "audit:read"]
description = "looks, never touches"
"""
    )
    loaded = load(environ={})
    settings = loaded.settings
    assert settings.protected
    assert settings.database.url.reveal() == "sqlite:////srv/accounts.db"
    assert settings.database.timeout == 500_000
    assert settings.keyring.path == "/srv/keyring.json"
    assert settings.keyring.allow_group_read
    assert settings.accounts.allow_special_domains
    assert (settings.passwords.min_length, settings.passwords.bcrypt_cost) == (15, 10)
    assert settings.roles["auditor"].permissions == ("user:read", "audit:read")
    assert settings.roles["auditor"].description == "looks, never touches"
    assert loaded.file == path
    assert loaded.names_storage
    assert loaded.database_url == "sqlite:////srv/accounts.db"
    assert loaded.keyring_file == Path("/srv/keyring.json")
    assert loaded.origin("database.timeout") == f"file {path}:4"
    assert loaded.origin("passwords.bcrypt_cost") == f"file {path}:12"
    assert origins(loaded)["roles.auditor.permissions"] == f"file {path}:13"


def test_a_flag_goes_before_the_environment_before_the_file_before_the_default(configure: Configure) -> None:
    path = configure('[passwords]\nbcrypt_cost = 10\nmin_length = 9\n[database]\ntimeout = "1s"\n')
    loaded = load(
        environ={"BACKCTL_PASSWORDS_BCRYPT_COST": "11", "BACKCTL_DATABASE_TIMEOUT": "2s"},
        overrides={"database.timeout": "3s"},
    )
    assert loaded.settings.database.timeout == 3_000_000
    assert loaded.settings.passwords.bcrypt_cost == 11
    assert loaded.settings.passwords.min_length == 9
    assert not loaded.settings.keyring.allow_group_read
    where = origins(loaded)
    assert where["database.timeout"] == "flag --timeout"
    assert where["passwords.bcrypt_cost"] == "environment BACKCTL_PASSWORDS_BCRYPT_COST"
    assert where["passwords.min_length"] == f"file {path}:3"
    assert where["keyring.allow_group_read"] == "default"


def test_one_file_is_read_and_the_others_are_not_merged_in(
    configure: Configure, site_file: Path, tmp_path: Path
) -> None:
    configure("[passwords]\nmin_length = 20\n", site_file)
    assert load(environ={}).settings.passwords.min_length == 20
    assert load(environ={}).file == site_file
    user = configure("[passwords]\nbcrypt_cost = 5\n")
    loaded = load(environ={})
    assert loaded.file == user
    assert (loaded.settings.passwords.min_length, loaded.settings.passwords.bcrypt_cost) == (8, 5)
    asked = configure("[passwords]\nbcrypt_cost = 6\n", tmp_path / "asked.toml")
    other = configure("[passwords]\nbcrypt_cost = 7\n", tmp_path / "other.toml")
    assert load(environ={"BACKCTL_CONFIG": str(other)}).settings.passwords.bcrypt_cost == 7
    assert load(config_file=str(asked), environ={"BACKCTL_CONFIG": str(other)}).settings.passwords.bcrypt_cost == 6


def test_nothing_is_read_from_the_current_directory(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("config.toml", "backctl.toml", ".env", "backctl/config.toml"):
        configure("[passwords]\nbcrypt_cost = 5\n", tmp_path / "here" / name)
    monkeypatch.chdir(tmp_path / "here")
    assert load(environ={}).file is None
    # The XDG base directory specification says to ignore relative paths.
    monkeypatch.setenv("XDG_CONFIG_HOME", ".")
    monkeypatch.setenv("XDG_CONFIG_DIRS", ".")
    assert load(environ={}).file is None


def test_a_profile_is_laid_over_the_rest_of_the_file(configure: Configure) -> None:
    path = configure(
        """\
[passwords]
min_length = 10
bcrypt_cost = 10
[roles.auditor]
permissions = ["user:read"]
[profiles.prod]
protected = true
passwords.bcrypt_cost = 13
[profiles.prod.roles.auditor]
permissions = []
[profiles.prod.roles.helper]
permissions = ["user:activate"]
"""
    )
    loaded = load(profile="prod", environ={})
    assert loaded.settings.profile == "prod"
    assert loaded.settings.protected
    assert (loaded.settings.passwords.min_length, loaded.settings.passwords.bcrypt_cost) == (10, 13)
    assert {name: role.permissions for name, role in loaded.settings.roles.items()} == {
        "auditor": (),
        "helper": ("user:activate",),
    }
    where = origins(loaded)
    assert where["passwords.bcrypt_cost"] == f"file {path}:8"
    assert where["roles.helper.permissions"] == f"file {path}:11"
    assert where["profile"] == "flag --profile"
    assert not load(environ={}).settings.protected


def test_the_profile_is_chosen_by_flag_before_environment_before_file(configure: Configure) -> None:
    path = configure(
        'profile = "a"\n[profiles.a.passwords]\nbcrypt_cost = 4\n'
        "[profiles.b.passwords]\nbcrypt_cost = 5\n[profiles.c.passwords]\nbcrypt_cost = 6\n"
    )
    cost = {
        "file": load(environ={}),
        "environment": load(environ={"BACKCTL_PROFILE": "b"}),
        "flag": load(profile="c", environ={"BACKCTL_PROFILE": "b"}),
        "filled in": load(profile="b", environ={"BACKCTL_PROFILE": "b"}),
    }
    assert [loaded.settings.passwords.bcrypt_cost for loaded in cost.values()] == [4, 5, 6, 5]
    assert [loaded.origin("profile") for loaded in cost.values()] == [
        f"file {path}:1",
        "environment BACKCTL_PROFILE",
        "flag --profile",
        "environment BACKCTL_PROFILE",
    ]


def test_an_unknown_profile_is_the_callers_slip_and_names_the_nearest(configure: Configure) -> None:
    configure("[profiles.production]\n[profiles.staging]\n")
    for arguments in ({"profile": "prodution"}, {"environ": {"BACKCTL_PROFILE": "prodution"}}):
        with pytest.raises(UnknownProfile) as caught:
            load(**{"environ": {}, **arguments})  # type: ignore[arg-type]  # two forms of the same call
        assert caught.value.message == "profile 'prodution' is not configured"
        assert caught.value.hint == "did you mean 'production'?"
    with pytest.raises(UnknownProfile) as caught:
        load(profile="xyz", environ={})
    assert caught.value.hint == "configured profiles: 'production', 'staging'"


def test_a_profile_without_any_file_is_unknown_too() -> None:
    with pytest.raises(UnknownProfile) as caught:
        load(profile="prod", environ={})
    assert caught.value.hint == "no profile is configured"


def test_an_unknown_profile_that_the_file_itself_selects_is_the_files_fault(configure: Configure) -> None:
    path = configure('# first\nprofile = "prd"\n[profiles.prod]\n')
    error = refusal()
    assert error.message == f"'{path}', line 2: profile 'prd' is not configured"
    assert error.hint == "did you mean 'prod'?"


def test_profiles_that_are_not_selected_are_checked_too(configure: Configure) -> None:
    path = configure("[profiles.other.passwords]\nbcrypt_cost = 99\n")
    assert refusal().message == f"'{path}', line 2: passwords.bcrypt_cost is 99; it must be a whole number from 4 to 17"


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("[databse]\n", 1, "unknown key 'databse'", "did you mean database?"),
        ("[database]\nulr = ''\n", 2, "unknown key 'database.ulr'", "did you mean url?"),
        ("\nbcrypt_cost = 9\n", 2, "unknown key 'bcrypt_cost'", "did you mean passwords.bcrypt_cost?"),
        ("[profiles.p]\nprofile = 'x'\n", 2, "unknown key 'profiles.p.profile'", None),
        ("[profiles.p.databas]\n", 1, "unknown key 'profiles.p.databas'", "did you mean database?"),
        ('"database.url" = ""\n', 1, "unknown key '\"database.url\"'", "did you mean database.url?"),
        ("database = 1\n", 1, "database is 1; it must be a table", None),
        ("protected = 1\n", 1, "protected is 1; it must be true or false", None),
        ("profile = 1\n", 1, "profile is 1; it must be the name of a profile", None),
        ("profiles = []\n", 1, "profiles is an array; it must be a table of profiles", None),
        ("profiles.x = 1\n", 1, "profiles.x is 1; it must be a table", None),
        ("[database]\n\ntimeout = 10\n", 3, "database.timeout is 10; it must be a duration from 0s to 1h", None),
        ("database.timeout = '2h'\n", 1, "database.timeout is '2h'; it must be a duration from 0s to 1h", None),
        ("database.timeout = '10 s'\n", 1, "database.timeout is '10 s'; it must be a duration from 0s to 1h", None),
        ("passwords.min_length = 7\n", 1, "passwords.min_length is 7; it must be a whole number from 8 to 64", None),
        ("passwords.min_length = true\n", 1, "passwords.min_length is true; it must be a whole number", None),
        ("passwords.min_length = 8.0\n", 1, "passwords.min_length is a number with a fraction; it must be", None),
        ("passwords.min_length = '8'\n", 1, "passwords.min_length is '8'; it must be a whole number", None),
        ("passwords.min_length = 0x" + "f" * 9000, 1, "passwords.min_length is a number beyond 64 bits; it", None),
        ("keyring.path = 'keys.json'\n", 1, "keyring.path is 'keys.json'; it must be an absolute path", None),
        ('keyring.path = "/a\\u0000b"\n', 1, "keyring.path is '/a\\x00b'; it must not contain control", None),
        ("keyring.path = 2026-11-22\n", 1, "keyring.path is a date or time; it must be a string", None),
        ("tokens.issuer = ''\n", 1, "tokens.issuer is ''; it must be a string of 1 to 255 printable characters", None),
        ("tokens.audience = 'a\u200bb'\n", 1, "tokens.audience is 'a\\u200bb'; it must be a string of 1 to 255", None),
        (f"tokens.audience = '{'x' * 256}'\n", 1, "tokens.audience is 'xxxxxxxxxx", None),
        ("tokens.access_ttl = '999ms'\n", 1, "tokens.access_ttl is '999ms'; it must be a duration from 1s to 1d", None),
        ("tokens.session_ttl = '366d'\n", 1, "tokens.session_ttl is '366d'; it must be a duration from 1s to", None),
        ("tokens.leeway = '6m'\n", 1, "tokens.leeway is '6m'; it must be a duration from 0s to 5m", None),
        ("tokens.grace = '-1s'\n", 1, "tokens.grace is '-1s'; it must be a duration from 0s to 5m", None),
        ("roles.x = 1\n", 1, "roles.x is 1; it must be a table", None),
        ("[roles.x]\n", 1, "roles.x has no permissions", 'write permissions = ["user:show"], or [] for none'),
        (
            "roles.x.permissions = 'all'\n",
            1,
            "roles.x.permissions is 'all'; it must be an array of strings such as [\"user:show\"]",
            None,
        ),
        (
            "roles.x.permissions = [1]\n",
            1,
            'roles.x.permissions contains 1; it must be an array of strings such as ["user:show"]',
            None,
        ),
        ("[roles.x]\npermissions = []\ndescription = 1\n", 3, "roles.x.description is 1; it must be a string", None),
        ("[roles.x]\npermissions = []\npermission = []\n", 3, "unknown key 'roles.x.permission'", None),
        ("database.url = 'mysql://u:hunter2@h/d'\n", 1, "database.url has the scheme 'mysql'", None),
        ("database.url = 'sqlite:///data/x.db'\n", 1, "database.url does not contain an absolute path", None),
        ("database.url = 'sqlite:///:memory:'\n", 1, "database.url does not contain an absolute path", None),
        ("database.url = 'sqlite://'\n", 1, "database.url does not contain an absolute path", None),
        ("database.url = 'sqlite:////srv/'\n", 1, "database.url names a folder", None),
        ("database.url = 'sqlite:////srv/x.db?mode=ro'\n", 1, "database.url contains '?'", None),
        ("database.url = 'hunter2'\n", 1, "database.url is not a URL", None),
        ("database.url = 1\n", 1, "database.url is 1; it must be a string", None),
    ],
)
def test_a_wrong_file_names_line_key_value_and_what_is_allowed(
    configure: Configure, text: str, line: int, message: str, hint: str | None
) -> None:
    path = configure(text)
    error = refusal()
    assert error.message.startswith(f"'{path}', line {line}: {message}")
    assert "hunter2" not in error.message + (error.hint or "")
    if hint:
        assert error.hint == hint


def test_an_array_of_tables_is_no_section(configure: Configure) -> None:
    configure("[[database]]\nurl = ''\n")
    assert "database is an array; it must be a table" in refusal().message


def test_the_first_of_several_problems_counts_the_others(configure: Configure) -> None:
    configure("[passwords]\nbcrypt_cost = 1\nmin_length = 1\ntypo = 1\n")
    error = refusal()
    assert "passwords.bcrypt_cost is 1" in error.message
    assert error.hint == "run 'backctl config validate' to list 2 more"


WRONG_VARIABLES = {
    "TOKENS_ISSUER=a\u200bb": "tokens.issuer is 'a\\u200bb'; it must be a string of 1 to 255",
    "PASSWORDS_BCRYPT_COST=99": "passwords.bcrypt_cost is 99; it must be a whole number from 4 to 17",
    "PASSWORDS_BCRYPT_COST=ten": "passwords.bcrypt_cost is 'ten'; it must be a whole number",
    f"PASSWORDS_BCRYPT_COST={'9' * 5000}": "passwords.bcrypt_cost is '999",
    "PASSWORDS_BCRYPT_COST=١٢": "passwords.bcrypt_cost is '١٢'; it must be a whole number",
    "KEYRING_ALLOW_GROUP_READ=maybe": "keyring.allow_group_read is 'maybe'; it must be true or false",
    "DATABASE_TIMEOUT=10": "database.timeout is '10'; it must be a duration from 0s to 1h",
    "KEYRING_PATH=keys.json": "keyring.path is 'keys.json'; it must be an absolute path",
    "KEYRING_PATH=/\ud800": "keyring.path is '/\\ud800'; it must not contain",
    "KEYRING_PATH=/a\x07": "keyring.path is '/a\\x07'; it must not contain",
    "DATABASE_URL=mysql://root:hunter2@h/d": "database.url has the scheme 'mysql'",
    "DATABASE_URL_FILE=secret": "database.url_file is 'secret'; it must be an absolute path",
    "PROTECTED=false": "a variable can only turn protected on, not off",
}


@pytest.mark.parametrize("variable", WRONG_VARIABLES)
def test_a_wrong_variable_is_named(variable: str) -> None:
    name, _, text = f"BACKCTL_{variable}".partition("=")
    error = refusal(environ={name: text})
    assert error.message.startswith(f"environment {name}: {WRONG_VARIABLES[variable]}")
    assert "hunter2" not in error.message + (error.hint or "")


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "yes", "on"])
def test_a_boolean_variable_is_read_in_its_usual_spellings(text: str) -> None:
    assert load(environ={"BACKCTL_ACCOUNTS_ALLOW_SPECIAL_DOMAINS": text}).settings.accounts.allow_special_domains


def test_a_variable_may_protect_but_never_unprotect(configure: Configure) -> None:
    assert load(environ={"BACKCTL_PROTECTED": "true"}).settings.protected
    configure("protected = true\n")
    refusal(environ={"BACKCTL_PROTECTED": "no"})


def test_an_empty_variable_counts_as_not_set(configure: Configure) -> None:
    configure("database.timeout = '1s'\n[profiles.x]\n")
    environ = dict.fromkeys(("BACKCTL_DATABASE_TIMEOUT", "BACKCTL_PROFILE", "BACKCTL_CONFIG"), "")
    assert load(environ=environ).settings.database.timeout == 1_000_000


def test_a_wrong_flag_is_the_callers_input() -> None:
    with pytest.raises(InvalidSetting) as caught:
        load(environ={}, overrides={"database.timeout": "30d"})
    assert caught.value.message.startswith("flag --timeout: database.timeout is '30d';")


@pytest.mark.parametrize(
    "arguments",
    [
        {"environ": {"BACKCTL_DATABASE_URL": "sqlite:////x.db"}},
        {"environ": {"BACKCTL_DATABASE_URL_FILE": "/run/secrets/url"}},
        {"environ": {"BACKCTL_KEYRING_PATH": "/x.json"}},
        {"environ": {"BACKCTL_DATABASE_URL": ""}},
        {"environ": {"BACKCTL_PROFILE": ""}},
    ],
)
def test_whatever_names_storage_makes_the_machine_no_fresh_one(arguments: dict[str, object]) -> None:
    assert load(**arguments).names_storage  # type: ignore[arg-type]  # each entry is a complete set of arguments


def test_other_variables_leave_the_machine_fresh() -> None:
    environ = {"BACKCTL_OUTPUT": "json", "BACKCTL_DATABASE_TIMEOUT": "1s", "BACKCTL_PASSWORDS_BCRYPT_COST": "4"}
    assert not load(environ=environ).names_storage


def test_a_file_that_was_found_makes_the_machine_no_fresh_one(configure: Configure) -> None:
    configure("")
    assert load(environ={}).names_storage


def test_an_unknown_variable_does_not_stop_anybody() -> None:
    assert load(environ={"BACKCTL_HOME": "/srv", "BACKCTL_DATABSE_URL": "x"}).settings == DEFAULTS


def test_one_entry_is_found_by_its_key_and_a_near_miss_is_named(configure: Configure) -> None:
    configure('[roles."night shift"]\npermissions = ["user:read"]\n')
    loaded = load(environ={})
    assert loaded.entry("database.timeout").value == "10s"
    assert loaded.entry('roles."night shift".permissions').value == ["user:read"]
    with pytest.raises(UnknownSetting) as caught:
        loaded.entry("database.timeot")
    assert caught.value.hint == "did you mean database.timeout?"


def test_hostile_names_in_a_file_are_escaped_in_messages(configure: Configure) -> None:
    configure('"\\u001b[31m\\u202e" = 1\n')
    message = refusal().message
    assert "\x1b" not in message
    assert "\u202e" not in message
    configure(f"{'k' * 200_000} = 1\n")
    assert len(refusal().message) < 400


HEAVY = "tomllib tomlkit difflib platformdirs json subprocess selectors tempfile sqlalchemy pydantic typer logging"


def modules_after(code: str, home: Path) -> set[str]:
    program = f"{code}\nimport sys\nprint(*(name for name in {HEAVY!r}.split() if name in sys.modules))"
    environ = {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_settings_imports_no_parser_and_no_folders(home: Path) -> None:
    assert modules_after("import backctl.settings", home) == set()


def test_loading_without_a_file_imports_the_folders_only(home: Path) -> None:
    code = "import backctl.settings as s\nl = s.load(environ={'BACKCTL_DATABASE_TIMEOUT': '1s'})\nl.database_url"
    # platformdirs imports tempfile.
    assert modules_after(code, home) <= {"platformdirs", "tempfile"}


def test_loading_a_file_adds_the_parser_only(home: Path, configure: Configure) -> None:
    path = configure("passwords.bcrypt_cost = 10\n")
    code = f"import backctl.settings as s\ns.load(config_file={str(path)!r}, environ={{}})"
    assert modules_after(code, home) == {"tomllib"}


SERVER = "postgresql://ann:hunter2@db.example.org:5433/accounts?sslmode=verify-full"


@pytest.mark.parametrize(
    "url",
    [
        SERVER,
        "postgresql:///accounts",
        "postgresql://",
        "postgresql://ann@[::1]:5432/accounts",
        "postgresql://a.example,b.example:6000/accounts?target_session_attrs=read-write",
        "postgresql://ann:p%40ss%2Fw%25@h/d?options=-csearch_path%3Dbackctl",
        "postgresql://%2Fvar%2Frun/d",
        "postgres://ann:hunter2@db.example.org/accounts",
        "postgres:///accounts?host=/run/postgresql",
        "postgresql://ann:what?:ever@h/d",
        "postgresql://@h:/d?",
        "postgresql://h,:6000/d?application_name=&sslmode=prefer&",
        "postgresql://[fe80::1%25eth0]:5432/d",
        "postgresql://h/d?ssl=true",
        "postgresql://h/a@b",
    ],
)
def test_a_url_of_libpq_names_a_server(url: str) -> None:
    loaded = load(environ={"BACKCTL_DATABASE_URL": url})
    assert loaded.database_url == url
    assert loaded.names_storage
    conninfo_to_dict(url)


def test_without_a_server_there_is_a_file() -> None:
    for environ in ({}, {"BACKCTL_DATABASE_URL": "sqlite:////data/x.db"}):
        assert load(environ=environ).database_url.startswith("sqlite:////")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://ann:hunter2 x@h/d", "white space"),
        ("postgresql://ann:hunter2%@h/d", "without two hexadecimal digits"),
        ("postgresql://ann:hunter2%00@h/d", "without two hexadecimal digits"),
        ("postgresql://ann:hunter2/x@h/d", "malformed host or port"),
        ("postgresql://ann:hunter2@h:port/d", "malformed host or port"),
        ("postgresql://ann@h/d?password=hunter2&sslmode", "without a name or a value"),
        ("postgresql://ann@h/d?password=hunter2=&", "without a name or a value"),
        ("postgres://ann:hunter2@h:port/d", "malformed host or port"),
        ("postgres://ann:hun@ter2@h/d", "several '@'"),
        ("POSTGRES://ann:hunter2@h/d", "not supported"),
        ("postgresql://ann:hunter2@[::1/d", "malformed host or port"),
        ("postgresql://ann:hunter2@h/d?&", "without a name or a value"),
    ],
)
def test_a_url_that_libpq_would_misread_is_refused_without_showing_it(url: str, words: str) -> None:
    error = refusal(environ={"BACKCTL_DATABASE_URL": url})
    assert words in error.message
    assert "hunter2" not in f"{error} {error.hint}"


def test_the_password_of_a_server_is_never_shown() -> None:
    for url in (SERVER, SERVER.replace("postgresql:", "postgres:")):
        shown = [f"{entry}" for entry in load(environ={"BACKCTL_DATABASE_URL": url}).entries()]
        assert any("://ann:***@db.example.org:5433/accounts?sslmode=verify-full" in line for line in shown)
        assert not any("hunter2" in line for line in shown)


# Lists.


def test_a_list_is_an_array_in_a_file_and_a_comma_separated_text_in_a_variable(configure: Configure) -> None:
    path = configure('[sanitize]\ntags = ["b", "h1"]\nattributes = ["*.title", "a.href"]\nurl_schemes = []\n')
    loaded = load(environ={"BACKCTL_SANITIZE_TAGS": "p, br,"})
    sanitize = loaded.settings.sanitize
    assert (sanitize.tags, sanitize.attributes, sanitize.url_schemes) == (("p", "br"), ("*.title", "a.href"), ())
    assert loaded.entry("sanitize.tags") == ("sanitize.tags", ["p", "br"], "environment BACKCTL_SANITIZE_TAGS")
    assert loaded.entry("sanitize.attributes").origin == f"file {path}:3"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('tags = "b"', 'sanitize.tags is \'b\'; it must be an array of strings such as ["b", "p"]'),
        ("tags = [1]", 'sanitize.tags contains 1; it must be an array of strings such as ["b", "p"]'),
        ('tags = ["<b>"]', "sanitize.tags contains '<b>'; it must be an array"),
        ('tags = ["B"]', "sanitize.tags contains 'B'; it must be an array"),
        ('tags = ["b\\n"]', "sanitize.tags contains 'b\\n'; it must be an array"),
        ('tags = ["b", "script"]', "sanitize.tags contains 'script', which cannot be made safe"),
        ('tags = ["svg"]', "sanitize.tags contains 'svg', which cannot be made safe"),
        ('attributes = ["href"]', "sanitize.attributes contains 'href'; it must be an array"),
        ('attributes = ["a.onclick"]', "sanitize.attributes contains 'a.onclick', which cannot be made safe"),
        ('attributes = ["*.style"]', "sanitize.attributes contains '*.style', which cannot be made safe"),
        ('url_schemes = ["javascript"]', "sanitize.url_schemes contains 'javascript', which cannot be made safe"),
        ('url_schemes = ["http:"]', "sanitize.url_schemes contains 'http:'; it must be an array"),
    ],
)
def test_a_list_takes_only_what_can_be_made_harmless(configure: Configure, line: str, message: str) -> None:
    configure(f"[sanitize]\n{line}\n")
    with pytest.raises(InvalidConfiguration) as refusal:
        load(environ={})
    assert message in refusal.value.message
    assert "line 2" in refusal.value.message


def test_a_keyring_may_be_given_instead_of_a_file_but_not_beside_one(configure: Callable[..., Path]) -> None:
    assert load(environ={}).keyring_given is None
    given = load(environ={"BACKCTL_KEYRING_DOCUMENT": '{\n  "format": 1\n}\n'})
    assert given.keyring_given is not None
    assert given.keyring_given.reveal() == '{\n  "format": 1\n}\n'
    assert given.names_storage
    assert given.keyring_shown == "environment BACKCTL_KEYRING_DOCUMENT"
    assert not any("format" in str(entry.value) for entry in given.entries())
    path = configure('[keyring]\npath = "/srv/keyring.json"\ndocument_command = ["vault", "read"]\n')
    with pytest.raises(InvalidConfiguration, match=f"keyring.path .file {path}:2. and keyring.document .command vault"):
        load(environ={}).keyring_given  # noqa: B018 - raises the error
