"""Finds permissions that are probably misspelt: those for a noun of backctl whose verb does not exist.

All other permissions belong to services, which may name them as they like.
"""

from collections.abc import Iterable
from importlib import import_module

from backctl.domain.quoting import quoted
from backctl.presentation.commands import NOUNS, WITHIN


def doubt(permission: str) -> str | None:
    """Return what is odd about a permission, with the nearest one that exists; None if nothing is."""
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


def doubts(permissions: Iterable[str]) -> Iterable[str]:
    """Yield what is odd about each permission."""
    return filter(None, map(doubt, permissions))


def _verbs(noun: str) -> Iterable[str]:
    """The commands of a noun. A command of a noun within it, such as `user mfa enroll`, is the verb `mfa-enroll`."""
    yield from import_module(NOUNS[noun].module).app.leaves
    for inner, entry in WITHIN.get(noun, {}).items():
        yield inner
        yield from (f"{inner}-{verb}" for verb in import_module(entry.module).app.leaves)
