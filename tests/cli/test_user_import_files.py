"""The files that `user import` reads and writes, and the flags that do not fit together."""

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.test_user_import import counts, failures, import_, knows, lines, row, shown

PEOPLE = [Person("root", role="admin"), Person("ada")]
MADE = ("--generate-passwords", "--secret-file", "secrets")


def read(path: Path) -> list[dict[str, Any]]:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return [json.loads(line) for line in path.read_text().splitlines()]


# Results.


def test_the_results_have_a_line_for_each_row(installed: Machine) -> None:
    rows: list[Mapping[str, object]] = [row("eve"), row("ada", id="1"), {"phone": "1"}, row("root", role="admin")]
    done = import_(installed, rows, "--mode", "skip", "--results", "results")
    assert counts(done, 7) == {"created": 1, "unchanged": 1, "failed": 2}
    assert done.json["results_file"] == "results"
    first, second, third, fourth = read(installed.home / "results")
    assert first == {"line": 1, "result": "created", "id": shown(installed, "eve")["id"], "email": "eve@example.org"}
    assert [second[name] for name in ("line", "result", "id", "email")] == [2, "failed", None, "ada@example.org"]
    assert list(second["error"]) == ["code", "exit", "message", "hint", "retryable"]
    assert (second["error"]["code"], second["error"]["exit"]) == ("input.invalid", 2)
    assert (third["line"], third["result"], third["email"]) == (3, "failed", None)
    assert fourth["result"] == "unchanged"


def test_standard_error_names_twenty_failed_rows_and_the_results_all(installed: Machine) -> None:
    rows = [row("ada", id=f"no uuid {number}") for number in range(30)]
    done = import_(installed, rows, "--results", "results")
    assert done.code == 7
    assert done.err.count('{"line"') == 20
    assert "10 more failed rows are not shown" in done.err
    assert "30 of 30 rows failed: line 1, line 2, line 3, line 4, line 5, …" in done.err
    assert len(read(installed.home / "results")) == 30
    text = installed.run("user", "import", "-", stdin=lines(rows[0]))
    assert (text.code, text.err.splitlines()[0][:24]) == (7, "backctl: error: line 1: ")


def test_a_resumed_import_asks_the_database(installed: Machine) -> None:
    """The results of an earlier run name accounts that exist, that do not exist, and rows that are not done."""
    given = "0198c0de-1111-7222-8333-444455556666"
    rows = [row("eve"), row("fay"), row("gil", id=given), row("hal"), row("ada")]
    assert counts(import_(installed, rows[:3], "--results", "results")) == {"created": 3}
    lost = read(installed.home / "results")[1]["id"]
    installed.run("user", "delete", "fay", "--erase", "--confirm", "fay").succeeded()
    with (installed.home / "results").open("a") as file:
        file.write('{"line": 4, "result": "created", "id": "0198c0de-2222-7222-8333-4444')  # cut off by a crash
    before = (installed.home / "results").read_bytes()
    dry = import_(installed, rows, "--resume", "results", "--dry-run")
    assert counts(dry, 7) == {"created": 2, "unchanged": 2, "failed": 1}
    assert (installed.home / "results").read_bytes() == before
    done = import_(installed, rows, "--resume", "results")
    assert counts(done, 7) == {"created": 2, "unchanged": 2, "failed": 1}
    assert done.json["results_file"] == "results"
    assert (shown(installed, "fay")["id"], shown(installed, "gil")["id"]) == (lost, given)
    found = read(installed.home / "results")
    assert [(each["line"], each["result"]) for each in found] == [
        *((1, "created"), (2, "created"), (3, "created")),
        *((1, "unchanged"), (2, "created"), (3, "unchanged"), (4, "created"), (5, "failed")),
    ]
    assert counts(import_(installed, rows[:4], "--resume", "results")) == {"unchanged": 4}


def test_the_results_of_another_file_say_nothing_about_a_row(installed: Machine) -> None:
    assert counts(import_(installed, [row("eve"), row("fay")], "--results", "results")) == {"created": 2}
    other = [row("fay"), row("ada", role="moderator")]
    assert counts(import_(installed, other, "--resume", "results", "--mode", "upsert")) == {
        "updated": 1,
        "unchanged": 1,
    }
    assert failures(import_(installed, other, "--resume", "results")) == dict.fromkeys((1, 2), "user.email_taken")


@pytest.mark.parametrize(
    "text", ["x\n", "[]\n", "{}\n", '{"line": "1", "result": "created", "id": null}\n', "[" * 9999 + "\n", "\xff\n"]
)
def test_a_file_that_has_no_results_is_not_resumed(installed: Machine, text: str) -> None:
    (installed.home / "other").touch(mode=0o600)
    (installed.home / "other").write_text(text, encoding="latin-1")
    before = contents(installed.home)
    error = refused(import_(installed, [row("eve")], "--resume", "other"), 2, "input.invalid")
    assert error["message"] == "line 1 is not the result of an import"
    assert contents(installed.home) == before


# Generated passwords.


def test_generated_passwords_are_those_of_the_accounts_without_one(installed: Machine) -> None:
    rows = [row("eve"), row("fay", password="correct horse battery"), row("ada"), row("gil", role="nothing")]
    done = import_(installed, rows, *MADE, "--mode", "upsert")
    assert counts(done, 7) == {"created": 2, "unchanged": 1, "failed": 1}
    assert done.json["secret_file"] == "secrets"
    (secret,) = read(installed.home / "secrets")
    assert {**secret, "password": ""} == {"id": shown(installed, "eve")["id"], **row("eve"), "password": ""}
    assert len(secret["password"]) >= 20
    assert knows(installed, "eve", secret["password"])
    assert secret["password"] not in done.out + done.err
    assert knows(installed, "fay", "correct horse battery")
    assert shown(installed, "ada")["has_password"] is False


def test_where_no_password_is_generated_there_is_no_file_of_them(installed: Machine) -> None:
    done = import_(installed, [row("ada")], *MADE, "--mode", "upsert", "--results", "results")
    assert counts(done) == {"unchanged": 1}
    assert "secret_file" not in done.json
    assert not (installed.home / "secrets").exists()
    dry = import_(installed, [row("eve")], *MADE, "--results", "other", "--dry-run")
    assert counts(dry) == {"created": 1}
    assert dry.json["results_file"] is None
    assert not {"secrets", "other"} & set(os.listdir(installed.home))


def test_a_resumed_import_adds_to_the_generated_passwords(installed: Machine) -> None:
    rows = [row("eve"), row("fay")]
    assert counts(import_(installed, rows[:1], *MADE, "--results", "results")) == {"created": 1}
    error = refused(import_(installed, rows, *MADE, "--mode", "skip"), 4, "file.exists")
    assert error["message"] == "'secrets' already exists"
    assert counts(import_(installed, rows, *MADE, "--resume", "results")) == {"created": 1, "unchanged": 1}
    eve, fay = read(installed.home / "secrets")
    assert knows(installed, "eve", eve["password"])
    assert knows(installed, "fay", fay["password"])


def test_generated_passwords_are_not_added_to_a_file_that_others_can_read(installed: Machine) -> None:
    rows = [row("eve"), row("fay")]
    assert counts(import_(installed, rows[:1], *MADE, "--results", "results")) == {"created": 1}
    (installed.home / "secrets").chmod(0o644)
    error = refused(import_(installed, rows, *MADE, "--resume", "results"), 9, "storage.folder_unusable")
    assert error["message"] == "'secrets' is not a regular file that only its owner can read and write"
    assert installed.run("user", "exists", "fay").code == 3


def test_generated_passwords_are_not_written_through_a_dangling_link(installed: Machine) -> None:
    rows = [row("eve"), row("fay")]
    assert counts(import_(installed, rows[:1], "--results", "results")) == {"created": 1}
    (installed.home / "rows.jsonl").write_text(lines(*rows))
    (installed.home / "secrets").symlink_to("nowhere")
    done = installed.run("user", "import", "rows.jsonl", *MADE, "--resume", "results", "-o", "json")
    refused(done, 9, "storage.folder_unusable")
    assert not (installed.home / "nowhere").exists()
    assert installed.run("user", "exists", "fay").code == 3


def test_generated_passwords_are_not_added_to_the_accounts(installed: Machine) -> None:
    rows = [row("eve"), row("fay")]
    assert counts(import_(installed, rows[:1], "--results", "results")) == {"created": 1}
    file = installed.home / "secrets"
    file.write_text(lines(*rows))
    file.chmod(0o600)
    done = installed.run("user", "import", "./secrets", *MADE, "--resume", "results", "-o", "json")
    assert refused(done, 2, "usage")["message"] == "the accounts and the passwords need two files"
    assert file.read_text() == lines(*rows)
    assert installed.run("user", "exists", "fay").code == 3


@pytest.mark.parametrize(
    "flags", [("--results", "there"), (*MADE[:1], "--secret-file", "there"), ("--dry-run", "--results", "there")]
)
@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_a_file_to_write_must_not_exist(installed: Machine, flags: tuple[str, ...], kind: str) -> None:
    there = installed.home / "there"
    if kind == "folder":
        there.mkdir()
    elif kind == "file":
        there.write_text("before")
    else:
        there.symlink_to("nowhere")
    before = contents(installed.home)
    other = ("--results", "made") if "--results" not in flags else ()
    error = refused(import_(installed, [row("eve")], *flags, *other), 4, "file.exists")
    assert error["hint"] == "choose a file that does not exist"
    assert contents(installed.home) == before


def test_a_file_to_continue_must_be_a_private_one(installed: Machine) -> None:
    error = refused(import_(installed, [row("eve")], "--resume", "nothing"), 9, "storage.folder_unusable")
    assert "'nothing' cannot be used: no such file or directory" in error["message"]
    assert error["hint"] == "check the name of the file"
    file = installed.home / "results"
    for mode in (0o620, 0o602):
        file.touch()
        file.chmod(mode)
        refused(import_(installed, [row("eve")], "--resume", "results"), 9, "storage.folder_unusable")
    file.unlink()
    os.mkfifo(file)
    refused(import_(installed, [row("eve")], "--resume", "results"), 9, "storage.folder_unusable")
    assert installed.run("user", "exists", "eve").code == 3


# Input that cannot be read twice.


def test_standard_input_is_read_once(installed: Machine) -> None:
    rows = [row("eve")]
    for flags in (("--max-changes", "5"), ("--max-changes", "5", "--dry-run")):
        error = refused(import_(installed, rows, *flags), 2, "usage")
        assert error["message"] == "standard input can be read only once"
    assert installed.run("user", "exists", "eve").code == 3
    os.mkfifo(installed.home / "pipe")
    command = ("user", "import", "pipe", "--max-changes", "5", "-o", "json")
    with installed.start(*command, stdin=-3, stdout=-1, stderr=-1) as process:
        (installed.home / "pipe").write_text(lines(*rows))
        _, err = process.communicate(timeout=60)
    assert (process.returncode, b"'pipe' can be read only once" in err) == (2, True), err


def test_a_protected_profile_reads_standard_input_once_if_it_is_confirmed(installed: Machine) -> None:
    installed.environment["BACKCTL_PROTECTED"] = "true"
    refused(import_(installed, [row("eve")], "--yes"), 8, "confirmation.required")
    refused(import_(installed, [row("eve")], "--reason", "we move"), 8, "confirmation.required")
    assert counts(import_(installed, [row("eve")], "--yes", "--reason", "we move")) == {"created": 1}
    # A dry run looks for changes first, and then the rows are gone.
    error = refused(import_(installed, [row("ada")], "--mode", "skip"), 2, "usage")
    assert "confirm with --yes" in error["hint"]


def test_a_person_at_a_terminal_confirms_a_file(installed: Machine) -> None:
    installed.environment["BACKCTL_PROTECTED"] = "true"
    session = {"model": "sessions.session", "fields": {}}
    user = {"model": "auth.user", "fields": {"username": "eve", "email": "eve@example.org", "password": ""}}
    (installed.home / "dump.json").write_text(json.dumps([session, user]))
    words = ("user", "import", "dump.json", "--format", "django", "--reason", "we move")
    question = "import accounts from dump.json? [y/N] "
    assert installed.at_terminal(*words, keys=[(question, "n\n")]).code == 8
    assert installed.run("user", "exists", "eve").code == 3
    done = installed.at_terminal(*words, keys=[(question, "y\n")])
    assert (done.code, "1 rows are not accounts and were ignored" in done.out) == (0, True), done.out
    assert installed.run("user", "exists", "eve").code == 0


# Flags and files that cannot be used.


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--update-secrets",), "--update-secrets needs --mode upsert"),
        (("--generate-passwords",), "--generate-passwords needs a file for the passwords"),
        (("--secret-file", "made"), "--secret-file is for --generate-passwords"),
        (("--results", "made", "--resume", "made"), "--results and --resume cannot be combined"),
        ((*MADE, "--results", "secrets"), "the results and the passwords need two files"),
        ((*MADE, "--resume", "secrets"), "the results and the passwords need two files"),
        (("--all-or-nothing", "--resume", "made"), "--all-or-nothing leaves nothing to resume"),
        (("--results", "-"), "'-' is not a file for --results"),
        (("--resume", "-"), "'-' is not a file for --resume"),
        (("--generate-passwords", "--secret-file", "-"), "'-' is not a file for --secret-file"),
        (("--batch-size", "0"), "--batch-size must be 1 to 10000, not 0"),
        (("--batch-size", "10001"), "--batch-size must be 1 to 10000, not 10001"),
        (("--batch-size", "many"), None),
        (("--max-errors", "-1"), None),
        (("--max-errors", "101%"), "invalid limit --max-errors '101%'"),
        (("--max-changes", "some"), "invalid limit --max-changes 'some'"),
        (("--map", "mail"), "invalid mapping 'mail'"),
        (("--map", "=email"), "invalid mapping '=email'"),
        (("--map", "mail=address"), "'mail=address' maps to an unknown member"),
        (("--map", "a=email", "--map", "b=email"), "two columns are mapped to 'email'"),
        (("--map", "a=email", "--map", "a="), "the column 'a' is mapped twice"),
        (("--mode", "merge"), None),
        (("--format", "xml"), None),
    ],
)
def test_flags_that_do_not_fit_are_refused(installed: Machine, flags: tuple[str, ...], message: str | None) -> None:
    before = contents(installed.home)
    done = import_(installed, [row("eve")], *flags)
    assert (done.code, done.out) == (2, ""), done.err
    assert message is None or done.error["message"] == message
    assert contents(installed.home) == before


def test_a_file_that_cannot_be_read_is_named(installed: Machine) -> None:
    (installed.home / "folder").mkdir()
    for name in ("nothing", "folder", "folder/nothing"):
        error = refused(installed.run("user", "import", name, "-o", "json"), 2, "usage")
        assert f"'{name}'" in error["message"]


@pytest.mark.parametrize("flags", [("--results",), (*MADE[:1], "--secret-file")], ids=lambda flags: flags[-1])
def test_files_that_cannot_be_created_are_refused_before_the_first_change(
    installed: Machine, flags: tuple[str, ...]
) -> None:
    before = contents(installed.home)
    for file in ("none/made", "/proc/made"):
        error = refused(import_(installed, [row("eve")], *flags, file), 9, "storage.folder_unusable")
        assert error["message"] == f"'{file}' cannot be used: no such file or directory"
        assert installed.run("user", "exists", "eve").code == 3
    assert contents(installed.home).keys() == before.keys()


# Text for people.


def test_the_report_of_a_terminal_and_of_scripts(installed: Machine) -> None:
    done = installed.run("user", "import", "-", stdin=lines(row("eve"))).succeeded()
    assert done.err == ""
    assert done.out.splitlines()[0].split("\t")[:5] == ["total", "created", "updated", "unchanged", "failed"]
    assert done.out.splitlines()[1].split("\t")[:5] == ["1", "1", "0", "0", "0"]
    words = ("user", "import", "-", "--mode", "skip", "--fields", "created,unchanged", "--no-header")
    assert installed.run(*words, stdin=lines(row("eve"))).succeeded().out == "0\t1\n"
    assert installed.run("user", "import", "-", "-q", stdin=lines(row("fay"))).succeeded().out == ""
    quiet = installed.run("user", "import", "-", "-q", stdin=lines(row("fay")))
    assert (quiet.code, quiet.out) == (7, "")
    assert "line 1: the e-mail address 'fay@example.org' belongs to another account" in quiet.err


def test_the_estimated_number_of_rows_is_shown_only_once_there_is_one(installed: Machine) -> None:
    for count in (3, 2000):
        (installed.home / "rows.jsonl").write_text(lines(*(row(f"user{number}") for number in range(count))))
        done = installed.at_terminal("user", "import", "rows.jsonl", "--mode", "skip")
        assert done.code == 0
        shown = re.findall(r"importing: (\d+)(?: of about (\d+), [^,]+, (\d+) s left)?", done.out)
        assert all(not about or int(rows) <= int(about) <= 2100 for rows, about, _ in shown), done.out


def test_an_empty_input_has_no_rows(installed: Machine) -> None:
    for form, text in (("jsonl", "\n \n"), ("json", "[]"), ("csv", "email,username\n"), ("django", "[]")):
        done = installed.run("user", "import", "-", "--format", form, "-o", "json", stdin=text)
        assert counts(done) == {}
    for form in ("json", "csv"):
        assert installed.run("user", "import", "-", "--format", form, stdin="").code == 2
