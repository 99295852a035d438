"""Django with nothing but its accounts, so that it starts as fast as it can while it does the same work.

No debug mode, no translations, no admin, sessions or messages; bcrypt at the same cost as backctl's default.
"""

import os
from urllib.parse import urlsplit

DEBUG = False
SECRET_KEY = "signs nothing: the benchmark starts no web server"
USE_TZ = True
USE_I18N = False
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "benchmarks.django_peer.accounts"]
_DATABASE = os.environ["DJANGO_PEER_DATABASE"]  # a file, or a URL of PostgreSQL
_SERVER = urlsplit(_DATABASE)
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _SERVER.path.removeprefix("/"),
        "USER": _SERVER.username,
        "PASSWORD": _SERVER.password,
        "HOST": _SERVER.hostname,
        "PORT": _SERVER.port,
    }
    if _SERVER.scheme == "postgresql"
    else {"ENGINE": "django.db.backends.sqlite3", "NAME": _DATABASE}
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.BCryptPasswordHasher"]  # rounds = 12
