"""`backctl cache drain` and `backctl cache dead …`: the worker of write-behind, with a file and with Redis."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.cli.accounts import Person, python
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.processes import run_command
from tests.cli.ratelimits import on
from tests.redis_stores import redis_url
from tests.servers import Servers

PEOPLE = [Person("ada"), Person("bob")]
DEADLINE_S = 60
SCORES = """
from sqlalchemy import text

def write(connection, updates):
    connection.execute(text("CREATE TABLE IF NOT EXISTS scores (player TEXT PRIMARY KEY, points INTEGER)"))
    if "bad" in updates:
        raise ValueError("no such player")
    rows = [{"player": player, "points": points} for player, points in updates.items()]
    connection.execute(text("INSERT OR REPLACE INTO scores VALUES (:player, :points)"), rows)

def register(cache):
    cache.register_writer("score", write)

def broken(cache):
    raise ZeroDivisionError("no scores today")

def leaving(cache):
    raise SystemExit(0)

def telling(cache):
    raise ValueError("refused eyJhbGciOiJub25lIn0.e30.c2lnbmF0dXJl")

number = 5
"""
REGISTER = ("--register", "scores:register")
COUNTS = ("written", "superseded", "retried", "dead", "set_aside", "waiting")


@pytest.fixture(params=["file", "redis", "cluster"])
def service(request: pytest.FixtureRequest, installed: Machine, servers: Servers) -> Machine:
    """An installation with a service that queues scores."""
    (installed.home / "scores.py").write_text(SCORES)
    return installed if request.param == "file" else on(installed, redis_url(servers, request.param))


@pytest.fixture
def in_file(installed: Machine) -> Machine:
    (installed.home / "scores.py").write_text(SCORES)
    return installed


def queue(machine: Machine, **points: object) -> None:
    """Queue scores as a service does."""
    program = """
import json, sys, backctl, scores
with backctl.open_backend() as backend:
    scores.register(backend.cache)
    for player, points in json.loads(sys.argv[1]).items():
        backend.cache.write_behind("score", player, points)
"""
    python(machine, program, json.dumps(points)).succeeded()


def see(machine: Machine, name: str) -> None:
    program = """
import sys, backctl
with backctl.open_backend() as backend:
    backend.cache.write_behind("last_seen", "user:" + backend.accounts.show(sys.argv[1]).id, backend.now())
"""
    python(machine, program, name).succeeded()


def drained(machine: Machine, *words: str) -> tuple[int, ...]:
    """Drain once; return the exit code and the counts."""
    done = machine.run("cache", "drain", *REGISTER, *words, "-o", "json")
    return (done.code, *(done.json[name] for name in COUNTS))


def seen(machine: Machine, name: str) -> object:
    return machine.run("user", "show", name, "-o", "json").succeeded().json["last_seen_at"]


def scores(machine: Machine) -> dict[object, object]:
    return dict(machine.rows("SELECT player, points FROM scores ORDER BY player"))


def test_queued_updates_are_written_once(service: Machine) -> None:
    queue(service, ada=1, bob=2)
    queue(service, ada=3)
    see(service, "ada")
    trial = service.run("cache", "drain", *REGISTER, "--dry-run", "-o", "json").succeeded().json
    assert (trial["written"], trial["waiting"], trial["changed"], trial["dry_run"]) == (0, 3, True, True)
    assert seen(service, "ada") is None
    assert drained(service) == (0, 3, 0, 0, 0, 0, 0)
    assert scores(service) == {"ada": 3, "bob": 2}
    assert seen(service, "ada") is not None
    done = service.run("cache", "drain", *REGISTER, "-o", "json").succeeded()
    assert (done.json["changed"], done.err) == (False, "")


def test_a_failed_update_ends_with_exit_code_7_and_dies_in_the_end(service: Machine) -> None:
    service.environment["BACKCTL_CACHE_QUEUE_ATTEMPTS"] = "1"
    queue(service, ada=1, bad=2)
    done = service.run("cache", "drain", *REGISTER)
    assert (done.code, "updates of score@1 were not written: 1 with ValueError" in done.err) == (7, True)
    (dead,) = service.run("cache", "dead", "list", "-o", "json").succeeded().json["items"]
    assert (dead["writer"], dead["key"], dead["size_bytes"], dead["attempts"]) == ("score@1", "bad", 1, 1)
    assert dead["error"] == "ValueError: no such player"
    assert service.run("cache", "stats", "-o", "json").succeeded().json["dead"] == 1

    requeued = service.run("cache", "dead", "requeue", dead["id"], "-o", "json").succeeded().json
    assert requeued == {"updates": 1, "changed": True}
    assert drained(service) == (7, 0, 0, 0, 1, 0, 0)
    queue(service, bad=3)
    (service.home / "scores.py").write_text(SCORES.replace('"bad"', '"worse"'))
    assert drained(service) == (0, 1, 0, 0, 0, 0, 0)
    service.run("cache", "dead", "requeue", "--all").succeeded()
    assert drained(service) == (0, 0, 1, 0, 0, 0, 0)
    assert scores(service) == {"ada": 1, "bad": 3}


def test_dead_updates_are_dropped_only_after_a_confirmation(service: Machine) -> None:
    queue(service, ada=1, bob=2)
    service.run("cache", "drain", "--set-aside-unknown").succeeded()
    ids = service.run("cache", "dead", "list", "-o", "id").succeeded().out.split()
    error = refused(service.run("cache", "dead", "drop", ids[0], "-o", "json"), 8, "confirmation.required")
    assert error["message"] == "not confirmed: drop a dead update?"
    trial = service.run("cache", "dead", "drop", "--all", "--dry-run", "-o", "json").succeeded().json
    assert trial == {"updates": 2, "changed": True, "dry_run": True}
    for command in ("requeue", "drop"):
        error = refused(
            service.run("cache", "dead", command, ids[0], "1", "--yes", "-o", "json"), 3, "cache.update_not_found"
        )
        assert error["message"] == "there is no dead update '1'"
    assert service.run("cache", "dead", "drop", ids[0], "-y", "-o", "json").succeeded().json["updates"] == 1
    assert service.run("cache", "dead", "list", "-o", "id").succeeded().out.split() == ids[1:]
    assert service.run("cache", "dead", "drop", "--all", "-y", "-o", "json").succeeded().json["updates"] == 1
    assert service.run("cache", "dead", "drop", "--all", "-o", "json").succeeded().json["changed"] is False


def test_updates_of_unknown_writers_are_named_and_left(service: Machine) -> None:
    queue(service, ada=1)
    see(service, "ada")
    done = service.run("cache", "drain", "-o", "json").succeeded()
    assert (done.json["written"], done.json["waiting"], done.json["unknown_writers"]) == (1, 1, ["score@1"])
    assert done.err == "backctl: updates wait for writers that are not registered here: score@1\n"
    aside = service.run("cache", "drain", "--set-aside-unknown", "-o", "json").succeeded().json
    assert (aside["set_aside"], aside["waiting"], aside["changed"]) == (1, 0, True)
    (dead,) = service.run("cache", "dead", "list", "-o", "json").succeeded().json["items"]
    assert dead["error"] == "this writer was not registered"


def test_a_full_queue_refuses_further_keys(service: Machine) -> None:
    service.environment["BACKCTL_CACHE_QUEUE_LIMIT"] = "2"
    queue(service, ada=1, bob=2)
    queue(service, ada=3)
    program = """
import backctl, scores
from backctl.domain.errors import QueueFull
with backctl.open_backend() as backend:
    scores.register(backend.cache)
    try:
        backend.cache.write_behind("score", "eve", 1)
    except QueueFull as error:
        print(error.code, error.hint)
    print(backend.cache.drain().written)
    backend.cache.write_behind("score", "eve", 1)
"""
    done = python(service, program).succeeded()
    assert done.out == "cache.queue_full run 'backctl cache drain', or increase cache.queue_limit\n2\n"


@pytest.fixture
def follower(service: Machine) -> "Iterator[subprocess.Popen[bytes]]":
    command = ("cache", "drain", "--follow", *REGISTER, "-o", "json")
    with service.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_worker_that_follows_writes_what_is_queued_and_ends_on_a_signal(
    service: Machine, follower: "subprocess.Popen[bytes]", number: signal.Signals
) -> None:
    for name in ("ada", "bob"):
        see(service, name)
        deadline = time.monotonic() + DEADLINE_S
        while seen(service, name) is None:
            assert follower.poll() is None
            assert time.monotonic() < deadline
    follower.send_signal(number)
    out, err = follower.communicate(timeout=DEADLINE_S)
    assert follower.returncode == 0, err
    report = json.loads(out)
    assert (report["written"], report["waiting"], report["changed"]) == (2, 0, True)
    assert err == b"backctl: finishing the changes that have begun; interrupt again to stop at once\n"


def test_statistics_show_the_queue(service: Machine) -> None:
    queue(service, ada=1, bob=2)
    found = service.run("cache", "stats", "-o", "json").succeeded().json
    assert (found["queued"], found["queue_lag"], found["dead"]) == (2, None, 0)
    assert found["queue_oldest"] > 0
    (writer,) = found["writers"]
    assert (writer["writer"], writer["waiting"], writer["oldest"]) == ("score@1", 2, found["queue_oldest"])
    drained(service)
    found = service.run("cache", "stats", "-o", "json").succeeded().json
    assert (found["queued"], found["queue_oldest"]) == (0, None)
    assert found["queue_lag"] > 0


def checks(machine: Machine) -> dict[str, dict[str, str]]:
    found = machine.run("doctor", "-o", "json").json["items"]
    return {check["check"]: check for check in found if check["check"].startswith("queue.")}


def test_doctor_warns_of_a_growing_queue_and_of_dead_updates(service: Machine) -> None:
    assert checks(service) == {}
    queue(service, ada=1, bob=2)
    assert (checks(service)["queue.depth"]["status"], checks(service)["queue.dead"]["status"]) == ("ok", "ok")
    service.environment["BACKCTL_CACHE_QUEUE_LIMIT"] = "3"
    depth = checks(service)["queue.depth"]
    assert (depth["status"], depth["finding"]) == ("warn", "2 updates wait, and 3 is the limit: 2 of score@1")
    service.run("cache", "drain", "--set-aside-unknown").succeeded()
    assert checks(service)["queue.depth"]["finding"] == "waiting updates: 0"
    dead = checks(service)["queue.dead"]
    assert (dead["status"], dead["finding"]) == ("warn", "updates failed too often and are dead: 2 of score@1")


def test_doctor_says_that_the_file_is_durable(in_file: Machine) -> None:
    queue(in_file, ada=1)
    found = checks(in_file)["queue.durability"]
    assert found["status"] == "ok"
    assert f"'{in_file.data / 'queue.db'}'" in found["finding"]
    assert (in_file.data / "queue.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["redis", "cluster"])
def test_doctor_says_what_redis_can_lose(in_file: Machine, servers: Servers, kind: str) -> None:
    machine = on(in_file, redis_url(servers, kind))
    assert checks(machine) == {}
    queue(machine, ada=1)
    found = checks(machine)["queue.durability"]
    assert (found["status"], found["hint"]) == ("warn", "set appendonly to yes")
    assert found["finding"] == "the server saves nothing to disk: when it stops, it loses all queued updates"


def test_doctor_warns_of_updates_in_a_file_that_is_not_used_any_more(in_file: Machine, servers: Servers) -> None:
    queue(in_file, ada=1)
    assert "queue.unused" not in checks(in_file)
    machine = on(in_file, redis_url(servers, "redis"))
    found = checks(machine)["queue.unused"]
    assert found["status"] == "warn"
    assert str(found["finding"]).endswith("which is not used while redis.url is set: 1 of score@1")
    with closing(sqlite3.connect(machine.data / "queue.db")) as connection, connection:
        connection.execute("DELETE FROM updates")
    assert checks(machine)["queue.unused"]["status"] == "ok"


def test_doctor_warns_of_updates_that_wait_for_long(in_file: Machine) -> None:
    queue(in_file, ada=1)
    with closing(sqlite3.connect(in_file.data / "queue.db")) as connection, connection:
        connection.execute("UPDATE updates SET queued_at = queued_at - 600000000")
    depth = checks(in_file)["queue.depth"]
    assert (depth["status"], depth["finding"]) == ("warn", "updates have waited for 10 min: 1 of score@1")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("drain", "--once", "--follow"), "usage", "--once and --follow cannot be combined"),
        (("drain", "--batch-size", "0"), "usage", "--batch-size 0 is out of range"),
        (("drain", "--batch-size", "10001"), "usage", "--batch-size 10001 is out of range"),
        (("drain", "--register", "scores"), "usage", "--register 'scores' is not MODULE:NAME"),
        (("drain", "--register", "a b:c"), "usage", "--register 'a b:c' is not MODULE:NAME"),
        (("drain", "--register", "scores:missing"), "usage", "'scores' has no function 'missing'"),
        (("drain", "--register", "scores:number"), "usage", "'scores' has no function 'number'"),
        (
            ("drain", "--register", "nowhere:register"),
            "input.invalid",
            "'nowhere' cannot be imported: ModuleNotFoundError: No module named 'nowhere'",
        ),
        (
            ("drain", "--register", "scores:broken"),
            "input.invalid",
            "'scores:broken' failed: ZeroDivisionError: no scores today",
        ),
        (("drain", "--register", "scores:leaving"), "input.invalid", "'scores:leaving' failed: SystemExit: 0"),
        (
            ("drain", "--register", "scores:telling"),
            "input.invalid",
            "'scores:telling' failed: ValueError: refused eyJ…",
        ),
        (("dead", "drop"), "usage", "give either ids or --all"),
        (("dead", "requeue", "1", "--all"), "usage", "give either ids or --all"),
    ],
)
def test_bad_input_is_refused(in_file: Machine, words: tuple[str, ...], code: str, message: str) -> None:
    error = refused(in_file.run("cache", *words, "-o", "json"), 2, code)
    assert error["message"] == message
    assert not (in_file.data / "queue.db").exists()


def test_files_in_the_working_folder_replace_no_module_of_a_package(in_file: Machine) -> None:
    queue(in_file, ada=1)
    for name in ("sqlite3", "sqlalchemy", "uuid_utils"):
        (in_file.home / f"{name}.py").write_text("raise SystemExit(99)\n")
    # As the installed program starts: -P does not put the working folder first.
    command = [sys.executable, "-P", "-m", "backctl", "cache", "drain", *REGISTER, "-o", "json"]
    assert run_command(in_file, command).succeeded().json["written"] == 1


def test_a_database_that_is_locked_ends_with_exit_code_5_and_costs_no_attempt(in_file: Machine) -> None:
    queue(in_file, ada=1)
    with closing(sqlite3.connect(in_file.data / "backctl.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        refused(in_file.run("cache", "drain", *REGISTER, "--timeout", "100ms", "-o", "json"), 5, "database.locked")
    assert drained(in_file) == (0, 1, 0, 0, 0, 0, 0)
