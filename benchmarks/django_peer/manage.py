"""The entry point of the Django project, as `django-admin startproject` writes it, without its error message."""

import os
import sys

from django.core.management import execute_from_command_line

sys.path[0] = os.path.dirname(os.path.dirname(sys.path[0]))  # the checkout, for imports by full names
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.django_peer.settings")
execute_from_command_line(sys.argv)
