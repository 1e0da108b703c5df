"""Signing in at an OIDC provider: identities, invitations, and what is under way between browsers, programs and this server."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this state."""
    op.add_column("members", sa.Column("provider", sa.String(length=50), nullable=True))
    _people()
    _under_way()


def downgrade() -> None:
    """Back to the state before; whoever has no password cannot sign in any more."""
    for name in ("devices", "handovers", "signins", "invitations", "identities"):
        op.drop_table(name)
    op.drop_column("members", "provider")


def _people() -> None:
    """Who somebody is elsewhere, and who may become whom."""
    op.create_table(
        "identities",
        sa.Column("issuer", sa.String(length=500), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("used", sa.Double(), nullable=False),
        _of_account("identities"),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_identities")),
    )
    op.create_index(op.f("ix_identities_account"), "identities", ["account"], unique=False)
    op.create_table(
        "invitations",
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        _of_account("invitations"),
        sa.PrimaryKeyConstraint("email", name=op.f("pk_invitations")),
    )
    op.create_index(op.f("ix_invitations_account"), "invitations", ["account"], unique=False)


def _under_way() -> None:
    """What lives for minutes."""
    op.create_table(
        "signins",
        sa.Column("state", sa.LargeBinary(length=32), nullable=False),
        sa.Column("browser", sa.LargeBinary(length=32), nullable=False),
        sa.Column("provider", sa.String(length=50), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("state", name=op.f("pk_signins")),
    )
    op.create_table(
        "handovers",
        sa.Column("code", sa.LargeBinary(length=32), nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("challenge", sa.String(length=43), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        _of_account("handovers"),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_handovers")),
    )
    op.create_index(op.f("ix_handovers_account"), "handovers", ["account"], unique=False)
    op.create_table(
        "devices",
        sa.Column("code", sa.LargeBinary(length=32), nullable=False),
        sa.Column("words", sa.LargeBinary(length=32), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=True),
        sa.Column("address", sa.String(length=100), nullable=True),
        sa.Column("account", sa.Integer(), nullable=True),
        sa.Column("refused", sa.Boolean(), nullable=False),
        sa.Column("polled", sa.Double(), nullable=True),
        sa.Column("expires", sa.Double(), nullable=False),
        _of_account("devices"),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_devices")),
        sa.UniqueConstraint("words", name=op.f("uq_devices_words")),
    )
    op.create_index(op.f("ix_devices_account"), "devices", ["account"], unique=False)


def _of_account(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_account")
    return sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=name, ondelete="CASCADE")
