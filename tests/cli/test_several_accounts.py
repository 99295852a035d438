"""Every command that changes several accounts asks before the first change, with the same flags."""

from typing import NamedTuple

import pytest
from tests.cli.accounts import Person, lock
from tests.cli.conftest import Machine, Outcome
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.test_every_command import LEAVES

PEOPLE = [
    Person("root", role="admin"),
    Person("ada"),
    Person("bob"),
    Person("dan", active=False),
    Person("eve", active=False),
    Person("gil"),
    Person("ida"),
]


@pytest.fixture(scope="module")
def prepared(prepared: Machine) -> Machine:
    lock(prepared, "gil", "ida")
    return prepared


class Bulk(NamedTuple):
    """The words of a command before its accounts, two accounts that it changes, the question, and what confirms it."""

    words: str
    accounts: tuple[str, str]
    question: str
    flag: str = "--yes"
    same: tuple[str, ...] = ()
    """Accounts that already are as the command would make them."""


COMMANDS: dict[tuple[str, ...], Bulk] = {
    ("user", "activate"): Bulk("", ("dan", "eve"), "activate 2 accounts (dan, eve)", same=("ada", "bob")),
    ("user", "deactivate"): Bulk("", ("ada", "bob"), "deactivate 2 accounts (ada, bob)", same=("dan", "eve")),
    ("user", "unlock"): Bulk("", ("gil", "ida"), "unlock 2 accounts (gil, ida)", same=("ada", "dan")),
    ("user", "delete"): Bulk("", ("ada", "bob"), "permanently delete 2 accounts (ada, bob)", flag="--confirm 2"),
    ("role", "assign"): Bulk(
        "admin", ("ada", "bob"), "assign the role admin to 2 accounts (ada, bob)", same=("root", "root@example.org")
    ),
}

every_bulk = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
every_harmless = pytest.mark.parametrize("path", [path for path in COMMANDS if COMMANDS[path].same], ids=" ".join)


def changes(done: Outcome) -> list[bool]:
    return [item["changed"] for item in done.succeeded().json["items"]]


def command(path: tuple[str, ...]) -> tuple[str, ...]:
    return (*path, *COMMANDS[path].words.split())


def test_the_table_has_every_command_on_several_accounts() -> None:
    assert set(COMMANDS) == {path for path, spec in LEAVES.items() if spec.bulk}


@pytest.mark.parametrize("path", [path for path, spec in LEAVES.items() if spec.bulk], ids=" ".join)
def test_a_command_on_several_accounts_is_a_guarded_mutation(path: tuple[str, ...]) -> None:
    assert LEAVES[path].mutation
    assert LEAVES[path].guard == ("name" if path == ("user", "delete") else "yes")
    assert LEAVES[path].changes is not None
    assert "{idents}" in str(LEAVES[path].changes)


@every_bulk
def test_without_a_terminal_nothing_changes_and_the_flag_is_named(untouched: Machine, path: tuple[str, ...]) -> None:
    bulk = COMMANDS[path]
    listed = "\n".join(bulk.accounts)
    for accounts, stdin in ((bulk.accounts, None), (("-",), listed), (("--from-file", "-"), listed)):
        error = refused(untouched.run(*command(path), *accounts, "-o", "json", stdin=stdin), 8, "confirmation.required")
        assert error["message"].rstrip("?") == f"not confirmed: {bulk.question}"
        assert error["hint"] == f"confirm with {bulk.flag}"
    variable = untouched.run(*command(path), *bulk.accounts, "-o", "json", env={"BACKCTL_YES": "1"})
    refused(variable, 8, "confirmation.required")


@every_bulk
def test_a_file_of_several_accounts_requires_confirmation_too(installed: Machine, path: tuple[str, ...]) -> None:
    (installed.home / "names").write_text("\n".join(COMMANDS[path].accounts))
    before = contents(installed.home)
    words = (*command(path), "--from-file", "names", "-o", "json")
    refused(installed.run(*words), 8, "confirmation.required")
    assert contents(installed.home) == before
    assert changes(installed.run(*words, *COMMANDS[path].flag.split())) == [True, True]


@every_bulk
def test_the_question_names_the_profile(installed: Machine, path: tuple[str, ...]) -> None:
    installed.configure('[profiles.staging]\ndatabase.url = "default"\n')
    bulk = COMMANDS[path]
    done = installed.run("-p", "staging", *command(path), *bulk.accounts, "-o", "json")
    assert done.error["message"].rstrip("?") == f"not confirmed: {bulk.question} in profile staging"


@every_bulk
def test_answering_no_changes_nothing(untouched: Machine, path: tuple[str, ...]) -> None:
    bulk = COMMANDS[path]
    screen = untouched.at_terminal(*command(path), *bulk.accounts, keys=[(bulk.question, "\n")])
    assert screen.code == 8
    assert "nothing was changed" in screen.out
    assert untouched.at_terminal(*command(path), *bulk.accounts, "--no-input").code == 8


@every_bulk
def test_a_person_who_confirms_is_asked_once(installed: Machine, path: tuple[str, ...]) -> None:
    bulk = COMMANDS[path]
    answer = "y" if bulk.flag == "--yes" else "2"
    screen = installed.at_terminal(*command(path), *bulk.accounts, keys=[(bulk.question, f"{answer}\n")]).succeeded()
    assert screen.out.count(bulk.question) == 1
    assert "2 changed" in screen.out


@every_bulk
def test_a_dry_run_never_asks(untouched: Machine, path: tuple[str, ...]) -> None:
    done = untouched.run(*command(path), *COMMANDS[path].accounts, "--dry-run", "-o", "json")
    assert changes(done) == [True, True]


@every_harmless
def test_a_command_that_would_change_nothing_asks_nothing(untouched: Machine, path: tuple[str, ...]) -> None:
    done = untouched.run(*command(path), *COMMANDS[path].same, "-o", "json")
    assert changes(done) == [False, False]


@every_harmless
def test_a_change_of_one_account_asks_nothing(installed: Machine, path: tuple[str, ...]) -> None:
    first, second = COMMANDS[path].accounts
    assert installed.run(*command(path), first, "-o", "json").succeeded().json["changed"] is True
    assert changes(installed.run(*command(path), "-", "-o", "json", stdin=second)) == [True]
