"""The revision of the schema, in a module that loads nothing: completion compares it too, and must not wait."""

REVISION = "0004"
"""The Alembic revision this program works with. Revisions are four digits, so that they compare as text."""
