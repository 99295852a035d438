"""`backctl user list` in Django: the first page, in order of creation."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand

from benchmarks.django_peer.accounts.views import views


class Command(BaseCommand):  # type: ignore[misc]  # Django ships no types
    help = "List the first 50 accounts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tsv", action="store_true")

    def handle(self, *args: Any, tsv: bool, **options: Any) -> None:
        items = list(views(User.objects.order_by("date_joined", "id")[:50]))
        if tsv:
            self.stdout.write("\t".join(items[0]))
            for item in items:
                self.stdout.write("\t".join(map(str, item.values())))
            return
        import json

        self.stdout.write(json.dumps({"items": items, "next_cursor": None}))
