"""What the output of commands is compared with."""

import json
from typing import Any

from tests.cli.machines import Outcome

USER_KEYS = [
    "id",
    "email",
    "username",
    "role",
    "status",
    "is_active",
    "locked_until",
    "has_password",
    "must_change_password",
    "mfa",
    "expires_at",
    "last_login_at",
    "created_at",
    "updated_at",
    "version",
    "password_imported",
]

DETAIL_KEYS = [*USER_KEYS, "last_seen_at"]
"""The members that `user show` prints."""

EVENT_KEYS = [
    "seq",
    "id",
    "occurred_at",
    "type",
    "subject",
    "subject_name",
    "actor",
    "os_user",
    "host",
    "reason",
    "trace_id",
    "data",
]

MORE = "backctl: more results: use --all, or continue with"

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"

UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def refused(outcome: Outcome, exit_code: int, code: str) -> dict[str, Any]:
    """Check that a command run with `-o json` failed with this error and no result. Return its error document."""
    assert outcome.code == exit_code, f"exit {outcome.code}\nstdout: {outcome.out}\nstderr: {outcome.err}"
    assert outcome.out == ""
    error: dict[str, Any] = json.loads(outcome.err.splitlines()[-1])["error"]
    assert list(error) == ["code", "exit", "message", "hint", "retryable", "profile"]
    assert (error["code"], error["exit"]) == (code, exit_code)
    return error
