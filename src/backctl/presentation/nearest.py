"""Finds the command or option that was probably meant, for the hint of an error.

Never offers the opposite of what was typed or a more destructive command: a person may run a hint without reading it.
"""

from collections.abc import Sequence

_SYNONYMS = (
    # Words that people type, and the commands that they mean. The first one that exists in the noun is offered.
    ("add new make register generate", "create add issue enroll set"),
    ("create mint", "add issue enroll"),
    ("edit modify change alter rename", "update set"),
    ("set", "update assign use"),
    ("put store", "set"),
    ("rm remove del delete erase drop", "retire revoke unset reset disable delete"),
    ("destroy purge", "retire revoke unset disable delete"),
    ("revoke", "retire"),
    ("passwd password reset-password change-password setpassword", "set-password"),
    ("login auth authenticate", "check-password"),
    ("enable", "activate enroll"),
    ("reactivate open", "activate"),
    ("unblock", "unlock"),
    ("disable deactivate", "deactivate retire revoke disable"),
    ("lock block ban suspend close", "deactivate"),
    ("get info view cat describe display read who whoami", "show get inspect status peek"),
    ("show", "inspect get status peek"),
    ("status", "show stats"),
    ("ls all", "list show"),
    ("list", "show"),
    ("find search grep query", "list"),
    ("verify validate test", "validate check-password verify check"),
    ("check", "validate verify check-password"),
    ("grant give", "assign"),
    ("log logs events", "history list"),
    ("renew", "refresh rotate"),
    ("refresh", "rotate"),
    ("flush clear", "invalidate reset"),
    ("prune cleanup clean", "gc"),
    ("migrate", "upgrade"),
    ("dump", "backup export"),
    ("switch select choose checkout", "use"),
    # Nouns.
    ("users account accounts", "user"),
    ("roles", "role"),
    ("permission permissions", "access"),
    ("tokens session sessions", "token"),
    ("keys keyring", "key"),
    ("limit limits rate-limit ratelimits", "ratelimit"),
    ("event events log logs history", "audit"),
    ("setting settings configuration", "config"),
    ("profiles", "profile"),
    ("database", "db"),
    ("health check status", "doctor"),
    ("setup", "init"),
)
_ADDING = "add create new edit update set modify change rename define"
_REMOVING = "rm remove del delete drop unset"
_ELSEWHERE = (
    # What other commands do, by the noun and the words that were typed.
    ("role", _ADDING, "set roles.NAME.permissions with '{backctl} config set'"),
    (
        "role",
        f"{_REMOVING} unassign deassign revoke take",
        "to replace the role of an account, run '{backctl} role assign user IDENT'",
    ),
    ("ratelimit", _ADDING, "set ratelimit.policies.NAME.limit and .window in the configuration"),
    ("ratelimit policy", _ADDING, "set ratelimit.policies.NAME.limit and .window in the configuration"),
    ("ratelimit policy", _REMOVING, "remove ratelimit.policies.NAME from the configuration"),
    ("profile", _ADDING, "set profiles.NAME.database.url with '{backctl} config set'"),
    ("profile", "unset none", "run '{backctl} profile use --none' to select no profile"),
    ("profile", _REMOVING, "remove profiles.NAME from the configuration file"),
    ("", "upgrade migrate backup", "see '{backctl} db --help'"),
)
_NOT_OFFERED = frozenset(("erase", "yes", "force", "confirm", "private", "prune"))
"""Options that confirm an action or destroy more."""
_DESTRUCTIVE = frozenset(
    (
        *("deactivate", "delete", "destroy", "disable", "drop", "gc", "invalidate"),
        *("replace-lost", "reset", "restore", "restored", "retire", "revoke", "unset"),
    )
)
_PREFIXES = ("un", "re", "de", "dis", "en", "in", "non", "mis")
"""Prefixes that change the meaning of a verb, often to its opposite."""
STEMS = frozenset(("able", "activate", "assign", "crypt", "encrypt", "lock", "queue", "set", "validate", "wrap"))
"""Verbs that remain when a command loses such a prefix. `revoke` and `delete` do not contain another verb."""
_OPPOSITES = (("import", "export"), ("promote", "demote"), ("backup", "restore"))
_LONGEST = 50


def nearest(word: str, known: Sequence[str]) -> list[str]:
    """Return the commands in `known` that `word` may mean; empty if none is safe to offer."""
    word = word[:_LONGEST].lower()
    meant = [verbs.split() for words, verbs in _SYNONYMS if word in words.split()]
    if meant:
        return [name for verbs in meant for name in verbs if name in known][:1]
    return _similar(word, known)


def elsewhere(noun: str, word: str) -> str | None:
    """Return the hint for a word that no command of `noun`, such as `ratelimit policy`, stands for; None without one.

    For example, roles are defined in the configuration.
    """
    return next((hint for of, words, hint in _ELSEWHERE if of == noun and word.lower() in words.split()), None)


def nearest_option(word: str, known: Sequence[str]) -> list[str]:
    """Return the long options in `known`, with their dashes, that `word` may mean."""
    names = [name[2:] for name in known if name.startswith("--")]
    offered = [name for name in names if name not in _NOT_OFFERED]
    return [f"--{name}" for name in _similar(word[:_LONGEST].lower().lstrip("-"), offered)]


def _similar(word: str, known: Sequence[str]) -> list[str]:
    begun = [name for name in known if len(word) > 2 and name.startswith(word) and not opposes(word, name)]
    if 0 < len(begun) <= 3:
        return begun
    limit = 2 if len(word) > 6 else 1
    distances = {name: distance for name in known if (distance := _distance(word, name)) <= limit}
    closest = [name for name, distance in distances.items() if distance == min(distances.values())]
    if any(opposes(one, other) for one in closest for other in closest if one != other):
        return []
    safe = [name for name in closest if not opposes(word, name)]
    harmless = [name for name in safe if name not in _DESTRUCTIVE]
    return harmless or [name for name in safe if _is_typo(word, name, distances[name])]


def opposes(word: str, name: str) -> bool:
    """Whether two words differ mainly in a prefix such as `un` or `re`, or are a known pair of opposites."""
    if word.startswith("no-") != name.startswith("no-") or (word, name) in _OPPOSITES or (name, word) in _OPPOSITES:
        return True
    bare = name.removeprefix("no-")
    stems = {"": bare} | {prefix: bare.removeprefix(prefix) for prefix in _PREFIXES if bare.startswith(prefix)}
    for beginning in ("", *_PREFIXES):
        if not word.startswith(beginning):
            continue
        rest = word.removeprefix(beginning).lstrip("-")
        for prefix, stem in stems.items():
            is_verb = prefix == "" or stem in STEMS or beginning != ""
            if prefix != beginning and is_verb and len(rest) > 2 and _distance(rest, stem) <= 1:
                return True
    return False


def _is_typo(word: str, name: str, distance: int) -> bool:
    """Whether `word` is almost certainly a typing error for `name`, which is destructive.

    Either letters are missing after the first two, as in `deactive`, or one letter is wrong; in a short name no letter
    may be replaced.
    """
    letters = iter(name)
    lacks_letters = word[:2] == name[:2] and all(letter in letters for letter in word)
    return lacks_letters or (distance == 1 and (len(name) > 5 or len(word) != len(name) or set(word) == set(name)))


def _distance(word: str, name: str) -> int:
    """Return how many letters must be added, removed, replaced or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(name) + 1))
    for i, letter in enumerate(word, 1):
        before, row, above = row, [i], before
        for j, other in enumerate(name, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == name[j - 2] and word[i - 2] == other:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]
