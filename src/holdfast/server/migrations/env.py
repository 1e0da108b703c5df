"""Run by Alembic for each command: the connection comes from ``holdfast.server.migrate``, the tables from ``tables``."""

from __future__ import annotations

from alembic import context

from holdfast.server.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
)
context.run_migrations()
