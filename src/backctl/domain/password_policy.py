"""Rules for new passwords. All violations are reported at once; the password itself is never shown."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backctl.domain.errors import InvalidPassword, WeakPassword
from backctl.domain.plain_text import has_ignorable
from backctl.domain.values import EmailAddress, Secret, Username, folded

PASSWORD_MAX_OCTETS = 4096  # far above the 64 code points promised; limits the work that an attacker can cause

_NAME_MIN = 3  # shorter names, such as the local part of a@example.org, occur in any text by chance


def prepared(password: Secret) -> Secret:
    """Return the form to hash: RFC 8265 OpaqueString (non-ASCII spaces become U+0020, then NFC).

    Raises InvalidPassword when it is empty or too long, or contains a control character or an invalid code point.
    """
    text = password.reveal()
    if not text:
        raise InvalidPassword(
            "the password is empty", hint="an account without a password is created with --no-password"
        )
    if len(text) > PASSWORD_MAX_OCTETS:
        raise InvalidPassword(f"the password is longer than {PASSWORD_MAX_OCTETS} bytes")
    if not text.isascii():
        text = unicodedata.normalize("NFC", "".join(" " if unicodedata.category(c) == "Zs" else c for c in text))
    # RFC 8264 §9.11, §9.12 forbid controls, surrogates, noncharacters and unassigned code points. The line and
    # paragraph separators belong to no class of §4.3, so they are forbidden too.
    if any(unicodedata.category(character) in ("Cc", "Cs", "Cn", "Zl", "Zp") for character in text):
        raise InvalidPassword("the password contains a control character or an invalid Unicode character")
    if len(text.encode()) > PASSWORD_MAX_OCTETS:
        raise InvalidPassword(f"the password is longer than {PASSWORD_MAX_OCTETS} bytes")
    return Secret(text)


def prepared_new(password: Secret) -> Secret:
    """Return the form to hash of a password that is being set. Raises InvalidPassword as `prepared` does.

    Also for an invisible character, which RFC 8264 §9.13 disallows: its owner would not know how to type it again.
    Existing passwords may contain one. Joiners are permitted, because emoji and Persian words contain them.
    """
    prepared_password = prepared(password)
    if has_ignorable(prepared_password.reveal(), joiners=True):
        raise InvalidPassword(
            "the password contains an invisible character",
            hint="type it instead of copying it; U+FEFF, U+200B and U+00AD, for example, cannot be seen",
        )
    return prepared_password


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """Checks length, common passwords and the account's own names; no composition rules (NIST SP 800-63B §5.1.1.2).

    `min_length` counts code points. `is_common` takes a casefolded password.
    """

    min_length: int
    is_common: Callable[[str], bool]

    def check(self, password: Secret, *, email: EmailAddress, username: Username) -> None:
        """Check a prepared password for this account. Raises WeakPassword with all violations."""
        text = password.reveal()
        plain = folded(text, "NFKC")
        violations: list[str] = []
        if len(text) < self.min_length:
            violations.append(f"it has fewer than {self.min_length} characters")
        if self.is_common(plain):
            violations.append("it is one of the most common passwords")
        if _is_made_of(plain, (username.key, email.key, email.key.rpartition("@")[0], email.domain)):
            violations.append("it is based on the account's username or e-mail address")
        if violations:
            raise WeakPassword(tuple(violations))


def _is_made_of(password: str, names: Sequence[str]) -> bool:
    """Whether the password without one of the names, forwards or backwards, contains no letter."""
    for name in (folded(name, "NFKC") for name in names):  # the key of an e-mail address is only NFC
        if len(name) < _NAME_MIN:
            continue
        for form in (name, name[::-1]):
            if form in password and not any(character.isalpha() for character in password.replace(form, "")):
                return True
    return False
