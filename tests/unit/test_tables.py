"""The `repr` of rows."""

from typing import Any

from backctl.infrastructure.sql.tables import UserRow


def test_a_row_shows_no_password_hash() -> None:
    columns: dict[str, Any] = {"id": "1", "password_hash": "$2b$12$hidden"}
    row = UserRow(**columns)
    assert "hidden" not in f"{row!r} {row} {[row]}"
