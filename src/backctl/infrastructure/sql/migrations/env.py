"""Runs the migrations on the migrator's connection, in its transaction."""

from alembic import context

from backctl.infrastructure.sql.tables import Row

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    render_as_batch=True,  # SQLite must copy a table to alter it
)
context.run_migrations()
