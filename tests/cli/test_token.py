"""`backctl token`: issuing, verifying, refreshing and revoking, and that tokens are never shown by accident."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.cli.accounts import Person, populate
from tests.cli.conftest import Machine, Outcome
from tests.cli.expected import TIME, UUID7, refused
from tests.cli.files import contents

pytestmark = pytest.mark.every_database

ISSUED_KEYS = [
    "access_token",
    "token_type",
    "expires_in",
    "refresh_token",
    "expires_at",
    "refresh_expires_at",
    "session_id",
    "jti",
    "user_id",
    "audience",
    "role",
    "scope",
    "changed",
]
CHECK_KEYS = [
    "ok",
    "reason",
    "problem",
    "hint",
    "iss",
    "aud",
    "sub",
    "client_id",
    "iat",
    "nbf",
    "exp",
    "jti",
    "sid",
    "role",
    "scope",
    "issued_at",
    "expires_at",
    "revocation",
]
SESSION_KEYS = [
    "id",
    "user_id",
    "state",
    "refreshable",
    "client_id",
    "issuer",
    "audience",
    "scope",
    "created_at",
    "issued_at",
    "expires_at",
    "latest_expires_at",
    "revoked_at",
    "revoked_because",
    "last_seen_at",
]
ACCESS = r"eyJ[\w-]+\.[\w-]+\.[\w-]+"
REFRESH = r"bkr_[0-9A-Za-z]{49}"


@pytest.fixture
def installed(machine: Machine) -> Machine:
    populate(machine, [Person("ada")])
    return machine


def issue(machine: Machine, *flags: str) -> Any:
    return machine.run("token", "issue", "ada", "-o", "json", *flags).succeeded().json


def verify(machine: Machine, token: str | bytes, *flags: str) -> Outcome:
    return machine.run("token", "verify", "-o", "json", *flags, stdin=token)


def not_valid(outcome: Outcome, code: str) -> Any:
    """Check that the answer is no, because of the error `code`, and return it."""
    answer = outcome.json
    assert (outcome.code, outcome.err) == (6, "")
    assert list(answer) == CHECK_KEYS
    assert (answer["ok"], f"token.{answer['reason']}") == (False, code)
    assert answer["problem"]
    assert not any(answer[name] for name in CHECK_KEYS[4:])
    return answer


def refresh(machine: Machine, token: str, *flags: str) -> Outcome:
    return machine.run("token", "refresh", "-o", "json", *flags, stdin=token)


def sessions(machine: Machine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = machine.run("token", "list", "ada", "-o", "json").succeeded().json["items"]
    return found


def test_from_the_first_token_to_the_revoked_account(installed: Machine) -> None:
    bare = installed.run("token", "issue", "ada").succeeded()
    assert re.fullmatch(ACCESS + "\n", bare.out)
    assert bare.err == ""
    access = bare.out.rstrip("\n")
    claims = verify(installed, access).succeeded()
    assert list(claims.json) == CHECK_KEYS
    assert (claims.json["role"], claims.json["exp"] - claims.json["iat"]) == ("user", 900)
    revoked = installed.run("token", "revoke", "--user", "ada", "--yes", "-o", "json").succeeded()
    assert revoked.json == {
        "revoked": "user",
        "id": claims.json["sub"],
        "user_id": claims.json["sub"],
        "revoked_sessions": 1,
        "changed": True,
    }
    not_valid(verify(installed, access), "token.revoked")
    verify(installed, access, "--offline").succeeded()


def test_a_refresh_token_used_twice_ends_its_session(installed: Machine) -> None:
    lines = installed.run("token", "issue", "ada", "--pair").succeeded().out.splitlines()
    assert re.fullmatch(ACCESS, lines[0])
    assert re.fullmatch(REFRESH, lines[1])
    next_ = installed.run("token", "refresh", stdin=lines[1]).succeeded().out.splitlines()
    assert [bool(re.fullmatch(form, line)) for form, line in zip((ACCESS, REFRESH), next_, strict=True)] == [True] * 2
    verify(installed, next_[0]).succeeded()
    error = refused(refresh(installed, lines[1]), 6, "token.reused")
    assert "somebody else has a copy" in error["hint"]
    for access in (lines[0], next_[0]):
        not_valid(verify(installed, access), "token.revoked")
    refused(refresh(installed, next_[1]), 6, "token.revoked")
    (session,) = sessions(installed)
    assert list(session) == SESSION_KEYS
    assert (session["state"], session["revoked_because"]) == ("revoked", "reused")
    assert re.fullmatch(TIME, session["revoked_at"])
    logged = installed.run("audit", "list", "--type", "RefreshTokenReused", "-o", "json").succeeded()
    assert [event["data"] for event in logged.json["items"]] == [{"session": session["id"]}]
    installed.run("audit", "verify").succeeded()


def test_a_session_and_its_account_show_when_they_were_last_seen(installed: Machine) -> None:
    issue(installed)
    assert [session["last_seen_at"] for session in sessions(installed)] == [None]
    installed.rows("INSERT INTO seen_sessions SELECT id, 1798800000000000 FROM sessions")
    installed.rows("INSERT INTO seen_accounts SELECT id, 1798800000000001 FROM users WHERE username = 'ada'")
    assert [session["last_seen_at"] for session in sessions(installed)] == ["2027-01-01T10:40:00.000000Z"]
    shown = installed.run("user", "show", "ada", "-o", "json").succeeded().json
    assert shown["last_seen_at"] == "2027-01-01T10:40:00.000001Z"


def test_another_role_voids_a_token_and_the_next_one_has_it(installed: Machine) -> None:
    pair = issue(installed, "--pair")
    installed.run("role", "assign", "moderator", "ada").succeeded()
    not_valid(verify(installed, pair["access_token"]), "token.revoked")
    fresh = refresh(installed, pair["refresh_token"]).succeeded()
    assert verify(installed, fresh.json["access_token"]).succeeded().json["role"] == "moderator"


def test_a_rotation_of_keys_leaves_tokens_good(installed: Machine) -> None:
    before = issue(installed, "--pair")
    installed.run("key", "rotate", "--if-older-than", "0d", "--overlap", "7d").succeeded()
    after = refresh(installed, before["refresh_token"]).succeeded().json
    for tokens in (before, after):
        verify(installed, tokens["access_token"]).succeeded()
    kids = {
        installed.run("token", "inspect", "-o", "json", stdin=tokens["access_token"]).succeeded().json["header"]["kid"]
        for tokens in (before, after)
    }
    assert len(kids) == 2


def test_many_are_verified_at_once(installed: Machine) -> None:
    good, revoked = issue(installed), issue(installed)
    installed.run("token", "revoke", "--session", revoked["session_id"]).succeeded()
    given = f"{good['access_token']}\n\n  nonsense  \n{revoked['access_token']}\n{'x' * 50_000}\n{good['access_token']}"
    done = installed.run("token", "verify", "--batch", stdin=given)
    answers = [json.loads(line) for line in done.out.splitlines()]
    said = f"backctl: error: 3 of 5 tokens are not valid: line 3, line 4, line 5{installed.named}\n"
    assert (done.code, done.err) == (7, said)
    assert [(item["line"], item["ok"]) for item in answers] == [
        (1, True),
        (3, False),
        (4, False),
        (5, False),
        (6, True),
    ]
    assert list(answers[0]) == ["ok", "line", *CHECK_KEYS[1:]]
    assert [item["reason"] for item in answers if not item["ok"]] == [
        "invalid",
        "revoked",
        "invalid",
    ]


@pytest.mark.embedded
def test_a_batch_has_every_form_and_an_empty_one_is_good(installed: Machine) -> None:
    token = issue(installed)["access_token"]
    whole = installed.run("token", "verify", "--batch", "-o", "json", stdin=token + "\n").succeeded()
    assert list(whole.json) == ["items", "summary"]
    assert whole.json["summary"] == {"total": 1, "yes": 1, "no": 0, "failed": 0}
    table = installed.run("token", "verify", "--batch", "-o", "tsv", "--fields", "line,ok,reason", stdin="x\n" + token)
    assert table.out.splitlines()[0] == "line\tok\treason"
    assert (table.code, table.out.splitlines()[2]) == (7, "2\ttrue\t")
    named = installed.run("token", "verify", "--batch", "-o", "id", stdin="x\n" + token)
    assert named.out == installed.run("token", "verify", "-o", "id", stdin=token).succeeded().out
    assert named.out == verify(installed, token).succeeded().json["jti"] + "\n"
    quiet = installed.run("token", "verify", "--batch", "-q", stdin="x")
    assert (quiet.code, quiet.out) == (7, "")
    empty = installed.run("token", "verify", "--batch").succeeded()
    assert (empty.out, empty.err) == ("", "")
    refused(installed.run("token", "verify", "--batch", "--token-file", "x", "-o", "json"), 2, "usage")


@pytest.mark.embedded
def test_the_object_of_new_tokens(installed: Machine) -> None:
    single, pair = (
        issue(installed),
        issue(installed, "--pair", "--ttl", "5m", "--audience", "billing", "--scope", "read write"),
    )
    assert list(single) == list(pair) == ISSUED_KEYS
    assert (single["refresh_token"], single["refresh_expires_at"]) == (None, None)
    assert (pair["token_type"], pair["expires_in"], pair["audience"], pair["scope"]) == (
        "Bearer",
        300,
        "billing",
        "read write",
    )
    assert all(re.fullmatch(UUID7, pair[name]) for name in ("session_id", "jti", "user_id"))
    assert all(re.fullmatch(TIME, pair[name]) for name in ("expires_at", "refresh_expires_at"))
    not_valid(verify(installed, pair["access_token"]), "token.invalid")
    verify(installed, pair["access_token"], "--audience", "billing").succeeded()
    chosen = installed.run("token", "issue", "ada", "--fields", "jti,expires_in", "--no-header").succeeded()
    assert re.fullmatch(UUID7 + "\t900\n", chosen.out)


@pytest.mark.embedded
def test_the_bare_tokens_are_printed_on_a_terminal_and_quietly_too(installed: Machine) -> None:
    assert re.fullmatch(ACCESS + "\n", installed.run("token", "issue", "ada", "-q").succeeded().out)
    screen = installed.at_terminal("token", "issue", "ada", "--pair")
    assert screen.code == 0
    assert re.fullmatch(f"{ACCESS}\n{REFRESH}\n", screen.out)


@pytest.mark.embedded
def test_a_token_comes_in_by_a_pipe_a_file_a_descriptor_or_a_variable(installed: Machine) -> None:
    token = issue(installed)["access_token"]
    (installed.home / "token").write_text(token + "\n")
    verify(installed, token + "\r\n", "--token-stdin").succeeded()
    installed.run("token", "verify", "--token-file", "token").succeeded()
    installed.run("token", "verify", "--token-env", "ACCESS", env={"ACCESS": token}).succeeded()
    reading, writing = os.pipe()
    os.write(writing, token.encode())
    os.close(writing)
    installed.run("token", "verify", "--token-fd", str(reading), pass_fds=(reading,)).succeeded()
    os.close(reading)
    screen = installed.at_terminal("token", "verify", "-q", keys=[("token: ", token + "\n")])
    assert (screen.code, screen.out) == (0, "token: \n")
    refused(verify(installed, ""), 2, "usage")


@pytest.mark.embedded
@pytest.mark.parametrize("verb", ["verify", "inspect", "refresh", "revoke"])
def test_a_token_is_no_argument_and_is_not_repeated(installed: Machine, verb: str) -> None:
    pair = issue(installed, "--pair")
    for token in (pair["access_token"], pair["refresh_token"]):
        done = installed.run("token", verb, token, "-o", "json")
        error = refused(done, 2, "usage")
        assert "--token-file" in error["hint"]
        assert token[4:20] not in done.err
        assert token[-16:] not in done.err
    refresh(installed, pair["refresh_token"]).succeeded()


@pytest.mark.embedded
def test_a_refused_token_is_repeated_nowhere(installed: Machine) -> None:
    pair = issue(installed, "--pair")
    refresh(installed, pair["refresh_token"]).succeeded()
    tampered = pair["access_token"][:-6] + "AAAAAA"
    for verb, token in (
        ("refresh", pair["refresh_token"]),
        ("refresh", pair["refresh_token"][:-1]),
        ("verify", tampered),
        ("revoke", tampered),
        ("verify", pair["refresh_token"]),
        ("inspect", "ey" + tampered),
        ("refresh", pair["refresh_token"] * 2000),
    ):
        done = installed.run("token", verb, "-v", stdin=token)
        assert done.code == (0 if verb == "revoke" else 6), done.err
        assert token[5:20] not in done.out + done.err
        assert token[-20:-4] not in done.out + done.err
    not_valid(verify(installed, b"\xff" + tampered.encode()), "token.invalid")
    for name, content in contents(installed.home).items():
        for token in (pair["access_token"], pair["refresh_token"]):
            assert token.encode()[-40:] not in (content or b""), name


@pytest.mark.embedded
def test_an_inspection_is_labelled_unverified(installed: Machine) -> None:
    pair = issue(installed, "--pair")
    done = installed.run("token", "inspect", "-o", "json", stdin=pair["access_token"][:-6] + "AAAAAA").succeeded()
    assert list(done.json) == ["verified", "kind", "header", "claims"]
    assert (done.json["verified"], done.json["kind"], done.json["header"]["typ"]) == (False, "access", "at+jwt")
    assert done.json["claims"]["sid"] == pair["session_id"]
    assert "this token was not verified" in done.err
    other = installed.run("token", "inspect", "-o", "json", stdin=pair["refresh_token"]).succeeded()
    assert other.json == {"verified": False, "kind": "refresh", "header": None, "claims": None}


@pytest.mark.embedded
def test_revoking_says_what_and_asks_where_it_matters(installed: Machine) -> None:
    first, second = issue(installed, "--pair"), issue(installed)
    unconfirmed = installed.run("token", "revoke", "--user", "ada", "-o", "json")
    assert "--yes" in refused(unconfirmed, 8, "confirmation.required")["hint"]
    refused(installed.run("token", "revoke", "--all", "-o", "json"), 8, "confirmation.required")
    refused(installed.run("token", "revoke", "--jti", "x", "--all", "-o", "json"), 2, "usage")
    refused(installed.run("token", "revoke", "--jti", "x", "--token-stdin", "-o", "json", stdin="y"), 2, "usage")
    refused(installed.run("token", "revoke", "--session", "x", "-o", "json"), 3, "session.not_found")
    refused(installed.run("token", "revoke", "--jti", "x", "-o", "json"), 3, "token.not_found")
    refused(installed.run("token", "revoke", "--user", "bob", "--yes", "-o", "json"), 3, "user.not_found")
    for changed in (True, False):
        one = installed.run("token", "revoke", "--jti", second["jti"], "-o", "json").succeeded()
        assert (one.json["revoked"], one.json["changed"]) == ("token", changed)
    not_valid(verify(installed, second["access_token"]), "token.revoked")
    tried = installed.run("token", "revoke", "-n", "-o", "json", stdin=first["refresh_token"]).succeeded()
    assert (tried.json["revoked"], tried.json["dry_run"]) == ("session", True)
    verify(installed, first["access_token"]).succeeded()
    everything = installed.run("token", "revoke", "--all", "--yes", "-o", "json").succeeded()
    assert (everything.json["revoked"], everything.json["id"]) == ("issuer", "advanced-backend")
    not_valid(verify(installed, first["access_token"]), "token.revoked")
    assert [item["state"] for item in sessions(installed)] == ["revoked", "revoked"]


@pytest.mark.embedded
@pytest.mark.parametrize("token", ["garbage", "bkr_garbage", "é" * 9000, b"\xff", "x" * 70_000])
def test_revoking_what_is_no_token_of_ours_succeeds_without_a_change(installed: Machine, token: str | bytes) -> None:
    done = installed.run("token", "revoke", "-o", "json", stdin=token).succeeded()
    assert done.json == {"revoked": "token", "id": None, "user_id": None, "revoked_sessions": 0, "changed": False}
    assert "nothing to revoke" in done.err
    assert installed.run("token", "revoke", "-o", "id", stdin=token).succeeded().out == ""


@pytest.mark.embedded
def test_a_dry_run_makes_no_token(installed: Machine) -> None:
    pair = issue(installed, "--pair")
    tried = installed.run("token", "issue", "ada", "--pair", "-n", "-o", "json").succeeded()
    assert tried.json["dry_run"] is True
    assert (tried.json["access_token"], tried.json["refresh_token"]) == (None, None)
    bare = installed.run("token", "issue", "ada", "-n").succeeded()
    assert (bare.out, bare.err) == ("", "backctl: a dry run issues no tokens\n")
    assert refresh(installed, pair["refresh_token"], "-n").succeeded().json["session_id"] == pair["session_id"]
    refresh(installed, pair["refresh_token"]).succeeded()
    assert len(sessions(installed)) == 1


@pytest.mark.embedded
def test_who_cannot_log_in_gets_no_token(installed: Machine) -> None:
    refused(installed.run("token", "issue", "nobody", "-o", "json"), 3, "user.not_found")
    refused(installed.run("token", "issue", "ada", "--ttl", "2d", "-o", "json"), 2, "input.invalid")
    refused(installed.run("token", "issue", "ada", "--ttl", "x", "-o", "json"), 2, "duration.invalid")
    installed.run("user", "deactivate", "ada").succeeded()
    refused(installed.run("token", "issue", "ada", "-o", "json"), 6, "user.unusable")


@pytest.mark.embedded
def test_sessions_are_listed_page_by_page(installed: Machine) -> None:
    made = [issue(installed)["session_id"] for _ in range(3)]
    page = installed.run("token", "list", "ada", "--limit", "2", "-o", "json").succeeded().json
    rest = installed.run("token", "list", "ada", "--cursor", page["next_cursor"], "-o", "id").succeeded()
    assert [item["id"] for item in page["items"]] + rest.out.split() == made
    assert installed.run("token", "list", "ada", "--all", "-o", "id").succeeded().out.split() == made
    refused(installed.run("token", "list", "nobody", "-o", "json"), 3, "user.not_found")


@pytest.mark.embedded
def test_what_is_past_is_removed(installed: Machine) -> None:
    for _ in range(3):
        issue(installed, "--ttl", "1s")
    past = "UPDATE sessions SET expires_at = expires_at - 172800000000, created_at = 0, issued_at = 0"
    installed.rows(past)
    counts = {"sessions": 3, "refresh_tokens": 0, "revocations": 0, "changed": True}
    tried = installed.run("token", "gc", "-n", "-o", "json").succeeded()
    assert tried.json == {**counts, "dry_run": True}
    assert installed.run("token", "gc", "--older-than", "3d", "-o", "json").succeeded().json["sessions"] == 0
    assert installed.run("token", "gc", "--batch-size", "2", "-o", "json").succeeded().json == counts
    assert installed.run("token", "gc", "-o", "json").succeeded().json["changed"] is False
    refused(installed.run("token", "gc", "--batch-size", "0", "-o", "json"), 2, "input.invalid")


@pytest.mark.embedded
def test_tokens_that_could_not_be_told_are_said_to_be_lost(installed: Machine) -> None:
    for output in ((), ("-o", "json")):
        with Path("/dev/full").open("wb") as full:
            process = installed.start(
                *("token", "issue", "ada", *output), stdout=full, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
            )
            err = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 5
        assert "the change was made, but its result could not be written" in err
