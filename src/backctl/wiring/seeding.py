"""Factories for reading seed files and the secrets that they refer to."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backctl.application.ports.environment import AddressParser
    from backctl.application.seeding.secret_sources import SecretSources
    from backctl.application.seeding.seed_files import SeedFiles
    from backctl.domain.access import AccessPolicy


def seed_files(addresses: "AddressParser", access: "AccessPolicy") -> "SeedFiles":
    from backctl.application.seeding.seed_files import SeedFiles
    from backctl.infrastructure.documents.reading import read_document
    from backctl.settings.durations import parse_duration

    return SeedFiles(documents=read_document, addresses=addresses, access=access, durations=parse_duration)


def secret_sources() -> "SecretSources":
    """Return the secrets of this process's environment and files."""
    import os

    from backctl.application.seeding.secret_sources import SecretSources
    from backctl.infrastructure.files.secret_files import SecretFiles

    return SecretSources(os.environ, SecretFiles())
