"""Every command behind a real PgBouncer in transaction mode with one connection, and what is wrong with its TLS."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.cli.conftest import Machine
from tests.pgbouncer import PgBouncer
from tests.servers import PostgresServer

LIST = ("user", "list", "--timeout", "3s", "-o", "json")


@pytest.fixture
def pooled(machine: Machine, server: PostgresServer, database: str) -> Iterator[Machine]:
    """A machine that names an empty database behind PgBouncer."""
    pooler = PgBouncer(server, database)
    machine.environment["BACKCTL_DATABASE_URL"] = pooler.url()
    yield machine
    pooler.close()


def test_every_kind_of_statement_runs_in_a_pool_of_one(pooled: Machine) -> None:
    run = pooled.run

    def value(*words: str, stdin: str | bytes | None = None) -> str:
        return run(*words, stdin=stdin).succeeded().out.strip()

    run("init", "--dry-run").succeeded()
    run("init").succeeded()
    assert run("db", "status", "-o", "json").succeeded().json["state"] == "current"
    run("user", "create", "ada@example.org", "--username", "ada", "--role", "admin", "--no-password").succeeded()
    password = "correct horse battery staple"
    for name in ("person00", "person01", "person02"):
        run("user", "create", f"{name}@example.org", "--username", name, "--password-stdin", stdin=password).succeeded()
    run("user", "list", "--all", "--sort", "email").succeeded()
    run("user", "list", "--search", "person", "--limit", "1").succeeded()
    assert value("user", "count") == "4"
    run("user", "show", "person00").succeeded()
    run("user", "exists", "person00@example.org").succeeded()
    run("user", "update", "person00", "--email", "other@example.org").succeeded()
    run("role", "assign", "moderator", "person00").succeeded()
    run("access", "check", "person00", "user:list").succeeded()
    run("user", "check-password", "person00", "--password-stdin", stdin=password).succeeded()
    assert run("user", "check-password", "person00", "--password-stdin", stdin="wrong horse").code == 6
    run("user", "deactivate", "-", "--yes", stdin="person01\nperson02\n").succeeded()
    run("user", "activate", "person01", "person02", "--yes").succeeded()
    run("user", "set-password", "person01", "--generate-password").succeeded()
    run("user", "history", "person00", "--all").succeeded()
    run("user", "mfa", "enroll", "person01").succeeded()
    run("user", "mfa", "status", "person01").succeeded()
    run("user", "mfa", "disable", "person01", "--yes").succeeded()
    pair = run("token", "issue", "person02", "--pair", "-o", "json").succeeded().json
    access, refresh = pair["access_token"], pair["refresh_token"]
    run("token", "verify", "--token-stdin", stdin=access).succeeded()
    run("token", "verify", "--batch", stdin=f"{access}\n{access}\n").succeeded()
    run("token", "refresh", "--token-stdin", stdin=refresh).succeeded()
    assert run("token", "refresh", "--token-stdin", stdin=refresh).code == 6
    run("token", "list", "person02").succeeded()
    run("token", "issue", "person02").succeeded()
    run("token", "revoke", "--user", "person02", "--yes").succeeded()
    run("token", "revoke", "--all", "--yes").succeeded()
    run("token", "gc").succeeded()
    kid = run("key", "add", "--purpose", "sign", "-o", "json").succeeded().json["id"]
    run("key", "rotate", "--if-older-than", "0d").succeeded()
    run("key", "list").succeeded()
    run("key", "jwks").succeeded()
    run("key", "show", kid).succeeded()
    sealed = value("encrypt", "--context", "x", stdin="value")
    assert value("decrypt", "--context", "x", stdin=sealed) == "value"
    run("audit", "list", "--all").succeeded()
    run("audit", "verify").succeeded()
    run("db", "check").succeeded()
    run("db", "upgrade").succeeded()
    run("doctor").succeeded()
    run("user", "delete", "person02", "--erase", "--yes", "--confirm", "person02").succeeded()
    run("audit", "verify").succeeded()


@pytest.mark.parametrize(
    ("words", "url"),
    [
        ("no such database: nowhere", {"database": "nowhere"}),
        ("authentication failed", {"password": "hunter2"}),
        ("unsupported startup parameter", {"options": "-csearch_path%3Dpublic"}),
    ],
)
def test_what_pgbouncer_refuses_is_told_in_its_words(
    machine: Machine, server: PostgresServer, database: str, words: str, url: dict[str, str]
) -> None:
    pooler = PgBouncer(server, database)
    try:
        done = machine.run(*LIST, env={"BACKCTL_DATABASE_URL": pooler.url(**url)})
    finally:
        pooler.close()
    assert (done.code, done.error["retryable"]) == (9, False)
    assert words in done.error["message"]
    assert server.password not in done.err


class Tls:
    """A server with TLS, and a folder with certificates."""

    def __init__(self, server: PostgresServer, database: str, folder: Path) -> None:
        self.folder = folder
        authority, own = certificate("an authority", None, None)
        _, other = certificate("another authority", None, None)
        key, made = certificate("127.0.0.1", authority, own)
        for name, content in (("ca.crt", own), ("other.crt", other)):
            (folder / name).write_bytes(content.public_bytes(Encoding.PEM))
        (folder / "open.key").write_bytes(pem(authority))
        (folder / "open.key").chmod(0o644)
        self.pooler = PgBouncer(
            server,
            database,
            settings={
                "client_tls_sslmode": "allow",
                "client_tls_key_file": "{folder}/server.key",
                "client_tls_cert_file": "{folder}/server.crt",
            },
            files={"server.key": pem(key), "server.crt": made.public_bytes(Encoding.PEM)},
        )


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate(
    name: str, issuing: ec.EllipticCurvePrivateKey | None, issuer: x509.Certificate | None
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1))  # noqa: DTZ001 - a naive time is UTC here
        .not_valid_after(datetime(2020, 1, 1) + timedelta(days=36_500))  # noqa: DTZ001
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        names = [x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return key, builder.sign(issuing or key, SHA256())


@pytest.fixture
def tls(server: PostgresServer, database: str, tmp_path: Path) -> Iterator[Tls]:
    made = Tls(server, database, tmp_path)
    yield made
    made.pooler.close()


def test_a_certificate_of_the_right_authority_is_accepted(machine: Machine, tls: Tls) -> None:
    url = tls.pooler.url(sslmode="verify-full", sslrootcert=f"{tls.folder}/ca.crt")
    machine.run("init", env={"BACKCTL_DATABASE_URL": url}).succeeded()
    machine.run("user", "list", env={"BACKCTL_DATABASE_URL": url}).succeeded()


@pytest.mark.parametrize(
    ("host", "parameters", "reason"),
    [
        ("127.0.0.1", {"sslmode": "verify-full", "sslrootcert": "{}/missing.crt"}, "does not exist"),
        ("127.0.0.1", {"sslmode": "verify-ca", "sslrootcert": "{}/other.crt"}, "certificate verify failed"),
        ("localhost", {"sslmode": "verify-full", "sslrootcert": "{}/ca.crt"}, "does not match host name"),
        ("127.0.0.1", {"sslmode": "require", "sslcert": "{}/ca.crt", "sslkey": "{}/open.key"}, "group or world access"),
        ("127.0.0.1", {"sslmode": "require", "sslcert": "{}/ca.crt", "sslkey": "{}/missing.key"}, "private key file"),
    ],
)
def test_what_is_wrong_with_tls_is_named(
    machine: Machine, tls: Tls, host: str, parameters: dict[str, str], reason: str
) -> None:
    url = tls.pooler.url(**{name: value.format(tls.folder) for name, value in parameters.items()})
    done = machine.run(*LIST, env={"BACKCTL_DATABASE_URL": url.replace("127.0.0.1", host)})
    assert (done.code, reason in done.error["message"]) == (9, True), done.error["message"]
