"""Protected profiles: every change needs a reason and a confirmation, and what changes nothing needs neither."""

import os
import pty
import shutil
import signal
import time
from base64 import b32decode
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.accounts import Person, lock, populate, python
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.test_every_command import LEAVES

from backctl.domain.one_time_codes import totp
from backctl.domain.values import Instant

PEOPLE = [Person("root", role="admin"), Person("ada"), Person("bob"), Person("eve", active=False)]
REASON = ("--reason", "because")
PROTECTED = {"BACKCTL_PROTECTED": "true"}

Prepare = Callable[[Machine], None]


def run(machine: Machine, *words: str, stdin: str = "") -> str:
    return machine.run(*words, stdin=stdin).succeeded().out


def with_a_locked_account(machine: Machine) -> None:
    lock(machine, "ada")


def with_a_session(machine: Machine) -> None:
    keep(machine, "token", run(machine, "token", "issue", "ada", "--pair").splitlines()[1])


def with_an_expired_session(machine: Machine) -> None:
    with_a_session(machine)
    week_us = 7 * 86_400_000_000
    machine.rows("UPDATE sessions SET created_at = created_at - ?, expires_at = created_at - ?", 2 * week_us, week_us)


def with_a_second_factor(machine: Machine) -> None:
    secret = run(machine, "user", "mfa", "enroll", "ada", "--no-header", "--fields", "secret").strip()
    code = totp(b32decode(secret), Instant(time.time_ns() // 1000))
    keep(machine, "code", totp(b32decode(secret), Instant(time.time_ns() // 1000 + 30_000_000)))
    run(machine, "user", "mfa", "confirm", "ada", "--code-stdin", "-q", stdin=code)


def with_a_pending_factor(machine: Machine) -> None:
    secret = run(machine, "user", "mfa", "enroll", "ada", "--no-header", "--fields", "secret").strip()
    keep(machine, "code", totp(b32decode(secret), Instant(time.time_ns() // 1000)))


def with_a_factor_under_an_old_key(machine: Machine) -> None:
    with_a_second_factor(machine)
    run(machine, "key", "add", "--purpose", "encrypt", "--kid", "e-new")
    run(machine, "key", "promote", "e-new")


def with_a_standby(machine: Machine) -> None:
    run(machine, "key", "add", "--kid", "s-new")


def with_a_lost_keyring(machine: Machine) -> None:
    (machine.data / "keyring.json").unlink()


def with_a_foreign_key(machine: Machine) -> None:
    run(machine, "key", "add", "--kid", "s-new")
    keep(machine, "key", run(machine, "key", "export", "s-new", "--private"))
    run(machine, "key", "destroy", "s-new", "--confirm", "s-new")


def with_an_older_database(machine: Machine) -> None:
    """The same database, for a program that is one revision ahead."""
    machine.environment["PYTHONPATH"] = str(machine.home.parent / "next")


def with_a_copy(machine: Machine) -> None:
    run(machine, "db", "backup", "copy.db")
    run(machine, "user", "deactivate", "ada")


def with_a_setting(machine: Machine) -> None:
    machine.configure('[database]\ntimeout = "2s"\n')


def with_a_profile(machine: Machine) -> None:
    machine.configure("[profiles.here]\ndatabase.timeout = '2s'\n")


def without_an_installation(machine: Machine) -> None:
    shutil.rmtree(machine.data)


def with_a_used_limit(machine: Machine) -> None:
    run(machine, "ratelimit", "check", "demo", "ada", "--rate", "3/1h")


def with_a_cached_value(machine: Machine) -> None:
    run(machine, "cache", "set", "report:1", "1", "--tag", "reports")


def with_a_queued_update(machine: Machine) -> None:
    id_ = run(machine, "user", "show", "ada", "-o", "id").strip()
    queue(machine, f'cache.write_behind("last_seen", "user:{id_}", backend.now())')


def with_a_dead_update(machine: Machine) -> None:
    queue(machine, 'cache.register_writer("score", print)', 'cache.write_behind("score", "ada", 3)')
    run(machine, "cache", "drain", "--set-aside-unknown")


def queue(machine: Machine, *statements: str) -> None:
    """Run statements of a service that queues updates."""
    lines = ("import backctl", "with backctl.open_backend() as backend:", "    cache = backend.cache")
    python(machine, "\n".join((*lines, *(f"    {statement}" for statement in statements)))).succeeded()


def with_rows(machine: Machine) -> None:
    keep(machine, "rows.jsonl", '{"email": "new@example.org", "username": "new"}\n')


def with_a_seed(machine: Machine) -> None:
    keep(machine, "test.yaml", "version: 1\nname: ci\nusers:\n  - {email: new@example.org, username: new}\n")


def unprepared(machine: Machine) -> None:
    """Nothing more than the accounts."""


def keep(machine: Machine, name: str, text: str) -> None:
    (machine.home / name).touch(mode=0o600)
    (machine.home / name).write_text(text)


CHANGES: dict[tuple[str, ...], tuple[Prepare, str]] = {
    ("init",): (without_an_installation, ""),
    ("user", "create"): (unprepared, "new@example.org --username new --generate-password --secret-file made"),
    ("user", "set-password"): (unprepared, "ada --generate-password --secret-file made"),
    ("user", "activate"): (unprepared, "eve"),
    ("user", "deactivate"): (unprepared, "ada bob"),
    ("user", "unlock"): (with_a_locked_account, "ada"),
    ("user", "update"): (unprepared, "ada --username lovelace"),
    ("user", "delete"): (unprepared, "ada"),
    ("user", "export"): (unprepared, "--include-hashes --include-mfa --out made"),
    ("user", "import"): (with_rows, "rows.jsonl --results made --generate-passwords --secret-file made-too"),
    ("user", "mfa", "enroll"): (unprepared, "ada"),
    ("user", "mfa", "confirm"): (with_a_pending_factor, "ada --code-file code --secret-file made"),
    ("user", "mfa", "disable"): (with_a_second_factor, "ada"),
    ("user", "mfa", "recovery-codes"): (with_a_second_factor, "ada"),
    ("user", "mfa", "reencrypt"): (with_a_factor_under_an_old_key, ""),
    ("role", "assign"): (unprepared, "admin ada bob"),
    ("token", "issue"): (unprepared, "ada"),
    ("token", "refresh"): (with_a_session, "--token-file token"),
    ("token", "revoke"): (with_a_session, "--user ada"),
    ("token", "gc"): (with_an_expired_session, ""),
    ("cache", "set"): (unprepared, "report:1 1"),
    ("cache", "delete"): (with_a_cached_value, "report:1"),
    ("cache", "invalidate"): (with_a_cached_value, "--tag reports"),
    ("cache", "warm", "users"): (unprepared, ""),
    ("cache", "drain"): (with_a_queued_update, ""),
    ("cache", "dead", "requeue"): (with_a_dead_update, "--all"),
    ("cache", "dead", "drop"): (with_a_dead_update, "--all"),
    ("ratelimit", "reset"): (with_a_used_limit, "demo ada --rate 3/1h"),
    ("key", "add"): (unprepared, ""),
    ("key", "promote"): (with_a_standby, "s-new"),
    ("key", "retire"): (with_a_standby, "s-new"),
    ("key", "destroy"): (with_a_standby, "s-new"),
    ("key", "rotate"): (unprepared, "--if-older-than 0d"),
    ("key", "wrap"): (unprepared, "--passphrase-env PATH"),
    ("key", "replace-lost"): (with_a_lost_keyring, ""),
    ("key", "import"): (with_a_foreign_key, "--key-file key"),
    ("key", "export"): (with_a_standby, "s-new --private --secret-file made"),
    ("config", "set"): (unprepared, "database.timeout 3s"),
    ("config", "unset"): (with_a_setting, "database.timeout"),
    ("profile", "use"): (with_a_profile, "here"),
    ("apply",): (with_a_seed, "test.yaml"),
    ("db", "upgrade"): (with_an_older_database, ""),
    ("db", "restore"): (with_a_copy, "copy.db"),
    ("db", "restored"): (with_a_session, ""),
}
CONFIRMED: dict[tuple[str, ...], Callable[[Machine], str]] = {
    ("user", "delete"): lambda machine: "ada",
    ("key", "destroy"): lambda machine: "s-new",
    ("key", "replace-lost"): lambda machine: str(machine.rows("SELECT installation_id FROM installation")[0][0]),
}
"""The names with which commands are confirmed."""


def test_the_table_has_every_mutation() -> None:
    assert set(CHANGES) == {path for path, spec in LEAVES.items() if spec.mutation}


@pytest.mark.parametrize("path", CHANGES, ids=" ".join)
def test_no_change_is_made_without_a_reason_and_a_confirmation(
    installed: Machine, path: tuple[str, ...], next_release: Path
) -> None:
    prepare, arguments = CHANGES[path]
    (installed.home.parent / "next").symlink_to(next_release)
    prepare(installed)
    installed.environment.update(PROTECTED)
    before = contents(installed.home)
    command = (*path, *arguments.split(), "-o", "json")
    for flags, hint in ((("--yes",), "--reason"), ((), "--reason TEXT and --yes"), (REASON, "--")):
        error = refused(installed.run(*command, *flags), 8, "confirmation.required")
        assert hint in error["hint"]
        assert contents(installed.home) == before
    installed.run(*command, "--dry-run").succeeded()
    assert contents(installed.home) == before
    confirmation = ("--confirm", CONFIRMED[path](installed)) if path in CONFIRMED else ("--yes",)
    installed.run(*command, *REASON, *confirmation).succeeded()
    assert contents(installed.home) != before


@pytest.mark.parametrize(
    "command",
    [
        "init",
        "user activate ada",
        "user activate ada bob",
        "user deactivate eve",
        "user unlock ada",
        "user update ada --role user",
        "user import rows.jsonl --mode upsert",
        "user mfa reencrypt",
        "role assign user ada",
        "token revoke --user ada",
        "token gc",
        "key rotate",
        "key replace-lost",
        "config unset database.timeout",
        "profile use --none",
        "db upgrade",
        "apply seed.yaml --prune=delete",
    ],
)
def test_what_changes_nothing_needs_neither(installed: Machine, command: str) -> None:
    keep(installed, "rows.jsonl", '{"email": "ada@example.org", "role": "user"}\n')
    keep(installed, "seed.yaml", "version: 1\nname: ci\nusers: [{email: ada@example.org, role: user}]\n")
    installed.environment.update(PROTECTED)
    before = contents(installed.home)
    done = installed.run(*command.split(), "-o", "json").succeeded()
    assert contents(installed.home) == before
    changed = [item["changed"] for item in done.json["items"]] if "items" in done.json else [done.json["changed"]]
    assert set(changed) == {False}


def test_an_error_is_reported_before_a_reason_is_required(installed: Machine) -> None:
    installed.environment.update(PROTECTED)
    refused(installed.run("user", "deactivate", "nobody", "-o", "json"), 3, "user.not_found")
    refused(installed.run("user", "deactivate", "root", "-o", "json"), 8, "user.last_administrator")
    refused(installed.run("key", "destroy", "nothing", "-o", "json"), 3, "key.not_found")


def test_a_person_is_asked_once_about_many_and_can_say_no(installed: Machine) -> None:
    installed.environment.update(PROTECTED)
    question = "deactivate 3 accounts (ada, bob, nobody)? [y/N] "
    words = ("user", "deactivate", "ada", "bob", "nobody", *REASON)
    before = contents(installed.home)
    for answer in ("n\n", "\n", "\x04"):
        assert installed.at_terminal(*words, keys=[(question, answer)]).code == 8
        assert contents(installed.home) == before
    done = installed.at_terminal(*words, keys=[(question, "yes\n")])
    assert (done.code, done.out.count("[y/N]")) == (7, 1)
    assert "2 changed" in done.out


def test_a_signal_at_a_question_changes_nothing(installed: Machine) -> None:
    installed.environment.update(PROTECTED)
    before = contents(installed.home)
    question = b"deactivate 2 accounts (ada, bob)? [y/N] "
    master, slave = pty.openpty()
    process = installed.start("user", "deactivate", "ada", "bob", *REASON, stdin=slave, stdout=slave, stderr=slave)
    shown = b""
    while question not in shown:
        shown += os.read(master, 1024)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert contents(installed.home) == before
    for end in (master, slave):
        os.close(end)


def test_a_person_needs_a_reason_too(installed: Machine) -> None:
    installed.environment.update(PROTECTED)
    done = installed.at_terminal("user", "deactivate", "ada")
    assert (done.code, "[y/N]" in done.out, "add --reason TEXT" in done.out) == (8, False, True)


def test_the_reason_is_recorded(installed: Machine) -> None:
    installed.environment.update(PROTECTED)
    installed.run("user", "deactivate", "ada", "--yes", "--reason", "left the team").succeeded()
    events = installed.run("user", "history", "ada", "-o", "json").succeeded().json["items"]
    assert [event["reason"] for event in events] == [None, "left the team"]


def test_a_change_on_a_fresh_machine_is_asked_about_too(machine: Machine) -> None:
    machine.environment.update(PROTECTED)
    for words in (("init",), ("user", "create", "a@example.org", "--username", "ada", "--no-password")):
        refused(machine.run(*words, "-o", "json"), 8, "confirmation.required")
        assert contents(machine.home) == {}


def test_the_first_setting_is_asked_about_too(machine: Machine) -> None:
    machine.environment.update(PROTECTED)
    other = str(machine.home / "other.toml")
    for flags in ((), ("-p", "production"), ("--config", other), ("-p", "production", "--config", other)):
        words = ("config", "set", "database.timeout", "3s", *flags, "-o", "json")
        error = refused(machine.run(*words, *REASON), 8, "confirmation.required")
        assert error["message"] == "not confirmed: set database.timeout?"
        refused(machine.run(*words, "--yes"), 8, "confirmation.required")
        assert contents(machine.home) == {}
    machine.run("config", "set", "database.timeout", "3s", *REASON, "--yes").succeeded()
    assert machine.run("config", "get", "database.timeout").succeeded().out == "3s\n"


def test_the_question_names_the_profile(installed: Machine) -> None:
    installed.configure('[profiles.production]\nprotected = true\ndatabase.url = "default"\n')
    error = refused(
        installed.run("user", "deactivate", "ada", "-p", "production", *REASON, "-o", "json"),
        8,
        "confirmation.required",
    )
    assert error["message"] == "not confirmed: deactivate ada in profile production?"


def test_queries_need_neither(installed: Machine) -> None:
    installed.environment.update(PROTECTED)
    for command in ("user list", "user show ada", "audit verify", "doctor", "db status", "db check", "config show"):
        installed.run(*command.split()).succeeded()
    installed.run("db", "backup", str(installed.home / "copy.db")).succeeded()


def test_populating_is_not_part_of_it(installed: Machine) -> None:
    """An embedding service is not asked: protection belongs to the command line."""
    installed.environment.update(PROTECTED)
    populate(installed, [Person("zoe")])
    assert installed.run("user", "exists", "zoe").code == 0
