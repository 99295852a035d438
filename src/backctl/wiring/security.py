"""What keys, passwords, tokens and encryption are served by, from the settings."""

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
    """The keyring's file, or the keyring that the configuration gives. Raises InvalidConfiguration for both."""
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
    """Loads and opens no database; the keyring is read when the first token comes."""
    from backctl.infrastructure.crypto.jwt_codec import JwtCodec

    tokens = settings.tokens
    return JwtCodec(keyring, issuer=tokens.issuer, audience=tokens.audience, leeway=tokens.leeway)


def mfa_keys(keyring: "Callable[[], Keyring]") -> "MfaKeys":
    """The keys of second factors. A look at a second factor loads no cipher."""
    from functools import cache

    from backctl.application.mfa_keys import MfaKeys

    @cache
    def ciphers() -> "KeyCiphers":
        from backctl.infrastructure.crypto.field_ciphers import KeyCiphers

        return KeyCiphers()

    return MfaKeys(keyring, ciphers)


def access_policy(settings: "Settings") -> "AccessPolicy":
    """The built-in roles and those of the configuration. Raises InvalidConfiguration."""
    from backctl.domain.access import AccessPolicy, Permission, Role

    return AccessPolicy(
        Role(name, role.description, tuple(map(Permission.parse, role.permissions)))
        for name, role in settings.roles.items()
    )
