"""What differs between SQL databases in the statements that all of them run."""

from typing import Literal, NamedTuple

Placeholder = Literal["?", "%s"]

_INSTALLATION = (
    "SELECT (SELECT version_num FROM alembic_version), installation_id, (SELECT {join}(kid, ' ') FROM audit_keys) "
    "FROM installation WHERE id = 1"
)


class Dialect(NamedTuple):
    """How one kind of database wants its statements. Each technology's folder holds its value in `dialect.py`."""

    placeholder: Placeholder
    """How the driver marks the place of a value."""
    join: str
    """The aggregate function that joins texts."""
    as_id: str
    """Turns the text in `{}` into the type of an id column."""
    writes_in_queries: bool
    """Whether a WITH clause may hold an INSERT or UPDATE."""

    @property
    def installation(self) -> str:
        """Asks a database for its revision, its installation id and its audit keys' ids."""
        return _INSTALLATION.format(join=self.join)
