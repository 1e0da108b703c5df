"""The tables of the first release: people, projects and roles, tokens, audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this state."""
    _people()
    _projects()
    _tokens()
    _copies()


def _people() -> None:
    """Accounts, the groups that they are in, and what was done."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("service", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("who", sa.String(length=100), nullable=True),
        sa.Column("address", sa.String(length=100), nullable=True),
        sa.Column("action", sa.String(length=50), nullable=False),
        sa.Column("project", sa.String(length=100), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_project"), "audit", ["project"], unique=False)
    op.create_table(
        "groups",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("name", name=op.f("uq_groups_name")),
    )
    op.create_table(
        "members",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("group", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("fk_members_account"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["group"], ["groups.id"], name=op.f("fk_members_group"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account", "group", name=op.f("pk_members")),
    )
    op.create_index(op.f("ix_members_group"), "members", ["group"], unique=False)


def _projects() -> None:
    """Projects, and who may do what in them."""
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=True),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("credentials", sa.String(length=10), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "account_roles",
        sa.Column("project", sa.Integer(), nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("role", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account"], ["accounts.id"], name=op.f("fk_account_roles_account"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.id"], name=op.f("fk_account_roles_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project", "account", name=op.f("pk_account_roles")),
    )
    op.create_index(op.f("ix_account_roles_account"), "account_roles", ["account"], unique=False)
    op.create_table(
        "group_roles",
        sa.Column("project", sa.Integer(), nullable=False),
        sa.Column("group", sa.Integer(), nullable=False),
        sa.Column("role", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["group"], ["groups.id"], name=op.f("fk_group_roles_group"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_group_roles_project"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("project", "group", name=op.f("pk_group_roles")),
    )
    op.create_index(op.f("ix_group_roles_group"), "group_roles", ["group"], unique=False)


def _tokens() -> None:
    """Tokens, by their digests."""
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.Column("revoked", sa.Double(), nullable=True),
        sa.Column("project", sa.Integer(), nullable=True),
        sa.Column("role", sa.Integer(), nullable=True),
        sa.Column("used", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"], name=op.f("fk_tokens_account"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_tokens_project"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_tokens_digest")),
    )
    op.create_index(op.f("ix_tokens_account"), "tokens", ["account"], unique=False)
    op.create_index(op.f("ix_tokens_project"), "tokens", ["project"], unique=False)


def _copies() -> None:
    """The copy of the projects' catalogs, which can be made anew."""
    op.create_table(
        "assets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("checked", sa.Double(), nullable=False),
        sa.Column("list_mark", sa.Text(), nullable=True),
        sa.Column("record_mark", sa.Text(), nullable=True),
        sa.Column("latest", sa.String(length=128), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("listed", sa.LargeBinary(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_assets_project"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assets")),
        sa.UniqueConstraint("project", "name", name=op.f("uq_assets_project_name")),
    )
    op.create_table(
        "copies",
        sa.Column("project", sa.Integer(), nullable=False),
        sa.Column("scanned", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name=op.f("fk_copies_project"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("project", name=op.f("pk_copies")),
    )
    op.create_table(
        "metas",
        sa.Column("asset", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=128), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_metas_asset"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("asset", "version", name=op.f("pk_metas")),
    )
    op.create_table(
        "versions",
        sa.Column("asset", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=128), nullable=False),
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("mark", sa.Text(), nullable=True),
        sa.Column("layout", sa.String(length=10), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("pushed", sa.String(length=40), nullable=False),
        sa.Column("who", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_versions_asset"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("asset", "version", name=op.f("pk_versions")),
    )


def downgrade() -> None:
    """Back to the state before."""
    op.drop_table("versions")
    op.drop_table("metas")
    op.drop_index(op.f("ix_tokens_project"), table_name="tokens")
    op.drop_index(op.f("ix_tokens_account"), table_name="tokens")
    op.drop_table("tokens")
    op.drop_index(op.f("ix_members_group"), table_name="members")
    op.drop_table("members")
    op.drop_index(op.f("ix_group_roles_group"), table_name="group_roles")
    op.drop_table("group_roles")
    op.drop_table("copies")
    op.drop_table("assets")
    op.drop_index(op.f("ix_account_roles_account"), table_name="account_roles")
    op.drop_table("account_roles")
    op.drop_table("projects")
    op.drop_table("groups")
    op.drop_index(op.f("ix_audit_project"), table_name="audit")
    op.drop_index(op.f("ix_audit_at"), table_name="audit")
    op.drop_table("audit")
    op.drop_table("accounts")
