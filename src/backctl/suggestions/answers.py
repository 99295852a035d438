"""`backctl __complete KIND PREFIX [--profile NAME] [--config FILE]`: what completion scripts ask at a TAB.

Hidden, and an agreement with the scripts of the same release alone; they hand over both flags, empty for none. Answers
one word a line that a shell can take as it is, or nothing; never an error, and always with exit code 0.
"""

import os

from backctl.suggestions.configuration import Configuration

TYPE_CHECKING = False  # `collections.abc` takes a millisecond
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@._+-"
_LONGEST = 320
_MOST = 50


def is_plain(word: bytes) -> bool:
    """Whether `word` is a letter or digit and then letters, digits and `@._+-`: nothing that a shell evaluates."""
    return 0 < len(word) <= _LONGEST and word[:1].isalnum() and not word.translate(None, _PLAIN)


def _accounts(configuration: Configuration, prefix: str) -> "Iterable[object]":
    from backctl.infrastructure.sqlite.name_search import names_beginning

    start = prefix.encode()
    for name, key in names_beginning(configuration.database(), prefix):
        # As its owner writes it, unless that is not what was typed or cannot be; both name the account.
        yield name if isinstance(name, bytes) and name.startswith(start) and is_plain(name) else key


def _roles(configuration: Configuration, _prefix: str) -> "Iterable[object]":
    return [name.encode() for name in configuration.roles()]


def _profiles(configuration: Configuration, _prefix: str) -> "Iterable[object]":
    return [name.encode() for name in configuration.profiles()]


KINDS: "Mapping[str, Callable[[Configuration, str], Iterable[object]]]" = {
    "account": _accounts,
    "role": _roles,
    "profile": _profiles,
}
"""What can be asked for. Each yields candidates for the prefix, which is empty or plain; what does not fit is dropped
here. A new kind is a function and a line, and the place where it is typed a line in `presentation/completion/kinds.py`.
"""


def answer(arguments: "Sequence[str]", environ: "Mapping[str, str]") -> int:
    """Write what completes `arguments` to descriptor 1; the exit code, which is 0."""
    try:
        words = b"".join(word + b"\n" for word in _found(arguments, environ))
        if words:
            os.write(1, words)  # unbuffered: a reader that left is no reason to complain at the end
    except Exception:
        return 0  # whoever presses TAB asked nothing, so is told nothing
    return 0


def _found(arguments: "Sequence[str]", environ: "Mapping[str, str]") -> list[bytes]:
    kind, prefix, *rest = arguments
    flags = dict(zip(rest[::2], rest[1::2], strict=True))
    start = prefix.encode()
    if start and not is_plain(start):
        return []
    configuration = Configuration(environ, profile=flags.get("--profile"), config_file=flags.get("--config") or None)
    candidates = KINDS[kind](configuration, prefix)
    offered = dict.fromkeys(
        word for word in candidates if isinstance(word, bytes) and word.startswith(start) and is_plain(word)
    )
    words = list(offered)
    # With the last one, what all answers have in common is what all words have in common.
    return words if len(words) <= _MOST else [*words[: _MOST - 1], words[-1]]
