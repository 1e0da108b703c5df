"""The tables of the server's database, as SQLAlchemy Core knows them; ``migrations`` make them, and a test compares the two.

Moments are seconds since the epoch. Roles are the numbers of :class:`holdfast.server.access.Role`. People, projects, roles,
tokens, credentials and audit are kept by a backup; the copy of the catalog is made again from the buckets.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

__all__ = [
    "KEPT",
    "account_roles",
    "accounts",
    "assets",
    "audit",
    "copies",
    "devices",
    "group_roles",
    "groups",
    "handovers",
    "identities",
    "invitations",
    "members",
    "metadata",
    "metas",
    "projects",
    "signins",
    "tokens",
    "versions",
]

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: A person (or a service, which has no password). ``password`` is an argon2 hash.
accounts: Final = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("password", Text),
    Column("admin", Boolean, nullable=False),
    Column("service", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created", Double, nullable=False),
)

groups: Final = Table(
    "groups",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
)

#: ``provider`` is the OIDC provider that says so and may take it back; None where an admin did.
members: Final = Table(
    "members",
    metadata,
    Column("account", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("group", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("provider", String(50)),
    Index(None, "group"),
)

#: Who somebody is at an OIDC provider: issuer and subject, and nothing else. ``email`` is what was last told, for people to read.
identities: Final = Table(
    "identities",
    metadata,
    Column("issuer", String(500), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("account", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("email", String(254)),
    Column("created", Double, nullable=False),
    Column("used", Double, nullable=False),
)

#: The account of whoever first signs in at a provider with this verified address.
invitations: Final = Table(
    "invitations",
    metadata,
    Column("email", String(254), primary_key=True),
    Column("account", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
)

#: A browser that was sent to a provider, by the digest of its state: taken away when it comes back, whatever it brings.
signins: Final = Table(
    "signins",
    metadata,
    Column("state", LargeBinary(32), primary_key=True),
    Column("browser", LargeBinary(32), nullable=False),
    Column("provider", String(50), nullable=False),
    Column("target", Text, nullable=False),
    Column("expires", Double, nullable=False),
)

#: What a browser hands to the program that opened it, by its digest: good once, for whoever knows what the challenge was made of.
handovers: Final = Table(
    "handovers",
    metadata,
    Column("code", LargeBinary(32), primary_key=True),
    Column("account", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("challenge", String(43), nullable=False),
    Column("expires", Double, nullable=False),
)

#: A program that waits until somebody allows it, by the digests of its own code and of the words that are typed for it.
devices: Final = Table(
    "devices",
    metadata,
    Column("code", LargeBinary(32), primary_key=True),
    Column("words", LargeBinary(32), nullable=False, unique=True),
    Column("label", String(200)),
    Column("address", String(100)),
    Column("account", ForeignKey("accounts.id", ondelete="CASCADE"), index=True),
    Column("refused", Boolean, nullable=False),
    Column("polled", Double),
    Column("expires", Double, nullable=False),
)

#: A store under a name. ``credentials`` is ``none``, ``own`` (``sealed`` holds them) or ``server``; ``revision`` changes with the
#: row, so that every process opens the store anew.
projects: Final = Table(
    "projects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("url", Text, nullable=False),
    Column("endpoint", Text),
    Column("region", Text),
    Column("credentials", String(10), nullable=False),
    Column("sealed", LargeBinary),
    Column("revision", Integer, nullable=False),
    Column("created", Double, nullable=False),
    sqlite_autoincrement=True,
)

account_roles: Final = Table(
    "account_roles",
    metadata,
    Column("project", ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("account", ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("role", Integer, nullable=False),
    Index(None, "account"),
)

group_roles: Final = Table(
    "group_roles",
    metadata,
    Column("project", ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("group", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("role", Integer, nullable=False),
    Index(None, "group"),
)

#: ``digest`` is the SHA-256 of the token's text, which is nowhere kept. ``project`` and ``role`` are its scope; ``pages`` marks a
#: session of a browser, which is good for the pages alone, as the others are for the API alone.
tokens: Final = Table(
    "tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("account", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("label", String(200)),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("revoked", Double),
    Column("project", ForeignKey("projects.id", ondelete="CASCADE"), index=True),
    Column("role", Integer),
    Column("used", Double),
    Column("pages", Boolean, nullable=False, server_default=false()),
)

#: Who did what, when, from where. Names and not ids: the log outlives what it tells of.
audit: Final = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("who", String(100)),
    Column("address", String(100)),
    Column("action", String(50), nullable=False),
    Column("project", String(100), index=True),
    Column("subject", Text),
    Column("detail", Text),
)

#: The copy of a project's catalog: when all of its bucket was looked at last.
copies: Final = Table(
    "copies",
    metadata,
    Column("project", ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("scanned", Double, nullable=False),
)

#: An asset as it is copied: its list and record (JSON), when they were read, and the marks by which a scan sees that they changed.
#: ``revision`` changes with every change of the row.
assets: Final = Table(
    "assets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project", ForeignKey("projects.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("checked", Double, nullable=False),
    Column("list_mark", Text),
    Column("record_mark", Text),
    Column("latest", String(128)),
    Column("count", Integer, nullable=False),
    Column("problem", Text),
    Column("listed", LargeBinary, nullable=False),
    Column("record", LargeBinary, nullable=False),
    UniqueConstraint("project", "name"),
)

#: A version by its meta: what lists show and searches find. ``id`` is what a tombstone of it names; ``text`` is what is searched.
versions: Final = Table(
    "versions",
    metadata,
    Column("asset", ForeignKey("assets.id", ondelete="CASCADE"), primary_key=True),
    Column("version", String(128), primary_key=True),
    Column("id", String(80), nullable=False),
    Column("mark", Text),
    Column("layout", String(10), nullable=False),
    Column("bytes", BigInteger),
    Column("pushed", String(40), nullable=False),
    Column("who", Text),
    Column("message", Text),
    Column("text", Text, nullable=False),
)

#: The bytes of metas that are not large; they stay what they are while the id does.
metas: Final = Table(
    "metas",
    metadata,
    Column("asset", ForeignKey("assets.id", ondelete="CASCADE"), primary_key=True),
    Column("version", String(128), primary_key=True),
    Column("id", String(80), nullable=False),
    Column("data", LargeBinary, nullable=False),
)

#: What a backup keeps, in the order in which it can be put back.
KEPT: Final = (
    accounts,
    groups,
    members,
    identities,
    invitations,
    projects,
    account_roles,
    group_roles,
    tokens,
    audit,
)
