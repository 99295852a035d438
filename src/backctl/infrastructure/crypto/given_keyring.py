"""A keyring that comes from elsewhere: an environment variable, another program, a file that somebody else keeps."""

from collections.abc import Callable

from backctl.domain.errors import KeyringDamaged
from backctl.domain.keyring import Keyring


class GivenKeyring:
    """Reads the same document as a KeyFile, once, and changes nothing. `label` names its source in messages."""

    def __init__(self, label: str, reveal: Callable[[], str]) -> None:
        self.label = label
        self._reveal = reveal

    def read(self) -> Keyring:
        """Raises KeyringDamaged, and InvalidConfiguration when the source does not yield a text."""
        from backctl.infrastructure.crypto.strict_json import parsed

        text = self._reveal()
        try:
            return Keyring.from_document(parsed(text))
        except KeyringDamaged as error:
            raise KeyringDamaged(f"{self.label}: {error.message}", hint=error.hint) from None
        except (ValueError, RecursionError):
            raise KeyringDamaged(
                f"{self.label}: the keyring is damaged: it is not valid JSON",
                hint="give the whole text of the keyring.json that belongs to the database",
            ) from None

    def version(self) -> None:
        """The text is asked for once: it stays what it is."""

    def has_unfinished_change(self) -> bool:
        """Never, where nothing is changed."""
        return False
