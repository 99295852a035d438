"""The addresses of Redis servers, from a URL that the settings have checked."""

from typing import NamedTuple
from urllib.parse import unquote

PORT = 6379
SENTINEL_PORT = 26379


class Address(NamedTuple):
    """Where Redis is, and how to log in. `service` is the name of a primary that sentinels know."""

    hosts: tuple[tuple[str, int], ...]
    socket: str = ""
    cluster: bool = False
    service: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def __repr__(self) -> str:
        return "Address(***)"


def parse_address(url: str) -> Address:
    """Parse `redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `redis+cluster://`."""
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    options = {name: unquote(value) for name, _, value in (part.partition("=") for part in query.split("&"))}
    login, _, location = rest.rpartition("@")
    user, _, password = login.partition(":")
    address = Address(
        (),
        username=unquote(user) or None,
        password=unquote(password) or None,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        tls=scheme == "rediss" or options.get("tls") == "true",
        ca_file=options.get("ca_file"),
        cert_file=options.get("cert_file"),
        key_file=options.get("key_file"),
    )
    if scheme == "unix":
        return address._replace(socket=unquote(location), database=int(options.get("db") or 0))
    names, _, path = location.partition("/")
    port = SENTINEL_PORT if scheme == "redis+sentinel" else PORT
    address = address._replace(hosts=tuple(_host(name, port) for name in names.split(",")))
    if scheme == "redis+cluster":
        return address._replace(cluster=True)
    if scheme == "redis+sentinel":
        service, _, path = path.partition("/")
        address = address._replace(service=unquote(service))
    return address._replace(database=int(path.rstrip("/") or 0))


def _host(text: str, port: int) -> tuple[str, int]:
    name, _, number = text.rpartition(":") if not text.endswith("]") and ":" in text else (text, "", "")
    return unquote(name.strip("[]")) or "localhost", int(number or port)
