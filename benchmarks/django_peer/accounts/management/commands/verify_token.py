"""`backctl token verify --offline` in Django: PyJWT with a key from a JWK Set."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import jwt
from django.core.management.base import BaseCommand


class Command(BaseCommand):  # type: ignore[misc]  # Django ships no types
    help = "Verify an access token."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("token", type=Path)
        parser.add_argument("keys", type=Path)

    def handle(self, *args: Any, token: Path, keys: Path, **options: Any) -> None:
        text = token.read_text().strip()
        key = jwt.PyJWKSet.from_json(keys.read_text())[jwt.get_unverified_header(text)["kid"]]
        claims = jwt.decode(text, key, algorithms=["EdDSA"], issuer="advanced-backend", audience="api-users")
        self.stdout.write(json.dumps(claims))
