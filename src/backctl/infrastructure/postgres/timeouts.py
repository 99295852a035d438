"""Timeouts for a PostgreSQL server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts in microseconds."""

    connect_us: int
    statement_us: int
    lock_us: int

    def local(self, *, statements: bool = True) -> str:
        """Return statements that set the timeouts of the current transaction only.

        A connection pooler may give the connection to another client afterwards.
        """
        statement_ms = max(1, self.statement_us // 1000) if statements else 0
        # Shorter than the statement timeout, which would otherwise fire first and hide the lock as the cause.
        lock_ms = max(1, min(self.lock_us, self.statement_us * 9 // 10) // 1000)
        return f"SET LOCAL statement_timeout = {statement_ms}; SET LOCAL lock_timeout = {lock_ms}; "
