"""`backctl cache …`: exit codes, output, and what a file and Redis have in common."""

import json
import os
import re

import pytest
from tests.cli.accounts import python
from tests.cli.conftest import Machine
from tests.cli.documents import blocks, run_document
from tests.cli.expected import refused
from tests.cli.ratelimits import on
from tests.redis_stores import redis_url
from tests.servers import Servers

from backctl.domain.values import Instant

DOCUMENT = "docs/cache.md"
ENTRY_KEYS = ["key", "state", "age", "ttl", "size_bytes", "tags", "negative"]
LEVELS = {"file": "file", "redis": "redis", "cluster": "redis"}


@pytest.fixture(params=LEVELS)
def shared(request: pytest.FixtureRequest, machine: Machine, servers: Servers) -> Machine:
    """A machine with an empty cache in a file, on Redis, or on a cluster."""
    if request.param == "file":
        return machine
    return on(machine, redis_url(servers, request.param))


@pytest.fixture
def level(request: pytest.FixtureRequest) -> str:
    return LEVELS[request.node.callspec.params["shared"]]


def test_a_value_comes_back_as_it_was_given(shared: Machine) -> None:
    for text in ('{"total": [1, 2.5, null]}', "null", "0", '""', "[]", "false", '"grün"', "12345678901234567890"):
        stored = shared.run("cache", "set", "report:1", text, "-o", "json").succeeded().json
        assert (stored["key"], stored["ttl"], stored["changed"]) == ("report:1", 300, True)
        assert shared.run("cache", "get", "report:1").succeeded().out == f"{text}\n"
        shown = shared.run("cache", "get", "report:1", "-o", "json").succeeded().json
        assert shown == {"key": "report:1", "value": json.loads(text), "format": "json"}


def test_strings_and_bytes_can_be_read_and_written_without_quotes(shared: Machine) -> None:
    shared.run("cache", "set", "greeting", "hello\nworld", "--raw").succeeded()
    assert shared.run("cache", "get", "greeting").succeeded().out == '"hello\\nworld"\n'
    assert shared.run("cache", "get", "greeting", "--raw").succeeded().out == "hello\nworld\n"
    shared.run("cache", "set", "blob", "aGkAeA==", "--base64").succeeded()
    assert shared.run("cache", "get", "blob").succeeded().out == '"aGkAeA=="\n'
    assert shared.run("cache", "get", "blob", "--raw").succeeded().out == "hi\0x"
    assert shared.run("cache", "get", "blob", "-o", "json").succeeded().json["format"] == "bytes"


def test_a_value_comes_from_a_file_or_standard_input(shared: Machine) -> None:
    file = shared.home / "value"
    file.write_bytes(b'{"a": 1}\n')
    shared.run("cache", "set", "k", "--from-file", str(file)).succeeded()
    assert shared.run("cache", "get", "k").succeeded().out == '{"a": 1}\n'
    shared.run("cache", "set", "k", "--from-file", "-", "--raw", stdin=" text\n").succeeded()
    assert shared.run("cache", "get", "k").succeeded().out == '" text\\n"\n'


def test_what_is_not_cached_ends_with_exit_code_3(shared: Machine) -> None:
    for command in ("get", "explain", "delete"):
        error = refused(shared.run("cache", command, "nothing", "-o", "json"), 3, "cache.not_found")
        assert error["message"] == "'nothing' is not cached"
    gone = shared.run("cache", "delete", "nothing", "--if-exists", "-o", "json").succeeded().json
    assert gone == {"key": "nothing", "changed": False}


def test_an_entry_is_deleted_once(shared: Machine) -> None:
    shared.run("cache", "set", "k", "1").succeeded()
    trial = shared.run("cache", "delete", "k", "--dry-run", "-o", "json").succeeded().json
    assert trial == {"key": "k", "changed": True, "dry_run": True}
    assert shared.run("cache", "delete", "k", "-o", "json").succeeded().json["changed"] is True
    assert shared.run("cache", "delete", "k").code == 3


def test_an_entry_is_explained(shared: Machine, level: str) -> None:
    shared.run("cache", "set", "report:1", "[1]", "--tag", "reports", "--tag", "year:2026", "--ttl", "1h").succeeded()
    found = shared.run("cache", "explain", "report:1", "-o", "json").succeeded().json
    assert (found["level"], found["state"], found["why"], found["size_bytes"]) == (level, "fresh", None, 3)
    assert 3500 < found["ttl"] <= 3600
    assert found["epoch"] == found["current_epoch"]
    assert found["tags"] == [{"tag": "reports", "current": True}, {"tag": "year:2026", "current": True}]
    assert re.fullmatch(r".+:\d+", found["writer"])
    assert found["signed"] is None

    shared.run("cache", "invalidate", "--tag", "year:2026").succeeded()
    found = shared.run("cache", "explain", "report:1", "-o", "json").succeeded().json
    assert (found["state"], found["why"]) == ("invalidated", "the tag 'year:2026' was invalidated")
    assert found["tags"] == [{"tag": "reports", "current": True}, {"tag": "year:2026", "current": False}]
    error = refused(shared.run("cache", "get", "report:1", "-o", "json"), 3, "cache.not_found")
    assert error["message"] == "'report:1' is not cached: its entry is invalidated"
    assert error["hint"] == "run 'backctl cache explain' to see why"

    shared.run("cache", "invalidate", "--all", "--yes").succeeded()
    found = shared.run("cache", "explain", "report:1", "-o", "json").succeeded().json
    assert (found["state"], found["why"]) == ("invalidated", "all entries were invalidated")


RENEW = """
import time
import backctl

with backctl.open_backend() as backend:
    backend.cache.get_or_load("report:1", lambda: 1, ttl=20, refresh_after=0.001)
    time.sleep(0.05)
    while backend.cache.get_or_load("report:1", lambda: 2, ttl=20, refresh_after=0.9) == 1:
        time.sleep(0.01)
"""


def test_an_entry_shows_when_it_is_renewed_and_which_process_did_it(shared: Machine) -> None:
    shared.configure("[cache.namespaces.off]\nrefresh_after = 'off'\n")
    shared.run("cache", "set", "off:1", "1").succeeded()
    found = shared.run("cache", "explain", "off:1", "-o", "json").succeeded().json
    assert (found["renews_at"], found["renewed_by"]) == (None, None)

    shared.run("cache", "set", "report:1", "1", "--ttl", "100s").succeeded()
    found = shared.run("cache", "explain", "report:1", "-o", "json").succeeded().json
    stored, renews, stale = (Instant.parse(found[name]) for name in ("stored_at", "renews_at", "stale_at"))
    assert (renews - stored, stale - stored) == (80_000_000, 100_000_000)
    assert found["renewed_by"] is None

    shared.run("cache", "delete", "report:1").succeeded()
    python(shared, RENEW).succeeded()
    found = shared.run("cache", "explain", "report:1", "-o", "json").succeeded().json
    assert found["renewed_by"] == found["writer"]
    assert found["writer"] is not None
    stats = shared.run("cache", "stats", "-o", "json").succeeded().json
    assert (stats["renewals"], stats["renewal_failures"]) == (1, 0)


def test_a_glob_counts_the_same_in_a_dry_run_and_for_real(shared: Machine) -> None:
    for key in ("report:1", "report:2", "report:10", "other"):
        shared.run("cache", "set", key, "1").succeeded()
    trial = shared.run("cache", "invalidate", "report:?", "--dry-run", "-o", "json").succeeded().json
    assert (trial["entries"], trial["changed"], trial["dry_run"]) == (2, True, True)
    done = shared.run("cache", "invalidate", "report:?", "-o", "json").succeeded().json
    assert (done["pattern"], done["entries"], done["size_bytes"]) == ("report:?", 2, trial["size_bytes"])
    again = shared.run("cache", "invalidate", "report:?", "-o", "json").succeeded().json
    assert (again["entries"], again["changed"]) == (0, False)
    left = shared.run("cache", "list", "-o", "json").succeeded().json["items"]
    assert sorted(item["key"] for item in left) == ["other", "report:10"]
    assert list(left[0]) == ENTRY_KEYS


def test_a_list_shows_states_and_keys_that_are_not_text(shared: Machine) -> None:
    key, tag = os.fsdecode(b"\xff{a}*"), os.fsdecode(b"\xfe")
    shared.run("cache", "set", key, "1", "--tag", tag).succeeded()
    shared.run("cache", "set", "b", "1").succeeded()
    shared.run("cache", "invalidate", "--tag", tag).succeeded()
    items = shared.run("cache", "list", "-o", "json").succeeded().json["items"]
    found = {item["key"]: (item["state"], item["tags"]) for item in items}
    assert found == {"\\xff{a}*": ("invalidated", ["\\xfe"]), "b": ("fresh", [])}
    assert shared.run("cache", "list", "b*", "-o", "id").succeeded().out == "b\n"


def test_statistics_count_the_entries_and_what_services_found(shared: Machine, level: str) -> None:
    nothing = shared.run("cache", "stats", "-o", "json").succeeded().json
    assert (nothing["level"], nothing["entries"], nothing["hit_ratio"]) == (level, 0, None)
    program = """
import backctl
with backctl.open_backend() as backend:
    for _ in range(10):
        backend.cache.get_or_load("report:1", lambda: 1)
"""
    python(shared, program).succeeded()
    found = shared.run("cache", "stats", "-o", "json").succeeded().json
    assert (found["entries"], found["loads"], found["hit_ratio"]) == (1, 1, 0.9)
    assert found["memory_hits"] + found["store_hits"] == 9


def test_all_entries_are_invalidated_only_after_a_confirmation(shared: Machine) -> None:
    shared.run("cache", "set", "k", "1").succeeded()
    error = refused(shared.run("cache", "invalidate", "--all", "-o", "json"), 8, "confirmation.required")
    assert error["hint"] == "confirm with --yes"
    shared.run("cache", "get", "k").succeeded()
    assert shared.run("cache", "invalidate", "--all", "--dry-run", "-o", "json").succeeded().json["all"] is True
    shared.run("cache", "get", "k").succeeded()
    done = shared.run("cache", "invalidate", "--all", "--yes", "-o", "json").succeeded().json
    assert (done["all"], done["entries"], done["changed"]) == (True, None, True)
    assert shared.run("cache", "get", "k").code == 3


@pytest.mark.parametrize("key", ["user:1", "user", "revocation:a:b"])
def test_reserved_namespaces_cannot_be_written(shared: Machine, key: str) -> None:
    refused(shared.run("cache", "set", key, "1", "-o", "json"), 8, "cache.reserved")
    assert shared.run("cache", "list", "-o", "id").succeeded().out == ""


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("set", "k"), 2, "usage"),
        (("set", "k", "1", "--from-file", "-"), 2, "usage"),
        (("set", "k", "hello"), 2, "cache.invalid"),
        (("set", "k", "NaN"), 2, "cache.invalid"),
        (("set", "k", '{"a": 1, "a": 2}'), 2, "cache.invalid"),
        (("set", "k", "[" * 5000), 2, "cache.invalid"),
        (("set", "k", "x", "--base64"), 2, "cache.invalid"),
        (("set", "k", "x", "--base64", "--raw"), 2, "usage"),
        (("set", "k", "1", "--ttl", "0s"), 2, "cache.invalid"),
        (("set", "k", "1", "--ttl", "32d"), 2, "cache.invalid"),
        (("set", "k", "1", "--ttl", "soon"), 2, "duration.invalid"),
        (("set", "k", "1", "--tag", ""), 2, "cache.invalid"),
        (("set", "k", "1", "--tag", "x" * 129), 2, "cache.invalid"),
        (("set", "", "1"), 2, "cache.invalid"),
        (("set", "x" * 513, "1"), 2, "cache.invalid"),
        (("get", ""), 2, "cache.invalid"),
        (("invalidate",), 2, "usage"),
        (("invalidate", "a*", "--all"), 2, "usage"),
        (("invalidate", ""), 2, "input.invalid"),
        (("invalidate", "x" * 513), 2, "input.invalid"),
        (("list", "x" * 513), 2, "input.invalid"),
    ],
)
def test_bad_input_is_refused_and_stores_nothing(
    machine: Machine, arguments: tuple[str, ...], exit_code: int, code: str
) -> None:
    error = refused(machine.run("cache", *arguments, "-o", "json"), exit_code, code)
    assert error["hint"]
    assert not (machine.data / "cache.db").exists()


def test_a_value_that_is_too_large_is_refused(shared: Machine) -> None:
    value = "x" * ((1 << 20) - 1)  # and two quotes
    error = refused(
        shared.run("cache", "set", "k", "--raw", "--from-file", "-", "-o", "json", stdin=value), 2, "cache.invalid"
    )
    assert error["message"] == f"the value has {(1 << 20) + 1} bytes"
    shared.run("cache", "set", "k", "--raw", "--from-file", "-", stdin=value[1:]).succeeded()


def test_reading_creates_nothing(machine: Machine) -> None:
    for command in (("list",), ("stats",), ("invalidate", "*"), ("invalidate", "--tag", "t")):
        machine.run("cache", *command).succeeded()
    assert not machine.data.exists()


def test_a_cache_does_not_count_as_an_installation(machine: Machine) -> None:
    machine.run("cache", "set", "k", "1").succeeded()
    file = machine.data / "cache.db"
    assert file.stat().st_mode & 0o777 == 0o600
    machine.run("user", "create", "ada@example.org", "--username", "ada", "--no-password").succeeded()
    assert machine.run("cache", "get", "k").code == 3  # that of another installation


def test_accounts_are_stored_before_services_need_them(shared: Machine) -> None:
    shared.run("init").succeeded()
    for name in ("ada", "bob"):
        shared.run("user", "create", f"{name}@example.org", "--username", name, "--no-password").succeeded()
    trial = shared.run("cache", "warm", "users", "--dry-run", "-o", "json").succeeded().json
    assert trial == {"accounts": 2, "stored": 0, "skipped": 0, "changed": True, "dry_run": True}
    assert shared.run("cache", "list", "-o", "id").succeeded().out == ""
    done = shared.run("cache", "warm", "users", "--search", "ada", "-o", "json").succeeded().json
    assert done == {"accounts": 1, "stored": 1, "skipped": 0, "changed": True}
    found = sorted(shared.run("cache", "list", "-o", "id").succeeded().out.split())
    id_ = shared.run("user", "show", "ada", "-o", "id").succeeded().out.strip()
    assert found == sorted([f"user:{id_}", "user:email:ada@example.org", "user:username:ada"])
    shown = shared.run("cache", "get", f"user:{id_}", "-o", "json").succeeded().json["value"]
    assert (shown["username"], "password_hash" in shown) == ("ada", False)
    explained = shared.run("cache", "explain", f"user:{id_}", "-o", "json").succeeded().json
    assert (explained["signed"], explained["state"]) == (True, "fresh")

    shared.run("user", "deactivate", "ada").succeeded()
    assert shared.run("cache", "get", f"user:{id_}").code == 3


def test_the_commands_and_the_programs_of_the_document_work(machine: Machine) -> None:
    machine.run("user", "create", "ada@example.org", "--username", "ada", "--no-password").succeeded()
    ran = run_document(machine, DOCUMENT)
    assert [one.block for one in ran if one.err and one.block.language == "sh"] == []
    assert next(one.out for one in ran if one.block.language == "python") == "stored in the database: 350\n"
    (drained,) = [one.out for one in ran if "cache drain" in one.block.text]
    assert "\n2\t" in drained


def test_the_settings_in_the_document_are_the_defaults(machine: Machine) -> None:
    (settings,) = blocks(DOCUMENT, "toml")
    defaults = machine.run("config", "show", "-o", "json").succeeded().json
    machine.configure(settings.text)
    configured = machine.run("config", "show", "-o", "json").succeeded().json

    def values(shown: dict[str, list[dict[str, object]]]) -> dict[object, object]:
        return {item["key"]: item["value"] for item in shown["items"] if str(item["key"]).startswith("cache.")}

    assert values(configured) == values(defaults)
    assert len(values(defaults)) == len(re.findall(" = ", settings.text))
