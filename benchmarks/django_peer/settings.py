"""Django with only its accounts, so that it starts as fast as possible and still does the same work.

It has no debug mode, translations, admin, sessions or messages, and uses bcrypt with backctl's default cost.
"""

import os
from urllib.parse import urlsplit

DEBUG = False
SECRET_KEY = "signs nothing: the benchmark starts no web server"
USE_TZ = True
USE_I18N = False
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "benchmarks.django_peer.accounts"]
_DATABASE = os.environ["DJANGO_PEER_DATABASE"]  # a file, or a PostgreSQL URL
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
