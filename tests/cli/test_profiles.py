"""`backctl profile …`: several databases in one configuration."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Machine, Storage
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.machines import Outcome
from tests.cli.processes import as_ordinary_owner, run_command

PROFILE_KEYS = ["name", "in_force", "protected", "database", "origin"]
AWKWARD = 'a.b "c" \\ d'
CREATE = ("user", "create", "new@example.org", "--username", "new", "--no-password", "-o", "json")


def configure(machine: Machine, text: str) -> Path:
    machine.config_file.parent.mkdir(parents=True, exist_ok=True)
    machine.config_file.write_text(text)
    machine.config_file.chmod(0o600)
    return machine.config_file


@pytest.fixture
def file(machine: Machine) -> Path:
    return configure(
        machine,
        f"""\
# mine
[database]
timeout = "2s"

[profiles.staging]
database.url = "sqlite:///{machine.home}/staging/backctl.db"
keyring.path = "{machine.home}/staging/keyring.json"

[profiles.production]  # with care
protected = true
database.url = "sqlite:///{machine.home}/production/backctl.db"
keyring.path = "{machine.home}/production/keyring.json"

[profiles.hidden]
database.url_command = ["touch", "ran"]

[profiles."a.b \\"c\\" \\\\ d"]
""",
    )


# list and show


def test_the_profiles_are_listed_in_their_order_with_what_each_means(machine: Machine, file: Path) -> None:
    listed = machine.run("profile", "list", "-p", "staging", "-o", "json").succeeded()
    assert list(listed.json["items"][0]) == PROFILE_KEYS
    assert [tuple(item.values()) for item in listed.json["items"]] == [
        ("staging", True, False, f"{machine.home}/staging/backctl.db", f"file {file}:5"),
        ("production", False, True, f"{machine.home}/production/backctl.db", f"file {file}:9"),
        ("hidden", False, False, "***", f"file {file}:14"),
        (AWKWARD, False, False, None, f"file {file}:17"),
    ]
    assert sorted(contents(machine.home)) == [".config", ".config/backctl", ".config/backctl/config.toml"]
    names = machine.run("profile", "list", "-o", "id").succeeded().out.splitlines()
    assert names == ["staging", "production", "hidden", AWKWARD]


def test_without_any_profile_the_list_is_empty(machine: Machine) -> None:
    assert machine.run("profile", "list", "-o", "json").succeeded().json == {"items": [], "next_cursor": None}
    assert machine.run("profile", "list", "-o", "id").succeeded().out == ""
    assert contents(machine.home) == {}


def test_the_list_says_what_the_environment_makes_of_a_profile(machine: Machine, file: Path) -> None:
    env = {"BACKCTL_PROFILE": "staging", "BACKCTL_PROTECTED": "true", "BACKCTL_DATABASE_URL": "sqlite:////srv/x.db"}
    for item in machine.run("profile", "list", "-o", "json", env=env).succeeded().json["items"]:
        assert (item["protected"], item["database"]) == (True, "/srv/x.db")
        assert item["in_force"] is (item["name"] == "staging")


def test_a_profile_is_shown_with_the_origin_of_every_value(machine: Machine, file: Path) -> None:
    shown = machine.run("profile", "show", "production", "--no-header").succeeded().out.splitlines()
    assert "profile\tproduction\targument NAME" in shown
    assert f"protected\ttrue\tfile {file}:10" in shown
    assert f"database.timeout\t2s\tfile {file}:3" in shown
    assert f"database.url\tsqlite:///{machine.home}/production/backctl.db\tfile {file}:11" in shown
    in_force = machine.run("profile", "show", "-p", "hidden", "-o", "json").succeeded().json["items"]
    assert in_force[0] == {"key": "profile", "value": "hidden", "origin": "flag --profile"}
    url = next(item for item in in_force if item["key"] == "database.url")
    assert (url["value"], url["origin"]) == ("***", f"command touch (file {file}:15)")
    assert not (machine.home / "ran").exists()


@pytest.mark.parametrize("command", [("profile", "show", "prodution"), ("profile", "use", "prodution")])
def test_an_unknown_profile_is_a_usage_error_that_names_the_nearest(
    machine: Machine, file: Path, command: tuple[str, ...]
) -> None:
    before = file.read_bytes()
    error = refused(machine.run(*command, "-o", "json"), 2, "profile.unknown")
    assert error["hint"] == "did you mean 'production'?"
    refused(machine.run("profile", "list", "-p", "nothing like it", "-o", "json"), 2, "profile.unknown")
    assert file.read_bytes() == before


def test_the_selected_profile_is_printed_for_a_prompt(machine: Machine, file: Path) -> None:
    for words, env, name, origin in (
        (("-p", "staging"), {}, "staging", "flag --profile"),
        ((), {"BACKCTL_PROFILE": "hidden"}, "hidden", "environment BACKCTL_PROFILE"),
        (("-p", AWKWARD), {}, AWKWARD, "flag --profile"),
    ):
        done = machine.run("profile", "current", *words, env=env).succeeded()
        assert (done.out, done.err) == (f"{name}\n", "")
        shown = machine.run("profile", "current", *words, "-o", "json", env=env).succeeded().json
        assert shown == {"profile": name, "origin": origin, "protected": False}
    machine.run("profile", "use", "production").succeeded()
    assert machine.run("profile", "current", "-o", "json").succeeded().json == {
        "profile": "production",
        "origin": f"file {file}:2",
        "protected": True,
    }
    assert machine.at_terminal("profile", "current").succeeded().out == "production\n"


def test_without_a_profile_a_prompt_shows_nothing(machine: Machine) -> None:
    done = machine.run("profile", "current").succeeded()
    assert (done.out, done.err) == ("", "")
    shown = machine.run("profile", "current", "-o", "json").succeeded().json
    assert shown == {"profile": None, "origin": None, "protected": False}
    assert contents(machine.home) == {}
    refused(machine.run("profile", "current", "-p", "x", "-o", "json"), 2, "profile.unknown")


# use


def test_a_profile_is_selected_in_the_file_which_keeps_the_rest(machine: Machine, file: Path) -> None:
    before = file.read_text()
    first = machine.run("profile", "use", "staging", "-o", "json").succeeded()
    assert first.json == {"profile": "staging", "file": str(file), "changed": True}
    assert first.err == ""
    assert tomllib.loads(file.read_text())["profile"] == "staging"
    assert set(before.splitlines()) < set(file.read_text().splitlines())
    assert file.stat().st_mode & 0o777 == 0o600
    machine.run("init").succeeded()
    assert (machine.home / "staging" / "backctl.db").exists()
    again = machine.run("profile", "use", "staging", "-o", "json").succeeded()
    assert again.json["changed"] is False
    none = machine.run("profile", "use", "--none", "-o", "json").succeeded()
    assert none.json == {"profile": None, "file": str(file), "changed": True}
    assert tomllib.loads(file.read_text()) == tomllib.loads(before)
    assert set(before.splitlines()) <= set(file.read_text().splitlines())
    assert machine.run("profile", "use", "--none", "-o", "json").succeeded().json["changed"] is False


def test_any_name_that_is_configured_can_be_used(machine: Machine, file: Path) -> None:
    machine.run("profile", "use", AWKWARD).succeeded()
    assert tomllib.loads(file.read_text())["profile"] == AWKWARD
    listed = machine.run("profile", "list", "-o", "json").succeeded().json["items"]
    assert [item["name"] for item in listed if item["in_force"]] == [AWKWARD]
    machine.run("profile", "use", "hidden").succeeded()
    assert tomllib.loads(file.read_text())["profile"] == "hidden"


def test_a_rehearsed_use_writes_nothing(machine: Machine, file: Path) -> None:
    before = file.read_bytes()
    dry = machine.run("profile", "use", "staging", "--dry-run", "-o", "json").succeeded().json
    assert (dry["changed"], dry["dry_run"]) == (True, True)
    refused(machine.run("profile", "use", "stagin", "--dry-run", "-o", "json"), 2, "profile.unknown")
    assert file.read_bytes() == before


def test_one_profile_or_none_is_asked_for(machine: Machine, file: Path) -> None:
    refused(machine.run("profile", "use", "-o", "json"), 2, "usage")
    refused(machine.run("profile", "use", "staging", "--none", "-o", "json"), 2, "usage")
    refused(machine.run("profile", "use", "", "-o", "json"), 2, "profile.unknown")


def test_without_a_file_there_is_no_profile_and_none_is_made(machine: Machine) -> None:
    error = refused(machine.run("profile", "use", "production", "-o", "json"), 2, "profile.unknown")
    assert error["hint"] == "no profile is configured"
    assert machine.run("profile", "use", "--none", "-o", "json").succeeded().json["changed"] is False
    other = machine.home / "other.toml"
    refused(machine.run("profile", "use", "x", "--config", str(other), "-o", "json"), 2, "profile.unknown")
    refused(machine.run("profile", "show", "x", "--config", str(other), "-o", "json"), 9, "config.invalid")
    assert contents(machine.home) == {}


def test_a_file_that_cannot_be_written_is_told_and_left_alone(machine: Machine, file: Path) -> None:
    before = contents(machine.home)
    file.parent.chmod(0o500)
    command = as_ordinary_owner(machine.command("profile", "use", "staging", "-o", "json"))
    error = refused(run_command(machine, command), 9, "config.invalid")
    assert str(file) in error["message"]
    assert "permission denied" in error["message"]
    file.parent.chmod(0o700)
    assert contents(machine.home) == before


def test_a_file_that_others_may_write_is_not_trusted_with_a_choice(machine: Machine, file: Path) -> None:
    file.chmod(0o622)
    for command in (("list",), ("show",), ("use", "staging"), ("use", "--none")):
        refused(machine.run("profile", *command, "-o", "json"), 9, "config.invalid")


def test_the_variable_that_goes_before_the_file_is_told_of(machine: Machine, file: Path) -> None:
    used = machine.run("profile", "use", "staging", env={"BACKCTL_PROFILE": "hidden"}).succeeded()
    assert used.err == "backctl: BACKCTL_PROFILE overrides the selected profile\n"
    assert machine.run("profile", "use", "staging", env={"BACKCTL_PROFILE": "staging"}).succeeded().err == ""


# Several databases.


def test_profiles_keep_their_accounts_apart(machine: Machine, file: Path) -> None:
    for profile in ("staging", "production"):
        guard = ("--reason", "first light", "--yes") if profile == "production" else ()
        machine.run("init", "-p", profile, *guard).succeeded()
        machine.run(*CREATE, "-p", profile, *guard).succeeded()
    machine.run("user", "deactivate", "new", "-p", "staging").succeeded()
    active = {
        profile: machine.run("--profile", profile, "user", "show", "new", "-o", "json").succeeded().json["is_active"]
        for profile in ("staging", "production")
    }
    assert active == {"staging": False, "production": True}
    assert machine.run("user", "count", env={"BACKCTL_PROFILE": "production"}).succeeded().out == "1\n"
    refused(machine.run("user", "list", "-o", "json"), 9, "installation.missing")


def selected(doctor: Outcome) -> dict[str, Any]:
    (found,) = (item for item in doctor.json["items"] if item["check"] == "profile.selected")
    return dict(found)


def test_doctor_says_which_profile_it_examined(machine: Machine, file: Path) -> None:
    machine.run("init", "-p", "staging").succeeded()
    done = machine.run("doctor", "-p", "staging", "-o", "json").succeeded()
    assert selected(done)["status"] == "ok"
    assert selected(done)["finding"] == f"profile 'staging' (flag --profile): '{machine.home}/staging/backctl.db'"
    other = machine.run("doctor", "-p", "production", "-o", "json")
    assert other.code == 9
    assert selected(other)["finding"].startswith("profile 'production' (flag --profile, protected): ")
    assert selected(machine.run("doctor", "-o", "json"))["finding"].startswith("no profile: ")


@pytest.mark.every_database
def test_profiles_lead_to_databases_of_every_kind(machine: Machine, tmp_path: Path, storage: Storage) -> None:
    url = storage.new_url(tmp_path / "other")
    own = machine.home / "own.db"
    machine.configure(
        f'[profiles.own]\ndatabase.url = "sqlite:///{own}"\nkeyring.path = "{machine.home}/own.json"\n'
        f'[profiles.other]\ndatabase.url = "{url}"\nkeyring.path = "{machine.home}/other.json"\n'
    )
    for profile in ("own", "other"):
        machine.run("init", "-p", profile).succeeded()
        machine.run(*CREATE, "-p", profile).succeeded()
    machine.run("user", "deactivate", "new", "-p", "other").succeeded()
    active = {
        profile: machine.run("user", "show", "new", "-p", profile, "-o", "json").succeeded().json["is_active"]
        for profile in ("own", "other")
    }
    assert active == {"own": True, "other": False}
    listed = {item["name"]: item["database"] for item in machine.run("profile", "list", "-o", "json").json["items"]}
    assert listed["own"] == str(own)
    assert ("***" in listed["other"]) is url.startswith("postgresql")
    doctor = machine.run("doctor", "-p", "other", "-o", "json").succeeded()
    assert listed["other"] in selected(doctor)["finding"]


# A profile without a database.

USING = [
    ("user", "list"),
    ("user", "count"),
    ("user", "show", "ada"),
    ("user", "activate", "ada", "bob", "--yes"),
    CREATE[:-2],
    ("init",),
    ("role", "assign", "admin", "ada"),
    ("access", "check", "ada", "user:list"),
    ("token", "issue", "ada"),
    ("key", "list"),
    ("key", "rotate"),
    ("encrypt", "--context", ""),
    ("decrypt", "--context", ""),
    ("token", "verify", "--offline"),
    ("key", "jwks"),
    ("audit", "verify"),
    ("audit", "list"),
    ("db", "status"),
    ("db", "upgrade"),
    ("cache", "stats"),
]
REPAIRING = [
    ("config", "show"),
    ("config", "show", "--origin"),
    ("config", "get", "database.url"),
    ("config", "path"),
    ("profile", "list"),
    ("profile", "show"),
    ("profile", "current"),
    ("profile", "use", "--none"),
    ("role", "list"),
    ("ratelimit", "check", "demo", "ada", "--rate", "3/1h"),
    ("completion", "bash"),
    ("help", "exit-codes"),
]


@pytest.fixture
def without(machine: Machine) -> Machine:
    """A machine whose default database has an account, and whose selected profile has no `database.url`."""
    machine.create_user("ada")
    configure(machine, 'profile = "staging"\n[profiles.staging]\nprotected = false\n')
    return machine


@pytest.mark.parametrize("words", USING, ids=" ".join)
def test_a_profile_without_a_database_uses_no_other(without: Machine, words: tuple[str, ...]) -> None:
    before = contents(without.home)
    error = refused(without.run(*words, "-o", "json"), 9, "config.invalid")
    assert error["message"] == f"'{without.config_file}', line 2: profile 'staging' has no database.url"
    assert error["hint"].startswith("run 'backctl config set profiles.staging.database.url URL'")
    assert "'default'" in error["hint"]
    assert contents(without.home) == before


@pytest.mark.parametrize("words", REPAIRING, ids=" ".join)
def test_commands_without_a_database_work_in_a_profile_without_one(without: Machine, words: tuple[str, ...]) -> None:
    without.run(*words).succeeded()


def test_doctor_and_validate_report_a_profile_without_a_database(without: Machine) -> None:
    doctor = without.run("doctor", "-o", "json")
    found = {item["check"]: item for item in doctor.json["items"]}
    first = doctor.json["items"][0]
    assert (doctor.code, first["status"]) == (9, "fail")
    assert first["finding"] == f"'{without.config_file}', line 2: profile 'staging' has no database.url"
    assert first["hint"].startswith("run 'backctl config set profiles.staging.database.url URL'")
    assert found["profile.selected"]["finding"].endswith(": no database")
    findings = without.run("config", "validate", "-o", "json")
    assert findings.code == 9
    assert [item["message"] for item in findings.json["items"]] == [
        f"'{without.config_file}', line 2: profile 'staging' has no database.url"
    ]
    assert without.run("config", "validate", str(without.config_file)).code == 9


def test_the_hint_repairs_the_profile(without: Machine) -> None:
    other = f"sqlite:///{without.home}/staging.db"
    without.run("config", "set", "profiles.staging.database.url", other).succeeded()
    without.run("config", "validate").succeeded()
    refused(without.run("user", "list", "-o", "json"), 9, "installation.missing")
    without.run("config", "set", "profiles.staging.database.url", "default").succeeded()
    assert without.run("user", "count").succeeded().out == "1\n"


def test_a_profile_can_share_the_database_without_a_profile(machine: Machine) -> None:
    machine.create_user("ada")
    place = machine.data / "backctl.db"
    for base in ("", f'database.url = "sqlite:///{place}"\n'):
        configure(machine, f'{base}[profiles.careful]\nprotected = true\ndatabase.url = "default"\n')
        assert machine.run("user", "count", "-p", "careful").succeeded().out == "1\n"
        (listed,) = machine.run("profile", "list", "-o", "json").succeeded().json["items"]
        assert listed["database"] == str(place)


def test_an_empty_url_in_a_profile_is_a_missing_database(machine: Machine) -> None:
    configure(machine, 'database.url = "sqlite:////srv/x.db"\n[profiles.p]\ndatabase.url = ""\n')
    refused(machine.run("user", "list", "-p", "p", "-o", "json"), 9, "config.invalid")


def test_the_variable_sets_the_database_of_every_profile(without: Machine) -> None:
    url = f"sqlite:///{without.data}/backctl.db"
    assert without.run("user", "count", env={"BACKCTL_DATABASE_URL": url}).succeeded().out == "1\n"
    (without.home / "url").touch(mode=0o600)
    (without.home / "url").write_text(url)
    file = str(without.home / "url")
    assert without.run("user", "count", env={"BACKCTL_DATABASE_URL_FILE": file}).succeeded().out == "1\n"
    refused(without.run("user", "count", "-o", "json", env={"BACKCTL_DATABASE_URL": ""}), 9, "config.invalid")
    refused(without.run("user", "count", "-o", "json", env={"BACKCTL_DATABASE_URL": "default"}), 9, "config.invalid")


def test_only_a_profile_in_the_file_can_say_default(machine: Machine) -> None:
    configure(machine, 'database.url = "default"\n')
    refused(machine.run("user", "list", "-o", "json"), 9, "config.invalid")
    secret = machine.home / "url"
    secret.touch(mode=0o600)
    secret.write_text("default")
    configure(machine, f'[profiles.p]\ndatabase.url_file = "{secret}"\n')
    refused(machine.run("user", "list", "-p", "p", "-o", "json"), 9, "config.invalid")


def test_the_first_setting_of_a_profile_creates_it(machine: Machine) -> None:
    url = f"sqlite:///{machine.home}/new.db"
    machine.run("config", "set", f"profiles.'{AWKWARD}'.database.url", url).succeeded()
    machine.run("init", "-p", AWKWARD).succeeded()
    machine.run("config", "set", "database.timeout", "2s", "-p", AWKWARD).succeeded()
    profile = tomllib.loads(machine.config_file.read_text())["profiles"][AWKWARD]
    assert profile == {"database": {"url": url, "timeout": "2s"}}


def test_a_setting_of_a_profile_without_a_database_names_the_next_command(machine: Machine) -> None:
    done = machine.run("config", "set", "profiles.new.passwords.min_length", "12").succeeded()
    assert "profile 'new' has no database.url; run 'backctl config set profiles.new.database.url URL'" in done.err
    assert len(done.err.splitlines()) == 1
    assert machine.run("config", "set", "profiles.new.passwords.min_length", "13", "-q").succeeded().err == ""
    assert machine.run("config", "set", "profiles.other.passwords.min_length", "12", "-n").succeeded().err == ""
    for again in ("default", f"sqlite:///{machine.home}/new.db"):
        assert machine.run("config", "set", "profiles.new.database.url", again).succeeded().err == ""
    assert machine.run("config", "set", "database.timeout", "3s", "-p", "new").succeeded().err == ""
    removed = machine.run("config", "unset", "profiles.new.database.url").succeeded()
    assert "profile 'new' has no database.url" in removed.err


# Errors.


def test_an_error_names_the_profile_in_which_it_happened(machine: Machine, file: Path) -> None:
    machine.run("init", "-p", "staging").succeeded()
    missing = ("user", "show", "nobody")
    ways: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("-p", "staging"), {}),
        ((), {"BACKCTL_PROFILE": "staging"}),
    ]
    for flags, env in ways:
        done = machine.run(*missing, *flags, env=env)
        assert done.err.splitlines()[0] == "backctl: error: there is no account 'nobody' (profile staging)"
        assert (
            refused(machine.run(*missing, *flags, "-o", "json", env=env), 3, "user.not_found")["profile"] == "staging"
        )
    machine.run("profile", "use", "staging").succeeded()
    assert "'nobody' (profile staging)\n" in machine.run(*missing).err
    assert refused(machine.run(*missing, "-o", "json"), 3, "user.not_found")["profile"] == "staging"


def test_an_error_that_names_its_profile_names_it_once(machine: Machine, file: Path) -> None:
    refusal = machine.run("init", "-p", "production", "--reason", "r").err.splitlines()[0]
    assert refusal.startswith("backctl: error: not confirmed: ")
    assert refusal.endswith(" in profile production?")
    lacking = machine.run("user", "list", "-p", AWKWARD).err.splitlines()[0]
    assert lacking.endswith(f"profile '{AWKWARD}' has no database.url")


def test_without_a_profile_an_error_names_none(machine: Machine) -> None:
    machine.run("init").succeeded()
    assert "profile" not in machine.run("user", "show", "nobody").err
    assert refused(machine.run("user", "show", "nobody", "-o", "json"), 3, "user.not_found")["profile"] is None


def test_wrong_input_is_wrong_in_every_profile(machine: Machine, file: Path) -> None:
    machine.run("init", "-p", "staging").succeeded()
    assert "(profile" not in machine.run("user", "show", "a b", "-p", "staging").err
    assert "(profile" not in machine.run("user", "list", "--no-such-flag", "-p", "staging").err


def test_details_name_the_profile_and_where_it_was_selected(machine: Machine, file: Path) -> None:
    for words in (("config", "get", "database.timeout"), ("profile", "current"), ("doctor",)):
        said = machine.run(*words, "-v", "-p", "staging").err.splitlines()[0]
        assert said == f"backctl: configuration {file}, profile staging (flag --profile)"
    said = machine.run("config", "get", "database.timeout", "-v").err
    assert said == f"backctl: configuration {file}, profile none\n"


# Hints.


def test_the_hint_of_a_finding_names_the_same_profile(machine: Machine, file: Path) -> None:
    done = machine.run("doctor", "-p", "staging", "-o", "json")
    hints = [item["hint"] for item in done.json["items"] if item["hint"] and "backctl" in item["hint"]]
    assert hints
    assert all("'backctl -p staging " in hint for hint in hints), hints


def test_the_hint_of_one_of_many_errors_names_the_same_installation(machine: Machine, file: Path) -> None:
    machine.run("init", "-p", "staging").succeeded()
    other = machine.home / "it's mine.toml"
    other.touch(mode=0o600)
    other.write_text(file.read_text())
    flags = ("-p", "staging", "--config", str(other))
    done = machine.run("user", "deactivate", "nobody", "noone", "--yes", "-o", "json", *flags)
    hints = {item["error"]["hint"] for item in done.json["items"]}
    alone = machine.run("user", "deactivate", "nobody", "-o", "json", *flags).error["hint"]
    assert hints == {alone}
    assert f"backctl -p staging --config '{other}'".replace("it's", "it'\"'\"'s") in alone


def test_the_hint_of_a_usage_error_names_the_same_profile(machine: Machine, file: Path) -> None:
    done = machine.run("-p", "staging", "user", "show", "--fields", "no,such", "a", "b")
    assert done.code == 2
    assert done.err.endswith("see 'backctl user show --help'\n")
