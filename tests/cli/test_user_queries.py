"""`user list|show|exists|count|history`: output formats, paging, and valid queries."""

import csv
import io
import json
import re
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine
from tests.cli.expected import DETAIL_KEYS, EVENT_KEYS, MORE, TIME, USER_KEYS, UUID7, refused
from tests.cli.files import contents
from tests.cli.processes import run_without_reader

from backctl.domain.quoting import escaped

pytestmark = pytest.mark.every_database

PEOPLE = [
    Person("ada", role="admin"),
    Person("Émile", domain="exämple.org"),
    Person("bob", role="moderator", active=False),
    *(Person(f"user{number:03}", domain="example.net", active=number % 5 > 0) for number in range(61)),
]


@dataclass(frozen=True)
class ManyAccounts:
    """An installation with more accounts than fit on one page. Tests do not change it."""

    machine: Machine
    everybody: list[dict[str, Any]]
    before: dict[str, bytes | None]

    def named(self, username: str) -> dict[str, Any]:
        return next(user for user in self.everybody if user["username"] == username)


@pytest.fixture(scope="module")
def many(prepared: Machine) -> ManyAccounts:
    lines = prepared.run("user", "list", "--all", "-o", "jsonl").succeeded().out.splitlines()
    return ManyAccounts(prepared, [json.loads(line) for line in lines], contents(prepared.home))


def usernames(many: ManyAccounts, *arguments: str) -> list[str]:
    answer = many.machine.run("user", "list", *arguments, "--fields", "username", "--no-header").succeeded()
    return answer.out.splitlines()


# One account.


def test_an_account_is_found_by_id_address_and_name_in_any_case(many: ManyAccounts) -> None:
    emile = many.named("Émile")
    for ident in (
        emile["id"],
        emile["id"].upper(),
        "E\u0301MILE@EXÄMPLE.ORG",
        "émile@xn--exmple-cua.org",
        "E\u0301MILE",
    ):
        shown = many.machine.run("user", "show", ident, "-o", "json").succeeded()
        assert shown.json == {**emile, "last_seen_at": None}
        assert shown.err == ""
    assert list(emile) == USER_KEYS
    assert re.fullmatch(UUID7, emile["id"])
    assert re.fullmatch(TIME, emile["created_at"])


def test_an_account_in_every_form(many: ManyAccounts) -> None:
    ada = {**many.named("ada"), "last_seen_at": None}
    for form in ("table", "jsonl", "csv", "tsv", "id"):
        answer = many.machine.run("user", "show", "ada", "-o", form).succeeded()
        assert answer.err == ""
        match form:
            case "table":
                assert f"id:                   {ada['id']}\n" in answer.out
                assert [line.partition(":")[0] for line in answer.out.splitlines()] == DETAIL_KEYS
            case "jsonl":
                assert json.loads(answer.out) == ada
            case "csv":
                assert answer.out.startswith(",".join(DETAIL_KEYS) + "\n")
                (row,) = csv.DictReader(io.StringIO(answer.out, newline=""))
                assert (row["id"], row["expires_at"], row["is_active"]) == (ada["id"], "", "true")
            case "tsv":
                header, row_text = answer.out.splitlines()
                assert header.split("\t") == DETAIL_KEYS
                assert row_text.split("\t")[:4] == [ada["id"], "ada@example.org", "ada", "admin"]
            case "id":
                assert answer.out == ada["id"] + "\n"


@pytest.mark.parametrize("verb", ["show", "history"])
@pytest.mark.parametrize("ident", ["nobody", "nobody@example.org", "0192f7a0-0000-7000-8000-000000000000"])
def test_an_unknown_account_is_not_found(many: ManyAccounts, verb: str, ident: str) -> None:
    error = refused(many.machine.run("user", verb, ident, "-o", "json"), 3, "user.not_found")
    assert f"'{ident}'" in error["message"]


@pytest.mark.parametrize("ident", ["", "ada lovelace", "ada\x1b[2J", "ada\u202e", "ada\u200b", "x" * 100_000])
def test_what_can_name_no_account_is_wrong_input(many: ManyAccounts, ident: str) -> None:
    for verb in ("show", "exists"):
        outcome = many.machine.run("user", verb, "-o", "json", "--", ident)
        error = refused(outcome, 2, "identity.invalid")
        assert error["message"] == escaped(error["message"])
        assert len(outcome.err) < 500


def test_existence_is_an_answer_and_an_exit_code(many: ManyAccounts) -> None:
    machine = many.machine
    yes = machine.run("user", "exists", "ada", "-o", "json").succeeded()
    assert yes.json == {"ok": True, "ident": "ada", "user_id": many.named("ada")["id"]}
    no = machine.run("user", "exists", "nobody", "-o", "json")
    assert (no.code, no.json, no.err) == (3, {"ok": False, "ident": "nobody", "user_id": None}, "")
    plain = machine.run("user", "exists", "nobody")
    assert (plain.code, plain.out, plain.err) == (3, "ok\tident\tuser_id\nfalse\tnobody\t\n", "")
    for ident, code in (("ada", 0), ("nobody", 3)):
        quiet = machine.run("user", "exists", ident, "-q")
        assert (quiet.code, quiet.out, quiet.err) == (code, "", "")


# Lists.


def test_a_page_is_fifty_accounts_and_says_how_to_go_on(many: ManyAccounts) -> None:
    first = many.machine.run("user", "list", "-o", "json").succeeded()
    assert list(first.json) == ["items", "next_cursor"]
    assert first.json["items"] == many.everybody[:50]
    assert first.err == ""
    rest = many.machine.run("user", "list", "-o", "json", "--cursor", first.json["next_cursor"]).succeeded()
    assert rest.json == {"items": many.everybody[50:], "next_cursor": None}
    text = many.machine.run("user", "list").succeeded()
    assert len(text.out.splitlines()) == 51
    assert text.err == f"{MORE} --cursor {first.json['next_cursor']}\n"
    assert many.machine.run("user", "list", "-q").succeeded().err == ""


@pytest.mark.parametrize(
    "order", ["created_at", "-created_at", "email", "-email", "username", "-username", "id", "-id"]
)
def test_cursors_lead_through_every_order_without_loss_or_repetition(many: ManyAccounts, order: str) -> None:
    whole = usernames(many, "--sort", order, "--all")
    found: list[str] = []
    cursor: tuple[str, ...] = ()
    for _ in range(3):
        page = many.machine.run("user", "list", "--sort", order, "--limit", "25", *cursor, "-o", "json").succeeded()
        found += [user["username"] for user in page.json["items"]]
        cursor = ("--cursor", page.json["next_cursor"])
    assert page.json["next_cursor"] is None
    assert found == whole
    field = order.removeprefix("-")
    keys = [str(many.named(name)[field]).casefold() for name in whole]
    assert keys == sorted(keys, reverse=order.startswith("-"))


def test_cursors_lead_through_a_list_that_is_limited_by_a_duration(many: ManyAccounts) -> None:
    found: list[str] = []
    cursor: tuple[str, ...] = ()
    while True:
        page = many.machine.run("user", "list", "--created-after", "1w", "--limit", "20", *cursor, "-o", "json")
        found += [user["username"] for user in page.succeeded().json["items"]]
        if page.json["next_cursor"] is None:
            break
        cursor = ("--cursor", page.json["next_cursor"])
    assert found == [user["username"] for user in many.everybody]
    refused(
        many.machine.run("user", "list", "--created-after", "8d", "--limit", "20", *cursor, "-o", "json"),
        2,
        "cursor.invalid",
    )


def test_numbered_pages(many: ManyAccounts) -> None:
    third = many.machine.run("user", "list", "--page", "3", "--page-size", "30", "-o", "json").succeeded()
    assert third.json == {"items": many.everybody[60:], "next_cursor": None}
    beyond = many.machine.run("user", "list", "--page", "9", "-o", "json").succeeded()
    assert beyond.json == {"items": [], "next_cursor": None}
    assert usernames(many, "--page-size", "2") == [user["username"] for user in many.everybody[:2]]


def test_filters(many: ManyAccounts) -> None:
    everybody, middle = many.everybody, many.everybody[40]["created_at"]

    def expect(*arguments: str, names: list[str]) -> None:
        assert usernames(many, *arguments, "--all") == names
        counted = many.machine.run("user", "count", *arguments).succeeded()
        assert (counted.out, counted.err) == (f"{len(names)}\n", "")

    def those(key: str, value: object) -> list[str]:
        return [user["username"] for user in everybody if user[key] == value]

    expect("--role", "admin", names=["ada"])
    expect("--active", names=those("is_active", True))
    expect("--inactive", names=those("is_active", False))
    expect("--created-after", middle, names=[user["username"] for user in everybody[40:]])
    expect("--created-before", middle, names=[user["username"] for user in everybody[:40]])
    expect("--created-after", "24h", names=[user["username"] for user in everybody])
    expect("--created-before", "0s", names=[user["username"] for user in everybody])
    expect("--created-before", "2w", names=[])
    expect("--created-after", everybody[0]["created_at"][:10], names=[user["username"] for user in everybody])
    expect("--email-domain", "EXAMPLE.ORG", names=["ada", "bob"])
    expect("--email-domain", "xn--exmple-cua.org", names=["Émile"])
    expect("--search", "USER01", names=[f"user01{digit}" for digit in range(10)])
    expect("--search", "%", names=[])
    expect("--role", "moderator", "--active", names=[])
    expect("--role", "admin", "--role", "moderator", names=["ada", "bob"])
    expect("--status", "closed", names=those("is_active", False))
    expect("--status", "closed", "--status", "active", names=[user["username"] for user in everybody])
    expect("--status", "locked", names=[])
    expect("--mfa", "off", names=[user["username"] for user in everybody])
    expect("--mfa", "on", "--mfa", "pending", names=[])
    expect("--no-password", names=those("has_password", False))
    expect("--must-change-password", names=[])
    expect("--expires-before", "36500d", names=[])
    expect("--last-login-before", "0s", names=[user["username"] for user in everybody])


def test_a_list_in_every_form(many: ManyAccounts) -> None:
    arguments = ("user", "list", "--email-domain", "example.org", "-o")
    ada, bob = many.named("ada"), many.named("bob")
    assert many.machine.run(*arguments, "id").succeeded().out == f"{ada['id']}\n{bob['id']}\n"
    lines = many.machine.run(*arguments, "jsonl").succeeded().out.splitlines()
    assert [json.loads(line) for line in lines] == [ada, bob]
    comma = many.machine.run(*arguments, "csv", "--fields", "username,is_active").succeeded()
    assert comma.out == "username,is_active\nada,true\nbob,false\n"
    tab = many.machine.run(*arguments, "tsv", "--fields", "is_active,username", "--no-header").succeeded()
    assert tab.out == "true\tada\nfalse\tbob\n"
    table = many.machine.run(*arguments, "table", "--fields", "username,role").succeeded()
    assert table.out == "USERNAME  ROLE\nada       admin\nbob       moderator\n"
    few = many.machine.run(*arguments, "json", "--fields", "username").succeeded()
    assert few.json["items"] == [{"username": "ada"}, {"username": "bob"}]


def test_nobody_in_every_form(many: ManyAccounts) -> None:
    arguments = ("user", "list", "--search", "zzz", "-o")
    assert many.machine.run(*arguments, "json").succeeded().json == {"items": [], "next_cursor": None}
    for form, out in (("jsonl", ""), ("id", ""), ("tsv", "\t".join(USER_KEYS) + "\n")):
        answer = many.machine.run(*arguments, form).succeeded()
        assert (answer.out, answer.err) == (out, "")


def test_a_terminal_gets_a_table_a_pipe_tsv_and_variables_may_say_otherwise(many: ManyAccounts) -> None:
    arguments = ("user", "list", "--role", "admin", "--fields", "username,role")
    screen = many.machine.at_terminal(*arguments)
    assert screen.code == 0
    assert screen.out == "\x1b[1mUSERNAME  ROLE\x1b[0m\nada       admin\n"
    assert many.machine.at_terminal(*arguments, env={"NO_COLOR": "1"}).out == "USERNAME  ROLE\nada       admin\n"
    assert many.machine.run(*arguments).succeeded().out == "username\trole\nada\tadmin\n"
    by_variable = many.machine.run(*arguments, env={"BACKCTL_OUTPUT": "jsonl"}).succeeded()
    assert by_variable.out == '{"username": "ada", "role": "admin"}\n'


def test_a_count_is_one_value(many: ManyAccounts) -> None:
    assert many.machine.run("user", "count").succeeded().out == f"{len(PEOPLE)}\n"
    assert many.machine.run("user", "count", "-o", "json").succeeded().json == {"count": len(PEOPLE)}
    assert many.machine.at_terminal("user", "count").out == f"{len(PEOPLE)}\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--all", "--limit", "5"), "usage"),
        (("--all", "--page", "1"), "usage"),
        (("--cursor", "x", "--page-size", "5"), "usage"),
        (("--limit", "0"), "input.invalid"),
        (("--limit", "1001"), "input.invalid"),
        (("--limit", "many"), "usage"),
        (("--page", "0"), "input.invalid"),
        (("--page-size", "1001"), "input.invalid"),
        (("--page", "1" + "0" * 30), "input.invalid"),
        (("--sort", "password_hash"), "input.invalid"),
        (("--role", "root"), "role.unknown"),
        (("--created-after", "yesterday"), "input.invalid"),
        (("--created-before", "2026-11-22T09:24:02"), "input.invalid"),
        (("--created-after", "-7d"), "input.invalid"),
        (("--created-after", "7y"), "duration.invalid"),
        (("--status", "open"), "usage"),
        (("--mfa", "maybe"), "usage"),
        (("--active", "--status", "closed"), "usage"),
        (("--inactive", "--status", "closed"), "usage"),
        (("--active", "--locked"), "usage"),
        (("--status", "active", "--locked"), "usage"),
        (("--created-after", "1d", "--created-before", "2d"), "input.invalid"),
        (("--created-after", "2026-11-22", "--created-before", "2026-11-22"), "input.invalid"),
        (("--created-after", "1d", "--created-before", "1d"), "input.invalid"),
        (("--role", "admin", "--role", "root"), "role.unknown"),
        (("--expires-before", "soon"), "input.invalid"),
        (("--last-login-before", "3moons"), "duration.invalid"),
        (("--cursor", "nonsense"), "cursor.invalid"),
        (("--cursor", "x" * 100_000), "cursor.invalid"),
        (("--fields", "id,nmae"), "usage"),
        (("--fields", "id,id"), "usage"),
        (("--fields", "id", "-o", "id"), "usage"),
    ],
)
def test_questions_that_mean_nothing(many: ManyAccounts, arguments: tuple[str, ...], code: str) -> None:
    env = {"BACKCTL_OUTPUT": "json"}
    outcome = many.machine.run("user", "list", *arguments, env=env)
    if arguments[-2:] == ("-o", "id"):
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("backctl: error: ")
    else:
        refused(outcome, 2, code)
    assert len(outcome.err) < 1000


def test_a_cursor_of_one_question_is_not_taken_for_another(many: ManyAccounts) -> None:
    page = many.machine.run("user", "list", "--limit", "5", "-o", "json").succeeded()
    for other in (("--sort", "email"), ("--active",), ("--search", "a")):
        refused(
            many.machine.run("user", "list", *other, "--cursor", page.json["next_cursor"], "-o", "json"),
            2,
            "cursor.invalid",
        )


@pytest.mark.parametrize("form", ["tsv", "json", "jsonl", "table"])
def test_a_reader_that_leaves_ends_it_quietly(many: ManyAccounts, form: str) -> None:
    assert run_without_reader(many.machine, "user", "list", "--all", "-o", form) == (0, b"")


def test_a_full_disk_under_the_answer_is_told(many: ManyAccounts) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            many.machine.command("user", "list"),
            stdout=full,
            stderr=subprocess.PIPE,
            env=many.machine.environment,
            cwd=many.machine.home,
        )
    assert done.returncode == 5
    assert done.stderr.startswith(b"backctl: error: standard output cannot be written")


# History.


def test_the_history_of_an_account(many: ManyAccounts) -> None:
    history = many.machine.run("user", "history", "bob", "-o", "json").succeeded()
    assert list(history.json) == ["items", "next_cursor"]
    assert [event["type"] for event in history.json["items"]] == ["UserCreated", "UserDeactivated"]
    for event in history.json["items"]:
        assert list(event) == EVENT_KEYS
        assert event["subject"] == many.named("bob")["id"]
        assert re.fullmatch(UUID7, event["id"])
        assert re.fullmatch(TIME, event["occurred_at"])
        assert (event["actor"], event["trace_id"]) == ("seed", None)
    first = many.machine.run("user", "history", "bob", "--limit", "1", "-o", "json").succeeded()
    assert first.json["items"] == history.json["items"][:1]
    second = many.machine.run("user", "history", "bob", "--cursor", first.json["next_cursor"], "-o", "json").succeeded()
    assert second.json == {"items": history.json["items"][1:], "next_cursor": None}


def test_what_is_no_account_has_no_history(many: ManyAccounts) -> None:
    log = many.machine.run("audit", "list", "--limit", "1", "-o", "json").succeeded().json["items"]
    assert log[0]["type"] == "InstallationCreated"
    refused(many.machine.run("user", "history", log[0]["subject"], "-o", "json"), 3, "user.not_found")
    error = refused(many.machine.run("user", "history", "nobody", "-o", "json"), 3, "user.not_found")
    assert error["hint"] == "for a deleted account, run 'backctl audit list --subject IDENT'"


def test_queries_change_nothing(many: ManyAccounts) -> None:
    many.machine.run("user", "list", "--all").succeeded()
    many.machine.run("user", "show", "ada").succeeded()
    many.machine.run("user", "history", "ada").succeeded()
    assert contents(many.machine.home) == many.before


# Rows that somebody else wrote to the database.


def test_stored_characters_never_steer_a_terminal_and_stay_whole_in_a_pipe(machine: Machine) -> None:
    machine.create_user("ada")
    hostile = "a\x1b]0;owned\x07\u202e\t\\\n\x9bz"
    machine.rows("UPDATE users SET username = ?", hostile)
    for form in ("table", "json", "jsonl", "csv", "tsv"):
        screen = machine.at_terminal("user", "list", "-o", form, env={"NO_COLOR": "1"}).out
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(screen), form
    ident = machine.run("user", "list", "-o", "id").succeeded().out.strip()
    assert "\x1b" not in machine.at_terminal("user", "show", ident, env={"NO_COLOR": "1"}).out
    assert machine.run("user", "list", "-o", "json").succeeded().json["items"][0]["username"] == hostile
    (row,) = machine.run("user", "list", "--no-header", "--fields", "username").succeeded().out.split("\n")[:-1]
    assert row == "a\x1b]0;owned\x07\u202e\\t\\\\\\n\x9bz"
