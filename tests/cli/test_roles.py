"""`role list|show`, and roles from the configuration."""

import pytest
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents

pytestmark = pytest.mark.every_database

ROLE_KEYS = ["name", "description", "builtin", "permissions"]


def test_the_built_in_roles(machine: Machine) -> None:
    before = contents(machine.home)
    listed = machine.run("role", "list", "-o", "json").succeeded()
    assert list(listed.json) == ["items", "next_cursor"]
    assert listed.json["next_cursor"] is None
    assert [role["name"] for role in listed.json["items"]] == ["user", "moderator", "admin"]
    for role in listed.json["items"]:
        assert list(role) == ROLE_KEYS
        assert role["builtin"] is True
    admin = machine.run("role", "show", "admin", "-o", "json").succeeded()
    assert admin.json == listed.json["items"][2]
    assert admin.json["permissions"] == ["*"]
    assert contents(machine.home) == before


def test_roles_in_text(machine: Machine) -> None:
    assert machine.run("role", "list", "-o", "id").succeeded().out == "user\nmoderator\nadmin\n"
    shown = machine.run("role", "show", "moderator", "--fields", "name,permissions", "--no-header").succeeded()
    name, permissions = shown.out.rstrip("\n").split("\t")
    assert name == "moderator"
    assert {"self:*", "user:deactivate"} <= set(permissions.split(","))
    assert shown.err == ""
    screen = machine.at_terminal("role", "list", env={"NO_COLOR": "1", "COLUMNS": "110"})
    assert screen.out.splitlines()[0].split() == ["NAME", "DESCRIPTION", "BUILTIN", "PERMISSIONS"]


def test_an_unknown_role_is_not_found(machine: Machine) -> None:
    error = refused(machine.run("role", "show", "root\x1b[2J", "-o", "json"), 3, "role.not_found")
    assert "\x1b" not in error["message"]
    assert error["hint"] == "known roles: user, moderator, admin"


def test_a_word_for_another_command_leads_there(machine: Machine) -> None:
    error = refused(machine.run("role", "remove", "admin", "ada", "-o", "json"), 2, "usage")
    assert error["message"] == "'backctl role' has no command 'remove'"
    assert "'backctl role assign user IDENT'" in error["hint"]


def test_a_role_of_the_configuration_can_be_given(machine: Machine) -> None:
    machine.run("init").succeeded()
    machine.configure('[roles.support]\ndescription = "answers the phone"\npermissions = ["user:show", "token:*"]\n')
    support = machine.run("role", "show", "support", "-o", "json").succeeded().json
    assert support == {
        "name": "support",
        "description": "answers the phone",
        "builtin": False,
        "permissions": ["user:show", "token:*"],
    }
    assert machine.create_user("sam", "--role", "support")["role"] == "support"
    listed = machine.run("user", "list", "--role", "support", "-o", "json").succeeded().json["items"]
    assert [user["username"] for user in listed] == ["sam"]


def test_a_permission_that_is_none_makes_the_configuration_unusable(machine: Machine) -> None:
    before = contents(machine.data)
    for text in (
        '[roles.support]\npermissions = ["show users"]\n',
        "[roles.Support]\npermissions = []\n",
        "[roles.admin]\npermissions = []\n",
    ):
        machine.configure(text)
        refused(machine.run("role", "list", "-o", "json"), 9, "config.invalid")
        refused(
            machine.run("user", "create", "a@example.org", "--username", "ada", "--no-password", "-o", "json"),
            9,
            "config.invalid",
        )
    assert contents(machine.data) == before


def test_accounts_of_a_role_that_is_configured_no_more_are_found(machine: Machine) -> None:
    machine.run("init").succeeded()
    machine.configure('[roles.auditor]\npermissions = ["audit:list"]\n')
    machine.create_user("ada", "--role", "auditor")
    machine.configure("")
    assert machine.run("user", "count", "--role", "auditor").succeeded().out == "1\n"
    assert machine.run("user", "list", "--role", "auditor", "--fields", "username").succeeded().out == "username\nada\n"
    refused(machine.run("user", "count", "--role", "auditro", "-o", "json"), 2, "role.unknown")
