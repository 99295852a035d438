"""Django with nothing but its accounts, so that it starts as fast as it can while it does the same work.

No debug mode, no translations, no admin, sessions or messages; bcrypt at the same cost as backctl's default.
"""

import os

DEBUG = False
SECRET_KEY = "signs nothing: the benchmark starts no web server"
USE_TZ = True
USE_I18N = False
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "benchmarks.django_peer.accounts"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DJANGO_PEER_DATABASE"]}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.BCryptPasswordHasher"]  # rounds = 12
