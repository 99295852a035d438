"""The commands that copy and restore a server's database contain no secret."""

import shlex

import pytest

from backctl.infrastructure.postgres.care import pg_dump, pg_restore
from backctl.settings import redact_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:hunter2@db.example.org:5433/accounts", "postgresql://ada@db.example.org:5433/accounts"),
        ("postgresql://ada@/accounts", "postgresql://ada@/accounts"),
        ("postgresql:///accounts?host=/run/pg&password=hunter2", "postgresql:///accounts?host=/run/pg"),
        ("postgresql://a:hunter2@h/d?sslpassword=hunter2&sslmode=require", "postgresql://a@h/d?sslmode=require"),
        ("postgresql://a:hunter2@h/d?password=hunter2", "postgresql://a@h/d"),
        ("postgresql://a:hunter2@h1:1,h2:2/d", "postgresql://a@h1:1,h2:2/d"),
    ],
)
def test_the_url_of_the_commands_holds_no_secret(url: str, shown: str) -> None:
    words = shlex.split(pg_dump(redact_url(url), "it's a copy"))
    assert words == ["pg_dump", "--format=custom", "--file=it's a copy", f"--dbname={shown}"]
    words = shlex.split(pg_restore(redact_url(url), "-it's a copy"))
    assert (words[0], words[-3:]) == ("pg_restore", [f"--dbname={shown}", "--", "-it's a copy"])
