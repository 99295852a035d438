"""Rules that every command must follow, tested with all commands."""

import re
import socket
from dataclasses import fields

import pytest
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.json_table import leaves
from typer.main import get_command

from backctl.presentation.app import app
from backctl.presentation.completion.tree import Node, read_tree
from backctl.presentation.declaration import FURTHER_MEMBERS
from backctl.presentation.leaf import Leaf

SHARED = {
    *(
        "-p",
        "--profile",
        "--config",
        "-o",
        "--output",
        "--fields",
        "--no-header",
        "--empty",
        "-q",
        "--quiet",
        "-v",
        "--verbose",
    ),
    *("--no-color", "--no-input", "--timeout"),
}
ATTRIBUTION = {"--actor", "--reason"}
VARIABLES = {f"BACKCTL_{name}" for name in ("PROFILE", "CONFIG", "OUTPUT", "NO_COLOR", "NO_INPUT", "TIMEOUT")}
FOUR_WAYS = {"stdin", "file", "fd", "env"}
OWN_CHOICES = {"--algorithm", "--fields", "--format", "--sort"}  # each command names those that it knows


LEAVES = leaves()
every_leaf = pytest.mark.parametrize("path", LEAVES, ids=" ".join)


@pytest.fixture(scope="module")
def tree() -> dict[tuple[str, ...], Node]:
    return {node.path[1:]: node for node in read_tree(get_command(app)).walk() if not node.children}


def spellings(node: Node) -> set[str]:
    return {spelling for flag in node.flags for spelling in flag.spellings}


def test_the_tree_has_every_command(tree: dict[tuple[str, ...], Node]) -> None:
    assert set(tree) == set(LEAVES)
    assert len(tree) > 30


@every_leaf
def test_every_command_understands_the_shared_flags(tree: dict[tuple[str, ...], Node], path: tuple[str, ...]) -> None:
    spec, flags = LEAVES[path], spellings(tree[path])
    assert flags >= SHARED
    assert ({"-n", "--dry-run"} <= flags) is spec.mutation
    assert ("--dry-run" in flags) is spec.mutation
    assert flags & ATTRIBUTION == (ATTRIBUTION if spec.records else set())
    assert "--yes" in flags or spec.guard != "yes"
    assert ("--confirm" in flags) is (spec.guard == "name")
    assert ({"--from-file", "--max-changes"} <= flags) is spec.bulk


def test_a_flag_that_takes_a_value_takes_one_everywhere(tree: dict[tuple[str, ...], Node]) -> None:
    kinds: dict[str, set[tuple[str, ...] | None]] = {}
    for node in tree.values():
        for flag in node.flags:
            for spelling in flag.spellings:
                kinds.setdefault(spelling, set()).add(None if flag.value is None else flag.value.choices)
    assert all(None not in found for found in kinds.values() if len(found) > 1)
    assert {spelling for spelling, found in kinds.items() if len(found) > 1} <= OWN_CHOICES


def test_every_flag_is_explained_in_sentences_and_named_the_same_everywhere(tree: dict[tuple[str, ...], Node]) -> None:
    names: dict[str, set[str | None]] = {}
    for path, node in tree.items():
        assert node.help, path
        for flag in node.flags:
            told = f"{' '.join(path)} {flag.spellings[-1]}: {flag.help}"
            assert re.match(r"[A-Z0-9']", flag.help), told
            assert "if not given" not in flag.help, told  # write "unless given"
            for spelling in flag.spellings:
                names.setdefault(spelling, set()).add(None if flag.value is None else flag.value.name)
    assert {spelling for spelling, found in names.items() if len(found) > 1} <= OWN_CHOICES


@pytest.mark.parametrize("noun", sorted({path[:-1] for path in LEAVES}), ids=" ".join)
def test_the_list_of_commands_cuts_no_sentence_short(machine: Machine, noun: tuple[str, ...]) -> None:
    shown = machine.run(*noun, "--help", env={"COLUMNS": "80"}).succeeded().out
    commands = shown.partition("\nCommands:\n")[2]
    assert commands
    assert "..." not in commands


def test_every_secret_comes_in_the_same_four_ways_and_in_no_other(tree: dict[tuple[str, ...], Node]) -> None:
    seen = set()
    for path, node in tree.items():
        ways: dict[str, set[str]] = {}
        for flag in spellings(node):
            if match := re.fullmatch(r"--(.+)-(stdin|file|fd|env)", flag):
                ways.setdefault(match[1], set()).add(match[2])
        ways.pop("from", None)  # identifiers
        assert ways.pop("secret", {"file"}) == {"file"}  # where a generated password is written
        secrets = {name.replace("_", "-") for name in LEAVES[path].secrets}
        assert ways == dict.fromkeys(secrets, FOUR_WAYS), path
        assert not {f"--{secret}" for secret in secrets} & spellings(node)
        seen |= secrets
    assert seen >= {"password", "password-hash", "value"}


@every_leaf
def test_members_are_snake_case(path: tuple[str, ...]) -> None:
    spec = LEAVES[path]
    for member in (*(field.name for view in spec.views() for field in fields(view)), *spec.members):
        assert re.fullmatch(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*", member)


@every_leaf
def test_a_member_tells_by_its_name_what_it_is(path: tuple[str, ...]) -> None:
    spec = LEAVES[path]
    for field in (field for view in spec.views() for field in fields(view)):
        kind = str(field.type)
        if "Seconds" in kind:  # a duration
            continue
        assert ("Instant" in kind) is bool(re.search(r"_(?:at|since|until)$", field.name)), field.name
        assert field.type is bool or not re.match(r"is_|has_|changed$", field.name), field.name
        assert field.name not in ("size", "bytes", "length"), f"{field.name}: in which unit?"
    assert set(spec.members) <= set(FURTHER_MEMBERS) - {"changed"}


@every_leaf
def test_members_have_the_names_that_all_commands_share(path: tuple[str, ...]) -> None:
    spec = LEAVES[path]
    names = {field.name for view in spec.views() for field in fields(view)}
    assert not names & {"path", "kid", "until", "valid_until", "not_after", "ends_at"}
    assert not names & {"valid", "intact", "allowed", "due", "denied"}  # `ok` says it
    assert not {name for name in names if name.endswith(("_kid", "_path", "_ids")) and not name.endswith("_key_ids")}
    assert not any(name.endswith("_until") for name in names - {"locked_until"})
    assert "exists" not in names or path == ("config", "path")
    assert (spec.kind == "mutation") is spec.mutation is ("changed" in spec.further())


@every_leaf
def test_the_answer_of_a_check_begins_with_ok(path: tuple[str, ...]) -> None:
    spec = LEAVES[path]
    first = [fields(view)[0].name for view in spec.views()]
    assert spec.kind != "check" or set(first) == {"ok"}
    assert "exit code 0 or" not in " ".join((spec.function.__doc__ or "").lower().split()) or spec.kind in (
        "check",
        "checks",
    )


@every_leaf
def test_a_slip_in_any_command_is_a_document_and_nothing_is_made(machine: Machine, path: tuple[str, ...]) -> None:
    error = refused(machine.run(*path, "--no-such-flag", "-o", "json"), 2, "usage")
    assert "--no-such-flag" in error["message"]
    assert not any(machine.home.iterdir())


@every_leaf
def test_no_variable_stands_for_a_confirmation_or_a_dry_run(path: tuple[str, ...]) -> None:
    named = VARIABLES | {"BACKCTL_ACTOR"} if LEAVES[path].records else VARIABLES
    assert {parameter.envvar for parameter in Leaf(LEAVES[path]).params} - {None} == named


# Where flags and settings may come from.


def test_the_configuration_can_be_named_before_the_noun(machine: Machine) -> None:
    other = machine.home / "other.toml"
    other.write_text("[passwords]\nmin_length = 21\n")
    other.chmod(0o600)
    for words in (
        ("--config", str(other), "config", "get", "passwords.min_length"),
        ("config", "get", "passwords.min_length", "--config", str(other)),
        ("--config", "/nowhere", "config", "get", "passwords.min_length", "--config", str(other)),
    ):
        assert machine.run(*words).succeeded().out == "21\n"


def test_nothing_is_read_from_the_folder_one_happens_to_be_in(machine: Machine) -> None:
    for name in ("config.toml", "backctl.toml", ".backctl.toml", "backctl.db", "keyring.json", ".env"):
        (machine.home / name).write_text("BACKCTL_OUTPUT=json\nnonsense")
    assert machine.run("config", "get", "database.timeout").succeeded().out == "10s\n"
    refused(machine.run("user", "count", "-o", "json"), 9, "installation.missing")


# Single values.


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (("config", "get", "database.timeout"), "10s\n"),
        (("config", "path"), "{home}/.config/backctl/config.toml\n"),
        (("user", "count"), "0\n"),
    ],
)
def test_one_value_is_bare_on_a_terminal_too(machine: Machine, words: tuple[str, ...], value: str) -> None:
    machine.run("init").succeeded()
    expected = value.format(home=machine.home)
    assert machine.at_terminal(*words, "-q").succeeded().out == expected
    assert machine.run(*words, "-q").succeeded().out == expected


# Members of the smaller results.


@pytest.mark.parametrize(
    ("words", "members"),
    [
        (("help", "exit-codes"), ["code", "meaning"]),
        (("config", "show"), ["key", "value"]),
        (("config", "show", "--origin"), ["key", "value", "origin"]),
        (("role", "list"), ["name", "description", "builtin", "permissions"]),
    ],
    ids=" ".join,
)
def test_a_list_is_a_document_of_items(machine: Machine, words: tuple[str, ...], members: list[str]) -> None:
    document = machine.run(*words, "-o", "json").json
    assert list(document) == ["items", "next_cursor"]
    assert [list(item) for item in document["items"]] == [members] * len(document["items"])
    assert document["items"]


def test_only_mutations_and_password_checks_record_events() -> None:
    recording = {path for path, spec in LEAVES.items() if spec.records}
    assert recording >= {path for path, spec in LEAVES.items() if spec.mutation}
    assert {path for path in recording if not LEAVES[path].mutation} == {("user", "check-password")}


@every_leaf
def test_a_query_takes_no_actor_and_no_reason(machine: Machine, path: tuple[str, ...]) -> None:
    if LEAVES[path].records:
        return
    for option, name in (("--actor", "--by"), ("--reason", "--reason-contains")):
        error = refused(machine.run(*path, option, "x", "-o", "json"), 2, "usage")
        assert (f"use {name} " if path == ("audit", "list") else f"omit {option}") in error["hint"]
    assert not any(machine.home.iterdir())


def test_a_password_check_records_its_actor(machine: Machine) -> None:
    machine.create_user("ada")
    check = ("user", "check-password", "ada", "--password-stdin", "--reason", "ticket 7")
    assert machine.run(*check, "--actor", "desk", stdin="wrong").code == 6
    event = machine.run("audit", "list", "--type", "LoginFailed", "-o", "json").succeeded().json["items"][0]
    assert (event["actor"], event["reason"]) == ("desk", "ticket 7")


def test_a_query_ignores_an_invalid_actor_variable(machine: Machine) -> None:
    machine.create_user("ada")
    for actor in ("", "a\x1bb", "x" * 201):
        for query in (("user", "list"), ("audit", "list"), ("user", "count"), ("key", "list")):
            machine.run(*query, env={"BACKCTL_ACTOR": actor}).succeeded()


def test_who_acts_is_recorded_beside_the_systems_user_and_the_host(machine: Machine) -> None:
    machine.create_user("ada", "--actor", "payroll")
    create = ("user", "create", "bob@example.org", "--username", "bob", "--no-password")
    machine.run(*create, env={"BACKCTL_ACTOR": "cron"}).succeeded()
    machine.create_user("cleo")
    events = machine.run("audit", "list", "--type", "UserCreated", "-o", "json").succeeded().json["items"]
    (user,) = {event["os_user"] for event in events}
    assert [event["actor"] for event in events] == ["payroll", "cron", user]
    assert {event["host"] for event in events} == {socket.gethostname()}


@every_leaf
def test_the_columns_of_a_table_are_members_and_not_all_of_them_are_spare(path: tuple[str, ...]) -> None:
    spec = LEAVES[path]
    for view in spec.views():
        members = {field.name for field in fields(view)}
        columns = set(getattr(view, "TABLE", members))
        assert columns <= members
        assert set(getattr(view, "SPARE", ())) < columns
        assert set(getattr(view, "BELOW", ())) <= columns
