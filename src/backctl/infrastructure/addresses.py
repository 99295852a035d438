"""E-mail addresses as email-validator judges them: RFC 5321, 5322 and 6531 without asking the network."""

import re

from backctl.domain.errors import InvalidEmail, escaped, quoted
from backctl.domain.values import EmailAddress, folded

# Far above the 254 octets an address may have, in any normal form: what is longer is refused unread, because
# normalising a long run of combining marks takes quadratic time.
_LONGEST = 1024

# RFC 6761 and RFC 6762: special-use names that seeding may use.
_SEEDING = ("test", "local", "localhost")


class EmailValidatorParser:
    """The AddressParser of every installation.

    With `allow_special_domains`, `ada@shop.test`, `ada@box.local`, `ada@localhost` and `ada@db.localhost` are
    admitted too; every other special-use name stays refused.
    """

    def __init__(self, *, allow_special_domains: bool = False) -> None:
        self._allow_special = allow_special_domains

    def parse(self, text: str) -> EmailAddress:
        """The address in its normal form. Raises InvalidEmail, saying what is wrong."""
        if len(text) > _LONGEST:
            raise _refusal(text, f"it has {len(text)} characters")
        local, at, domain = text.rpartition("@")
        above, dot, name = domain.rpartition(".")
        if not (self._allow_special and name.lower() in _SEEDING and (dot or name.lower() == "localhost")):
            return EmailAddress.of(_normalised(text, shown=text))
        # The list of special names is global to the library, and a service that imports this package may use the
        # library itself. So the name is judged with an ordinary label of the same length in its place.
        stand_in = "x" * len(name)
        normalised = _normalised(f"{local}{at}{above}{dot}{stand_in}", shown=text, dotless=not dot)
        return EmailAddress.of(normalised.removesuffix(stand_in) + name.lower())

    def key_of(self, text: str) -> str:
        """The key of the account that `text` would name; equals `parse(text).key` for all that `parse` accepts.

        Never raises: what is no address gets a key that no account has. Plain ASCII is answered without
        email-validator, whose import costs more than the look-up.
        """
        text = text[:_LONGEST]
        if text.isascii() and "xn--" not in text.lower():
            return text.lower()  # what folding does to ASCII, and a domain's normal form differs in nothing else
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
            strict=True,  # RFC 5321 §4.5.3.1.1: at most 64 before the @
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
