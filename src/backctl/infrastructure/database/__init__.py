"""Accounts, events and their chain in SQL: SQLModel writes, the driver itself reads."""
