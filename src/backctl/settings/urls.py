"""Checks the URLs of servers in the settings. Loaded only when one is configured."""

import re

from backctl.domain.quoting import quoted
from backctl.settings.refusal import UNSAFE, UNSAFE_IN_PATHS, WrongValue

_SCHEME = r"([A-Za-z][A-Za-z0-9+.-]{0,31})://"
_TLS_PARAMETERS = {"ca_file": "/.*", "cert_file": "/.*", "key_file": "/.*"}
_REDIS_PARAMETERS: dict[str, dict[str, str]] = {
    "redis": {},
    "rediss": _TLS_PARAMETERS,
    "unix": {"db": "[0-9]{1,4}"},
    "redis+sentinel": {"sentinel_username": ".*", "sentinel_password": ".*", "tls": "true|false", **_TLS_PARAMETERS},
    "redis+cluster": {"tls": "true|false", **_TLS_PARAMETERS},
}
_REDIS_SCHEMES = tuple(_REDIS_PARAMETERS)
_REDIS_SCHEMES_SHOWN = "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"


def check_database_url(key: str, text: str) -> None:
    """Accept an empty text, `sqlite:///` followed by the literal absolute path of a file, or a libpq URL.

    Errors never show the text, because it may contain a password. Raises WrongValue.
    """
    if not text:
        return
    form = "it must be sqlite:/// and an absolute path, such as sqlite:////var/lib/backctl/backctl.db, or {server}"
    form = form.format(server="postgresql://user@host:5432/database")
    scheme = re.match(_SCHEME, text)
    if scheme is None:
        raise WrongValue(f"{key} is not a URL; {form}")
    if scheme[1] in ("postgresql", "postgres"):  # libpq reads both alike
        _check_server_url(key, text[scheme.end() :])
        return
    if scheme[1] != "sqlite":
        raise WrongValue(f"{key} has the scheme {quoted(scheme[1])}, which is not supported; {form}")
    path = text.removeprefix("sqlite:///")
    if path == text or not path.startswith("/"):
        raise WrongValue(f"{key} does not contain an absolute path; {form}")
    if path.endswith("/") or path.rpartition("/")[2] in (".", ".."):
        raise WrongValue(f"{key} names a folder; {form}")
    if "?" in path or "#" in path or re.search(UNSAFE_IN_PATHS, path):
        raise WrongValue(f"{key} contains '?', '#', a control character or broken Unicode; {form}")


def _check_server_url(key: str, text: str) -> None:
    """Check what follows the scheme, as libpq reads it. Its own errors may repeat a password."""
    _check_encoding(key, text)
    login = re.match("[^@/]*@", text)  # may contain ':' and '?'
    location, _, parameters = text[login.end() if login else 0 :].partition("?")
    hosts = location.partition("/")[0]
    if "@" in hosts:
        raise WrongValue(f"{key} contains several '@' before the host; write '@' in a password as %40")
    _check_hosts(key, hosts)
    _check_parameters(key, re.sub("(?<=.)&$", "", parameters))


def check_redis_url(key: str, text: str) -> None:
    """Accept an empty text or the URL of a Redis server. Errors never show the text. Raises WrongValue."""
    if not text:
        return
    scheme = re.match(_SCHEME, text)
    if scheme is None or scheme[1] not in _REDIS_SCHEMES:
        named = "is not a URL" if scheme is None else f"has the scheme {quoted(scheme[1])}, which is not supported"
        raise WrongValue(f"{key} {named}; it must begin with {_REDIS_SCHEMES_SHOWN}")
    _check_encoding(key, text)
    location, _, parameters = text[scheme.end() :].partition("?")
    known = _REDIS_PARAMETERS[scheme[1]]
    for part in _check_parameters(key, parameters):
        name, _, value = part.partition("=")
        if name not in known:
            allowed = f"use {', '.join(known)}" if known else "this scheme has none"
            shown = "" if "@" in parameters else f" {quoted(name)}"  # it can be a part of a password with '?'
            raise WrongValue(f"{key} has an unknown parameter{shown}; {allowed}")
        if re.fullmatch(known[name], value) is None:
            raise WrongValue(f"{key} has a wrong value for the parameter {name}")
    if "key_file=" in parameters and "cert_file=" not in parameters:
        raise WrongValue(f"{key} has a key_file without a cert_file")
    if scheme[1] == "unix":
        if not location.rpartition("@")[2].startswith("/"):
            raise WrongValue(f"{key} does not contain an absolute path; write unix:///run/redis.sock")
        return
    hosts, _, path = location.partition("/")
    _check_hosts(key, hosts)
    names = [host.rpartition(":")[0] or host for host in hosts.rpartition("@")[2].split(",") if "[" not in host]
    if any(not 0 < len(label) < 64 for name in filter(None, names) for label in name.removesuffix(".").split(".")):
        raise WrongValue(f"{key} has a host name that cannot exist: its parts have 1 to 63 characters")
    if "," in hosts and not scheme[1].startswith("redis+"):
        raise WrongValue(f"{key} names several servers; use redis+sentinel:// or redis+cluster://")
    if scheme[1] == "redis+cluster" and path.strip("/"):
        raise WrongValue(f"{key} names a database; a cluster has only one, so remove the path")
    if scheme[1] == "redis+sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise WrongValue(f"{key} does not name a service; write redis+sentinel://host:26379/service")
    if not re.fullmatch("([0-9]{1,4}/?)?", path) and scheme[1] != "redis+cluster":
        raise WrongValue(f"{key} has a path that is not the number of a database, such as /0")


def _check_encoding(key: str, text: str) -> None:
    if re.search(rf"\s|{UNSAFE}", text):
        raise WrongValue(
            f"{key} contains white space, a control character or broken Unicode; percent-encode it, for example as %20"
        )
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", text):
        raise WrongValue(f"{key} contains '%' without two hexadecimal digits; write a percent sign as %25")


def _check_hosts(key: str, location: str) -> None:
    """Check the hosts and ports of `user:password@host:port,…`."""
    hosts = location.rpartition("@")[2]
    if any(
        not re.fullmatch(r"(\[[0-9A-Fa-f:.]+(%25[^\[\]@]+)?\]|[^:\[\]]*)(:[0-9]{0,5})?", host)
        for host in hosts.split(",")
    ):
        raise WrongValue(
            f"{key} has a malformed host or port; write '@', ':' and '/' in a password as %40, %3A and %2F"
        )


def _check_parameters(key: str, parameters: str) -> list[str]:
    """Check `name=value&…`, and return the parts."""
    parts = parameters.split("&") if parameters else []
    if any(not re.fullmatch(r"[a-z_]+=[^=&]*", part) for part in parts):
        raise WrongValue(
            f"{key} has a parameter without a name or a value; write '=' and '&' in a value as %3D and %26"
        )
    return parts
