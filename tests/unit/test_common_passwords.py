"""The list of common passwords: its entries, the normalized form in which it is searched, and its stated source."""

import gzip
import hashlib
from pathlib import Path

import pytest

import backctl.infrastructure.crypto
from backctl.domain.values import folded
from backctl.infrastructure.crypto.common_passwords import is_common

DATA = Path(backctl.infrastructure.crypto.__file__).parent / "data"


@pytest.fixture(scope="module")
def content() -> bytes:
    return gzip.decompress((DATA / "common-passwords.txt.gz").read_bytes())


@pytest.mark.parametrize(
    "password",
    ["password", "12345678", "123456789", "qwertyuiop", "iloveyou", "sunshine", "password1", "trustno1", "123456"],
)
def test_what_many_people_choose_is_common(password: str) -> None:
    assert is_common(password)


@pytest.mark.parametrize(
    "password",
    ["", "\n", "passwor\n", "password\n", "12345678\n123456789", "lkjw3498dslkj", "correct horse battery", "\ud800"],
)
def test_anything_else_is_not(password: str) -> None:
    assert not is_common(password)


def test_part_of_an_entry_is_not_an_entry() -> None:
    assert is_common("qwertyuiop")
    assert not is_common("wertyuio")


def test_every_entry_is_found(content: bytes) -> None:
    entries = content.decode().split("\n")
    assert all(map(is_common, (entries[0], entries[-1], *entries[::401])))


def test_entries_stand_folded_sorted_and_once(content: bytes) -> None:
    entries = content.decode().split("\n")
    assert all(entry and entry == folded(entry, "NFKC") for entry in entries)
    assert entries == sorted(set(entries))


def test_the_origin_is_told_and_true(content: bytes) -> None:
    origin = (DATA / "common-passwords.origin.txt").read_text(encoding="utf-8")
    entries = content.decode().split("\n")
    assert f"{len(entries):,} real passwords" in origin
    assert f"{sum(len(entry) >= 8 for entry in entries):,} of them of 8 characters" in origin
    assert hashlib.sha256(content).hexdigest() in origin
    assert "Permission is hereby granted" in origin
    assert "Redistribution and use in source and binary forms" in origin
