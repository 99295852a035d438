"""Every command works with a single connection, as with a role or a pooler that allows only one."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from tests.cli.conftest import Machine
from tests.servers import POSTGRES_VERSIONS, Servers

PASSWORD = "correct horse battery"


@pytest.fixture(params=POSTGRES_VERSIONS, ids=lambda version: f"postgres{version}")
def narrow(request: pytest.FixtureRequest, machine: Machine, servers: Servers) -> Iterator[Machine]:
    """Yield a machine whose role may have only one connection at a time."""
    server = servers.postgres(request.param)
    with server.database() as name, psycopg.connect(server.url(name), autocommit=True) as admin:
        role = f"narrow_{name}"
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'narrow' CONNECTION LIMIT 1")
        admin.execute(f"ALTER DATABASE {name} OWNER TO {role}")
        admin.execute("ALTER SCHEMA public OWNER TO CURRENT_USER")
        admin.execute(f"GRANT ALL ON SCHEMA public TO {role}")
        machine.environment["BACKCTL_DATABASE_URL"] = server.url(name, user=role, password="narrow")
        machine.environment["BACKCTL_DATABASE_CONNECT_TIMEOUT"] = "2s"
        yield machine


def test_no_command_needs_two(narrow: Machine) -> None:
    def run(*words: str, code: int = 0, stdin: str = "") -> str:
        done = narrow.run(*words, stdin=stdin)
        assert done.code == code, f"{words}: {done}"
        return done.out

    run("init")
    run("user", "create", "ada@example.org", "--username", "ada", "--password-stdin", stdin=PASSWORD)
    run("user", "create", "ada@example.org", "--username", "ada", "--no-password", "--if-not-exists")
    run("user", "create", "bob@example.org", "--username", "bob", "--no-password", "--role", "admin")
    run("user", "check-password", "ada", "--password-stdin", stdin=PASSWORD)
    for words in ("list --all -o jsonl", "list", "show ada", "exists ada", "count", "history ada"):
        run("user", *words.split())
    run("user", "deactivate", "-", "--max-changes", "50%", "--yes", stdin="ada\n")
    run("user", "activate", "ada")
    run("role", "assign", "moderator", "ada")
    run("access", "check", "ada", "users:read", code=6)
    tokens = json.loads(run("token", "issue", "ada", "--pair", "-o", "json"))
    run("token", "verify", stdin=tokens["access_token"])
    run("token", "verify", "--batch", stdin=tokens["access_token"] + "\n")
    run("token", "refresh", stdin=tokens["refresh_token"])
    run("token", "list", "ada")
    run("token", "revoke", "--jti", tokens["jti"])
    run("token", "gc")
    run("user", "mfa", "enroll", "ada")
    run("user", "mfa", "status", "ada")
    run("key", "rotate", "--if-older-than", "0d")
    run("user", "mfa", "reencrypt")
    run("user", "mfa", "disable", "ada", "--yes")
    run("encrypt", "--context", "x", stdin="text")
    run("audit", "list", "--all", "-o", "jsonl")
    run("audit", "verify")
    run("db", "status")
    run("db", "check")
    run("db", "upgrade")
    run("doctor")
    run("user", "delete", "ada", "--confirm", "ada")
