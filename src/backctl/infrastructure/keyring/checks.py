"""The health probe of the keyring: it is readable, complete and rotated."""

from backctl.application.keys import ROTATING
from backctl.domain.values import SKEW, Instant
from backctl.infrastructure.keyring.store import KeyringStore
from backctl.infrastructure.probes import Finding, ok, warn

_CRYPTOPERIOD_US = 365 * 86_400_000_000  # NIST SP 800-57 part 1 §5.3.6: one to two years for keys that sign or encrypt


def has_keys(keys: KeyringStore, now: Instant) -> Finding:
    ring = keys.read()
    if keys.has_unfinished_change():
        return warn(
            "a change to the keyring was interrupted", "run '{backctl} key rotate', which first completes that change"
        )
    if ahead := [
        f"{key.kid} ({key.state}, {key.primary_since})"
        for key in ring.keys
        if key.purpose in ROTATING and key.state != "retired" and key.primary_since > now + SKEW
    ]:
        return warn(
            f"keys from the future: {', '.join(ahead)}",
            "check the clock, then run '{backctl} key rotate', which replaces keys from the future",
        )
    for purpose in ROTATING:
        if ring.due(purpose, _CRYPTOPERIOD_US, now):
            finding = f"the key {ring.primary(purpose).kid} has been in use for more than a year"
            return warn(finding, "run '{backctl} key rotate', for example every day with cron")
    return ok(f"{len(ring.keys)} keys, with a primary key for each purpose")
