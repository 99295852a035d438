"""`--wait-server` of `init` and `doctor`: servers that start while the command waits for them."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.redis_servers import RedisServer
from tests.servers import PostgresServer

_PATIENCE_S = 100


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer(18)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def waiting(machine: Machine, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command and yield when it has printed that it waits."""
    command = machine.start(*words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert command.stderr is not None
        line = command.stderr.readline()
        assert line.startswith(b"backctl: waiting for "), line
        yield command
    finally:
        command.kill()
        command.communicate()


def ended(command: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = command.communicate(timeout=_PATIENCE_S)
    return command.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_init_waits_for_the_database(machine: Machine, postgres: PostgresServer, flags: tuple[str, ...]) -> None:
    with postgres.database() as name:
        machine.environment["BACKCTL_DATABASE_URL"] = postgres.url(name)
        postgres.kill()
        try:
            with waiting(machine, "init", "--wait-server", "90s", *flags) as command:
                postgres.start()
                code, out, err = ended(command)
        except BaseException:
            postgres.start()
            raise
        assert code == 0, err
        assert postgres.password not in out + err
        assert "waiting for" not in err
        assert machine.data.joinpath("keyring.json").exists() is (flags == ())


def test_doctor_waits_for_redis_too(machine: Machine) -> None:
    machine.run("init").succeeded()
    server = RedisServer()
    try:
        machine.environment["BACKCTL_REDIS_URL"] = server.url()
        server.kill()
        with waiting(machine, "doctor", "--wait-server", "90s") as command:
            server.start()
            code, out, err = ended(command)
        assert (code, err) == (0, ""), out
        assert "redis.reachable\tok" in out
    finally:
        server.close()


AWAY = "postgresql://nobody@127.0.0.1:1/none"


def test_the_wait_ends_with_the_usual_error(machine: Machine) -> None:
    machine.environment["BACKCTL_DATABASE_URL"] = AWAY
    error = refused(machine.run("init", "--wait-server", "100ms", "-o", "json"), 5, "database.unavailable")
    assert error["retryable"] is True
    done = machine.run("init", "--wait-server", "100ms")
    assert [line.split(": ")[1] for line in done.err.splitlines()] == [f"waiting for {AWAY}", "error", "hint"]
    assert machine.run("init", "--wait-server", "100ms", "-q").err.count("waiting") == 0
    doctor = machine.run("doctor", "--wait-server", "100ms", "-o", "json")
    assert doctor.json["items"][0]["failure"] == "unavailable"
    assert doctor.err == f"backctl: waiting for {AWAY}\n"


def test_an_error_that_waiting_cannot_change_is_reported_at_once(machine: Machine, postgres: PostgresServer) -> None:
    wait = ("--wait-server", "1h", "-o", "json")
    with postgres.database() as name:
        wrong = {"BACKCTL_DATABASE_URL": postgres.url(name, password="hunter2")}
        for env, code in ((wrong, "database.unusable"), ({"BACKCTL_DATABASE_URL_FILE": "/nowhere"}, "config.invalid")):
            done = machine.run("init", *wait, env=env)
            refused(done, 9, code)
            assert "waiting" not in done.err
            assert machine.run("doctor", *wait, env=env).code == 9


def test_a_machine_without_servers_waits_for_nothing(machine: Machine) -> None:
    machine.run("init", "--wait-server", "1h").succeeded()
    machine.run("doctor", "--wait-server", "1h").succeeded()
    refused(machine.run("init", "--wait-server", "soon", "-o", "json"), 2, "duration.invalid")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_wait(machine: Machine, number: signal.Signals, code: int) -> None:
    machine.environment["BACKCTL_DATABASE_URL"] = AWAY
    with waiting(machine, "init", "--wait-server", "1h") as command:
        command.send_signal(number)
        assert ended(command)[0] == code
    assert not machine.data.exists()
