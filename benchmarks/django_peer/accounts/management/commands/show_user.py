"""`backctl user show USERNAME -o json` in Django."""

import json
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from benchmarks.django_peer.accounts.views import views


class Command(BaseCommand):  # type: ignore[misc]  # Django ships no types
    help = "Show one account."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        for view in views(User.objects.filter(username=username)):
            self.stdout.write(json.dumps(view))
            return
        raise CommandError(f"there is no account {username!r}")
