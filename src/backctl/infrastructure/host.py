"""What the world outside gives: the time and a pause, new identifiers, and which operating-system user is at work."""

import os
import time

from backctl.domain.values import Actor, Instant

_SHOWN = 200  # code points of an Actor's members


def now() -> Instant:
    """The system clock."""
    return Instant(time.time_ns() // 1000)


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7): ordered by the time it was made, otherwise random."""
    import sys

    if sys.version_info >= (3, 14):
        from uuid import uuid7
    else:
        from uuid_utils.compat import uuid7
    return str(uuid7())


def os_actor(label: str | None = None) -> Actor:
    """Whoever runs this process, under the label they chose or else their user name.

    The user comes from the real user id, not from the environment, which anybody can set. A container often has no
    entry for it: then the number stands for the name. Raises InvalidInput for a label that Actor refuses.
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
    """`text` with everything that does not print replaced, cut to what an Actor takes."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:_SHOWN])


def jittered_pause(number: int) -> None:
    """Wait before the try of that number: up to 50 ms, doubled each time, so that two do not collide for ever."""
    from random import uniform

    time.sleep(uniform(0, 0.05 * 2 ** (number - 2)))  # noqa: S311 - against collisions, not against anybody
