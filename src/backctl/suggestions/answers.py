"""`backctl __complete KIND PREFIX [--profile NAME] [--config FILE]`: the command that completion scripts run.

Hidden, and stable only for the scripts of the same release. They always pass both flags, empty if unset. Prints one
word per line that needs no shell quoting, or nothing. Never prints an error; the exit code is always 0.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from backctl.settings import loading

_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@._+-"
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
_LONGEST = 320
_MOST = 50


class Sources(NamedTuple):
    """The sources of the settings: the environment, and the flags typed so far."""

    environ: Mapping[str, str]
    profile: str | None
    config_file: str | None

    def names(self, table: str) -> Iterable[object]:
        """Return the names of one kind of named table in the configuration."""
        found = loading.names_of(table, config_file=self.config_file, profile=self.profile, environ=self.environ)
        return (name.encode() for name in found)

    @property
    def beyond_ascii(self) -> bool:
        """Whether the shell reads and writes UTF-8: the first of these variables that is set decides (POSIX).

        In the locale C, Python itself sets LC_CTYPE to one of `_COERCED` (PEP 538), which the shell does not know.
        """
        named = [self.environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
        locale = next((name for name in named if name and not (name is named[1] and name in _COERCED)), "")
        return locale.lower().replace("-", "").endswith("utf8")

    def keyring(self) -> str:
        """Return the path of the keyring file. Raises LookupError for a keyring from the configuration."""
        loaded = self._loaded()
        if loaded.settings.keyring.document.is_given:
            raise LookupError
        return str(loaded.keyring_file)

    def _loaded(self) -> loading.LoadedSettings:
        return loading.load(config_file=self.config_file, profile=self.profile, environ=self.environ)

    def database(self) -> str:
        """Return the path of the embedded database. Raises LookupError for a server or a URL from a secret source."""
        loaded = self._loaded()
        if loaded.settings.database.url.source:  # from `url_file` or `url_command`
            raise LookupError
        scheme, _, path = loaded.database_url.partition(":///")
        if scheme != "sqlite":
            raise LookupError
        return path


def is_plain(word: bytes, *, beyond_ascii: bool = False) -> bool:
    """Whether `word` is a letter or digit followed by letters, digits and `@._+-`, so that no shell evaluates it.

    `beyond_ascii` permits letters and digits of all scripts, in UTF-8: every character that a shell evaluates is ASCII.
    """
    if not 0 < len(word) <= _LONGEST:
        return False
    if word.isascii():
        return word[:1].isalnum() and not word.translate(None, _PLAIN)
    try:
        text = word.decode() if beyond_ascii else ""
    except UnicodeDecodeError:
        return False
    return text[:1].isalnum() and all(character.isalnum() or character in "@._+-" for character in text)


def _accounts(sources: Sources, prefix: str) -> Iterable[object]:
    from backctl.infrastructure.sqlite.name_search import names_beginning

    start, beyond_ascii = prefix.encode(), sources.beyond_ascii
    for name, key in names_beginning(sources.database(), prefix, beyond_ascii=beyond_ascii):
        # Prefer the owner's spelling. Use the key if that does not match the typed text or is not plain.
        fits = isinstance(name, bytes) and name.startswith(start) and is_plain(name, beyond_ascii=beyond_ascii)
        yield name if fits else key


def _keys(sources: Sources, _: str) -> Iterable[object]:
    from backctl.infrastructure.keyring.names import names_of_keys

    return (name.encode() for name in names_of_keys(sources.keyring()))


KINDS: Mapping[str, Callable[[Sources, str], Iterable[object]]] = {
    "account": _accounts,
    "key": _keys,
    "role": lambda sources, _: sources.names("roles"),
    "profile": lambda sources, _: sources.names("profiles"),
    "policy": lambda sources, _: sources.names("ratelimit.policies"),
}
"""The kinds of completion. Each yields candidates for the prefix, which is empty or plain; others are dropped later.
To add a kind, add a line here, and one in `presentation/completion/kinds.py` for the arguments that it completes."""


def answer(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Write the completions of `arguments` to descriptor 1 and return the exit code, always 0."""
    try:
        words = b"".join(word + b"\n" for word in _found(arguments, environ))
        while words:  # unbuffered, so that a closed pipe causes no error at exit
            words = words[os.write(1, words) :]
    except Exception:
        return 0  # pressing TAB must never print an error
    return 0


def _found(arguments: Sequence[str], environ: Mapping[str, str]) -> list[bytes]:
    kind, prefix, *rest = arguments
    flags = dict(zip(rest[::2], rest[1::2], strict=True))
    start = prefix.encode()
    sources = Sources(environ, flags.get("--profile") or None, flags.get("--config") or None)
    beyond_ascii = sources.beyond_ascii
    if start and not is_plain(start, beyond_ascii=beyond_ascii):
        return []
    candidates = KINDS[kind](sources, prefix)
    offered = dict.fromkeys(
        word
        for word in candidates
        if isinstance(word, bytes) and word.startswith(start) and is_plain(word, beyond_ascii=beyond_ascii)
    )
    words = list(offered)
    # Keep the last word, so that the common prefix of the answers is the common prefix of all words.
    return words if len(words) <= _MOST else [*words[: _MOST - 1], words[-1]]
