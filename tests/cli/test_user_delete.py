"""`user delete`: it requires the name of the account, and erased data is nowhere to be found."""

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents

pytestmark = pytest.mark.every_database

KEYS = ["id", "email", "username", "erased_events"]
PEOPLE = [Person("root", role="admin"), Person("ada"), Person("bob"), Person("cleo")]


def id_of(machine: Machine, username: str) -> str:
    return machine.run("user", "show", username, "-o", "id").succeeded().out.strip()


def left(machine: Machine) -> set[str]:
    return set(machine.run("user", "list", "--fields", "username", "--no-header").succeeded().out.split())


# One account.


def test_a_deleted_account_is_gone_and_its_history_stays(installed: Machine) -> None:
    ada = id_of(installed, "ada")
    deleted = installed.run("user", "delete", "ada", "--confirm", "ada", "--reason", "left", "-o", "json").succeeded()
    assert list(deleted.json) == [*KEYS, "changed"]
    assert deleted.json == {
        "id": ada,
        "email": "ada@example.org",
        "username": "ada",
        "erased_events": 0,
        "changed": True,
    }
    assert left(installed) == {"root", "bob", "cleo"}
    refused(installed.run("user", "history", "ada", "-o", "json"), 3, "user.not_found")
    events = installed.run("user", "history", ada, "-o", "json").succeeded().json["items"]
    assert [(event["type"], event["reason"]) for event in events] == [("UserCreated", None), ("UserDeleted", "left")]
    assert events[0]["data"]["email"] == "ada@example.org"
    assert events[1]["data"] == {"erased": False}
    assert installed.run("audit", "verify", "-o", "json").succeeded().json["erased"] == 0
    assert installed.create_user("ada")["id"] != ada


def test_what_is_erased_is_nowhere_and_the_chain_holds(installed: Machine) -> None:
    installed.run("user", "update", "ada", "--email", "lovelace@example.net", "--username", "lovelace").succeeded()
    ada = id_of(installed, "lovelace")
    deleted = installed.run("user", "delete", ada, "--erase", "--confirm", "lovelace", "-o", "json").succeeded()
    assert deleted.json["erased_events"] == 3
    events = installed.run("user", "history", ada, "-o", "json").succeeded().json["items"]
    assert [(event["type"], event["data"]) for event in events] == [
        ("UserCreated", None),
        ("UserEmailChanged", None),
        ("UserUsernameChanged", None),
        ("UserDeleted", {"erased": True}),
    ]
    verified = installed.run("audit", "verify", "-o", "json").succeeded().json
    assert (verified["ok"], verified["erased"]) == (True, 3)
    assert installed.run("audit", "list", "--fields", "type,data").succeeded().out.count("bob@example.org") == 1
    left_behind = {
        **contents(installed.data),
        **{table: repr(rows).encode() for table, rows in installed.stored().items()},
    }
    assert left_behind
    for name, stored in left_behind.items():
        assert b"lovelace" not in (stored or b""), name
        assert b"ada@example.org" not in (stored or b""), name


def test_data_that_a_stranger_put_back_are_noticed(installed: Machine) -> None:
    ada = id_of(installed, "ada")
    installed.run("user", "delete", "ada", "--erase", "--confirm", "ada").succeeded()
    installed.rows("UPDATE events SET data = '{}', salt = ? WHERE subject = ? AND type = 'UserCreated'", bytes(16), ada)
    assert installed.run("audit", "verify", "-q").code == 6


def test_a_missing_account_is_not_found_unless_that_is_fine(untouched: Machine) -> None:
    refused(untouched.run("user", "delete", "nobody", "--confirm", "nobody", "-o", "json"), 3, "user.not_found")
    fine = untouched.run("user", "delete", "nobody", "--if-exists", "-o", "json").succeeded()
    assert fine.json == {"id": None, "email": None, "username": None, "erased_events": 0, "changed": False}
    assert untouched.run("user", "delete", "nobody", "--if-exists", "-o", "id").succeeded().out == ""
    assert untouched.run("user", "delete", "nobody", "--if-exists", "-q").succeeded().out == ""


def test_the_last_administrator_is_not_deleted(untouched: Machine) -> None:
    error = refused(
        untouched.run("user", "delete", "root", "--confirm", "root", "-o", "json"), 8, "user.last_administrator"
    )
    assert "'root'" in error["message"]
    refused(untouched.run("user", "delete", "root", "-n", "-o", "json"), 8, "user.last_administrator")


def test_a_dry_run_asks_nothing_and_deletes_nothing(untouched: Machine) -> None:
    dry = untouched.run("user", "delete", "ada", "--erase", "--dry-run", "-o", "json").succeeded().json
    assert list(dry) == [*KEYS, "changed", "dry_run"]
    assert (dry["erased_events"], dry["changed"], dry["dry_run"]) == (1, True, True)


# Confirmation.


@pytest.mark.parametrize(
    "flags", [(), ("--yes",), ("--confirm", "Ada"), ("--confirm", ""), ("--confirm", "ada@example.org")]
)
def test_nothing_but_the_username_confirms(untouched: Machine, flags: tuple[str, ...]) -> None:
    for ident in ("ada", "ada@example.org"):
        error = refused(untouched.run("user", "delete", ident, *flags, "-o", "json"), 8, "confirmation.required")
        if "--confirm" not in flags:
            assert "--confirm ada" in error["hint"]
    assert untouched.run("user", "delete", "ada", env={"BACKCTL_CONFIRM": "ada", "BACKCTL_YES": "1"}).code == 8


def test_on_a_terminal_the_username_is_typed(installed: Machine) -> None:
    question = f"permanently delete ada{installed.where}; type 'ada' to confirm: "
    wrong = installed.at_terminal("user", "delete", "ada@example.org", keys=[(question, "y\n")])
    assert wrong.code == 8
    assert "nothing was changed" in wrong.out
    assert installed.at_terminal("user", "delete", "ada", "--yes", keys=[(question, "\n")]).code == 8
    assert installed.at_terminal("user", "delete", "ada", "--no-input").code == 8
    assert left(installed) == {"root", "ada", "bob", "cleo"}
    assert installed.at_terminal("user", "delete", "ada@example.org", keys=[(question, "ada\n")]).code == 0
    assert left(installed) == {"root", "bob", "cleo"}


def test_several_are_confirmed_by_their_number(installed: Machine) -> None:
    several = ("user", "delete", "ada", "bob", "-o", "json")
    for flags in ((), ("--yes",), ("--confirm", "ada"), ("--confirm", "3")):
        refused(installed.run(*several, *flags), 8, "confirmation.required")
    assert "--confirm 2" in refused(installed.run(*several), 8, "confirmation.required")["hint"]
    assert left(installed) == {"root", "ada", "bob", "cleo"}
    deleted = installed.run(*several, "--confirm", "2").succeeded().json
    assert [list(item) for item in deleted["items"]] == [["ident", *KEYS, "changed"]] * 2
    assert left(installed) == {"root", "cleo"}
    (installed.home / "leavers.txt").write_text("bob\ncleo\nroot\n")
    screen = installed.at_terminal(
        *("user", "delete", "--from-file", "leavers.txt", "--if-exists"),
        keys=[(f"permanently delete 3 accounts (bob, cleo, root){installed.where}; type '3' to confirm: ", "3\n")],
    )
    assert screen.code == 7
    assert left(installed) == {"root"}
    assert installed.run("user", "delete", "-", "-o", "json", stdin="\n").succeeded().json["summary"]["total"] == 0


def test_a_protected_profile_demands_a_reason_too(installed: Machine) -> None:
    installed.configure("protected = true\n")
    delete = ("user", "delete", "ada", "--confirm", "ada", "-o", "json")
    assert "--reason" in refused(installed.run(*delete), 8, "confirmation.required")["hint"]
    assert installed.run(*delete, "--reason", "left").succeeded().json["changed"] is True
