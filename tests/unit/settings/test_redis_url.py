"""Which URLs `redis.url` accepts, and what they mean."""

import pytest

from backctl.infrastructure.redis.address import Address, parse_address
from backctl.settings import redact_url
from backctl.settings.refusal import WrongValue
from backctl.settings.urls import check_redis_url

ONE = (("h", 6379),)

MEANT = {
    "redis://h": Address(ONE),
    "redis://h/": Address(ONE),
    "redis://h/0/": Address(ONE),
    "redis://h.example.org.": Address((("h.example.org.", 6379),)),
    "redis+sentinel://h/main/2/": Address((("h", 26379),), service="main", database=2),
    "redis+sentinel://h/main?sentinel_password=a+b%2Bc": Address(
        (("h", 26379),), service="main", sentinel_password="a+b+c"
    ),
    "redis://h:7000/3": Address((("h", 7000),), database=3),
    "redis://": Address((("localhost", 6379),)),
    "redis://[2001:db8::1]:7000": Address((("2001:db8::1", 7000),)),
    "redis://[::1]": Address((("::1", 6379),)),
    "redis://ada:p%40ss%3A@h": Address(ONE, username="ada", password="p@ss:"),
    "redis://:secret@h": Address(ONE, password="secret"),
    "rediss://h?ca_file=/etc/ca.pem": Address(ONE, tls=True, ca_file="/etc/ca.pem"),
    "rediss://h?cert_file=/c&key_file=/k%20y": Address(ONE, tls=True, cert_file="/c", key_file="/k y"),
    "unix:///run/redis.sock": Address((), socket="/run/redis.sock"),
    "unix://:secret@/run/re%20dis.sock?db=2": Address((), socket="/run/re dis.sock", database=2, password="secret"),
    "redis+sentinel://a,b:7,[::1]/main": Address((("a", 26379), ("b", 7), ("::1", 26379)), service="main"),
    "redis+sentinel://u:p@a/main/2?sentinel_username=s&sentinel_password=q&tls=true": Address(
        (("a", 26379),),
        service="main",
        database=2,
        username="u",
        password="p",
        sentinel_username="s",
        sentinel_password="q",
        tls=True,
    ),
    "redis+cluster://a,b:7": Address((("a", 6379), ("b", 7)), cluster=True),
    "redis+cluster://a?tls=false": Address((("a", 6379),), cluster=True),
}

REFUSED = {
    "h": "is not a URL",
    "http://h": "has the scheme 'http', which is not supported",
    "redis+cluster://a/0": "a cluster has only one",
    "redis+sentinel://a": "does not name a service",
    "redis+sentinel://a/": "does not name a service",
    "redis+sentinel://a/main/x": "not the number of a database",
    "redis://a,b": "names several servers",
    "redis://h/x": "not the number of a database",
    "redis://h/12345": "not the number of a database",
    "redis://h:x": "malformed host or port",
    "redis://u:p@ss:w@h:1:2": "malformed host or port",
    "redis://h h": "white space",
    "redis://h%": "without two hexadecimal digits",
    "redis://h?db=1": "an unknown parameter 'db'; this scheme has none",
    "redis://u:p?hunter=2@h": "an unknown parameter; this scheme has none",
    "redis://a..b": "a host name that cannot exist",
    f"redis+cluster://a,{'b' * 64}:7": "a host name that cannot exist",
    "redis://.": "a host name that cannot exist",
    "redis://h?": None,
    "rediss://h?verify=none": "an unknown parameter 'verify'; use ca_file",
    "rediss://h?ca_file=ca.pem": "wrong value for the parameter ca_file",
    "rediss://h?key_file=/k": "a key_file without a cert_file",
    "redis+cluster://h?tls=yes": "wrong value for the parameter tls",
    "rediss://h?ca_file": "a parameter without a name or a value",
    "unix://run/redis.sock": "does not contain an absolute path",
}


@pytest.mark.parametrize("url", MEANT)
def test_a_url_means_an_address(url: str) -> None:
    check_redis_url("redis.url", url)
    assert parse_address(url) == MEANT[url]
    assert "secret" not in repr(parse_address(url)) + redact_url(url).replace("secret@", "")


@pytest.mark.parametrize("url", REFUSED)
def test_a_malformed_url_is_refused_without_being_shown(url: str) -> None:
    words = REFUSED[url]
    if words is None:
        check_redis_url("redis.url", url)
        return
    with pytest.raises(WrongValue) as caught:
        check_redis_url("redis.url", url)
    assert words in str(caught.value)
    assert "p@ss" not in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_a_password_is_redacted_wherever_it_is() -> None:
    shown = redact_url("redis+sentinel://u:hunter2@a/main?sentinel_password=hunter3")
    assert "hunter" not in shown
