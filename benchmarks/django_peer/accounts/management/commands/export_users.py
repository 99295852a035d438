"""`backctl user export --format csv` in Django: all columns of its accounts, in the order of their ids."""

import csv
import sys
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand


class Command(BaseCommand):  # type: ignore[misc]  # Django ships no types
    help = "Export all accounts as CSV."

    def handle(self, *args: Any, **options: Any) -> None:
        names = [field.name for field in User._meta.concrete_fields]
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(User.objects.order_by("id").values_list(*names).iterator())
