"""`user import`: rows and accounts, modes, secrets, limits, and the report."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine, Outcome
from tests.cli.expected import TIME, UUID7, refused
from tests.cli.test_user_bulk import transactions

pytestmark = pytest.mark.every_database

PEOPLE = [Person("root", role="admin"), Person("ada"), Person("bob")]
REPORT = [
    *("total", "created", "updated", "unchanged", "failed", "undone", "ignored", "errors", "password_schemes"),
    *("results_file", "changed"),
]
COUNTS = ("created", "updated", "unchanged", "failed", "undone")
OLD = {
    "id": "0198c0de-1111-7222-8333-444455556666",
    "email": "zoe@example.org",
    "username": "zoe",
    "role": "moderator",
    "is_active": False,
    "expires_at": "2040-01-02T03:04:05.000006Z",
    "must_change_password": True,
    "last_login_at": "2021-01-01T00:00:00.000000Z",
    "created_at": "2020-01-01T00:00:00.000000Z",
    "updated_at": "2020-02-01T00:00:00.000001Z",
    "version": 7,
}


def row(name: str, **members: object) -> dict[str, object]:
    return {"email": f"{name}@example.org", "username": name, **members}


def lines(*rows: Mapping[str, object]) -> str:
    return "".join(json.dumps(each) + "\n" for each in rows)


def import_(machine: Machine, rows: Sequence[Mapping[str, object]], *flags: str) -> Outcome:
    return machine.run("user", "import", "-", *flags, "-o", "json", stdin=lines(*rows))


def counts(done: Outcome, code: int = 0) -> dict[str, int]:
    """Check the exit code of an import and return its counts, without those that are 0."""
    assert done.code == code, done.err
    report = done.json
    assert report["total"] == sum(report[name] for name in COUNTS)
    assert report["changed"] is (report["created"] + report["updated"] > 0)
    return {name: report[name] for name in COUNTS if report[name]}


def failures(done: Outcome) -> dict[int, str]:
    """Return the codes of the failed rows on standard error, by line."""
    found = [json.loads(line) for line in done.err.splitlines() if line.startswith('{"line"')]
    assert all(list(each["error"]) == ["code", "exit", "message", "hint", "retryable"] for each in found)
    return {each["line"]: each["error"]["code"] for each in found}


def shown(machine: Machine, name: str) -> dict[str, Any]:
    account: dict[str, Any] = machine.run("user", "show", name, "-o", "json").succeeded().json
    return account


def events(machine: Machine, name: str) -> list[str]:
    items = machine.run("user", "history", name, "-o", "json").succeeded().json["items"]
    return [event["type"] for event in items]


def knows(machine: Machine, name: str, password: str) -> bool:
    return machine.run("user", "check-password", name, "--password-stdin", stdin=password).code == 0


# New accounts.


def test_a_new_account_gets_the_defaults_or_what_the_row_gives(installed: Machine) -> None:
    done = import_(installed, [row("eve"), OLD], "--actor", "mover", "--reason", "we move")
    assert list(done.json) == REPORT
    assert counts(done) == {"created": 2}
    assert done.err == ""
    eve, zoe = shown(installed, "eve"), shown(installed, "zoe")
    assert re.fullmatch(UUID7, eve["id"])
    assert re.fullmatch(TIME, eve["created_at"])
    assert eve["updated_at"] == eve["created_at"]
    assert (eve["role"], eve["status"], eve["mfa"], eve["has_password"], eve["version"]) == (
        *("user", "active", "off", False),
        1,
    )
    assert {name: zoe[name] for name in OLD} == OLD
    (event,) = installed.run("user", "history", "zoe", "-o", "json").succeeded().json["items"]
    assert (event["type"], event["actor"], event["reason"]) == ("UserImported", "mover", "we move")
    installed.run("audit", "verify").succeeded()


@pytest.mark.embedded
def test_every_format_is_read(installed: Machine) -> None:
    django = {"model": "auth.user", "pk": 3, "fields": {"username": "dan", "email": "dan@example.org", "password": ""}}
    session = {"model": "sessions.session", "pk": "x", "fields": {}}
    kratos = {"schema_id": "default", "state": "active", "traits": {"email": "kim@example.org"}}
    for form, name, text in (
        ("json", "a.JSON", json.dumps([row("eve")], indent=2)),
        ("csv", "a.csv", 'email,username,is_active\n"fay@example.org",fay,false\n'),
        ("jsonl", "a.ndjson", lines(row("gil"))),
        ("django", "a.txt", json.dumps([session, django])),
        ("kratos", "b.txt", json.dumps(kratos)),
    ):
        (installed.home / name).write_text(text)
        words = ("user", "import", name, *(("--format", form) if name.endswith("txt") else ()))
        done = installed.run(*words, "-o", "json").succeeded()
        assert counts(done) == {"created": 1}
        assert done.json["ignored"] == (form == "django")
        piped = installed.run("user", "import", "-", "--format", form, "--mode", "skip", "-o", "json", stdin=text)
        assert counts(piped) == {"unchanged": 1}
    assert shown(installed, "fay")["is_active"] is False
    assert shown(installed, "kim")["email"] == "kim@example.org"


@pytest.mark.embedded
def test_columns_are_renamed_and_ignored(installed: Machine) -> None:
    rows = [{"contact": {"mail": "eve@example.org"}, "login": "eve", "phone": "1"}]
    flags = ("--map", "contact.mail=email", "--map", "login=username")
    assert failures(import_(installed, rows, *flags)) == {1: "input.invalid"}
    assert counts(import_(installed, rows, *flags, "--map", "phone=")) == {"created": 1}
    assert shown(installed, "eve")["email"] == "eve@example.org"


# Accounts that exist.


def test_a_row_whose_account_exists_fails_or_is_skipped_or_updates_it(installed: Machine) -> None:
    rows = [row("ada", role="moderator"), row("eve"), {"id": shown(installed, "bob")["id"], "username": "robert"}]
    done = import_(installed, rows)
    assert counts(done, 7) == {"created": 1, "failed": 2}
    assert failures(done) == {1: "user.email_taken", 3: "user.id_taken"}
    assert done.json["errors"] == {"user.email_taken": 1, "user.id_taken": 1}
    assert counts(import_(installed, rows, "--mode", "skip")) == {"unchanged": 3}
    assert (events(installed, "ada"), events(installed, "bob")) == (["UserCreated"], ["UserCreated"])
    for wanted in ({"updated": 2, "unchanged": 1}, {"unchanged": 3}):
        assert counts(import_(installed, rows, "--mode", "upsert")) == wanted
    assert events(installed, "ada") == ["UserCreated", "UserRoleChanged"]
    assert events(installed, "robert") == ["UserCreated", "UserUsernameChanged"]
    assert (shown(installed, "ada")["role"], shown(installed, "ada")["version"]) == ("moderator", 2)
    installed.run("audit", "verify").succeeded()


def test_an_upsert_changes_only_what_the_row_gives(installed: Machine) -> None:
    before = shown(installed, "ada")
    assert counts(import_(installed, [{"email": "ada@example.org"}], "--mode", "upsert")) == {"unchanged": 1}
    full = row(
        "ada", role="admin", is_active=False, expires_at=OLD["expires_at"], version=99, created_at=OLD["created_at"]
    )
    assert counts(import_(installed, [full], "--mode", "upsert")) == {"updated": 1}
    after = shown(installed, "ada")
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"role", "is_active", "status", "expires_at", "updated_at", "version"}
    assert after["version"] < 99
    never = {"email": "ada@example.org", "expires_at": None}
    assert counts(import_(installed, [never], "--mode", "upsert")) == {"updated": 1}
    assert shown(installed, "ada")["expires_at"] is None


def test_a_row_whose_keys_belong_to_two_accounts_fails(installed: Machine) -> None:
    ada = shown(installed, "ada")["id"]
    rows = [row("bob", id=ada), row("new", username="ADA"), {"id": ada, "username": "bob"}]
    done = import_(installed, rows, "--mode", "upsert")
    assert counts(done, 7) == {"failed": 3}
    assert failures(done) == {1: "user.ambiguous", 2: "user.username_taken", 3: "import.repeated"}
    done = import_(installed, rows[2:], "--mode", "upsert")
    assert failures(done) == {1: "user.username_taken"}


@pytest.mark.embedded
def test_two_rows_with_one_key_are_one_account_and_one_failure(installed: Machine) -> None:
    rows = [
        row("eve"),
        row("eve2", email="EVE@Example.org"),
        row("EVE", email="other@example.org"),
        {**OLD, "username": "zed"},
        {**row("gil"), "id": str(OLD["id"]).upper()},
    ]
    for mode, wanted in (("create", {"created": 2, "failed": 3}), ("skip", {"unchanged": 2, "failed": 3})):
        done = import_(installed, rows, "--mode", mode, "--batch-size", "1")
        assert counts(done, 7) == wanted
        assert failures(done) == dict.fromkeys((2, 3, 5), "import.repeated")
    assert "it has the same e-mail address as line 1" in done.err
    assert "it has the same username as line 1" in done.err
    assert "it has the same id as line 4" in done.err


def test_a_changed_role_voids_access_tokens(installed: Machine) -> None:
    tokens = [installed.run("token", "issue", name).succeeded().out for name in ("ada", "bob")]
    rows = [row("ada", role="moderator"), row("bob", role="user")]
    assert counts(import_(installed, rows, "--mode", "upsert")) == {"updated": 1, "unchanged": 1}
    assert [installed.run("token", "verify", stdin=token).code == 0 for token in tokens] == [False, True]


def test_the_last_administrator_is_not_demoted(installed: Machine) -> None:
    rows = [row("root", role="user"), row("ada", role="moderator"), row("bob", is_active=False)]
    for flags in (("--dry-run",), ()):
        done = import_(installed, rows, "--mode", "upsert", *flags)
        assert counts(done, 7) == {"updated": 2, "failed": 1}
        assert failures(done) == {1: "user.last_administrator"}
    assert shown(installed, "root")["role"] == "admin"
    relieved = [row("ada", role="admin"), row("root", role="user")]
    assert counts(import_(installed, relieved, "--mode", "upsert")) == {"updated": 2}
    installed.run("audit", "verify").succeeded()


# Secrets.


def test_an_upsert_replaces_passwords_only_on_request(installed: Machine) -> None:
    first, second = "correct horse battery", "staple battery horse"
    rows = [row("eve", password=first)]
    assert counts(import_(installed, rows)) == {"created": 1}
    assert knows(installed, "eve", first)
    changed = [row("eve", password=second)]
    assert counts(import_(installed, changed, "--mode", "upsert")) == {"unchanged": 1}
    assert knows(installed, "eve", first)
    for wanted in ({"updated": 1}, {"unchanged": 1}):
        assert counts(import_(installed, changed, "--mode", "upsert", "--update-secrets")) == wanted
    assert knows(installed, "eve", second)
    assert "UserPasswordChanged" in events(installed, "eve")
    assert all(word not in str(installed.rows("SELECT * FROM events")) for word in (first, second))


def test_an_export_with_secrets_is_imported_as_it_was(installed: Machine) -> None:
    assert counts(import_(installed, [row("eve", password="correct horse battery", role="moderator"), OLD]))
    secret = {"mfa": "on", "totp_secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "totp_digits": 8}
    assert counts(import_(installed, [row("gil", **secret)])) == {"created": 1}
    export = ("user", "export", "--include-hashes", "--include-mfa", "--yes", "--format")
    for form in ("jsonl", "json", "csv"):
        before = installed.run(*export, form).succeeded().out
        words = ("user", "import", "-", "--format", form, "--mode", "upsert", "--update-secrets", "-o", "json")
        assert counts(installed.run(*words, stdin=before)) == {"unchanged": 6}
        assert installed.run(*export, form).succeeded().out == before
    names = ("eve", "zoe", "gil")
    installed.run("user", "delete", *names, "--erase", "--confirm", "3").succeeded()
    skip = ("user", "import", "-", "--format", "csv", "--mode", "skip", "-o", "json")
    assert counts(installed.run(*skip, stdin=before)) == {
        "created": 3,
        "unchanged": 3,
    }
    assert installed.run(*export, form).succeeded().out == before
    assert knows(installed, "eve", "correct horse battery")


# Transactions and limits.


def test_all_rows_or_none(installed: Machine) -> None:
    rows = [row("eve"), row("ada"), row("fay"), row("x" * 99)]
    done = import_(installed, rows, "--all-or-nothing", "--batch-size", "1", "--results", "results")
    assert counts(done, 7) == {"failed": 2, "undone": 2}
    assert "2 of 4 rows failed; so nothing was changed: line 2, line 4" in done.err
    assert installed.run("user", "exists", "eve").code == 3
    results = [json.loads(line) for line in (installed.home / "results").read_text().splitlines()]
    assert [each["result"] for each in results] == ["undone", "failed", "undone", "failed"]
    with transactions(installed) as count:
        done = import_(installed, [rows[0], rows[2]], "--all-or-nothing", "--batch-size", "1")
        assert counts(done) == {"created": 2}
        assert count("UserImported") == 1


def test_rows_of_a_batch_share_a_transaction(installed: Machine) -> None:
    with transactions(installed) as count:
        rows = [row(f"user{number}") for number in range(5)]
        assert counts(import_(installed, rows, "--batch-size", "2")) == {"created": 5}
        assert count("UserImported") == 3


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("limit", "done", "over"),
    [("0", 2, True), ("1", 4, True), ("3", 8, True), ("4", 8, False), ("49%", 2, True), ("50%", 8, False)],
)
def test_too_many_failed_rows_stop_the_import(installed: Machine, limit: str, done: int, over: bool) -> None:
    rows = [row(f"user{n}", **({"id": "x"} if n in (1, 2, 5, 7) else {})) for n in range(8)]
    ended = import_(installed, rows, "--max-errors", limit, "--batch-size", "2")
    assert ended.code == 7
    assert ended.json["total"] == done
    assert (f"over --max-errors {limit}" in ended.err) is over
    ((count,),) = installed.rows("SELECT count(*) FROM events WHERE type = 'UserImported'")
    assert count == ended.json["created"]


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("flags", "consequence", "again"),
    [
        ((), "", " with --mode skip"),
        (("--mode", "skip"), "", ""),
        (("--mode", "upsert"), "", ""),
        (("--results", "results"), "", " with --resume FILE"),
        (("--results", "results", "--dry-run"), "", ""),
        (("--all-or-nothing", "--results", "results"), "; nothing was changed", ""),
    ],
)
def test_the_hint_after_too_many_failed_rows_names_a_flag_that_fits(
    installed: Machine, flags: tuple[str, ...], consequence: str, again: str
) -> None:
    ended = import_(installed, [row("eve"), row("fay", id="x")], "--max-errors", "0", *flags)
    assert ended.code == 7
    error = json.loads(ended.err.splitlines()[-1])["error"]
    assert error["message"] == f"stopped: 1 of 2 rows failed, over --max-errors 0{consequence}"
    assert error["hint"] == f"correct the rows, then import the file again{again}"


@pytest.mark.embedded
def test_more_changes_than_allowed_are_refused_before_the_first(installed: Machine) -> None:
    rows = [row("eve"), row("fay"), row("ada")]
    (installed.home / "rows.jsonl").write_text(lines(*rows))
    words = ("user", "import", "rows.jsonl", "--mode", "skip", "-o", "json", "--max-changes")
    for limit in ("1", "0", "60%", "0%"):
        for dry in ((), ("--dry-run",)):
            error = refused(installed.run(*words, limit, *dry), 8, "changes.too_many")
            assert f"--max-changes {limit}" in error["message"]
    assert installed.run("user", "count").succeeded().out == "3\n"
    assert counts(installed.run(*words, "67%")) == {"created": 2, "unchanged": 1}
    assert counts(installed.run(*words, "0")) == {"unchanged": 3}


def test_a_dry_run_is_a_census(installed: Machine) -> None:
    django = "pbkdf2_sha256$1000$c2FsdHNhbHQ$7GXZg8rHd5LLqEkvGkR+8EvnPkVvYyRYrbRj5QKYMOg="
    rows = [
        row("eve", password_hash="$2b$04$abcdefghijklmnopqrstuuDJMUGWOErBeQDPHLHt6dTz1LjTzx2Vy"),
        row("fay", password_hash=django),
        row("gil", password="correct horse battery"),
        row("hal", password="password"),
        row("ivy", password_hash="{SHA}secret"),
        row("ada", role="moderator"),
        row("kim"),
        row("kim2", email="kim@example.org"),
    ]
    before = installed.stored()
    done = import_(installed, rows, "--dry-run", "--mode", "upsert")
    assert list(done.json) == [*REPORT, "dry_run"]
    assert counts(done, 7) == {"created": 4, "updated": 1, "failed": 3}
    assert done.json["password_schemes"] == {"bcrypt": 1, "none": 2, "pbkdf2-sha256": 1, "plain": 1}
    assert done.json["errors"] == {"import.repeated": 1, "password.hash_invalid": 1, "password.weak": 1}
    assert failures(done) == {4: "password.weak", 5: "password.hash_invalid", 8: "import.repeated"}
    assert "{SHA}secret" not in done.out + done.err
    assert installed.stored() == before
    assert installed.run("user", "count").succeeded().out == "3\n"
    assert import_(installed, rows, "--mode", "upsert").json["password_schemes"] is None
