"""`apply`: what it changes and reports, confirmations, limits, and what it refuses."""

import json
import subprocess
import sys

import pytest
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.seeds import PEOPLE, REPORT, SECRET, apply, counts, events, knows, seed, shown, users, with_seeded

__all__ = ["PEOPLE"]

pytestmark = pytest.mark.every_database


# What is done.


def test_the_same_file_changes_something_only_once(installed: Machine) -> None:
    seed(installed)
    done = apply(installed, "--actor", "pipeline")
    assert counts(done) == {"created": 1, "updated": 1, "opened": 1, "closed": 1, "unchanged": 1}
    assert done.json["names"] == ["ci"]
    assert done.err == ""
    assert SECRET not in done.out
    assert knows(installed, "new", SECRET)
    assert (shown(installed, "ada")["role"], shown(installed, "bob")["is_active"]) == ("moderator", False)
    assert shown(installed, "eve")["is_active"] is True
    assert {(event["actor"], event["reason"]) for event in events(installed, "ada")[1:]} == {("pipeline", "CI seed")}
    number = installed.rows("SELECT count(*) FROM events")
    assert counts(apply(installed)) == {"unchanged": 5}
    assert installed.rows("SELECT count(*) FROM events") == number
    installed.run("audit", "verify").succeeded()
    assert installed.run("plan", "seed.yaml", "--detailed-exitcode").code == 0


@pytest.mark.embedded
def test_the_reason_of_the_command_comes_first(installed: Machine) -> None:
    seed(installed)
    apply(installed, "--reason", "by hand").succeeded()
    assert events(installed, "ada")[-1]["reason"] == "by hand"
    seed(installed, "version: 1\nname: ci\nusers: [{email: ada@example.org, role: user}]\n")
    seed(installed, "version: 1\nname: more\ndefaults: {reason: other}\nusers: []\n", "more.yaml")
    installed.run("apply", "seed.yaml", "more.yaml").succeeded()
    assert events(installed, "ada")[-1]["reason"] is None  # the files do not agree


def test_a_dry_run_changes_nothing_and_needs_no_confirmation(installed: Machine) -> None:
    with_seeded(installed, "new", "old")
    users(installed, "email: ada@example.org, state: absent", "email: zoe@example.org, username: zoe")
    before = (contents(installed.home), installed.stored())
    done = apply(installed, "--dry-run", "--prune")
    assert counts(done) == {"created": 1, "closed": 2, "deleted": 1}
    assert done.json["dry_run"] is True
    assert (contents(installed.home), installed.stored()) == before


@pytest.mark.embedded
def test_the_report_of_a_terminal_and_of_scripts(installed: Machine) -> None:
    seed(installed)
    lines = installed.run("apply", "seed.yaml").succeeded().out.splitlines()
    assert lines[0].split("\t") == REPORT
    assert lines[1].split("\t") == ["ci", "1", "1", "1", "1", "0", "1", "true"]
    assert installed.run("apply", "seed.yaml", "-q").succeeded().out == ""
    card = installed.at_terminal("apply", "seed.yaml", "--no-color")
    assert card.code == 0
    assert "unchanged: 5" in card.out


def test_one_transaction_makes_all_changes_or_none(installed: Machine) -> None:
    users(installed, "email: zoe@example.org, username: zoe", "email: yan@example.org, username: yan")
    seed(
        installed,
        (installed.home / "seed.yaml").read_text()
        + "  - {email: xi@example.org, username: xian, password: {env: SEED_PASSWORD}}\n",
    )
    installed.environment["SEED_PASSWORD"] = "short"
    error = refused(apply(installed, "--all-or-nothing"), 2, "seed.invalid")
    assert error["message"].startswith("seed.yaml, line 6: ")
    assert error["hint"] == "choose a longer, less guessable password for {env: SEED_PASSWORD}"
    assert installed.run("user", "exists", "zoe").code == 3
    installed.environment["SEED_PASSWORD"] = SECRET
    assert counts(apply(installed, "--all-or-nothing")) == {"created": 3}


# Confirmations.


def test_deleting_needs_the_number_of_accounts(installed: Machine) -> None:
    users(installed, "email: ada@example.org, state: absent", "email: bob@example.org, state: absent")
    for flags in ((), ("--yes",)):
        error = refused(apply(installed, *flags), 8, "confirmation.required")
        assert error["message"] == f"not confirmed: delete 2 accounts (ada, bob){installed.where}"
        assert error["hint"] == "confirm with --confirm 2"
    error = refused(apply(installed, "--confirm", "1"), 8, "confirmation.required")
    assert error["message"] == "'1' is not '2'; nothing was changed"
    assert error["hint"] == "run 'backctl plan FILE' to see what would be deleted, then give --confirm 2"
    assert counts(apply(installed, "--confirm", "2")) == {"deleted": 2}
    assert counts(apply(installed)) == {"unchanged": 2}


def test_pruning_needs_a_yes(installed: Machine) -> None:
    with_seeded(installed, "new", "old")
    assert counts(apply(installed)) == {}  # without --prune, nothing is pruned
    error = refused(apply(installed, "--prune"), 8, "confirmation.required")
    question = f"close 2 accounts (new, old) that no seed lists any more{installed.where}?"
    assert error["message"] == f"not confirmed: {question}"
    assert counts(apply(installed, "--prune=close", "--yes")) == {"closed": 2}
    assert counts(apply(installed, "--prune")) == {"unchanged": 2}
    refused(apply(installed, "--prune=delete", "--yes"), 8, "confirmation.required")
    assert counts(apply(installed, "--prune=delete", "--confirm", "2")) == {"deleted": 2}


def test_a_notice_says_that_a_changed_address_means_another_account(installed: Machine) -> None:
    with_seeded(installed, "new")
    users(installed, "email: newer@example.org, username: newer")
    notice = (
        "for 'ci', accounts are created and others pruned; "
        "if an e-mail address has changed, give its entry the id of the account"
    )
    for words in (("plan", "seed.yaml", "--prune"), ("apply", "seed.yaml", "--prune=delete", "--dry-run")):
        assert notice in installed.run(*words).succeeded().err
    assert notice not in installed.run("plan", "seed.yaml").succeeded().err
    done = installed.run("apply", "seed.yaml", "--prune", "--yes").succeeded()
    assert notice in done.err
    assert notice not in installed.run("apply", "seed.yaml", "--prune").succeeded().err


def test_deleting_and_pruning_need_both(installed: Machine) -> None:
    with_seeded(installed, "new")
    users(installed, "email: ada@example.org, state: absent")
    error = refused(apply(installed, "--prune", "--confirm", "1"), 8, "confirmation.required")
    assert error["hint"] == "confirm with --yes, and with --confirm 1"
    refused(apply(installed, "--prune", "--yes"), 8, "confirmation.required")
    assert counts(apply(installed, "--prune", "--yes", "--confirm", "1")) == {"closed": 1, "deleted": 1}


@pytest.mark.embedded
def test_a_person_is_asked(installed: Machine) -> None:
    with_seeded(installed, "new")
    question = "close the account 'new' that no seed lists any more? [y/N] "
    before = contents(installed.home)
    assert installed.at_terminal("apply", "seed.yaml", "--prune", keys=[(question, "n\n")]).code == 8
    assert contents(installed.home) == before
    assert installed.at_terminal("apply", "seed.yaml", "--prune", keys=[(question, "y\n")]).code == 0
    question = "delete the account 'new'; type '1' to confirm: "
    assert installed.at_terminal("apply", "seed.yaml", "--prune=delete", keys=[(question, "2\n")]).code == 8
    assert installed.at_terminal("apply", "seed.yaml", "--prune=delete", keys=[(question, "1\n")]).code == 0
    assert installed.run("user", "exists", "new").code == 3


@pytest.mark.embedded
def test_a_protected_profile_names_the_files_and_the_changes(installed: Machine) -> None:
    seed(installed)
    installed.environment["BACKCTL_PROTECTED"] = "true"
    refused(apply(installed, "--yes"), 8, "confirmation.required")  # the reason of a file is not one
    error = refused(apply(installed, "--reason", "because"), 8, "confirmation.required")
    assert error["message"] == (
        "not confirmed: apply seed.yaml (1 to create, 1 to update, 1 to open, 1 to close, 1 unchanged)?"
    )
    apply(installed, "--reason", "because", "--yes").succeeded()
    assert counts(apply(installed)) == {"unchanged": 5}  # what changes nothing needs neither


@pytest.mark.embedded
@pytest.mark.parametrize("command", ["plan", "apply"])
def test_how_to_prune_is_written_with_an_equals_sign(installed: Machine, command: str) -> None:
    seed(installed)
    error = refused(installed.run(command, "seed.yaml", "--prune", "delete", "-o", "json"), 2, "usage")
    assert error["hint"] == "write --prune=delete, with an equals sign"


# Limits.


@pytest.mark.parametrize(
    ("limit", "allowed"), [("4", True), ("100%", True), ("3", False), ("75%", False), ("0", False)]
)
def test_more_changes_than_allowed_are_refused(installed: Machine, limit: str, allowed: bool) -> None:
    seed(installed)
    if allowed:
        apply(installed, "--max-changes", limit).succeeded()
        return
    before = (contents(installed.home), installed.stored())
    error = refused(apply(installed, "--max-changes", limit), 8, "changes.too_many")
    assert error["hint"] == "run 'backctl plan FILE' to see what would change, or raise the limit"
    assert (contents(installed.home), installed.stored()) == before


@pytest.mark.parametrize("dry_run", [False, True])
def test_enforced_secrets_that_differ_count_as_changes(installed: Machine, dry_run: bool) -> None:
    users(
        installed,
        *(
            f"email: {name}@example.org, password: {{env: SEED_PASSWORD}}, password_policy: enforce"
            for name in ("ada", "bob")
        ),
        "email: root@example.org, role: admin",
    )
    flags = ("--dry-run",) if dry_run else ()
    before = (contents(installed.home), installed.stored())
    refused(apply(installed, "--max-changes", "1", *flags), 8, "changes.too_many")
    assert (contents(installed.home), installed.stored()) == before
    assert counts(apply(installed, "--max-changes", "2", *flags)) == {"updated": 2, "unchanged": 1}
    apply(installed).succeeded()
    assert counts(apply(installed, "--max-changes", "0", *flags)) == {"unchanged": 3}
    installed.run("plan", "seed.yaml", "--out", "saved").succeeded()
    installed.environment["SEED_PASSWORD"] = "another horse battery"
    for file in ("seed.yaml", "saved"):
        refused(apply(installed, "--max-changes", "1", *flags, file=file), 8, "changes.too_many")


def test_the_last_administrator_stays(installed: Machine) -> None:
    users(installed, "email: root@example.org, state: absent")
    refused(apply(installed, "--confirm", "1"), 8, "user.last_administrator")


# The schema, and what is refused.


@pytest.mark.embedded
def test_the_schema_needs_no_installation(machine: Machine) -> None:
    done = machine.run("apply", "--schema").succeeded()
    schema = json.loads(done.out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["version", "name"]
    assert machine.run("apply", "--schema", "-o", "json").succeeded().json == schema
    assert contents(machine.home) == {}
    refused(machine.run("apply", "--schema", "seed.yaml", "-o", "json"), 2, "usage")


@pytest.mark.embedded
def test_there_must_be_an_installation(machine: Machine) -> None:
    seed(machine)
    before = contents(machine.home)
    refused(apply(machine), 9, "installation.missing")
    assert contents(machine.home) == before


@pytest.mark.parametrize(
    ("entry", "code", "message"),
    [
        ("email: zoe@example.org, username: zoe, password: {env: NOT_SET}", "seed.invalid", "NOT_SET is not set"),
        ("email: zoe@example.org, username: zoe, password: {file: none}", "seed.invalid", "none"),
        (f"email: zoe@example.org, username: zoe, password: {SECRET}", "seed.invalid", None),
        (f"email: zoe@example.org, username: zoe, nickname: {SECRET}", "seed.invalid", "nickname"),
        ("email: zoe@example.org", "input.invalid", "username"),
        ("email: zoe@example.org, username: bob", "user.username_taken", "bob"),
    ],
)
def test_an_error_is_reported_before_the_first_change(
    installed: Machine, entry: str, code: str, message: str | None
) -> None:
    users(installed, "email: ada@example.org, role: moderator", entry)
    before = (contents(installed.home), installed.stored())
    done = apply(installed)
    error = json.loads(done.err)["error"]
    assert (error["code"], done.code in (2, 4), done.out) == (code, True, "")
    assert "seed.yaml" in error["message"]
    assert message is None or message in error["message"]
    assert SECRET not in done.err
    assert (contents(installed.home), installed.stored()) == before


@pytest.mark.embedded
@pytest.mark.parametrize(
    "words",
    [
        (),
        ("seed.yaml", "--prune=all"),
        ("seed.yaml", "--prune="),
        ("--prune", "close", "seed.yaml"),
        ("seed.yaml", "--max-changes", "few"),
        ("seed.yaml", "--max-changes", "101%"),
        ("seed.yaml", "--secret-file", "--prune"),
        ("none.yaml",),
        (".",),
    ],
)
def test_flags_that_do_not_fit_are_refused(installed: Machine, words: tuple[str, ...]) -> None:
    seed(installed)
    before = contents(installed.home)
    refused(installed.run("apply", *words, "-o", "json"), 2, "usage")
    assert contents(installed.home) == before


@pytest.mark.embedded
def test_a_file_name_may_be_any_bytes(installed: Machine) -> None:
    seed(installed)
    name = b"\xff.yaml"
    (installed.home / "seed.yaml").rename(installed.home / name.decode("utf-8", "surrogateescape"))
    done = subprocess.run(
        [sys.executable.encode(), b"-m", b"backctl", b"apply", name, b"-o", b"json"],
        env=installed.environment,
        cwd=installed.home,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
