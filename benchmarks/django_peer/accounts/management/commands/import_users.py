"""`backctl user import` in Django: the same accounts from the same file with `bulk_create`. Validates nothing."""

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand


class Command(BaseCommand):  # type: ignore[misc]  # Django ships no types
    help = "Import accounts from JSON lines."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        self.stdout.write(str(len(User.objects.bulk_create(_users(file), batch_size=1000))))


def _users(file: Path) -> Iterator[User]:
    with file.open("rb") as lines:
        for record in map(json.loads, lines):
            yield User(
                username=record["username"],
                email=record["email"],
                password=f"bcrypt${record['password_hash']}",
                is_superuser=record["role"] == "admin",
                is_staff=record["role"] != "user",
                is_active=record["is_active"],
                date_joined=datetime.fromisoformat(record["created_at"]),
            )
