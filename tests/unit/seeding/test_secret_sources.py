"""Secrets of seed files are checked before anything changes, read once, and never shown."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from backctl.application.seeding.secret_sources import LONGEST, SecretSources
from backctl.domain.errors import InvalidInput, InvalidSeed
from backctl.domain.seed import Origin, SecretSource
from backctl.infrastructure.files.secret_files import SecretFiles

GENERATED = SecretSource("generate")


def env(name: str) -> SecretSource:
    return SecretSource("env", name)


def file(path: Path) -> SecretSource:
    return SecretSource("file", str(path))


def sources(**variables: str) -> SecretSources:
    return SecretSources(variables, SecretFiles())


def used(*given: SecretSource) -> Iterable[tuple[Origin, SecretSource]]:
    return [(Origin("seed.yaml", line), source) for line, source in enumerate(given, 1)]


def test_a_variable_and_a_file_lose_one_line_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfp\xc3\xa4ss\r\n")
    (tmp_path / "b").write_bytes(b" x \n\n")
    found = sources(A="word\n", B="w\u00f6rd")
    assert [
        found.secret(source).reveal() for source in (env("A"), env("B"), file(tmp_path / "a"), file(tmp_path / "b"))
    ] == [
        "word",
        "w\u00f6rd",
        "p\u00e4ss",
        " x \n",
    ]


def test_a_secret_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("first")
    found = sources()
    found.read_all(used(file(path), file(path)))
    path.write_text("second")
    assert found.secret(file(path)).reveal() == "first"
    path.unlink()
    assert found.secret(file(path)).reveal() == "first"
    found.require(used(file(path)))


def test_planning_does_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xff" * (LONGEST + 1))
    sources(A="\udcff").require(used(file(path), env("A"), GENERATED))


def test_what_is_missing_is_named_with_all_lines(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for check in ("require", "read_all"):
        found = sources(EMPTY="", A="x")
        with pytest.raises(InvalidSeed) as error:
            getattr(found, check)(
                used(env("A"), env("MISSING"), env("EMPTY"), file(tmp_path / "none"), file(tmp_path / "folder"))
            )
        assert error.value.message == (
            "seed.yaml, line 2: the environment variable MISSING is not set (3 more problems on lines 3, 4, 5)"
        )
        for source, message in (
            (env("EMPTY"), "the environment variable EMPTY is empty"),
            (file(tmp_path / "none"), "cannot be read: No such file or directory"),
            (file(tmp_path / "folder"), "cannot be read: it is not a regular file"),
            (file(tmp_path / "pipe"), "cannot be read: it is not a regular file"),
            (SecretSource("file", "a\0b"), "a file name cannot contain a NUL character"),
        ):
            with pytest.raises(InvalidSeed) as error:
                getattr(found, check)(used(source))
            assert message in error.value.message


def test_a_secret_that_cannot_be_used_is_refused_without_repeating_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content, message in (
        (b"hunter2" * 10_000, f"has more than {LONGEST} bytes"),
        (b"hunter2\xff", "is not UTF-8 text"),
        (b"", "is empty"),
        (b"\n", "is empty"),
    ):
        path.write_bytes(content)
        with pytest.raises(InvalidInput) as error:
            sources().secret(file(path))
        assert message in error.value.message
        assert "hunter2" not in error.value.message
    with pytest.raises(InvalidInput, match="is not UTF-8 text"):
        sources(A="hunter\udcff").secret(env("A"))
    with pytest.raises(InvalidInput, match="has more than"):
        sources(A="x" * (LONGEST + 1)).secret(env("A"))


def test_a_missing_secret_that_many_accounts_use_is_one_problem() -> None:
    with pytest.raises(InvalidSeed) as error:
        sources().require(used(*[env("A")] * 200))
    assert error.value.message == "seed.yaml, line 1: the environment variable A is not set"


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    (tmp_path / "link").symlink_to("data")
    assert sources().secret(file(tmp_path / "link")).reveal() == "x"
