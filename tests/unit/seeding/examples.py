"""Seed files for tests, and what reads them."""

from pathlib import Path

from backctl.application.seeding.seed_files import SeedFiles
from backctl.domain.access import AccessPolicy
from backctl.domain.seed import Seed
from backctl.infrastructure.addresses import EmailValidatorParser
from backctl.infrastructure.documents.reading import read_document
from backctl.settings.durations import parse_duration

WHOLE = """\
version: 1
name: ci-seed                       # ownership: what this file made is labelled with it
defaults: {role: user, reason: CI seed}
users:
  - {email: admin@example.org, username: admin, role: admin, id: 01a20000-0000-7000-8000-000000000001,
     password: {env: SEED_ADMIN_PASSWORD}, mfa: {secret: {env: SEED_TOTP}}}
  - {email: ci@example.org, username: ci-runner, password: none, expires_in: 1d}
  - {email: old@example.org, username: old, state: closed}
  - {email: legacy@example.org, state: absent}
generate: {count: 200, email: "user{n}@example.org", username: "user{n}", password_hash: {file: test.hash}}
"""
WHOLE_TOML = """\
version = 1
name = "ci-seed"
defaults = {role = "user", reason = "CI seed"}

[[users]]
email = "admin@example.org"
username = "admin"
role = "admin"
id = "01a20000-0000-7000-8000-000000000001"
password = {env = "SEED_ADMIN_PASSWORD"}
mfa.secret.env = "SEED_TOTP"

[[users]]
email = "ci@example.org"
username = "ci-runner"
password = "none"
expires_in = "1d"

[[users]]
email = "old@example.org"
username = "old"
state = "closed"

[[users]]
email = "legacy@example.org"
state = "absent"

[generate]
count = 200
email = "user{n}@example.org"
username = "user{n}"
password_hash = {file = "test.hash"}
"""
WHOLE_JSON = """\
{"$schema": "seed.schema.json", "version": 1, "name": "ci-seed", "users": [
  {"email": "admin@example.org", "username": "admin", "role": "admin", "id": "01a20000-0000-7000-8000-000000000001",
   "password": {"env": "SEED_ADMIN_PASSWORD"}, "mfa": {"secret": {"env": "SEED_TOTP"}}},
  {"email": "ci@example.org", "username": "ci-runner", "password": "none", "expires_in": "1d"},
  {"email": "old@example.org", "username": "old", "state": "closed"},
  {"email": "legacy@example.org", "state": "absent"}],
 "generate": [{"count": 200, "email": "user{n}@example.org", "username": "user{n}",
               "password_hash": {"file": "test.hash"}}],
 "defaults": {"role": "user", "reason": "CI seed"}}
"""
WHOLES = {"yaml": WHOLE, "toml": WHOLE_TOML, "json": WHOLE_JSON}

HEAD = "version: 1\nname: x\nusers:\n"


def seed_files() -> SeedFiles:
    return SeedFiles(
        documents=read_document, addresses=EmailValidatorParser(), access=AccessPolicy(), durations=parse_duration
    )


def read_seed(folder: Path, text: str, form: str = "yaml") -> Seed:
    path = folder / f"seed.{form}"
    path.write_text(text, encoding="utf-8")
    return seed_files().seed(str(path))
