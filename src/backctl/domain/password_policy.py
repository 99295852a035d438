"""What a new password must be. Every broken rule is reported at once; the password itself never is."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backctl.domain.errors import InvalidPassword, WeakPassword
from backctl.domain.values import EmailAddress, Secret, Username, folded

PASSWORD_MAX_OCTETS = 4096  # far above the 64 code points promised; bounds the work an attacker can ask for

_NAME_MIN = 3  # shorter ones, such as the local part of a@example.org, stand in any text by chance


def prepared(password: Secret) -> Secret:
    """The form that is hashed: RFC 8265 OpaqueString (non-ASCII spaces become U+0020, then NFC).

    Raises InvalidPassword when it is empty, too long, or holds a control character or something no text contains.
    """
    text = password.reveal()
    if not text:
        raise InvalidPassword(
            "the password is empty", hint="to create an account without a password, use --no-password"
        )
    if len(text) > PASSWORD_MAX_OCTETS:
        raise InvalidPassword(f"the password is longer than {PASSWORD_MAX_OCTETS} bytes")
    if not text.isascii():
        text = unicodedata.normalize("NFC", "".join(" " if unicodedata.category(c) == "Zs" else c for c in text))
    # RFC 8264 §9.11, §9.12: controls, surrogates, noncharacters and unassigned code points are never allowed; nor are
    # the line and paragraph separators, which belong to no class of §4.3.
    if any(unicodedata.category(character) in ("Cc", "Cs", "Cn", "Zl", "Zp") for character in text):
        raise InvalidPassword("the password contains a control character or an invalid Unicode character")
    if len(text.encode()) > PASSWORD_MAX_OCTETS:
        raise InvalidPassword(f"the password is longer than {PASSWORD_MAX_OCTETS} bytes")
    return Secret(text)


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """Length, commonness and closeness to the account's own names; no composition rules (NIST SP 800-63B §5.1.1.2).

    `min_length` counts code points. `is_common` answers for a casefolded password.
    """

    min_length: int
    is_common: Callable[[str], bool]

    def check(self, password: Secret, *, email: EmailAddress, username: Username) -> None:
        """Judge a prepared password for this account. Raises WeakPassword with all violations."""
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
    """Whether nothing but digits and signs is left once a name is taken out, forwards or backwards."""
    for name in (folded(name, "NFKC") for name in names):  # an e-mail's key keeps its compatibility forms
        if len(name) < _NAME_MIN:
            continue
        for form in (name, name[::-1]):
            if form in password and not any(character.isalpha() for character in password.replace(form, "")):
                return True
    return False
