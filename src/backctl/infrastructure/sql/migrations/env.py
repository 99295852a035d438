"""Runs on the connection, and within the transaction, that the migrator hands over."""

from alembic import context

from backctl.infrastructure.sql.tables import Row

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
context.run_migrations()
