"""Validates e-mail addresses with email-validator, by RFC 5321, 5322 and 6531, without network access."""

import re

from backctl.domain.errors import InvalidEmail
from backctl.domain.quoting import escaped, quoted
from backctl.domain.values import EMAIL_MAX_OCTETS, EmailAddress, folded

# Far above the 254 octets of the longest address, in any normal form. Longer texts are rejected unread, because
# normalising a long run of combining marks takes quadratic time.
_LONGEST = 1024

# RFC 6761 and RFC 6762: special-use names that seed data may use.
_SEEDING = ("test", "local", "localhost")

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*")  # RFC 5322 §3.2.3
_LOCAL_MAX = 64  # RFC 5321 §4.5.3.1.1
_DOMAINS_MAX = 10_000


class EmailValidatorParser:
    """Implements the AddressParser port.

    With `allow_special_domains`, accepts `ada@shop.test`, `ada@box.local`, `ada@localhost` and `ada@db.localhost` too.
    Rejects every other special-use name.
    """

    def __init__(self, *, allow_special_domains: bool = False) -> None:
        self._allow_special = allow_special_domains
        self._plain_domains: dict[str, str] = {}
        """ASCII domains that email-validator accepted, as written and in lower case."""

    def parse(self, text: str) -> EmailAddress:
        """Return the address in its normal form. Raises InvalidEmail, which says what is wrong.

        A plain ASCII address in a domain that was accepted before takes a fiftieth of the time.
        """
        plain = self._plain(text)
        if plain is not None:
            return plain
        address = self._validated(text)
        domain = text.rpartition("@")[2]
        lower = domain.lower()
        if domain.isascii() and address.address.endswith(f"@{lower}"):  # not an A-label (xn--…), which gets decoded
            if len(self._plain_domains) >= _DOMAINS_MAX:
                self._plain_domains.clear()
            self._plain_domains[domain] = lower
        return address

    def _plain(self, text: str) -> EmailAddress | None:
        """Return the address if email-validator need not be asked; it would only put the domain in lower case."""
        local, _, domain = text.rpartition("@")
        lower = self._plain_domains.get(domain)
        if lower is None or len(local) > _LOCAL_MAX or len(text) > EMAIL_MAX_OCTETS or not _DOT_ATOM.fullmatch(local):
            return None
        if local.isalpha() and not local.islower():  # it would put names such as POSTMASTER (RFC 2142) in lower case
            return None
        return EmailAddress(f"{local}@{lower}", text.lower(), lower)

    def _validated(self, text: str) -> EmailAddress:
        if len(text) > _LONGEST:
            raise _refusal(text, f"it has {len(text)} characters")
        local, at, domain = text.rpartition("@")
        above, dot, name = domain.rpartition(".")
        if not (self._allow_special and name.lower() in _SEEDING and (dot or name.lower() == "localhost")):
            return EmailAddress.of(_normalised(text, shown=text))
        # The list of special names is global to the library, and a service that imports this package may use the
        # library itself. So validate the address with an ordinary label of the same length instead of the special name.
        stand_in = "x" * len(name)
        normalised = _normalised(f"{local}{at}{above}{dot}{stand_in}", shown=text, dotless=not dot)
        return EmailAddress.of(normalised.removesuffix(stand_in) + name.lower())

    def key_of(self, text: str) -> str:
        """Return the key of the account that `text` names. Equals `parse(text).key` for all that `parse` accepts.

        Never raises: a text that is not an address gets a key that no account has. Handles plain ASCII without
        email-validator, because importing it takes longer than the look-up.
        """
        text = text[:_LONGEST]
        if text.isascii() and "xn--" not in text.lower():
            return text.lower()  # for ASCII, folding and domain normalisation only change the case
        try:
            return self.parse(text).key
        except InvalidEmail:
            return folded(text, "NFC")


def _normalised(text: str, *, shown: str, dotless: bool = False) -> str:
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(
            text,
            check_deliverability=False,
            allow_smtputf8=True,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            allow_empty_local=False,
            strict=True,  # RFC 5321 §4.5.3.1.1: at most 64 octets before the @
            globally_deliverable=not dotless,
            test_environment=False,
        ).normalized
    except EmailNotValidError as error:
        raise _refusal(shown, str(error)) from None


def _refusal(text: str, reason: str) -> InvalidEmail:
    reason = escaped(reason[:200]).rstrip(".").replace(". It ", ", it ").replace("email address", "e-mail address")
    reason = re.sub(r"(?:\A|(?<=: ))(?:The|An|There|After|Quoting|A)\b", lambda word: word[0].lower(), reason)
    return InvalidEmail(
        f"{quoted(text)} is not an e-mail address: {reason}", hint="write an address such as 'ada@example.org'"
    )
