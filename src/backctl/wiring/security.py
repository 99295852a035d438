"""Factories for keys, tokens, second factors and access rules, from the settings."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backctl.application.mfa_keys import MfaKeys
    from backctl.domain.access import AccessPolicy
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.crypto.field_ciphers import KeyCiphers
    from backctl.infrastructure.crypto.jwt_codec import JwtCodec
    from backctl.infrastructure.keyring.store import KeyringStore
    from backctl.settings import LoadedSettings
    from backctl.settings.model import Settings


def keyring_store(loaded: "LoadedSettings") -> "KeyringStore":
    """Return the keyring's file, or the keyring in the configuration.

    Raises InvalidConfiguration if both are set, and if the selected profile has no `database.url`, because the keyring
    that it inherits belongs to another database.
    """
    loaded.require_database()
    secret = loaded.settings.keyring.passphrase
    passphrase = secret.reveal if secret.is_given else None
    document = loaded.keyring_given
    if document is not None:
        from backctl.infrastructure.keyring.given import GivenKeyring

        return GivenKeyring(loaded.keyring_shown, document.reveal, passphrase)
    from backctl.infrastructure.keyring.file import KeyFile

    allow_group_read = loaded.settings.keyring.allow_group_read
    return KeyFile(loaded.keyring_file, allow_group_read=allow_group_read, passphrase=passphrase)


def token_codec(settings: "Settings", keyring: "Callable[[], Keyring]") -> "JwtCodec":
    """Create the token codec. Loads no database code; reads the keyring with the first token."""
    from backctl.infrastructure.crypto.jwt_codec import JwtCodec

    tokens = settings.tokens
    return JwtCodec(keyring, issuer=tokens.issuer, audience=tokens.audience, leeway=tokens.leeway)


def mfa_keys(keyring: "Callable[[], Keyring]") -> "MfaKeys":
    """Create the keys of second factors. Showing a second factor loads no cipher."""
    from functools import cache

    from backctl.application.mfa_keys import MfaKeys

    @cache
    def ciphers() -> "KeyCiphers":
        from backctl.infrastructure.crypto.field_ciphers import KeyCiphers

        return KeyCiphers()

    return MfaKeys(keyring, ciphers)


def access_policy(settings: "Settings") -> "AccessPolicy":
    """Create the access policy from the built-in and the configured roles. Raises InvalidConfiguration."""
    from backctl.domain.access import AccessPolicy, Permission, Role

    return AccessPolicy(
        Role(name, role.description, tuple(map(Permission.parse, role.permissions)))
        for name, role in settings.roles.items()
    )
