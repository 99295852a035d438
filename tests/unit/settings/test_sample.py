"""The sample configuration is complete and shows the real defaults."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from backctl.settings import DEFAULTS, SETTINGS, load

SAMPLE = (Path(__file__).parents[3] / "sample-config.toml").read_text()


def uncommented(pattern: str) -> str:
    return "\n".join(match[1] for line in SAMPLE.splitlines() if (match := re.fullmatch(pattern, line)))


def test_as_it_is_the_sample_changes_nothing(configure: Callable[..., Path]) -> None:
    assert tomllib.loads(SAMPLE) == {}
    configure(SAMPLE)
    assert load(environ={}).settings == DEFAULTS


def test_uncommented_the_sample_names_every_setting_and_gives_exactly_the_defaults(
    configure: Callable[..., Path],
) -> None:
    text = uncommented(r"#(\S.*)")
    named = set()
    for section, value in tomllib.loads(text).items():
        named |= {f"{section}.{name}" for name in value} if isinstance(value, dict) else {section}
    assert named == {"profile", *SETTINGS}
    path = configure(re.sub(r"(?m)^#(?=\S)", "", SAMPLE))
    loaded = load(environ={})
    assert loaded.settings == DEFAULTS
    for key in SETTINGS:
        assert loaded.origin(key).startswith(f"file {path}:")


def test_every_setting_of_the_sample_is_explained_above_it() -> None:
    lines = SAMPLE.splitlines()
    for number, line in enumerate(lines):
        if re.match(r"#[a-z_]+ =", line):
            assert re.match(r"# \S", lines[number - 1]), line


def test_the_examples_of_the_sample_load(configure: Callable[..., Path]) -> None:
    configure(uncommented(r"#   (\S.*)"))
    loaded = load(profile="production", environ={})
    assert loaded.settings.protected
    assert loaded.settings.passwords.min_length == 15
    assert loaded.settings.roles["auditor"].permissions == ("user:list", "user:show", "audit:list")
