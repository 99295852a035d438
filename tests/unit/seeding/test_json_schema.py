"""The JSON Schema for editors, checked by an independent implementation, agrees with the validation of seed files."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.unit.seeding.examples import HEAD, WHOLES, read_seed

from backctl.application.seeding.json_schema import DIALECT, seed_schema
from backctl.domain.errors import InvalidSeed

VALIDATOR = Draft202012Validator(seed_schema())
PARSED: dict[str, Any] = {"yaml": yaml.safe_load, "json": json.loads, "toml": tomllib.loads}


def account(members: str) -> str:
    return f"{HEAD}  - {{email: a@example.org, {members}}}\n"


def group(members: str) -> str:
    return f"version: 1\nname: x\ngenerate: {{count: 2, email: 'u{{n}}@example.org', {members}}}\n"


VALID = [
    "version: 1\nname: x\n",
    "version: 1\nname: a.b_c-0\nusers: []\ngenerate: []\ndefaults: {}\n",
    f"{HEAD}  - id: 01a20000-0000-7000-8000-000000000001\n",
    account("expires_at: never"),
    account("expires_at: '2026-01-02'"),
    account("expires_at: '2026-01-02T03:04:05.123Z'"),
    account("expires_at: '2026-01-02 03:04:05+01:00'"),
    account("expires_in: 500ms"),
    account("must_change_password: true"),
    account("password: none"),
    account("password: {generate: true}"),
    account("password_hash: {file: ../x}, password_policy: enforce"),
    account("state: closed"),
    group("state: absent, username: 'u{n}', id_start: 01a20000-0000-7000-8000-000000000001".replace("'u", "'user")),
    group("password: {env: A}"),
]
INVALID = [
    "name: x\n",
    "version: 2\nname: x\n",
    "version: 1\n",
    "version: 1\nname: X\n",
    f"version: 1\nname: {'x' * 65}\n",
    "version: 1\nname: x\nroles: {}\n",
    "version: 1\nname: x\nusers: {}\n",
    "version: 1\nname: x\ndefaults: {state: active}\n",
    f"{HEAD}  - username: ada\n",
    f"{HEAD}  - hunter2\n",
    account("username: ''"),
    account("id: x"),
    account("state: open"),
    account("expires_at: tomorrow"),
    account("expires_at: null"),
    account("expires_in: 90"),
    account("expires_in: 1d, expires_at: never"),
    account("must_change_password: 'true'"),
    account("password: hunter2"),
    account("password: {env: A, file: B}"),
    account("password: {generate: false}"),
    account("password: {env: 'A B'}"),
    account("password_hash: none"),
    account("password_hash: {generate: true}"),
    account("password: {env: A}, password_hash: {env: B}"),
    account("mfa: {secret: {generate: true}}"),
    account("mfa: {}"),
    account("unknown: x"),
    group("id: 01a20000-0000-7000-8000-000000000001"),
    group("mfa: {secret: {env: A}}"),
    "version: 1\nname: x\ngenerate: {count: 0, email: 'u{n}@example.org'}\n",
    "version: 1\nname: x\ngenerate: {count: 1000001, email: 'u{n}@example.org'}\n",
    "version: 1\nname: x\ngenerate: {count: 1}\n",
]


def test_the_texts_name_no_flags_of_the_command_line() -> None:
    assert "--" not in json.dumps(seed_schema())


def test_it_is_a_schema_of_draft_2020_12() -> None:
    Draft202012Validator.check_schema(seed_schema())
    assert seed_schema()["$schema"] == DIALECT == Draft202012Validator.META_SCHEMA["$id"]
    assert json.loads(json.dumps(seed_schema())) == seed_schema()


@pytest.mark.parametrize("form", WHOLES)
def test_it_accepts_the_examples_of_all_formats(form: str) -> None:
    VALIDATOR.validate(PARSED[form](WHOLES[form]))


@pytest.mark.parametrize("text", VALID)
def test_it_accepts_what_backctl_accepts(text: str, tmp_path: Path) -> None:
    read_seed(tmp_path, text)
    VALIDATOR.validate(yaml.safe_load(text))


@pytest.mark.parametrize("text", INVALID)
def test_it_refuses_what_backctl_refuses(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSeed):
        read_seed(tmp_path, text)
    assert not VALIDATOR.is_valid(yaml.safe_load(text))


def test_every_member_has_a_description() -> None:
    def described(schema: Any) -> None:
        if isinstance(schema, dict):
            for key, member in schema.get("properties", {}).items():
                assert member["description"].endswith("."), key
            for part in schema.values():
                described(part)
        if isinstance(schema, list):
            for part in schema:
                described(part)

    described(seed_schema())
