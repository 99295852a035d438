"""The health probe of password hashing."""

from backctl.infrastructure.probes import Finding, ok, warn

_LOWEST_COST = 10  # OWASP Password Storage Cheat Sheet: a work factor of 10 or more


def is_costly(bcrypt_cost: int) -> Finding:
    if bcrypt_cost < _LOWEST_COST:
        finding = f"passwords are hashed with bcrypt cost {bcrypt_cost}, below the recommended {_LOWEST_COST}"
        return warn(finding, "run '{backctl} init --calibrate' to find the best cost for this machine")
    return ok(f"bcrypt cost {bcrypt_cost}")
