"""A new kind of named table needs only a declaration and a class."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from backctl.domain.errors import InvalidConfiguration, InvalidSetting, UnknownSetting
from backctl.settings import is_secret, load, set_value, unset_value, validate_file
from backctl.settings.loading import names_of
from backctl.settings.schema import NAMED_TABLES, NamedTable, Setting

Configure = Callable[..., Path]

FILE = """
[ratelimit.policies.login]
algorithm = "gcra"
limit = 10
window = "1m"

[ratelimit.policies."sign up"]
limit = 3
window = "1h"

[profiles.staging.ratelimit.policies.login]
limit = 1000
window = "1m"
"""


class Policy(NamedTuple):
    limit: int
    window: int
    algorithm: str = "sliding-window"
    on_error: str = ""


@pytest.fixture(autouse=True)
def policies(monkeypatch: pytest.MonkeyPatch) -> None:
    members = (
        Setting("algorithm", "string", low=1, high=40),
        Setting("limit", "integer", low=1, high=1_000_000, required=True, example="10"),
        Setting("window", "duration", low=1_000, high=86_400_000_000, required=True, example='"1m"'),
        Setting("on_error", "text"),
    )
    monkeypatch.setitem(NAMED_TABLES, "ratelimit.policies", NamedTable("ratelimit.policies", members, Policy))


def test_it_is_read_as_its_class(configure: Configure) -> None:
    configure(FILE)
    found = load(environ={}).settings.tables["ratelimit.policies"]
    assert found == {"login": Policy(10, 60_000_000, "gcra"), "sign up": Policy(3, 3_600_000_000)}


def test_a_profile_replaces_the_tables_that_it_names(configure: Configure) -> None:
    configure(FILE)
    found = load(environ={}, profile="staging").settings.tables["ratelimit.policies"]
    assert found["login"] == Policy(1000, 60_000_000)
    assert found["sign up"] == Policy(3, 3_600_000_000)


def test_it_is_shown_with_its_origin(configure: Configure) -> None:
    file = configure(FILE)
    shown = {entry.key: (entry.value, entry.origin) for entry in load(environ={}).entries() if "policies" in entry.key}
    assert shown == {
        "ratelimit.policies.login.algorithm": ("gcra", f"file {file}:2"),
        "ratelimit.policies.login.limit": (10, f"file {file}:2"),
        "ratelimit.policies.login.window": ("1m", f"file {file}:2"),
        'ratelimit.policies."sign up".algorithm': ("sliding-window", f"file {file}:7"),
        'ratelimit.policies."sign up".limit': (3, f"file {file}:7"),
        'ratelimit.policies."sign up".window': ("1h", f"file {file}:7"),
    }
    assert load(environ={}).entry("ratelimit.policies.login.limit").value == 10


def test_one_member_is_set_and_taken_out(configure: Configure) -> None:
    file = configure(FILE)
    assert set_value(file, "ratelimit.policies.login.window", "90s")
    assert not set_value(file, "ratelimit.policies.login.window", "90s")
    assert load(environ={}).settings.tables["ratelimit.policies"]["login"] == Policy(10, 90_000_000, "gcra")
    assert unset_value(file, "ratelimit.policies.login.algorithm")
    assert load(environ={}).settings.tables["ratelimit.policies"]["login"] == Policy(10, 90_000_000)
    assert not is_secret("ratelimit.policies.login.limit")


@pytest.mark.parametrize(
    ("key", "text", "error", "words"),
    [
        (
            "ratelimit.policies.login.limit",
            "0",
            InvalidSetting,
            "ratelimit.policies.login.limit is 0; it must be a whole",
        ),
        ("ratelimit.policies.login.window", "soon", InvalidSetting, "it must be a duration"),
        ("ratelimit.policies.login.windw", "1m", UnknownSetting, "there is no setting"),
        ("ratelimit.policies.new.limit", "1", InvalidConfiguration, "ratelimit.policies.new has no window"),
    ],
)
def test_a_wrong_member_is_refused_and_nothing_written(
    configure: Configure, key: str, text: str, error: type[Exception], words: str
) -> None:
    file = configure(FILE)
    with pytest.raises(error, match=words):
        set_value(file, key, text)
    assert file.read_text() == FILE


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("ratelimit.policies = 1\n", 1, "ratelimit.policies is 1; it must be a table of policies", ""),
        ("ratelimit.policies.x = 1\n", 1, "ratelimit.policies.x is 1; it must be a table", ""),
        ("[ratelimit.policies.x]\nlimit = 1\n", 1, "ratelimit.policies.x has no window", 'write window = "1m"'),
        (
            '[ratelimit.policies.x]\nlimit = 0\nwindow = "1m"\n',
            2,
            "ratelimit.policies.x.limit is 0; it must be a whole number from 1 to 1000000",
            "",
        ),
        (
            '[ratelimit.policies.x]\nlimit = 1\nwindow = "1m"\nlimt = 1\n',
            4,
            "unknown key 'ratelimit.policies.x.limt'",
            "did you mean limit?",
        ),
        ("[ratelimit]\npolicy = 1\n", 2, "unknown key 'ratelimit.policy'", "did you mean policies?"),
    ],
)
def test_what_is_wrong_is_found_on_its_line(
    configure: Configure, text: str, line: int, message: str, hint: str
) -> None:
    file = configure(text)
    (finding,) = validate_file(str(file))
    assert (finding.message, finding.hint) == (f"'{file}', line {line}: {message}", hint)
    with pytest.raises(InvalidConfiguration):
        load(environ={})


def test_its_names_can_be_completed(configure: Configure) -> None:
    configure(FILE)
    find = {"config_file": None, "environ": os.environ}
    assert names_of("ratelimit.policies", profile=None, **find) == ("login", "sign up")  # type: ignore[arg-type]
    assert names_of("profiles", profile=None, **find) == ("staging",)  # type: ignore[arg-type]


REFRESHED = """\
[cache]
refresh_after = "90%"
[cache.namespaces.report]
refresh_after = "50%"
[cache.namespaces."a b"]
refresh_after = "off"
"""


def test_a_namespace_of_the_cache_has_its_own_table_beside_the_settings_of_the_cache(configure: Configure) -> None:
    file = configure(REFRESHED)
    loaded = load(environ={})
    assert loaded.settings.cache.refresh_after == "90%"
    assert {name: table.refresh_after for name, table in loaded.settings.cache_namespaces.items()} == {
        "report": "50%",
        "a b": "off",
    }
    assert set_value(file, "cache.namespaces.new.refresh_after", "1%")
    assert load(environ={}).settings.cache_namespaces["new"].refresh_after == "1%"
    assert load(environ={"BACKCTL_CACHE_REFRESH_AFTER": "off"}).settings.cache.refresh_after == "off"


def test_a_namespace_does_not_contain_a_colon_because_no_key_could_be_in_it(configure: Configure) -> None:
    file = configure('[cache.namespaces."report:2026"]\nrefresh_after = "50%"\n')
    (finding,) = validate_file(str(file))
    assert finding.message == f"'{file}', line 1: cache.namespaces has the name 'report:2026', which contains ':'"


@pytest.mark.parametrize("value", ["0%", "100%", "80", "0.8", "%", "-1%", "80 %", "OFF", "", "off ", "８%"])
def test_a_part_of_the_ttl_is_a_percentage_or_off(configure: Configure, value: str) -> None:
    configure(f'[cache]\nrefresh_after = "{value}"\n')
    with pytest.raises(InvalidConfiguration, match="it must be a percentage of the TTL from 1% to 99%, or off"):
        load(environ={})


def test_a_part_of_the_ttl_is_not_a_number(configure: Configure) -> None:
    file = configure("[cache.namespaces.report]\nrefresh_after = 80\n")
    (finding,) = validate_file(str(file))
    expected = "cache.namespaces.report.refresh_after is 80; it must be a percentage of the TTL from 1% to 99%, or off"
    assert finding.message == f"'{file}', line 2: {expected}"
