"""Provides the time, pauses, new identifiers and the operating-system user."""

import os
import time
from collections.abc import Callable
from functools import cache

from backctl.domain.values import Actor, Instant
from backctl.infrastructure.clock import microseconds

_SHOWN = 200  # code points of an Actor's members


def now() -> Instant:
    """Read the system clock. Raises ClockUnusable for a time before 1970 or after 2262."""
    return Instant(microseconds())


def new_id() -> str:
    """Create a UUIDv7 (RFC 9562 §5.7): ordered by its creation time, otherwise random. Raises ClockUnusable."""
    now()  # uuid_utils panics before 1970
    return str(_source_of_ids()())


@cache
def _source_of_ids() -> Callable[[], object]:
    """Return the function that makes UUIDs, which takes longer to find than to call."""
    import sys

    if sys.version_info >= (3, 14):
        from uuid import uuid7
    else:
        from uuid_utils import uuid7
    return uuid7


def os_actor(label: str | None = None) -> Actor:
    """Return the user who runs this process, with `label` or else the user name.

    Uses the real user id, not the environment, which anyone can set. Uses the number if the id has no user name, as
    often in containers. Raises InvalidInput for a label that Actor rejects.
    """
    import pwd

    uid = os.getuid()
    try:
        os_user = pwd.getpwuid(uid).pw_name
    except KeyError:
        os_user = ""
    os_user = _shown(os_user) or str(uid)
    host = _shown(os.uname().nodename) or "unknown"
    return Actor(os_user if label is None else label, os_user, host)


def _shown(text: str) -> str:
    """Replace unprintable characters in `text` and cut it to the length that Actor accepts."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:_SHOWN])


def jittered_pause(number: int) -> None:
    """Wait before the given attempt: a random time of up to 50 ms, doubled each time, to avoid collisions."""
    from random import uniform

    time.sleep(uniform(0, 0.05 * 2 ** (number - 2)))  # noqa: S311 - avoids collisions, protects nothing
