"""How long a PostgreSQL server is waited for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest waits, in microseconds."""

    connect_us: int
    statement_us: int
    lock_us: int

    def local(self, *, statements: bool = True) -> str:
        """Statements that set the limits of the transaction they run in, and of no other: a pooler between may hand
        the connection to somebody else afterwards."""
        statement_ms = max(1, self.statement_us // 1000) if statements else 0
        # Shorter than the statement's, or that one would end first and not say why.
        lock_ms = max(1, min(self.lock_us, self.statement_us * 9 // 10) // 1000)
        return f"SET LOCAL statement_timeout = {statement_ms}; SET LOCAL lock_timeout = {lock_ms}; "
