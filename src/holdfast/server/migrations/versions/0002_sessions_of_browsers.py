"""Sessions of browsers: tokens that are good for the pages alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this state."""
    op.add_column("tokens", sa.Column("pages", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Back to the state before: its servers know no sessions, and would take them for tokens."""
    tokens = sa.table("tokens", sa.column("pages", sa.Boolean()))
    op.execute(tokens.delete().where(tokens.c.pages))
    op.drop_column("tokens", "pages")
