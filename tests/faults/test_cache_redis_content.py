"""The cache when Redis contains what others have written."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from struct import pack

import pytest
from tests.cli.machines import Machine
from tests.faults.cache_services import ACTIVE, INACTIVE, eventually, loads, machine_on, services
from tests.servers import Servers


@pytest.fixture
def shared(tmp_path: Path, servers: Servers) -> Machine:
    """A machine on a server that works. Its services keep nothing in memory, so they read what is in Redis."""
    return machine_on(tmp_path, servers.redis().url(), "cache.memory_entries = 0")


def keys_of(machine: Machine, servers: Servers, pattern: str = "*") -> list[bytes]:
    (line,) = [line for line in machine.config_file.read_text().splitlines() if line.startswith("redis.namespace")]
    found: list[bytes] = servers.redis().ask("KEYS", f"{line.split(chr(34))[1]}:{pattern}")
    return found


def at(*times: int) -> Callable[[bytes], bytes]:
    """Return a function that makes an unsigned entry with these times."""
    return lambda entry: entry[:4] + b"\0" + pack(">QQQ", *times) + entry[29:37] + b"\0\0" + b"1"


def unsigned(payload: bytes) -> Callable[[bytes], bytes]:
    return lambda entry: entry[:4] + b"\0" + entry[5:37] + b"\0\0" + payload


GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "an administrator": lambda entry: entry.replace(b'"role": "user"', b'"role": "admin"'),
    "nothing": lambda entry: b"",
    "half": lambda entry: entry[: len(entry) // 2],
    "the header": lambda entry: entry[:30],
    "bytes": lambda entry: bytes(range(256)),
    "a future format": lambda entry: b"bkc\x03" + entry[4:],
    "unsigned": lambda entry: entry[:4] + bytes([entry[4] & ~4]) + entry[5:],
    "many tags": lambda entry: entry[:37] + b"\xff" + entry[38:],
    "a pickle": lambda entry: pickle.dumps({"role": "admin"}),
    "10 MB": lambda entry: entry + b" " * 10_000_000,
    "10 MB of JSON": unsigned(b'"' + b"x" * 10_000_000 + b'"'),
    "deep JSON": unsigned(b"[" * 100_000),
    "a lone surrogate": unsigned(b'"\\ud800"'),
    "a long number": unsigned(b"9" * 5000),
    "without an end": at(0, 1 << 61, 1 << 62),
    "from the future": at(1 << 61, 1 << 62, (1 << 63) - 1),
    "from 1970": at(0, 0, 0),
}


def inspected(machine: Machine, id_: str) -> None:
    """Check that the commands do not crash."""
    for words in (
        ("list",),
        ("list", "-o", "json"),
        ("stats",),
        *(
            (command, key, "-o", form)
            for command in ("get", "explain")
            for key in (f"user:{id_}", "x:1")
            for form in ("json", "table")
        ),
    ):
        done = machine.run("cache", *words)
        assert done.code in ((0, 3) if words[0] in ("get", "explain") else (0,)), (words, done.err)


@pytest.mark.parametrize("kind", GARBAGE)
def test_nobody_gains_anything_from_changed_entries(shared: Machine, servers: Servers, kind: str) -> None:
    source = shared.home / "source"
    source.write_text("value")
    server = servers.redis()
    with services(shared, 1) as (service,):
        assert service.ask("get", "ada") == ACTIVE
        assert service.ask("load", "x:1", str(source)) == "value"
        id_ = shared.run("user", "show", "ada", "-o", "json").succeeded().json["id"]
        for key in keys_of(shared, servers, "*:e:user:*"):
            server.ask("SET", key, GARBAGE[kind](server.ask("GET", key)))
        inspected(shared, id_)
        assert service.ask("get", "ada") == ACTIVE
        for key in keys_of(shared, servers, "*:e:x:1"):
            server.ask("SET", key, GARBAGE[kind](server.ask("GET", key)))
        inspected(shared, id_)
        service.ask("load", "x:1", str(source))  # whoever writes to Redis chooses such a value, but crashes nothing
        assert "Traceback" not in (shared.home / "service.log").read_text()
    shared.run("cache", "invalidate", "--all", "--yes").succeeded()
    shared.run("cache", "invalidate", "*").succeeded()


def test_an_entry_of_another_account_is_not_used(shared: Machine, servers: Servers) -> None:
    server = servers.redis()
    with services(shared, 1) as (service,):
        assert [service.ask("get", name)["role"] for name in ("root", "ada")] == ["admin", "user"]
        ids = [shared.run("user", "show", name, "-o", "json").succeeded().json["id"] for name in ("root", "ada")]
        for root, ada in (ids, ("username:root", "username:ada")):
            ((source,), (target,)) = (keys_of(shared, servers, f"*:e:user:{name}") for name in (root, ada))
            server.ask("SET", target, server.ask("GET", source))
        assert service.ask("get", "ada") == ACTIVE
        assert "no valid signature" in (shared.home / "service.log").read_text()


@pytest.mark.parametrize("ends", [False, True])
def test_keys_of_another_kind_are_replaced(shared: Machine, servers: Servers, ends: bool) -> None:
    source = shared.home / "source"
    source.write_text("value")
    server = servers.redis()
    with services(shared, 1) as (service,):
        assert service.ask("get", "ada") == ACTIVE
        assert service.ask("load", "x:1", str(source), ["red"]) == "value"
        id_ = shared.run("user", "show", "ada", "-o", "json").succeeded().json["id"]
        service.ask("close")  # which adds the counters
        found = keys_of(shared, servers)
        assert len(found) >= 7  # entries, epoch, fence, a tag and the counters
        locks = [key.replace(b":e:", b":l:") for key in found if b":e:" in key]
        for key in [*found, *locks]:
            server.ask("DEL", key)
            server.ask("LPUSH", key, "x")
            if ends:
                server.ask("EXPIRE", key, 3600)
        inspected(shared, id_)
        assert service.ask("get", "ada") == ACTIVE
        assert service.ask("load", "x:1", str(source), ["red"]) == "value"
        before = len(loads(source))
        assert service.ask("load", "x:1", str(source), ["red"]) == "value"
        assert len(loads(source)) == before  # it is cached again
        shared.run("user", "deactivate", "ada").succeeded()
        assert service.ask("get", "ada") == INACTIVE
        service.ask("close")
        inspected(shared, id_)
        assert (shared.home / "service.log").read_text() == ""


@pytest.mark.parametrize("number", ["9" * 5000, "9223372036854775807", "x", "-1"])
def test_damaged_counters_do_not_matter(shared: Machine, servers: Servers, number: str) -> None:
    source = shared.home / "source"
    source.write_text("value")
    with services(shared, 1) as (service,):
        assert service.ask("load", "x:1", str(source)) == "value"
        service.ask("close")
        (counts,) = keys_of(shared, servers, "*:counts")
        servers.redis().ask("HSET", counts, "loads", number, "memory_hits", number)
        inspected(shared, "x")
        assert service.ask("load", "x:1", str(source)) == "value"
        service.ask("close")
        inspected(shared, "x")


def test_hostile_messages_change_nothing(tmp_path: Path, servers: Servers) -> None:
    machine = machine_on(tmp_path, servers.redis().url())
    server = servers.redis()
    source = machine.home / "source"
    source.write_text("old")
    with services(machine, 1) as (service,):
        assert service.ask("get", "ada") == ACTIVE
        ((sequence,),) = [keys_of(machine, servers, "*:sequence")]
        channel = sequence.replace(b".00}:sequence", b"}")
        eventually(lambda: server.ask("PUBSUB", "NUMSUB", channel)[1] == 1, "a subscription")
        bodies = (
            b"", b"x", b"{}", b"[]", b"1", b"[1]", b'["keys",1]', b'["keys",[]]', b'[{}]', b'["glob",""]',
            b'["glob","' + b"*a" * 50_000 + b'"]', b'["glob","[\\udcff-"]', b'["keys","\\ud800"]', b'["nothing"]',
            b'["all"]', b"[" * 100_000, b'["tags","' + b"x" * 1_000_000 + b'"]', b"\xff" * 9, b'["keys",NaN]',
        )  # fmt: skip
        for body in bodies:
            for before in (b"", b"12345678", server.ask("GET", sequence), b"x" * 200):
                assert service.ask("get", "ada") == ACTIVE
                assert service.ask("load", "x:1", str(source)) == "old"
                server.ask("PUBLISH", channel, bytes([len(before)]) + before + b"87654321" + body)
                server.ask("PUBLISH", channel, body)
        server.ask("PUBLISH", channel, b"\xff")
        assert service.ask("get", "ada") == ACTIVE
        machine.run("user", "deactivate", "ada").succeeded()
        eventually(lambda: service.ask("get", "ada") == INACTIVE, "the change")
        assert service.ask("held")["threads"] == ["MainThread", "backctl-cache"]
        assert (machine.home / "service.log").read_text() == ""


def test_a_message_of_any_size_only_empties_the_memory(tmp_path: Path, servers: Servers) -> None:
    machine = machine_on(tmp_path, servers.redis().url())
    with services(machine, 1) as (service,):
        assert service.ask("get", "ada") == ACTIVE
        (sequence,) = keys_of(machine, servers, "*sequence")
        channel = sequence.partition(b".00}")[0] + b"}"
        globs = [f"{'*a' * 100}{number}" for number in range(300)]
        for message in (b"", b"\x08", b"\xff" * 100_000, json.dumps(["glob", *globs]).encode(), b"\0" * 17 + b"[]"):
            servers.redis().ask("PUBLISH", channel, message)
        assert service.ask("get", "ada") == ACTIVE
        machine.run("user", "deactivate", "ada").succeeded()
        eventually(lambda: service.ask("get", "ada") == INACTIVE, "the change")
