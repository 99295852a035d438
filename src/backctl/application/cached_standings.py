"""Reads through the cache whether access tokens were revoked, for services that accept answers up to a given age."""

import json
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from backctl.application.cache_levels import Levels
from backctl.application.cache_values import Codec, Payload, Recipe, itself
from backctl.domain.cache_entry import KEY_MAX
from backctl.domain.sessions import Standing
from backctl.domain.values import Instant

if TYPE_CHECKING:
    from backctl.application.ports.storage import Reader
    from backctl.domain.access_token import AccessClaims

ALL: Final = "revocation"
"""The tag of all cached answers."""


def tag_of(user_id: str) -> str:
    """Return the tag of the cached answers about tokens of an account."""
    return f"user:{user_id}"


def _encoded(standing: Standing | None) -> Payload:
    return json.dumps(None if standing is None else astuple(standing)).encode(), False


def _decoded(payload: bytes, binary: bool) -> Standing | None:
    """Raises ValueError for another number of members; another version may have one."""
    members = json.loads(payload)
    if members is None:
        return None
    try:
        user_id, issuer, created_at, not_before, revoked_at, barred_until, is_active, ends_at, denied = members
    except TypeError as error:
        raise ValueError from error
    times = [None if time is None else Instant(time) for time in (not_before, revoked_at, barred_until, ends_at)]
    before, revoked, barred, ends = times
    return Standing(user_id, issuer, Instant(created_at), before, revoked, barred, is_active, ends, denied)


def _always(value: object) -> Callable[[Any], Any]:
    return itself


_CODEC: Final = Codec(_encoded, _decoded, _always, signed=True)


@dataclass(frozen=True, slots=True)
class CachedStandings:
    """Returns what the database said at most `max_age` microseconds ago about the session of a token."""

    levels: Levels
    reader: "Callable[[], Reader]"
    max_age: int

    def standing(self, claims: "AccessClaims") -> Standing | None:
        """Return the standing of a token with a valid signature; None if its session does not exist."""
        asked = claims.sid, claims.jti
        key = f"revocation:{claims.sid}:{claims.jti}"
        if len(key.encode()) > KEY_MAX:
            return self._read(asked)
        tags = (tag_of(claims.sub).encode(), ALL.encode())
        recipe = Recipe(_CODEC, self.max_age, self.max_age, 0, tags)
        standing: Standing | None = self.levels.load(key, partial(self._read, asked), recipe)
        return standing

    def _read(self, asked: tuple[str, str]) -> Standing | None:
        return self.reader().standings([asked]).get(asked)
