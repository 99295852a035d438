"""`access check`: yes is 0, no is 6, and neither is confused with a question that makes no sense."""

import pytest
from tests.cli.conftest import Machine
from tests.cli.scenes import Person, contents, fresh, populate, refused

KEYS = ["ident", "permission", "allowed", "reason", "granted_by"]
EXPLAINED = [*KEYS, "id", "role", "role_permissions", "is_active", "expires_at"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = fresh(tmp_path_factory.mktemp("access"))
    machine.config_file.parent.mkdir(parents=True)
    machine.config_file.write_text('[roles.support]\npermissions = ["user:show", "token:*"]\n')
    machine.config_file.chmod(0o600)
    machine.run("init").succeeded()
    people = [
        Person("root", role="admin"),
        Person("ada"),
        Person("sam", role="support"),
        Person("mod", role="moderator"),
    ]
    populate(machine, [*people, Person("closed", role="admin", active=False), Person("expired", role="admin")])
    machine.run("user", "update", "expired", "--expires-at", "2020-01-01").succeeded()
    return machine


@pytest.mark.parametrize(
    ("ident", "permission", "reason", "granted_by"),
    [
        ("root", "anything:at-all", "granted", "*"),
        ("root", "*", "granted", "*"),
        ("SAM@example.org", "token:revoke", "granted", "token:*"),
        ("sam", "user:show", "granted", "user:show"),
        ("sam", "user:*", "not_granted", None),
        ("sam", "tokens:list", "not_granted", None),
        ("ada", "user:show", "not_granted", None),
        ("closed", "user:show", "inactive", None),
        ("expired", "user:show", "expired", None),
    ],
)
def test_who_may_do_what_and_why(
    house: Machine, ident: str, permission: str, reason: str, granted_by: str | None
) -> None:
    allowed = reason == "granted"
    answer = house.run("access", "check", ident, permission, "-o", "json")
    assert (answer.code, answer.err) == (0 if allowed else 6, "")
    assert list(answer.json) == KEYS
    assert answer.json == dict(zip(KEYS, (ident, permission, allowed, reason, granted_by), strict=True))
    quiet = house.run("access", "check", ident, permission, "-q")
    assert (quiet.code, quiet.out, quiet.err) == (answer.code, "", "")


def test_an_explanation_shows_what_the_answer_was_worked_out_from(house: Machine) -> None:
    explained = house.run("access", "check", "expired", "user:show", "--explain", "-o", "json")
    assert explained.code == 6
    assert list(explained.json) == EXPLAINED
    assert explained.json["role"] == "admin"
    assert explained.json["role_permissions"] == ["*"]
    assert (explained.json["is_active"], explained.json["expires_at"]) == (True, "2020-01-01T00:00:00.000000Z")
    screen = house.at_terminal("access", "check", "sam", "token:list", "--explain", env={"NO_COLOR": "1"})
    assert screen.code == 0
    assert "granted_by: " in screen.out
    assert "user:show,token:*" in screen.out
    chosen = house.run("access", "check", "sam", "token:list", "--fields", "allowed,granted_by", "--no-header")
    assert chosen.out == "true\ttoken:*\n"


def test_a_role_that_the_configuration_no_longer_names_permits_nothing(house: Machine) -> None:
    empty = house.home / "empty.toml"
    empty.write_text("")
    empty.chmod(0o600)
    environment = {
        "BACKCTL_DATABASE_URL": f"sqlite:///{house.data}/backctl.db",
        "BACKCTL_KEYRING_PATH": f"{house.data}/keyring.json",
    }
    answer = house.run("access", "check", "sam", "user:show", "--config", str(empty), "-o", "json", env=environment)
    assert answer.code == 6
    assert answer.json["reason"] == "role_unknown"


@pytest.mark.parametrize(
    "permission", ["", "user", "User:show", "user:show users", "*:show", "user:\u202eshow", "x" * 10_000]
)
def test_a_malformed_permission_is_invalid_input(house: Machine, permission: str) -> None:
    answer = house.run("access", "check", "ada", permission, "-o", "json")
    error = refused(answer, 2, "permission.invalid")
    assert "noun:verb" in error["hint"]
    assert len(answer.err) < 1000
    assert "\u202e" not in answer.err


def test_an_unknown_account_is_not_found(house: Machine) -> None:
    refused(house.run("access", "check", "nobody", "user:show", "-o", "json"), 3, "user.not_found")
    refused(house.run("access", "check", "no body", "user:show", "-o", "json"), 2, "identity.invalid")


def test_a_question_changes_nothing(house: Machine, machine: Machine) -> None:
    before = contents(house.home)
    house.run("access", "check", "ada", "user:show")
    assert contents(house.home) == before
    refused(machine.run("access", "check", "ada", "user:show", "-o", "json"), 3, "user.not_found")
    assert contents(machine.home) == {}
