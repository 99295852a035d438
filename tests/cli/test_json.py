"""Every command prints the JSON that docs/json.md describes."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests import json_table
from tests.cli.accounts import Person
from tests.cli.conftest import Machine, Outcome
from tests.cli.test_protection import (
    CHANGES,
    CONFIRMED,
    with_a_cached_value,
    with_a_dead_update,
    with_a_pending_factor,
    with_a_queued_update,
    with_a_second_factor,
    with_a_seed,
    with_a_session,
    with_a_used_limit,
)

from backctl.presentation.declaration import FURTHER_MEMBERS, LeafSpec

PEOPLE = [Person("root", role="admin"), Person("ada"), Person("bob"), Person("eve", active=False)]
LEAVES = json_table.leaves()
POLICY = '[ratelimit.policies.login]\nlimit = 1\nwindow = "1h"\n[ratelimit.policies.api]\nlimit = 9\nwindow = "1h"\n'

Prepare = Callable[[Machine], None]


def unprepared(machine: Machine) -> None:
    machine.configure(POLICY)


def with_a_profile(machine: Machine) -> None:
    machine.configure('[profiles.here]\ndatabase.url = "default"\n')


def with_a_token(machine: Machine) -> None:
    token = machine.run("token", "issue", "ada").succeeded().out
    (machine.home / "token").touch(mode=0o600)
    (machine.home / "token").write_text(token)


def with_a_revoked_token(machine: Machine) -> None:
    with_a_token(machine)
    machine.run("token", "revoke", "--user", "ada", "-y").succeeded()


def with_an_encrypted_value(machine: Machine) -> None:
    value = machine.run("encrypt", "--context", "c", stdin="value").succeeded().out
    (machine.home / "encrypted").write_text(value)


def with_a_password(machine: Machine) -> None:
    machine.run("user", "set-password", "ada", "--password-stdin", "-q", stdin="correct horse battery").succeeded()


def with_a_broken_file(machine: Machine) -> None:
    unprepared(machine)
    (machine.home / "broken.toml").write_text("typo = 1\n")
    (machine.home / "broken.toml").chmod(0o600)


def with_a_forged_event(machine: Machine) -> None:
    unprepared(machine)
    machine.rows("UPDATE events SET actor = 'mallory' WHERE seq = 2")


CASES: list[tuple[str, Prepare, str, bytes, int]] = [  # command, preparation, arguments, standard input, exit code
    ("access check", unprepared, "ada self:show", b"", 0),
    ("access check", unprepared, "ada user:list", b"", 6),
    ("access check --explain", unprepared, "ada user:list", b"", 6),
    ("audit list", unprepared, "--limit 2", b"", 0),
    ("audit show", unprepared, "1", b"", 0),
    ("audit verify", unprepared, "", b"", 0),
    ("audit verify", with_a_forged_event, "", b"", 6),
    ("cache explain", with_a_cached_value, "report:1", b"", 0),
    ("cache get", with_a_cached_value, "report:1", b"", 0),
    ("cache list", with_a_cached_value, "", b"", 0),
    ("cache stats", with_a_cached_value, "", b"", 0),
    ("cache stats", with_a_queued_update, "", b"", 0),
    ("cache dead list", unprepared, "", b"", 0),
    ("cache dead list", with_a_dead_update, "", b"", 0),
    ("cache delete", unprepared, "none --if-exists", b"", 0),
    ("cache invalidate", with_a_cached_value, "report:*", b"", 0),
    ("completion bash", unprepared, "", b"", 0),
    ("completion fish", unprepared, "", b"", 0),
    ("completion zsh", unprepared, "", b"", 0),
    ("config get", unprepared, "passwords.min_length", b"", 0),
    ("config get", unprepared, "database.url", b"", 0),
    ("config path", unprepared, "", b"", 0),
    ("config show", unprepared, "", b"", 0),
    ("config show --origin", unprepared, "", b"", 0),
    ("config validate", unprepared, "", b"", 0),
    ("config validate", with_a_broken_file, "broken.toml", b"", 9),
    ("db backup", unprepared, "copy.db", b"", 0),
    ("db check", unprepared, "", b"", 0),
    ("db status", unprepared, "", b"", 0),
    ("decrypt", with_an_encrypted_value, "--context c --value-file encrypted", b"", 0),
    ("decrypt --out", with_an_encrypted_value, "plain --context c --lines --file encrypted", b"", 0),
    ("doctor", unprepared, "", b"", 0),
    ("encrypt", unprepared, "--context c", b"value", 0),
    ("encrypt --out", unprepared, "made --context c --lines", b"a\nb\n", 0),
    ("help environment", unprepared, "", b"", 0),
    ("help exit-codes", unprepared, "", b"", 0),
    ("help formatting", unprepared, "", b"", 0),
    ("help identities", unprepared, "", b"", 0),
    ("help options", unprepared, "", b"", 0),
    ("help time", unprepared, "", b"", 0),
    ("key due", unprepared, "", b"", 6),
    ("key due", unprepared, "--if-older-than 0d", b"", 0),
    ("key jwks", unprepared, "", b"", 0),
    ("key list", unprepared, "", b"", 0),
    ("plan", with_a_seed, "test.yaml", b"", 0),
    ("plan", with_a_seed, "test.yaml --detailed-exitcode", b"", 10),
    ("profile current", with_a_profile, "-p here", b"", 0),
    ("profile current", unprepared, "", b"", 0),
    ("profile list", with_a_profile, "", b"", 0),
    ("profile show", with_a_profile, "here", b"", 0),
    ("ratelimit check", unprepared, "login ada", b"", 0),
    ("ratelimit check", unprepared, "login ada --cost 2", b"", 6),
    ("ratelimit check", unprepared, "login ada --also api", b"", 0),
    ("ratelimit check", unprepared, "login ada --also api --cost 2", b"", 6),
    ("ratelimit check", unprepared, "login --from-file -", b"ada\nada\n{}\n", 7),
    ("ratelimit list", with_a_used_limit, "", b"", 0),
    ("ratelimit peek", unprepared, "login ada", b"", 0),
    ("ratelimit policy list", unprepared, "", b"", 0),
    ("ratelimit policy show", unprepared, "login", b"", 0),
    ("ratelimit run", unprepared, "login ada -- true", b"", 0),
    ("ratelimit simulate", unprepared, "login --log -", b"2026-01-01T00:00:00Z ada\n", 0),
    ("reencrypt", with_an_encrypted_value, "--context c --value-file encrypted", b"", 0),
    ("reencrypt --out", with_an_encrypted_value, "made --context c --lines --file encrypted", b"", 0),
    ("role assign", unprepared, "admin ada", b"", 0),
    ("role assign", unprepared, "admin ada nobody -y", b"", 7),
    ("role list", unprepared, "", b"", 0),
    ("role show", unprepared, "admin", b"", 0),
    ("sanitize", unprepared, "", b"<b>x</b>", 0),
    ("sanitize", unprepared, "--format jsonl", b'"<b>x</b>"\n"y"\nz\n', 7),
    ("sanitize --explain", unprepared, "", b"<b>x</b>", 0),
    ("token inspect", with_a_token, "--token-file token", b"", 0),
    ("token issue", unprepared, "ada --pair", b"", 0),
    ("token issue", unprepared, "ada -n", b"", 0),
    ("token list", with_a_session, "ada", b"", 0),
    ("token revoke", with_a_token, "--token-file token", b"", 0),
    ("token revoke", unprepared, "--all -y", b"", 0),
    ("token revoke", unprepared, "", b"x.y.z", 0),
    ("token verify", with_a_token, "--token-file token", b"", 0),
    ("token verify", with_a_revoked_token, "--token-file token", b"", 6),
    ("token verify", unprepared, "", b"x.y.z", 6),
    ("token verify", unprepared, "--batch", b"x.y.z\n", 7),
    ("user activate", unprepared, "ada", b"", 0),
    ("user activate", unprepared, "eve ada nobody -y", b"", 7),
    ("user check-password", with_a_password, "ada --password-stdin", b"correct horse battery", 0),
    ("user check-password", with_a_password, "ada --password-stdin", b"wrong horse battery", 6),
    ("user count", unprepared, "", b"", 0),
    ("user create", unprepared, "new@example.org --username new --generate-password", b"", 0),
    ("user create", unprepared, "new@example.org --username new --no-password -n", b"", 0),
    ("user delete", unprepared, "ada nobody --confirm 2", b"", 7),
    ("user delete", unprepared, "nobody --if-exists", b"", 0),
    ("user exists", unprepared, "ada", b"", 0),
    ("user exists", unprepared, "nobody", b"", 3),
    ("user history", unprepared, "ada", b"", 0),
    ("user import", unprepared, "-", b'{"email": "new@example.org", "username": "new"}\n{}\n', 7),
    ("user import", unprepared, "- --dry-run", b'{"email": "ada@example.org"}\n', 7),
    ("user list", unprepared, "--limit 2", b"", 0),
    ("user list", unprepared, "--all", b"", 0),
    ("user list", unprepared, "--search nobody", b"", 0),
    ("user mfa status", unprepared, "ada", b"", 0),
    ("user mfa status", with_a_pending_factor, "ada", b"", 0),
    ("user mfa recovery-codes", with_a_second_factor, "ada", b"", 0),
    ("user show", unprepared, "ada", b"", 0),
    ("version", unprepared, "", b"", 0),
]


def spec_of(command: str) -> tuple[tuple[str, ...], str, LeafSpec]:
    """Return the words of a command, the option that selects another result, and the declaration."""
    words, option = command.split(), ""
    if words[-1].startswith("--"):
        option = words.pop()
    return tuple(words), option, LEAVES[tuple(words)]


def test_the_cases_are_all_commands_and_all_their_results() -> None:
    covered = {command for command, *_ in CASES} | {" ".join(path) for path in CHANGES} | {"key show"}
    wanted = {" ".join(path) for path in LEAVES}
    wanted |= {f"{' '.join(path)} {option}" for path, spec in LEAVES.items() for option in spec.others}
    assert covered == wanted


def test_the_document_has_the_table_that_the_declarations_make() -> None:
    text = json_table.DOCUMENT.read_text(encoding="utf-8")
    assert text == json_table.document(), "run `python -m tests.json_table`"
    for path in LEAVES:
        assert f"| `{' '.join(path)}` |" in text


@pytest.mark.parametrize(
    ("command", "prepare", "arguments", "stdin", "code"),
    CASES,
    ids=[f"{command} {arguments}".strip() for command, _, arguments, _, _ in CASES],
)
def test_results_are_as_the_document_says(
    installed: Machine, command: str, prepare: Prepare, arguments: str, stdin: bytes, code: int
) -> None:
    path, option, spec = spec_of(command)
    prepare(installed)
    words = (*path, "-o", "json", *filter(None, [option, *arguments.split(" ")]))
    done = installed.run(*words, stdin=stdin)
    assert done.code == code, done.err
    kind, view = (spec.kind, 0) if not option else (spec.others[option][0], 1 + list(spec.others).index(option))
    require_shape(spec, kind, done, view)


@pytest.mark.parametrize("path", CHANGES, ids=" ".join)
def test_changes_are_as_the_document_says(installed: Machine, path: tuple[str, ...], next_release: Path) -> None:
    prepare, arguments = CHANGES[path]
    shutil.copytree(next_release, installed.home.parent / "next", dirs_exist_ok=True)
    prepare(installed)
    confirmed = ("--confirm", CONFIRMED[path](installed)) if path in CONFIRMED else ("--yes",)
    words = (*path, *arguments.split(), *confirmed, "-o", "json")
    dry = installed.run(*words, "--dry-run").succeeded()
    require_shape(LEAVES[path], "mutation", dry, 0)
    assert '"dry_run": true' in dry.out
    require_shape(LEAVES[path], "mutation", installed.run(*words).succeeded(), 0)


def test_a_key_is_shown_as_the_document_says(installed: Machine) -> None:
    key = installed.run("key", "list", "-o", "id").succeeded().out.split()[0]
    require_shape(LEAVES["key", "show"], "object", installed.run("key", "show", key, "-o", "json").succeeded(), 0)


def require_shape(spec: LeafSpec, kind: str, done: Outcome, view: int) -> None:
    """Check the document of a command against its declaration."""
    if kind == "nothing":
        assert done.out == ""
        return
    document = done.json
    if not spec.views():
        assert isinstance(document, dict)
        return
    members = json_table.member_types(spec.views()[view])
    match kind, list(document):
        case "list", names:
            assert names == ["items", "next_cursor"]
            for item in document["items"]:
                require_members(item, members)
        case "plan", names:
            assert names == ["items", "summary"]
            assert list(document["summary"]) == ["create", "update", "open", "close", "delete", "unchanged"]
            assert len(document["items"]) == sum(document["summary"].values()) - document["summary"]["unchanged"]
            for item in document["items"]:
                require_members(item, members)
        case "checks", names:
            assert names == ["ok", "items"]
            for item in document["items"]:
                require_members(item, members)
        case "check", ["ok", "items"]:
            assert document["ok"] is all(item["ok"] for item in document["items"])
            for item in document["items"]:
                require_members(item, members)
        case _, ["items", "summary"]:
            require_batch(spec, document, members)
        case "mutation", _:
            assert isinstance(document["changed"], bool)
            require_members(document, members, spec.further())
        case _:
            require_members(document, members)
    if kind in ("check", "checks") and "summary" not in document:
        assert next(iter(document)) == "ok"
        assert document["ok"] is (done.code == 0)
        assert '"error"' not in done.err
    require_no_empty_text(document)


def require_batch(spec: LeafSpec, document: Mapping[str, Any], members: Mapping[str, Any]) -> None:
    summary, items = document["summary"], document["items"]
    counts = ["total", "yes", "no", "failed"] if spec.kind == "check" else ["total", "changed", "unchanged", "failed"]
    assert list(summary) == counts
    assert summary["total"] == len(items) == sum(summary[name] for name in counts[1:])
    assert summary["failed"] == sum("error" in item for item in items)
    if spec.kind == "check":
        assert summary["yes"] == sum(item.get("ok", False) for item in items)
    else:
        assert summary["changed"] == sum(item.get("changed", False) for item in items)
    for item in items:
        if "error" in item:
            assert set(item) in ({"ident", "error"}, {"line", "error"})
            assert list(item["error"]) == ["code", "exit", "message", "hint", "retryable"]
        else:
            require_members(item, members, spec.further())


def require_members(found: Mapping[str, Any], members: Mapping[str, Any], further: tuple[str, ...] = ()) -> None:
    """Check that these are the members, in order, with their types. `further` are those that may be there too."""
    assert [name for name in found if name not in further or name in members] == list(members)
    for name, value in found.items():
        kind = members.get(name, FURTHER_MEMBERS.get(name))
        assert json_table.fits(kind, value), f"{name} is {json.dumps(value)}, not {json_table.named(kind)}"


def require_no_empty_text(document: object) -> None:
    if isinstance(document, dict):
        assert not [name for name, value in document.items() if value == "" and name != "pointer"]
        for value in document.values():
            require_no_empty_text(value)
    elif isinstance(document, list):
        for value in document:
            require_no_empty_text(value)
