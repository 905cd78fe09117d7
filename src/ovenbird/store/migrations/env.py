"""What Alembic runs: all migrations on the connection that ``store.opening`` gives."""

from __future__ import annotations

from alembic import context

from ovenbird.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite cannot alter most things in place
)
with context.begin_transaction():
    context.run_migrations()
