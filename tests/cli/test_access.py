"""`access check`: exit 0 for yes, 6 for no, and another code for a meaningless question."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.accounts import Person, populate
from tests.cli.conftest import Machine, Storage
from tests.cli.expected import refused
from tests.cli.files import contents

pytestmark = pytest.mark.every_database

KEYS = ["ok", "ident", "user_id", "permission", "reason", "granted_by"]
EXPLAINED = [*KEYS, "role", "role_permissions", "is_active", "expires_at"]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, storage: Storage) -> Iterator[Machine]:
    """Yield an installation with a custom role and accounts in every state. Tests do not change it."""
    machine = storage.machine(tmp_path_factory.mktemp("access"))
    machine.configure('[roles.support]\npermissions = ["user:show", "token:*"]\n')
    machine.run("init").succeeded()
    people = [
        Person("root", role="admin"),
        Person("ada"),
        Person("sam", role="support"),
        Person("mod", role="moderator"),
    ]
    populate(machine, [*people, Person("closed", role="admin", active=False), Person("expired", role="admin")])
    machine.run("user", "update", "expired", "--expires-at", "2020-01-01", "--yes").succeeded()
    yield machine
    storage.forget(machine)


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
    office: Machine, ident: str, permission: str, reason: str, granted_by: str | None
) -> None:
    allowed = reason == "granted"
    answer = office.run("access", "check", ident, permission, "-o", "json")
    assert (answer.code, answer.err) == (0 if allowed else 6, "")
    assert list(answer.json) == KEYS
    user_id = office.run("user", "show", ident, "-o", "id").succeeded().out.strip()
    assert answer.json == dict(zip(KEYS, (allowed, ident, user_id, permission, reason, granted_by), strict=True))
    assert office.run("access", "check", ident, permission, "-o", "id").out == f"{user_id}\n"
    quiet = office.run("access", "check", ident, permission, "-q")
    assert (quiet.code, quiet.out, quiet.err) == (answer.code, "", "")


def test_an_explanation_shows_what_the_answer_was_worked_out_from(office: Machine) -> None:
    explained = office.run("access", "check", "expired", "user:show", "--explain", "-o", "json")
    assert explained.code == 6
    assert list(explained.json) == EXPLAINED
    assert explained.json["role"] == "admin"
    assert explained.json["role_permissions"] == ["*"]
    assert (explained.json["is_active"], explained.json["expires_at"]) == (True, "2020-01-01T00:00:00.000000Z")
    screen = office.at_terminal("access", "check", "sam", "token:list", "--explain", env={"NO_COLOR": "1"})
    assert screen.code == 0
    assert "granted_by: " in screen.out
    assert "user:show,token:*" in screen.out
    chosen = office.run("access", "check", "sam", "token:list", "--fields", "ok,granted_by", "--no-header")
    assert chosen.out == "true\ttoken:*\n"


def test_a_role_that_the_configuration_no_longer_names_permits_nothing(
    office: Machine, tmp_path: Path, storage: Storage
) -> None:
    later = storage.copy(office, tmp_path)
    later.configure("")
    answer = later.run("access", "check", "sam", "user:show", "-o", "json")
    storage.forget(later)
    assert answer.code == 6
    assert answer.json["reason"] == "role_unknown"


@pytest.mark.parametrize(
    "permission", ["", "user", "User:show", "user:show users", "*:show", "user:\u202eshow", "x" * 10_000]
)
def test_a_malformed_permission_is_invalid_input(office: Machine, permission: str) -> None:
    answer = office.run("access", "check", "ada", permission, "-o", "json")
    error = refused(answer, 2, "permission.invalid")
    assert "noun:verb" in error["hint"]
    assert len(answer.err) < 1000
    assert "\u202e" not in answer.err


def test_an_unknown_account_is_not_found(office: Machine) -> None:
    refused(office.run("access", "check", "nobody", "user:show", "-o", "json"), 3, "user.not_found")
    refused(office.run("access", "check", "no body", "user:show", "-o", "json"), 2, "identity.invalid")


@pytest.mark.parametrize("flags", [(), ("--explain",), ("-q",), ("-o", "json")])
@pytest.mark.parametrize(
    ("permission", "near"),
    [
        ("user:lst", "user:list"),
        ("user:edit", "user:update"),
        ("token:revok", "token:revoke"),
        ("key:remove", "key:retire"),
        ("ratelimit:chek", "ratelimit:check"),
    ],
)
def test_a_permission_for_an_unknown_verb_of_backctl_prints_a_warning(
    office: Machine, permission: str, near: str, flags: tuple[str, ...]
) -> None:
    noun, _, verb = permission.partition(":")
    for ident, code in (("root", 0), ("ada", 6)):
        done = office.run("access", "check", ident, permission, *flags)
        assert done.code == code
        assert done.err == (
            f"backctl: warning: permission '{permission}': 'backctl {noun}' has no command '{verb}'; "
            f"did you mean '{near}'?\n"
        )


def test_a_warning_never_names_the_opposite(office: Machine) -> None:
    said = office.run("access", "check", "root", "user:undelete").err
    assert "did you mean" not in said
    assert "its commands are create, list, " in said


@pytest.mark.parametrize(
    "permission",
    [
        "billing:refund",
        "usr:list",
        "user:list",
        "user:*",
        "*",
        "user:mfa",
        "user:mfa-enroll",
        "self:lst",
        "encrypt:all",
    ],
)
def test_services_can_use_any_permission(office: Machine, permission: str) -> None:
    assert office.run("access", "check", "root", permission).err == ""


def test_a_question_changes_nothing(office: Machine) -> None:
    before = (contents(office.home), office.stored())
    office.run("access", "check", "ada", "user:show")
    assert (contents(office.home), office.stored()) == before
