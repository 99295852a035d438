"""Hints offer what was probably meant, and never its opposite or a more destructive command."""

from importlib import import_module
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.test_every_command import LEAVES

from backctl.presentation.app import app
from backctl.presentation.commands import NOUNS, WITHIN
from backctl.presentation.completion.tree import read_tree
from backctl.presentation.nearest import STEMS, elsewhere, nearest, nearest_option, opposes
from backctl.presentation.typer_internals import get_command

VERBS: dict[tuple[str, ...], list[str]] = {}
for path in LEAVES:
    VERBS.setdefault(path[:-1], []).append(path[-1])
for noun, inner in WITHIN.items():
    VERBS[(noun,)] += [name for name, entry in inner.items() if not entry.verb]
VERBS[()] = list(NOUNS)

ALL_VERBS = sorted({verb for noun, verbs in VERBS.items() for verb in verbs if noun != ("help",)})  # not its topics
PREFIXES = ("un", "re", "de", "dis", "en", "in", "non", "un-", "re-", "de-", "no-")
DESTRUCTIVE = {
    *("deactivate", "delete", "destroy", "disable", "gc", "invalidate", "reset", "retire", "revoke", "unset"),
}
REMOVING = {"delete", "remove", "rm", "del", "drop", "destroy", "erase", "purge", "revoke", "disable", "deactivate"}
"""Words that ask for something destructive themselves, and may lead to it."""
SAME = {("reset-password", "set-password"), ("reactivate", "activate")}
"""Words that begin with `re` and mean the same."""


@pytest.mark.parametrize("noun", VERBS, ids=" ".join)
def test_a_negated_verb_never_leads_to_the_verb(noun: tuple[str, ...]) -> None:
    known = VERBS[noun]
    for verb, prefix in product(ALL_VERBS, PREFIXES):
        word = prefix + verb
        if word not in known:
            offered = nearest(word, known)
            assert verb not in offered or (word, verb) in SAME, word
            assert not DESTRUCTIVE & set(offered) or word.replace("-", "") in REMOVING | set(known), word


@pytest.mark.parametrize("noun", VERBS, ids=" ".join)
def test_a_verb_never_leads_to_its_negation(noun: tuple[str, ...]) -> None:
    for verb, prefix in product(ALL_VERBS, PREFIXES):
        if prefix + verb in VERBS[noun] and verb not in VERBS[noun]:
            assert prefix + verb not in nearest(verb, VERBS[noun])


def test_a_negation_is_recognized_by_the_verb_that_remains() -> None:
    beginnings = ("un", "re", "de", "dis", "en", "in")
    remaining = {
        verb.removeprefix(prefix)
        for verb, prefix in product(ALL_VERBS, beginnings)
        if verb.startswith(prefix) and verb.removeprefix(prefix) in ALL_VERBS
    }
    assert remaining <= STEMS


@pytest.mark.parametrize(
    ("noun", "word", "verb"),
    [
        ("user", "undelete", None),
        ("user", "unassign", None),
        ("user", "dactivate", None),  # as close to 'activate' as to 'deactivate'
        ("user", "eactivate", None),
        ("user", "restore", None),
        ("user mfa", "unenroll", None),
        ("user mfa", "enable", "enroll"),
        ("role", "unassign", None),
        ("role", "remove", None),
        ("role", "revoke", None),
        ("token", "unrevoke", None),
        ("key", "restore", None),
        ("key", "unwrap", None),
        ("key", "demote", None),
        ("key", "emport", None),
        ("config", "reset", None),
        ("profile", "rm", None),
        ("", "uninstall", None),
        ("", "dencrypt", None),
    ],
)
def test_words_without_a_safe_suggestion(noun: str, word: str, verb: str | None) -> None:
    assert nearest(word, VERBS[tuple(noun.split())]) == ([verb] if verb else [])


@pytest.mark.parametrize(
    ("noun", "word", "part"),
    [
        ("role", "edit", "config set"),
        ("role", "rm", "role assign user"),
        ("role", "unassign", "role assign user"),
        ("profile", "add", "config set"),
        ("profile", "rm", "remove profiles.NAME"),
        ("profile", "unset", "profile use --none"),
        ("ratelimit", "set", "ratelimit.policies.NAME"),
        ("ratelimit policy", "Remove", "remove ratelimit.policies.NAME"),
        ("", "migrate", "db --help"),
        ("role", "frobnicate", None),
        ("token", "rm", None),
    ],
)
def test_words_for_another_command_lead_there(noun: str, word: str, part: str | None) -> None:
    assert word not in VERBS[tuple(noun.split())]
    hint = elsewhere(noun, word)
    assert hint is None if part is None else part in (hint or "")


def test_unlock_never_leads_to_activate() -> None:
    assert nearest("unlock", ["create", "activate", "deactivate"]) == []
    assert nearest("unblock", ["create", "activate", "unlock"]) == ["unlock"]
    assert nearest("lock", ["unlock", "activate", "deactivate"]) == ["deactivate"]
    assert nearest("unlok", ["unlock", "activate"]) == ["unlock"]


@pytest.mark.parametrize(
    ("noun", "words", "verb"),
    [
        ("user", "rm remove del drop erase purge destroy", "delete"),
        ("user", "edit modify change rename set", "update"),
        ("user", "passwd password reset-password change-password", "set-password"),
        ("user", "add new register", "create"),
        ("user", "enable reactivate", "activate"),
        ("user", "disable lock block suspend", "deactivate"),
        ("user", "who whoami get info", "show"),
        ("user", "login auth verify", "check-password"),
        ("user", "ls find search", "list"),
        ("user", "log logs events", "history"),
        ("user mfa", "rm remove delete", "disable"),
        ("user mfa", "add create new", "enroll"),
        ("user mfa", "show get info", "status"),
        ("role", "grant give set", "assign"),
        ("token", "rm remove delete del disable", "revoke"),
        ("token", "create new add mint", "issue"),
        ("token", "check validate", "verify"),
        ("token", "show get info", "inspect"),
        ("token", "prune cleanup", "gc"),
        ("key", "rm remove delete del revoke disable", "retire"),
        ("key", "create new generate", "add"),
        ("key", "renew refresh", "rotate"),
        ("cache", "rm remove del", "delete"),
        ("cache", "flush clear", "invalidate"),
        ("cache", "put add store", "set"),
        ("ratelimit", "rm remove clear", "reset"),
        ("config", "rm remove del delete", "unset"),
        ("config", "edit", "set"),
        ("config", "check verify test", "validate"),
        ("config", "ls list", "show"),
        ("profile", "switch select set", "use"),
        ("db", "migrate", "upgrade"),
        ("db", "dump", "backup"),
        ("db", "info show", "status"),
        ("access", "verify", "check"),
        ("audit", "check", "verify"),
        ("", "users account accounts", "user"),
        ("", "health check status", "doctor"),
        ("", "log events", "audit"),
    ],
)
def test_words_of_other_programs_lead_to_the_verb_of_the_noun(noun: str, words: str, verb: str) -> None:
    known = VERBS[tuple(noun.split())]
    for word in set(words.split()) - set(known):
        assert nearest(word, known) == [verb], word


@pytest.mark.parametrize("noun", VERBS, ids=" ".join)
def test_a_synonym_is_the_only_suggestion(noun: tuple[str, ...]) -> None:
    for word in ("edit", "rm", "remove", "passwd", "reset-password", "password", "del", "enable", "disable", "lock"):
        if word not in VERBS[noun]:
            assert len(nearest(word, VERBS[noun])) <= 1


@pytest.mark.parametrize(
    ("noun", "word", "verb"),
    [
        ("user", "delte", "delete"),
        ("user", "deactive", "deactivate"),
        ("user", "desactivate", "deactivate"),
        ("user", "actviate", "activate"),
        ("user", "creat", "create"),
        ("user", "lst", "list"),
        ("user mfa", "diasble", "disable"),
        ("token", "revoek", "revoke"),
        ("key", "imort", "import"),
        ("", "encypt", "encrypt"),
        ("", "hlep", "help"),
    ],
)
def test_a_typing_error_leads_to_the_command_itself(noun: str, word: str, verb: str) -> None:
    assert nearest(word, VERBS[tuple(noun.split())]) == [verb]


@given(st.text(max_size=200), st.sampled_from(sorted(VERBS)))
def test_every_suggestion_exists(word: str, noun: tuple[str, ...]) -> None:
    offered = nearest(word, VERBS[noun])
    assert set(offered) <= set(VERBS[noun])
    assert not any(opposes(one, other) for one in offered for other in offered if one != other)


# Options.

OPTIONS = {
    node.path[1:]: [spelling for flag in node.flags for spelling in flag.spellings]
    for node in read_tree(get_command(app)).walk()
    if not node.children
}


@pytest.mark.parametrize("path", OPTIONS, ids=" ".join)
def test_an_option_never_leads_to_its_negation_or_to_a_confirmation(path: tuple[str, ...]) -> None:
    known = OPTIONS[path]
    for spelling in known:
        if spelling.startswith("--no-"):
            for word in (spelling.replace("--no-", "--"), spelling.replace("--no-", "--") + "s"):
                assert spelling not in nearest_option(word, known)
        elif spelling.startswith("--"):
            assert spelling not in nearest_option(spelling.replace("--", "--no-"), known)
    for word in ("--yess", "--eras", "--ye", "--forced", "--confrim", "--erased", "--force", "--privat"):
        assert not {"--yes", "--erase", "--force", "--confirm", "--private"} & set(nearest_option(word, known))


def test_a_typing_error_in_an_option_leads_to_it() -> None:
    known = ["--output", "--dry-run", "--no-color", "--from-file", "--expires-at", "--expires-in", "--no-expiry", "-o"]
    for word, offered in (
        ("--outptu", ["--output"]),
        ("--dryrun", ["--dry-run"]),
        ("--dry", ["--dry-run"]),
        ("--no-colour", ["--no-color"]),
        ("--color", []),
        ("--fromfile", ["--from-file"]),
        ("--expires", ["--expires-at", "--expires-in"]),
        ("--expiry", []),
        ("--zzz", []),
    ):
        assert nearest_option(word, known) == offered


def test_every_noun_is_examined() -> None:
    assert {import_module(entry.module).app.name for entry in NOUNS.values() if not entry.verb} <= {
        path[-1] for path in VERBS if path
    }
