"""Which options and positionals take a word that can be offered, besides those whose choices the parser knows."""

from typing import NamedTuple

from backctl.domain.access import BUILTIN_ROLES
from backctl.domain.events import event_types
from backctl.domain.repositories import SORT_FIELDS
from backctl.settings import SETTINGS


class Offer(NamedTuple):
    """Words that are the same everywhere, and the kind of those that the program is asked for at the TAB."""

    words: tuple[str, ...] = ()
    stored: str = ""
    """A key of `backctl.suggestions.answers.KINDS`; empty for none."""


NOTHING = Offer()
ACCOUNT = Offer(stored="account")
ROLE = Offer(tuple(role.name for role in BUILTIN_ROLES), stored="role")
PROFILE = Offer(stored="profile")
POLICY = Offer(stored="policy")
KEY = Offer(stored="key")

# By the long spelling of an option, which means the same in every command; with the words of a command for this one.
_FLAGS = {
    "user list --sort": Offer((*SORT_FIELDS, *(f"-{field}" for field in SORT_FIELDS))),
    "--sort": Offer(("seq", "-seq")),
    "--profile": PROFILE,
    "--role": ROLE,
    "--subject": ACCOUNT,
    "--user": ACCOUNT,
    "--type": Offer(event_types()),
    "--algorithm": Offer(("sha1", "sha256", "sha512")),
}
# By what the help calls a positional; a NAME is one of the noun's own things.
_POSITIONALS = {
    "IDENT": ACCOUNT,
    "config KEY": Offer(tuple(SETTINGS)),
    "KID": KEY,
    "ROLE": ROLE,
    "role NAME": ROLE,
    "profile NAME": PROFILE,
    "POLICY": POLICY,
    "ratelimit NAME": POLICY,
}


def of_flag(command: str, spelling: str) -> Offer:
    return _FLAGS.get(f"{command} {spelling}") or _FLAGS.get(spelling, NOTHING)


def of_positional(noun: str, name: str) -> Offer:
    return _POSITIONALS.get(f"{noun} {name}") or _POSITIONALS.get(name, NOTHING)
