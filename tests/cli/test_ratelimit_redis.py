"""`backctl ratelimit …` on Redis, and checks of many lines on every store."""

import json
import re
import secrets
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
from tests.ports import free_port
from tests.redis_servers import RedisServer
from tests.redis_stores import ON_REDIS, redis_url
from tests.servers import Servers

CHECK = ("ratelimit", "check")
POLICIES = """
[ratelimit.policies.login]
limit = 2
window = "1h"

[ratelimit.policies.api]
algorithm = "gcra"
limit = 100
burst = 3
on_error = "allow"

[ratelimit.policies.guest]
algorithm = "sliding-counter"
limit = 5
on_error = "deny"
"""


def on(machine: Machine, url: str) -> Machine:
    machine.configure(f'redis.url = "{url}"\nredis.namespace = "{secrets.token_hex(8)}"\n{POLICIES}')
    return machine


@pytest.fixture(params=ON_REDIS)
def shared(request: pytest.FixtureRequest, machine: Machine, servers: Servers) -> Machine:
    return on(machine, redis_url(servers, request.param))


@pytest.fixture(params=["sqlite", "redis"])
def stored(request: pytest.FixtureRequest, machine: Machine, servers: Servers) -> Machine:
    if request.param == "sqlite":
        machine.configure(POLICIES)
        return machine
    return on(machine, redis_url(servers, "redis"))


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


def test_the_answer_as_headers(stored: Machine) -> None:
    first = stored.run(*CHECK, "login", "ada", "--cost", "2", "-o", "headers").succeeded()
    assert first.out == 'RateLimit-Policy: "login";q=2;w=3600\nRateLimit: "login";r=0;t=3600\n'
    second = stored.run(*CHECK, "login", "ada", "-o", "headers")
    assert second.code == 6
    assert second.out.splitlines()[2] in ("Retry-After: 3600", "Retry-After: 3599")
    never = stored.run(*CHECK, "login", "ada", "--cost", "3", "-o", "headers")
    assert "Retry-After" not in never.out
    both = stored.run(*CHECK, "login", "ada", "--also", "api", "-o", "headers").out.splitlines()
    assert both[:2] == [  # 100 a minute, 3 at once: 3 in 1.8 seconds
        'RateLimit-Policy: "login";q=2;w=3600, "api";q=3;w=2',
        both[1],
    ]
    assert re.fullmatch('RateLimit: "login";r=0;t=3(600|599), "api";r=3;t=0', both[1])
    assert [line.partition(":")[0] for line in both[2:]] == ["Retry-After"]
    error = stored.run("ratelimit", "policy", "list", "-o", "headers")
    assert (error.code, error.out) == (2, "")
    assert "only answers of rate limits have them" in error.err


# Many lines.


def test_each_line_gets_an_answer_in_order(stored: Machine) -> None:
    lines = 'ada\n\r\nbob\r\nada\n{"ident": "eve", "cost": 2}\nada\n'
    done = stored.run(*CHECK, "login", "--from-file", "-", "-o", "jsonl", stdin=lines)
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [(answer["ident"], answer["ok"], answer["remaining"]) for answer in answers] == [
        ("ada", True, 1),
        ("bob", True, 1),
        ("ada", True, 0),
        ("eve", True, 0),
        ("ada", False, 0),
    ]
    assert done.code == 7
    assert "1 of 5 requests were refused" in done.err


def test_no_refusal_is_success_in_every_format(stored: Machine) -> None:
    (stored.home / "list").write_text("\ufeffada\nbob")
    for form in ("tsv", "csv", "json", "jsonl", "id", "table", "headers"):
        rate = ("--rate", "1/1h", "--from-file", "list")
        done = stored.run(*CHECK, f"in-{form}", *rate, "-o", form).succeeded()
        assert done.out.count("ada") + done.out.count("true") + done.out.count('"in-headers"') >= 1
    assert [item["ident"] for item in stored.run(*CHECK, "x", *rate, "-o", "json").json["items"]] == ["ada", "bob"]
    quiet = stored.run(*CHECK, "x", *rate, "-q")
    assert (quiet.code, quiet.out) == (7, "")
    assert stored.run(*CHECK, "y", "--rate", "1/1h", "--from-file", "-").succeeded().out.count("\n") == 1


def test_a_filter_passes_the_admitted_lines_unchanged(stored: Machine) -> None:
    lines = b'ada x\r\n {"ident": "ada x", "n": 1.50}\nada x\n\xff\n\nbob'
    done = stored.run(*CHECK, "login", "--from-file", "-", "--filter", stdin=lines).succeeded()
    assert done.out.encode(errors="surrogateescape") == b'ada x\r\n {"ident": "ada x", "n": 1.50}\n\xff\nbob'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x" * 1025, "1025 bytes"),
        ("x" * 70_000, "longer than 65536 bytes"),
        ("{", "is not JSON"),
        ('{"id": "ada"}', "no text 'ident'"),
        ('{"ident": 1}', "no text 'ident'"),
        ('{"ident": ""}', "the identifier is empty"),
        ('{"ident": "ada", "cost": 0}', "the cost is 0"),
        ('{"ident": "ada", "cost": 1.5}', "not a whole number"),
        ('{"ident": "ada", "cost": true}', "not a whole number"),
        ("[" * 100_000, "longer than"),
    ],
)
def test_a_line_without_an_identifier_is_reported_and_the_others_are_checked(
    stored: Machine, line: str, reason: str
) -> None:
    done = stored.run(*CHECK, "login", "--from-file", "-", "--no-header", stdin=f"ada\n{line}\nbob\n")
    assert done.code == 7
    assert [row.split("\t")[2] for row in done.out.splitlines()] == ["ada", "bob"]
    assert "line 2: " in done.err
    assert reason in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("login",),
        ("login", "ada", "--from-file", "list"),
        ("login", "--from-file", "list", "--wait", "1s"),
        ("login", "--from-file", "list", "--also", "guest"),
        ("login", "ada", "--filter"),
        ("login", "--from-file", "nowhere"),
        ("login", "--from-file", "list", "--cost", "0"),
        ("login", "ada", "--also", "guest", "--wait", "1s"),
        ("login", "ada", "--also", "login"),
        ("", "ada", "--rate", "1/1m"),
        ("x" * 256, "ada", "--rate", "1/1m"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(machine: Machine, words: tuple[str, ...]) -> None:
    machine.configure(POLICIES)
    (machine.home / "list").write_text("ada\n")
    done = machine.run(*CHECK, *words)
    assert (done.code, done.out) == (2, "")
    assert not machine.data.exists()


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


# Run.


def test_a_program_runs_while_the_limit_permits_it(stored: Machine) -> None:
    run = ("ratelimit", "run", "login", "job")
    first = stored.run(*run, "--", "sh", "-c", "cat; echo done >&2; exit 3", stdin="in")
    assert (first.code, first.out, first.err) == (3, "in", "done\n")
    gone = stored.run(*run, "--", "no-such-program", "-o", "json")
    assert (gone.code, gone.out) == (2, "")
    stored.run(*run, "--", "true").succeeded()
    third = stored.run(*run, "--", "touch", "made")
    assert (third.code, third.out) == (6, "")
    assert third.err == "backctl: not run: the limit login is reached for job\n"
    assert stored.run(*run, "-q", "--limited-exit", "0", "--", "touch", "made").succeeded().err == ""
    assert not (stored.home / "made").exists()
    new = ("ratelimit", "run", "new", "job", "--rate", "9/1h", "--")
    stored.run(*new, "touch", "made").succeeded()
    assert (stored.home / "made").exists()
    script = stored.home / "script"
    for content in ("#!/no/such/interpreter\n", "\x7fELF"):
        script.write_text(content)
        script.chmod(0o755)
        done = stored.run(*new, str(script))
        assert (done.code, done.out) == (2, "")
        assert "cannot be run: " in done.err
    ignored = stored.run(*new, "grep", "SigIgn", "/proc/self/status")
    if ignored.out:  # Linux; Python ignores SIGPIPE and SIGXFSZ
        assert int(ignored.out.split()[1], 16) & (1 << 12 | 1 << 24) == 0


# Simulate.


def test_a_simulation_shows_what_a_limit_would_have_answered(machine: Machine) -> None:
    log = "10.0 ada\n10.1 ada\n10.2 ada\n9 bob\n\nnonsense\n" + json.dumps({"time": 10.15, "ident": "ada"})
    (machine.home / "log").write_text(log)
    simulate = ("ratelimit", "simulate", "--rate", "2/1s", "--log")
    done = machine.run(*simulate, "log", "-o", "json")
    assert [list(item.values()) for item in done.json["items"]] == [
        ["ada", 4, 2, 2, 4, 0.85],
        ["bob", 1, 1, 0, 1, 0],
    ]
    assert done.code == 7
    assert "line 6" in done.err
    good = "".join(f"{1795737600 + number % 7} ada\n" for number in range(50))
    (machine.home / "good").write_text(good)
    screen = machine.at_terminal(*simulate, "good").succeeded()
    assert "█" in screen.out
    assert "2026-11-27T00:00:06Z" in screen.out
    assert not machine.data.exists()


@pytest.mark.parametrize(
    ("words", "log"),
    [
        ((), "1 ada\n"),
        (("nowhere",), "1 ada\n"),
        (("--rate", "2/1s"), ""),
        (("--rate", "2/1s"), "\n\n"),
        (("--rate", "2/1s", "--time-field", "at"), '{"time": 1}'),
        (("--rate", "0/1s"), "1 ada\n"),
    ],
)
def test_a_simulation_without_a_policy_or_a_log_is_refused(machine: Machine, words: tuple[str, ...], log: str) -> None:
    done = machine.run("ratelimit", "simulate", *words, "--log", "-", stdin=log)
    assert (done.code, done.out) == (3 if words == ("nowhere",) else 2, "")


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
    assert done.code == 6
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


def test_a_batch_stops_where_waiting_does_not_help(lonely: tuple[Machine, RedisServer]) -> None:
    machine, server = lonely
    server.ask("CONFIG", "SET", "requirepass", "hunter2")
    done = machine.run(*CHECK, "login", "--from-file", "-", "--no-header", stdin="ada\nbob\n")
    assert (done.code, done.out) == (9, "")
    assert done.err.count("refuses the login") == 1


def test_the_password_is_never_shown(machine: Machine, servers: Servers, tmp_path: Path) -> None:
    port = servers.redis().port
    on(machine, f"redis://ada:hunter2@127.0.0.1:{port}/0")
    for command in ((*CHECK, "login", "ada"), ("doctor",), ("config", "show"), ("ratelimit", "list", "-v")):
        done = machine.run(*command)
        assert "hunter2" not in done.out + done.err
    assert "refuses the login" in machine.run(*CHECK, "login", "ada").err
