"""`backctl ratelimit …` on Redis."""

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.ratelimits import CHECK, on
from tests.ports import free_port
from tests.redis_servers import RedisServer
from tests.redis_stores import ON_REDIS, redis_url
from tests.servers import Servers


@pytest.fixture(params=ON_REDIS)
def shared(request: pytest.FixtureRequest, machine: Machine, servers: Servers) -> Machine:
    return on(machine, redis_url(servers, request.param))


@pytest.fixture
def lonely(machine: Machine) -> Iterator[tuple[Machine, RedisServer]]:
    """A machine with a server of its own."""
    server = RedisServer()
    yield on(machine, server.url()), server
    server.close()


def test_the_fourth_of_three_is_refused(shared: Machine) -> None:
    done = [shared.run(*CHECK, "-q", "demo", "ada", "--rate", "3/1m") for _ in range(4)]
    assert [(each.code, each.out, each.err) for each in done] == [(0, "", "")] * 3 + [(6, "", "")]
    assert not shared.data.exists()


def test_peek_list_and_reset(shared: Machine) -> None:
    for _ in range(2):
        shared.run(*CHECK, "login", "ada").succeeded()
    shared.run(*CHECK, "api", "{ada}:*").succeeded()
    assert shared.run("ratelimit", "peek", "login", "ada").code == 6
    items = shared.run("ratelimit", "list", "-o", "json").succeeded().json["items"]
    assert [(item["policy"], item["ident"], item["ok"]) for item in items] == [
        ("login", "ada", False),
        ("api", "{ada}:*", True),
    ]
    assert shared.run("ratelimit", "list", "--limited", "-o", "id").succeeded().out == "ada\n"
    assert shared.run("ratelimit", "reset", "login", "ada", "-o", "json").succeeded().json["changed"] is True
    assert shared.run("ratelimit", "reset", "login", "ada", "-o", "json").succeeded().json["changed"] is False
    shared.run("ratelimit", "peek", "login", "ada").succeeded()


def test_several_policies_are_consumed_together_or_not_at_all(shared: Machine) -> None:
    both = (*CHECK, "login", "ada", "--also", "guest", "-o", "jsonl")
    for _ in range(2):
        shared.run(*both).succeeded()
    third = shared.run(*both)
    answers = [json.loads(line) for line in third.out.splitlines()]
    assert third.code == 6
    assert [(answer["policy"], answer["ok"], answer["remaining"]) for answer in answers] == [
        ("login", False, 0),
        ("guest", True, 3),
    ]


# A server that dies or refuses.


def test_lines_are_answered_as_they_arrive_until_the_server_dies(lonely: tuple[Machine, RedisServer]) -> None:
    machine, server = lonely
    words = (*CHECK, "demo", "--rate", "9/1h", "--from-file", "-", "--no-header")
    process = machine.start(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"ada\nbob\n")
    process.stdin.flush()
    assert [process.stdout.readline().split(b"\t")[2] for _ in range(2)] == [b"ada", b"bob"]
    server.kill()
    out, err = process.communicate(b"eve\n")
    assert (process.returncode, out) == (5, b"")
    assert b"stopped: 2 lines were answered, 0 of them refused" in err
    assert b"cannot be reached: connection refused" in err


def test_on_error_answers_while_the_server_is_down(lonely: tuple[Machine, RedisServer]) -> None:
    machine, server = lonely
    server.kill()
    error = refused(machine.run(*CHECK, "login", "ada", "-o", "json"), 5, "redis.unavailable")
    assert error["retryable"] is True
    allowed = machine.run(*CHECK, "api", "ada", "-o", "json").succeeded().json
    assert (allowed["ok"], allowed["degraded"]) == (True, True)
    denied = machine.run(*CHECK, "guest", "ada", "-o", "json")
    assert (denied.code, denied.json["degraded"], denied.json["retry_after"]) == (6, True, 1)
    lines = machine.run(*CHECK, "api", "--from-file", "-", "-o", "jsonl", stdin="a\nb\n").succeeded()
    assert [json.loads(line)["degraded"] for line in lines.out.splitlines()] == [True, True]
    for command in (("ratelimit", "list"), ("ratelimit", "reset", "login", "ada")):
        refused(machine.run(*command, "-o", "json"), 5, "redis.unavailable")


def test_a_batch_stops_where_waiting_does_not_help(lonely: tuple[Machine, RedisServer]) -> None:
    machine, server = lonely
    server.ask("CONFIG", "SET", "requirepass", "hunter2")
    done = machine.run(*CHECK, "login", "--from-file", "-", "--no-header", stdin="ada\nbob\n")
    assert (done.code, done.out) == (9, "")
    assert done.err.count("refuses the login") == 1


# Encrypted connections, and connections without a network.


def test_tls_with_certificates_of_both_sides(machine: Machine, tmp_path: Path) -> None:
    files = certificates(tmp_path)
    port = free_port()
    settings = {"tls-port": str(port), "tls-ca-cert-file": files["ca"]}
    server = RedisServer(settings=settings | {"tls-cert-file": files["cert"], "tls-key-file": files["key"]})
    try:
        both = f"ca_file={files['ca']}&cert_file={files['cert']}&key_file={files['key']}"
        on(machine, f"rediss://localhost:{port}/0?{both}")
        assert [machine.run(*CHECK, "-q", "login", "ada").code for _ in range(3)] == [0, 0, 6]
        for url in (
            f"rediss://localhost:{port}",  # an unknown authority
            f"rediss://127.0.0.1:{port}?{both}",  # another name
            f"rediss://localhost:{port}?ca_file={files['ca']}",  # no certificate of the client
            f"rediss://localhost:{port}?ca_file={files['ca']}&cert_file=/nowhere&key_file=/nowhere",
            f"rediss://localhost:{port}?ca_file={files['ca']}&cert_file={files['cert']}&key_file={files['locked']}",
        ):
            on(machine, url)
            error = refused(machine.run(*CHECK, "login", "ada", "-o", "json"), 9, "redis.unusable")
            assert "ca_file" in error["hint"]
        for url in (f"redis://localhost:{port}", f"rediss://localhost:{server.port}?{both}"):  # TLS, and none
            on(machine, url)
            refused(machine.run(*CHECK, "login", "ada", "-o", "json"), 5, "redis.unavailable")
    finally:
        server.close()


def test_a_socket_of_this_machine(machine: Machine, tmp_path: Path) -> None:
    server = RedisServer(settings={"unixsocket": f"{tmp_path}/redis.sock"})
    try:
        on(machine, f"unix://{tmp_path}/redis.sock?db=1")
        assert [machine.run(*CHECK, "-q", "login", "ada").code for _ in range(3)] == [0, 0, 6]
        assert server.admin().info("keyspace").keys() == {"db1"}
    finally:
        server.close()
    for reason in ("connection refused", "no such file or directory"):
        error = refused(machine.run(*CHECK, "login", "ada", "-o", "json"), 5, "redis.unavailable")
        assert reason in error["message"]
        (tmp_path / "redis.sock").unlink(missing_ok=True)


def certificates(folder: Path) -> dict[str, str]:
    """Write an authority, its certificate for localhost, and its key without and with a passphrase. Return paths."""
    name, day = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), timedelta(days=1)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    found = {}
    for what, key, authority in (("ca", keys[0], True), ("cert", keys[1], False)):
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        builder = x509.CertificateBuilder().subject_name(issuer if authority else name).issuer_name(issuer)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(datetime.now(UTC) - day).not_valid_after(datetime.now(UTC) + day)
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        found[what] = str(folder / what)
        Path(found[what]).write_bytes(builder.sign(keys[0], SHA256()).public_bytes(Encoding.PEM))
    for what, protection in (
        ("key", serialization.NoEncryption()),
        ("locked", serialization.BestAvailableEncryption(b"x")),
    ):
        found[what] = str(folder / what)
        Path(found[what]).write_bytes(keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
    return found


# Doctor.


def test_doctor_examines_the_servers(shared: Machine) -> None:
    checks = {item["check"]: item for item in shared.run("doctor", "-o", "json").json["items"]}
    ours = {name: check["status"] for name, check in checks.items() if name.startswith("redis.")}
    names = ["reachable", "version", "eviction", "clock", "scripts"]
    names += ["cluster"] if "redis+cluster" in shared.config_file.read_text() else []
    assert ours == {f"redis.{name}": "ok" for name in names}


def test_doctor_warns_about_eviction_and_finds_a_dead_server(lonely: tuple[Machine, RedisServer]) -> None:
    machine, server = lonely
    machine.run("init").succeeded()
    server.ask("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "volatile-ttl")
    checks = {item["check"]: item for item in machine.run("doctor", "-o", "json").succeeded().json["items"]}
    assert checks["redis.eviction"]["status"] == "warn"
    assert "volatile-ttl" in checks["redis.eviction"]["finding"]
    server.kill()
    done = machine.run("doctor", "-o", "json")
    checks = {item["check"]: item for item in done.json["items"]}
    assert (done.code, checks["redis.reachable"]["failure"]) == (5, "unavailable")
    assert (checks["redis.reachable"]["status"], checks["redis.scripts"]["status"]) == ("fail", "warn")
    assert "connection refused" in checks["redis.reachable"]["finding"]


def test_doctor_finds_a_server_that_runs_no_scripts(machine: Machine) -> None:
    server = RedisServer(settings={"rename-command": "EVALSHA nothing"})
    try:
        on(machine, server.url())
        checks = {item["check"]: item for item in machine.run("doctor", "-o", "json").json["items"]}
        assert (checks["redis.reachable"]["status"], checks["redis.scripts"]["status"]) == ("ok", "fail")
        refused(machine.run(*CHECK, "login", "ada", "-o", "json"), 9, "redis.unusable")
    finally:
        server.close()


def test_the_password_is_never_shown(machine: Machine, servers: Servers, tmp_path: Path) -> None:
    port = servers.redis().port
    on(machine, f"redis://ada:hunter2@127.0.0.1:{port}/0")
    for command in ((*CHECK, "login", "ada"), ("doctor",), ("config", "show"), ("ratelimit", "list", "-v")):
        done = machine.run(*command)
        assert "hunter2" not in done.out + done.err
    assert "refuses the login" in machine.run(*CHECK, "login", "ada").err
