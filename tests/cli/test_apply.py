"""`apply`: seed files and saved plans, confirmations, limits, generated passwords, and the report."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.accounts import Person, fresh
from tests.cli.conftest import Machine, Outcome
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.processes import together

from backctl.staged_files import try_lock

pytestmark = pytest.mark.every_database

PEOPLE = [Person("root", role="admin"), Person("ada"), Person("bob"), Person("eve", active=False)]
REPORT = ["names", "created", "updated", "opened", "closed", "deleted", "unchanged", "changed"]
COUNTS = REPORT[1:-1]
SECRET = "canary horse battery"
SEED = """\
version: 1
name: ci
defaults: {reason: CI seed}
users:
  - {email: new@example.org, username: new, role: moderator, password: {env: SEED_PASSWORD}}
  - {email: ada@example.org, role: moderator}
  - {email: bob@example.org, state: closed}
  - {email: eve@example.org, state: active}
  - {email: root@example.org, role: admin}
"""


def seed(machine: Machine, text: str = SEED, name: str = "seed.yaml") -> None:
    machine.environment["SEED_PASSWORD"] = SECRET
    (machine.home / name).write_text(text)


def users(machine: Machine, *entries: str, name: str = "seed.yaml") -> None:
    """Write a seed file with these users."""
    seed(machine, "version: 1\nname: ci\nusers:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries) or "", name)


def apply(machine: Machine, *flags: str, file: str = "seed.yaml") -> Outcome:
    return machine.run("apply", file, *flags, "-o", "json")


def counts(done: Outcome) -> dict[str, int]:
    """Return the counts of a report that are not 0."""
    report = done.succeeded().json
    assert [name for name in report if name not in ("dry_run", "secret_file")] == REPORT
    assert report["changed"] is any(report[name] for name in COUNTS[:-1])
    return {name: report[name] for name in COUNTS if report[name]}


def shown(machine: Machine, name: str) -> dict[str, Any]:
    account: dict[str, Any] = machine.run("user", "show", name, "-o", "json").succeeded().json
    return account


def events(machine: Machine, name: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = machine.run("user", "history", name, "-o", "json").succeeded().json["items"]
    return items


def knows(machine: Machine, name: str, password: str) -> bool:
    return machine.run("user", "check-password", name, "--password-stdin", stdin=password).code == 0


def with_seeded(machine: Machine, *names: str) -> None:
    """Let the seed create accounts, then list none of them."""
    users(machine, *(f"email: {name}@example.org, username: {name}" for name in names))
    apply(machine).succeeded()
    seed(machine, "version: 1\nname: ci\nusers: []\n")


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


# Generated passwords.


def test_generated_passwords_are_in_the_secret_file(installed: Machine) -> None:
    users(installed, *(f"email: {name}@example.org, username: {name}, password: {{generate: true}}" for name in "xyz"))
    text = (installed.home / "seed.yaml").read_text()
    for name in "xyz":
        text = text.replace(f"{name}@", f"user-{name}@").replace(f": {name},", f": user-{name},")
    seed(installed, text)
    error = refused(apply(installed), 2, "usage")
    assert error["hint"] == "add --secret-file FILE"
    done = apply(installed, "--secret-file", "secrets")
    assert counts(done) == {"created": 3}
    assert done.json["secret_file"] == "secrets"
    file = installed.home / "secrets"
    assert file.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["username"] for line in lines] == ["user-x", "user-y", "user-z"]
    for line in lines:
        assert line["id"] == shown(installed, line["username"])["id"]
        assert knows(installed, line["username"], line["password"])
        assert line["password"] not in done.out + done.err
    again = apply(installed, "--secret-file", "secrets")
    assert counts(again) == {"unchanged": 3}
    assert "secret_file" not in again.json
    seed(installed, text + "  - {email: fay@example.org, username: fay, password: {generate: true}}\n")
    assert counts(apply(installed, "--secret-file", "secrets")) == {"created": 1, "unchanged": 3}
    assert len(file.read_text().splitlines()) == 4  # added to the others


@pytest.mark.embedded
def test_a_secret_file_is_made_only_for_passwords(installed: Machine) -> None:
    users(installed, "email: fay@example.org, username: fay, password: {generate: true}")
    apply(installed, "--secret-file", "secrets", "--dry-run").succeeded()
    assert not (installed.home / "secrets").exists()
    (installed.home / "secrets").write_text("not JSON")
    (installed.home / "secrets").chmod(0o600)
    refused(apply(installed, "--secret-file", "secrets"), 9, "storage.folder_unusable")
    assert installed.run("user", "exists", "fay").code == 3
    refused(apply(installed, "--secret-file", "-"), 2, "usage")
    refused(apply(installed, "--secret-file", "none/secrets"), 9, "storage.folder_unusable")
    assert installed.run("user", "exists", "fay").code == 3


@pytest.mark.embedded
@pytest.mark.parametrize("mode", [0o640, 0o644, 0o606])
def test_a_secret_file_that_others_can_read_is_refused(installed: Machine, mode: int) -> None:
    users(installed, "email: fay@example.org, username: fay, password: {generate: true}")
    file = installed.home / "secrets"
    file.touch()
    file.chmod(mode)
    error = refused(apply(installed, "--secret-file", "secrets"), 9, "storage.folder_unusable")
    assert error["message"] == "'secrets' is not a regular file that only its owner can read and write"
    assert file.read_bytes() == b""
    assert installed.run("user", "exists", "fay").code == 3


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("seed.yaml", "seed.yaml"),
        ("./link", "seed.yaml"),
        ("saved", "saved"),
        ("seed.yaml", "saved"),
        ("pass", "saved"),
    ],
)
def test_a_secret_file_is_no_file_that_is_read(installed: Machine, name: str, file: str) -> None:
    users(
        installed,
        "email: fay@example.org, username: fay, password: {generate: true}",
        "email: zoe@example.org, username: zoe, password: {file: pass}",
    )
    (installed.home / "pass").write_text(SECRET)
    (installed.home / "link").symlink_to("seed.yaml")
    saved(installed)
    for each in ("pass", "seed.yaml", "saved"):
        (installed.home / each).chmod(0o600)
    before = contents(installed.home)
    error = refused(apply(installed, "--secret-file", name, file=file), 2, "usage")
    assert error["message"] == f"--secret-file '{name}' is a file that this command reads"
    assert contents(installed.home) == before


@pytest.mark.embedded
@pytest.mark.parametrize(
    "text", ["version: 1\n", '{"username": "fay", "password": "x"}\nmore\n', '{"username": "fay"}\n', "[1]\n", "\n"]
)
def test_a_secret_file_contains_only_generated_passwords(installed: Machine, text: str) -> None:
    users(installed, "email: fay@example.org, username: fay, password: {generate: true}")
    file = installed.home / "secrets"
    file.write_text(text)
    file.chmod(0o600)
    error = refused(apply(installed, "--secret-file", "secrets"), 9, "storage.folder_unusable")
    assert error["message"].endswith(" of 'secrets' is not a generated password in JSON")
    assert file.read_text() == text
    assert installed.run("user", "exists", "fay").code == 3


@pytest.mark.embedded
def test_a_secret_file_belongs_to_one_process_at_a_time(installed: Machine) -> None:
    users(installed, "email: fay@example.org, username: fay, password: {generate: true}")
    file = installed.home / "secrets"
    file.touch(0o600)
    with file.open("rb+") as held:
        assert try_lock(held.fileno())
        error = refused(apply(installed, "--secret-file", "secrets"), 9, "storage.folder_unusable")
    assert error["message"] == "'secrets' is in use by another process"
    assert counts(apply(installed, "--secret-file", "secrets")) == {"created": 1}


# Saved plans.


def saved(machine: Machine, *flags: str) -> None:
    machine.run("plan", "seed.yaml", "--out", "saved", "--overwrite", *flags).succeeded()


def test_a_saved_plan_is_applied_once(installed: Machine) -> None:
    seed(installed)
    saved(installed)
    installed.run("user", "create", "other@example.org", "--username", "other", "--no-password").succeeded()
    done = apply(installed, file="saved")
    assert counts(done) == {"created": 1, "updated": 1, "opened": 1, "closed": 1}
    assert knows(installed, "new", SECRET)
    assert events(installed, "ada")[-1]["reason"] == "CI seed"
    before = installed.stored()
    refused(apply(installed, file="saved"), 4, "plan.stale")
    assert installed.stored() == before


@pytest.mark.parametrize(
    "words",
    [
        ("user", "update", "ada", "--username", "lovelace"),
        ("user", "delete", "bob", "--confirm", "bob"),
        ("user", "create", "new@example.org", "--username", "other", "--no-password"),
    ],
)
def test_a_stale_plan_changes_nothing(installed: Machine, words: tuple[str, ...]) -> None:
    seed(installed)
    saved(installed)
    installed.run(*words).succeeded()
    before = (contents(installed.home), installed.stored())
    error = refused(apply(installed, file="saved"), 4, "plan.stale")
    assert error["hint"] == "make a new plan with 'backctl plan FILE --out PLAN'"
    assert (contents(installed.home), installed.stored()) == before


def test_a_saved_plan_needs_the_same_confirmations(installed: Machine) -> None:
    with_seeded(installed, "new")
    saved(installed, "--prune")
    refused(apply(installed, file="saved"), 8, "confirmation.required")
    assert counts(apply(installed, "--yes", file="saved")) == {"closed": 1}
    saved(installed, "--prune=delete")
    refused(apply(installed, "--yes", file="saved"), 8, "confirmation.required")
    assert counts(apply(installed, "--confirm", "1", file="saved")) == {"deleted": 1}


@pytest.mark.embedded
def test_a_saved_plan_that_does_not_fit_is_refused(installed: Machine, tmp_path: Path) -> None:
    seed(installed)
    saved(installed)
    (tmp_path / "other").mkdir()
    machine = fresh(tmp_path / "other")
    for words in (("saved", "seed.yaml"), ("saved", "--prune"), ("-",)):
        refused(installed.run("apply", *words, "-o", "json"), 2, "usage")
    file = installed.home / "saved"
    text = file.read_text()
    machine.run("init").succeeded()
    (machine.home / "saved").write_text(text)
    refused(apply(machine, file="saved"), 4, "plan.other_installation")
    for broken in (text[: len(text) // 2], text.replace("moderator", "king"), text.replace('"close"', '"closed"')):
        file.write_text(broken)
        refused(apply(installed, file="saved"), 2, "plan.invalid")


# Several processes, signals, and servers.


def test_two_processes_change_each_account_once(installed: Machine) -> None:
    seed(installed)
    done = together(installed, [installed.command("apply", "seed.yaml", "-o", "json")] * 2)
    assert [each.code for each in done] == [0, 0], [each.err for each in done]
    assert sum(each.json["created"] for each in done) == 1
    for name in ("ada", "bob", "eve"):
        before = 3 if name == "eve" else 2  # eve was closed after she was created
        assert len(events(installed, name)) == before
    installed.run("audit", "verify").succeeded()


def test_one_of_two_processes_applies_a_saved_plan(installed: Machine) -> None:
    seed(installed)
    saved(installed)
    done = together(installed, [installed.command("apply", "saved", "-o", "json")] * 2)
    assert sorted(each.code for each in done) == [0, 4], [each.err for each in done]


def while_asked(machine: Machine, *changes: tuple[str, ...], flags: tuple[str, ...] = ()) -> int:
    """Run other commands while a person is asked whether to delete the account `new`. Return the exit code."""
    question, shown = b"type '1' to confirm: ", b""
    master, slave = pty.openpty()
    process = machine.start("apply", "seed.yaml", "--prune=delete", *flags, stdin=slave, stdout=slave, stderr=slave)
    while question not in shown:
        shown += os.read(master, 1024)
    for words in changes:
        machine.run(*words).succeeded()
    os.write(master, b"1\n")
    code = process.wait(timeout=60)
    for end in (master, slave):
        os.close(end)
    return code


def test_what_others_change_meanwhile_is_planned_again(installed: Machine) -> None:
    with_seeded(installed, "new")
    assert while_asked(installed, ("user", "update", "new", "--username", "renamed")) == 0
    assert installed.run("user", "exists", "renamed").code == 3


def test_no_password_is_generated_without_a_place(installed: Machine) -> None:
    with_seeded(installed, "new")
    users(installed, "email: ada@example.org, username: ada, password: {generate: true}")
    renamed = ("user", "update", "new", "--username", "renamed")
    assert while_asked(installed, renamed, ("user", "delete", "ada", "--confirm", "ada")) == 4
    assert installed.run("user", "exists", "ada").code == 3
    assert installed.run("user", "exists", "renamed").code == 0


def test_no_more_is_changed_than_allowed(installed: Machine) -> None:
    with_seeded(installed, "new")
    users(installed, "email: ada@example.org, role: user")
    renamed = ("user", "update", "new", "--username", "renamed")
    changes = (renamed, ("role", "assign", "moderator", "ada"))
    assert while_asked(installed, *changes, flags=("--max-changes", "1")) == 4
    assert installed.run("user", "exists", "renamed").code == 0
    assert while_asked(installed, ("role", "assign", "admin", "ada"), flags=("--max-changes", "2")) == 0
    assert shown(installed, "ada")["role"] == "user"


def test_no_more_is_deleted_than_was_confirmed(installed: Machine) -> None:
    with_seeded(installed, "new")
    users(installed, "email: old@example.org, username: old", name="other.yaml")
    renamed = ("user", "update", "new", "--username", "renamed")
    assert while_asked(installed, renamed, ("apply", "other.yaml")) == 4
    for name in ("renamed", "old"):
        assert installed.run("user", "exists", name).code == 0


@pytest.mark.embedded
def test_a_signal_ends_it_between_transactions(installed: Machine) -> None:
    seed(
        installed,
        "version: 1\nname: ci\n"
        "generate: {count: 20000, email: 'user{n}@example.org', username: 'user{n}', password: none}\n",
    )
    process = installed.start("apply", "seed.yaml", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while installed.rows("SELECT count(*) FROM seeded_accounts") == [(0,)]:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    ((made,),) = installed.rows("SELECT count(*) FROM seeded_accounts")
    assert (process.returncode, out) == (130, b"")
    assert made % 1000 == 0
    assert f"stopped: {made} of 20000 accounts done; run the same command again to finish the rest" in err.decode()
    assert counts(apply(installed)) == {"created": 20000 - made, "unchanged": made}
    installed.run("audit", "verify").succeeded()


def test_it_waits_for_the_server(installed: Machine) -> None:
    users(installed, "email: ada@example.org, role: user")
    assert counts(apply(installed, "--wait-server", "30s")) == {"unchanged": 1}
    refused(apply(installed, "--wait-server", "soon"), 2, "duration.invalid")


@pytest.mark.embedded
def test_progress_is_shown_on_a_terminal(installed: Machine) -> None:
    crowd = "{count: 10000, email: 'user{n}@example.org', username: 'user{n}'}"
    seed(installed, f"version: 1\nname: ci\ngenerate: {crowd}\n")
    shown = installed.at_terminal("apply", "seed.yaml")
    assert shown.code == 0
    assert "applying: " in shown.out
    assert " of 10000" in shown.out


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
