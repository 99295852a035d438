"""Identifiers, the clock, and the actor, whatever the environment contains."""

import os
import pwd
import time
from types import SimpleNamespace
from uuid import UUID

import pytest

from backctl.domain.errors import InvalidInput
from backctl.infrastructure.host import new_id, now, os_actor

UID = os.getuid()


def host(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename=name))


def user(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name=name))


def nobody_known(uid: int) -> object:
    raise KeyError(f"getpwuid(): uid not found: {uid}")


def test_ids_are_version_7_and_carry_the_time() -> None:
    before = now() // 1000
    made = [new_id() for _ in range(1000)]
    after = now() // 1000
    assert len(set(made)) == 1000
    for text in made:
        parsed = UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 7, "specified in RFC 4122")
        assert before <= parsed.int >> 80 <= after


def test_the_clock_counts_microseconds_since_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_795_339_442_123_456_789)
    assert now().isoformat() == "2026-11-22T09:24:02.123456Z"


def test_the_user_is_the_real_one_and_not_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "mallory")
    monkeypatch.delenv("HOME", raising=False)
    user(monkeypatch, "ada")
    host(monkeypatch, "engine")
    actor = os_actor()
    assert (actor.label, actor.os_user, actor.host) == ("ada", "ada", "engine")


def test_a_label_stands_beside_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    user(monkeypatch, "ada")
    actor = os_actor("nightly job")
    assert (actor.label, actor.os_user) == ("nightly job", "ada")


def test_a_user_without_an_entry_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", nobody_known)
    actor = os_actor()
    assert (actor.label, actor.os_user) == (str(UID), str(UID))


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "a\u202eb", "\udcff", "a" * 1000, "\0", "a\u2028b"])
def test_hostile_names_are_made_harmless(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    user(monkeypatch, name)
    host(monkeypatch, name)
    actor = os_actor()
    for shown in (actor.label, actor.os_user, actor.host):
        assert 1 <= len(shown) <= 200
        assert shown.isprintable()
        shown.encode()


def test_a_machine_without_a_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    user(monkeypatch, "")
    host(monkeypatch, "")
    actor = os_actor()
    assert (actor.os_user, actor.host) == (str(UID), "unknown")


@pytest.mark.parametrize("label", ["", "a\nb", "\x1b[31m", "a" * 201])
def test_a_label_that_cannot_be_shown_is_refused(label: str) -> None:
    with pytest.raises(InvalidInput):
        os_actor(label)
