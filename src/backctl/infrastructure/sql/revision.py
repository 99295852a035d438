"""The revision of the schema. Imports nothing, because completion uses it and must be fast."""

REVISION = "0009"
"""The Alembic revision that this program requires. Revisions have four digits, so that they compare as text."""
