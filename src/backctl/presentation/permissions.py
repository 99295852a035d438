"""Finds permissions that are probably misspelt: those for a noun of backctl with a verb that does not exist.

All other permissions belong to services, which may choose any names.
"""

from collections.abc import Iterable
from importlib import import_module

from backctl.domain.quoting import quoted
from backctl.presentation.commands import NOUNS, WITHIN


def warning(permission: str) -> str | None:
    """Return a warning if a permission is probably misspelt, with the nearest verb that exists; otherwise None."""
    noun, _, verb = permission.partition(":")
    if verb in ("", "*") or noun not in NOUNS or NOUNS[noun].verb:
        return None
    verbs = list(_verbs(noun))
    if verb in verbs:
        return None
    from backctl.presentation.nearest import nearest

    near = nearest(verb, verbs)
    offered = f"did you mean {quoted(f'{noun}:{near[0]}')}?" if near else f"its commands are {', '.join(verbs)}"
    return f"permission {quoted(permission)}: {quoted(f'backctl {noun}')} has no command {quoted(verb)}; {offered}"


def warnings(permissions: Iterable[str]) -> Iterable[str]:
    """Yield a warning for each permission that is probably misspelt."""
    return filter(None, map(warning, permissions))


def _verbs(noun: str) -> Iterable[str]:
    """Yield the commands of a noun. A command of an inner noun, such as `user mfa enroll`, is the verb `mfa-enroll`."""
    yield from import_module(NOUNS[noun].module).app.leaves
    for inner, entry in WITHIN.get(noun, {}).items():
        yield inner
        if not entry.verb:
            yield from (f"{inner}-{verb}" for verb in import_module(entry.module).app.leaves)
