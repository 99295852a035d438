"""`plan`: what seed files would change, in every format, and the plan that it saves."""

import json
from typing import Any

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents

pytestmark = pytest.mark.every_database

PEOPLE = [Person("root", role="admin"), Person("ada"), Person("bob"), Person("eve", active=False)]
SECRET = "canary horse battery"
SEED = """\
version: 1
name: ci
users:
  - {email: new@example.org, username: new, role: moderator, expires_in: 1d, password: {env: SEED_PASSWORD}}
  - {email: ada@example.org, role: moderator, expires_at: "2040-01-02T03:04:05Z"}
  - {email: bob@example.org, state: closed}
  - {email: eve@example.org, username: evelyn, state: active}
  - {email: root@example.org, role: admin}
  - {email: nobody@example.org, state: absent}
"""
SUMMARY = {"create": 1, "update": 1, "open": 1, "close": 1, "delete": 0, "unchanged": 2}
DIFFERENCES = """\
+ create new <new@example.org>
    role: moderator
    expires_in: 1d
    password: {env: SEED_PASSWORD}
~ update ada <ada@example.org>
    role: user -> moderator
    expires_at: never -> 2040-01-02T03:04:05.000000Z
x close  bob <bob@example.org>
o open   eve <eve@example.org>
    username: eve -> evelyn
1 to create, 1 to update, 1 to open, 1 to close, 2 unchanged
"""


def seed(machine: Machine, text: str = SEED, name: str = "seed.yaml") -> None:
    machine.environment["SEED_PASSWORD"] = SECRET
    (machine.home / name).write_text(text)


def plan(machine: Machine, *flags: str) -> Any:
    return machine.run("plan", "seed.yaml", *flags, "-o", "json").succeeded().json


def test_a_plan_names_each_account_that_would_change(untouched: Machine, tmp_path: Any) -> None:
    file = tmp_path / "seed.yaml"
    file.write_text(SEED)
    done = untouched.run("plan", str(file), "-o", "json", env={"SEED_PASSWORD": SECRET}).succeeded()
    assert done.err == ""
    assert list(done.json) == ["items", "summary"]
    assert done.json["summary"] == SUMMARY
    new, ada, bob, eve = done.json["items"]
    assert list(new) == ["action", "id", "email", "username", "seed", "changes"]
    assert new["id"] is None
    assert new["changes"] == {
        "email": {"before": None, "after": "new@example.org"},
        "username": {"before": None, "after": "new"},
        "role": {"before": None, "after": "moderator"},
        "is_active": {"before": None, "after": True},
        "expires_in": {"before": None, "after": "1d"},
        "password": {"before": None, "after": "{env: SEED_PASSWORD}"},
    }
    assert ada["changes"] == {
        "role": {"before": "user", "after": "moderator"},
        "expires_at": {"before": None, "after": "2040-01-02T03:04:05.000000Z"},
    }
    assert (bob["action"], bob["changes"]) == ("close", {"is_active": {"before": True, "after": False}})
    assert (eve["action"], eve["username"]) == ("open", "eve")
    assert {each["seed"] for each in done.json["items"]} == {"ci"}


@pytest.mark.embedded
def test_a_terminal_shows_coloured_differences(installed: Machine) -> None:
    seed(installed)
    shown = installed.at_terminal("plan", "seed.yaml", "--detailed-exitcode")
    assert shown.code == 10
    for color, line in ((32, "+ create new"), (33, "~ update ada"), (31, "x close  bob"), (32, "o open   eve")):
        assert f"\x1b[{color}m{line}" in shown.out
    plain = installed.at_terminal("plan", "seed.yaml", "--no-color")
    assert (plain.code, plain.out) == (0, DIFFERENCES)
    assert installed.run("plan", "seed.yaml", "-o", "table").succeeded().out == DIFFERENCES
    assert installed.run("plan", "seed.yaml", "-o", "wide").succeeded().out == DIFFERENCES


@pytest.mark.embedded
def test_a_pipe_gets_lines_and_columns(installed: Machine) -> None:
    seed(installed)
    lines = installed.run("plan", "seed.yaml").succeeded().out.splitlines()
    assert lines[0] == "action\tid\temail\tusername\tseed\tchanges"
    assert [line.split("\t")[0] for line in lines[1:]] == ["create", "update", "close", "open"]
    assert json.loads(lines[3].split("\t")[5]) == {"is_active": {"before": True, "after": False}}
    rows = installed.run("plan", "seed.yaml", "-o", "csv", "--no-header", "--fields", "action,username").succeeded()
    assert rows.out == "create,new\nupdate,ada\nclose,bob\nopen,eve\n"
    objects = installed.run("plan", "seed.yaml", "-o", "jsonl", "-q").succeeded().out.splitlines()
    assert [json.loads(line)["action"] for line in objects] == ["create", "update", "close", "open"]
    ids = installed.run("plan", "seed.yaml", "-o", "id").succeeded().out.split()
    assert len(ids) == 3  # a new account has none yet
    refused(installed.run("plan", "seed.yaml", "--fields", "nothing", "-o", "json"), 2, "usage")


@pytest.mark.embedded
def test_nothing_to_change_is_said(installed: Machine) -> None:
    seed(installed, "version: 1\nname: ci\nusers: [{email: ada@example.org, role: user}]\n")
    for flags in ((), ("--detailed-exitcode",)):
        done = installed.at_terminal("plan", "seed.yaml", *flags)
        assert (done.code, done.out) == (0, "no changes, 1 unchanged\n")
    assert installed.run("plan", "seed.yaml", "-o", "json").json == {
        "items": [],
        "summary": {**dict.fromkeys(SUMMARY, 0), "unchanged": 1},
    }


def test_pruning_is_planned_for_what_the_seed_created(installed: Machine) -> None:
    seed(installed, "version: 1\nname: ci\nusers: [{email: new@example.org, username: new}]\n")
    installed.run("apply", "seed.yaml").succeeded()
    seed(installed, "version: 1\nname: ci\nusers: []\n")
    assert plan(installed)["items"] == []
    for flag, action in (("--prune", "close"), ("--prune=close", "close"), ("--prune=delete", "delete")):
        (item,) = plan(installed, flag)["items"]
        assert (item["action"], item["username"]) == (action, "new")
    before = installed.run("plan", "--prune", "seed.yaml", "-o", "table").succeeded()
    assert before.out == "x close  new <new@example.org>\n1 to close, 0 unchanged\n"


@pytest.mark.embedded
def test_several_files_are_one_plan(installed: Machine) -> None:
    seed(installed)
    seed(
        installed,
        '{"version": 1, "name": "more", "users": [{"email": "a@b.example", "username": "abel"}]}',
        "more.json",
    )
    seed(installed, 'version = 1\nname = "third"\nusers = [{email = "b@b.example", username = "bert"}]\n', "third.toml")
    done = installed.run("plan", "seed.yaml", "more.json", "third.toml", "-o", "json").succeeded()
    assert [item["seed"] for item in done.json["items"]] == ["ci"] * 4 + ["more", "third"]
    seed(installed, SEED, "twice.yaml")
    error = refused(installed.run("plan", "seed.yaml", "twice.yaml", "-o", "json"), 2, "seed.repeated")
    assert "seed.yaml, line 4" in error["message"]
    assert "twice.yaml, line 4" in error["message"]


@pytest.mark.embedded
def test_secrets_that_only_applying_can_compare_are_mentioned(installed: Machine) -> None:
    installed.run("user", "set-password", "ada", "--password-stdin", stdin="another horse battery").succeeded()
    seed(
        installed,
        "version: 1\nname: ci\nusers:\n"
        "  - {email: ada@example.org, password: {env: SEED_PASSWORD}, password_policy: enforce}\n",
    )
    done = installed.run("plan", "seed.yaml", "--detailed-exitcode", "-o", "json").succeeded()
    assert done.json["summary"]["unchanged"] == 1
    assert done.err == "backctl: accounts whose secrets only 'apply' can compare with the stored ones: 1\n"
    assert installed.run("plan", "seed.yaml", "-q").succeeded().err == ""


# The saved plan.


def test_a_saved_plan_is_private_and_has_no_secret(installed: Machine) -> None:
    seed(installed)
    done = installed.run("plan", "seed.yaml", "--out", "saved", "--detailed-exitcode", "-o", "json")
    assert (done.code, done.json["summary"]) == (10, SUMMARY)
    file = installed.home / "saved"
    assert file.stat().st_mode & 0o777 == 0o600
    document = json.loads(file.read_text())
    assert document["format"] == "backctl-plan/1"
    assert document["names"] == ["ci"]
    assert [change["action"] for change in document["changes"]] == ["create", "update", "close", "open"]
    assert document["changes"][0]["secrets"] == {"password": {"env": "SEED_PASSWORD"}}
    assert not any(SECRET.encode() in (content or b"") for content in contents(installed.home).values())
    assert SECRET not in done.out + done.err


@pytest.mark.embedded
def test_a_file_that_exists_is_replaced_only_on_request(installed: Machine) -> None:
    seed(installed)
    (installed.home / "saved").write_text("mine")
    refused(installed.run("plan", "seed.yaml", "--out", "saved", "-o", "json"), 4, "file.exists")
    assert (installed.home / "saved").read_text() == "mine"
    installed.run("plan", "seed.yaml", "--out", "saved", "--overwrite").succeeded()
    assert json.loads((installed.home / "saved").read_text())["names"] == ["ci"]
    error = refused(installed.run("plan", "saved", "-o", "json"), 2, "usage")
    assert error["message"] == "'saved' is a plan already"


# What is refused.


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), "usage", "no file was given"),
        (("-",), "usage", "a seed file cannot be read from standard input"),
        (("none.yaml",), "usage", "FILE 'none.yaml' cannot be read: No such file or directory"),
        (("seed.txt",), "usage", "the format of 'seed.txt' is unknown"),
        (("seed.yaml", "--out", "-"), "usage", "'-' is not a file for --out"),
        (("seed.yaml", "--overwrite"), "usage", "--overwrite needs --out FILE"),
        (("seed.yaml", "--prune=all"), "usage", None),
        (("seed.yaml", "--actor", "me"), "usage", None),
        (("seed.yaml", "--reason", "mine"), "usage", None),
        (("bad.yaml",), "seed.invalid", None),
        (("missing.yaml",), "seed.invalid", None),
    ],
)
def test_what_cannot_be_planned_is_refused(
    installed: Machine, words: tuple[str, ...], code: str, message: str | None
) -> None:
    seed(installed)
    seed(installed, SEED, "seed.txt")
    seed(installed, f"version: 1\nname: ci\nusers: [{{email: x@example.org, password: {SECRET}}}]\n", "bad.yaml")
    missing = "version: 1\nname: ci\nusers: [{email: x@example.org, username: x, password: {env: NOT_SET}}]\n"
    seed(installed, missing, "missing.yaml")
    before = contents(installed.home)
    done = installed.run("plan", *words, "-o", "json")
    error = refused(done, 2, code)
    assert message is None or error["message"] == message
    assert SECRET not in done.err
    assert contents(installed.home) == before


def test_the_last_administrator_stays(installed: Machine) -> None:
    for text in ("state: closed", "state: absent", "role: user"):
        seed(installed, f"version: 1\nname: ci\nusers: [{{email: root@example.org, {text}}}]\n")
        error = refused(installed.run("plan", "seed.yaml", "-o", "json"), 8, "user.last_administrator")
        assert error["message"].startswith("seed.yaml, line 3: ")


def test_planning_records_nothing(installed: Machine) -> None:
    seed(installed)
    states = ("SELECT count(*) FROM events", "SELECT id, version FROM users ORDER BY id")
    before = [installed.rows(each) for each in states]
    plan(installed, "--prune=delete")
    installed.run("plan", "seed.yaml", env={"BACKCTL_PROTECTED": "true", "BACKCTL_ACTOR": "ignored"}).succeeded()
    assert [installed.rows(each) for each in states] == before


def test_ids_are_those_of_the_accounts(installed: Machine) -> None:
    seed(installed)
    ids = {item["username"]: item["id"] for item in plan(installed)["items"]}
    for name in ("ada", "bob", "eve"):
        assert ids[name] == installed.run("user", "show", name, "-o", "json").json["id"]
