"""The tables, as SQLModel rows. Rows are dumb: the domain holds the rules, the CHECK constraints only back them.

Times are integer microseconds since 1970 UTC. Ids are text in canonical form, on PostgreSQL its own type; both order
alike. Columns named `…_key` compare byte by byte on both.
"""

from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from backctl.domain.values import EARLIEST, LATEST

_NAMES = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
}
_IDENTIFIER = String(36).with_variant(Uuid(as_uuid=False), "postgresql")
_KEY = Text().with_variant(Text(collation="C"), "postgresql")
_ROWID = BigInteger().with_variant(Integer, "sqlite")  # SQLite's rowid only answers to the name INTEGER


class Row(SQLModel, registry=registry(metadata=MetaData(naming_convention=_NAMES))):
    """Has a registry of its own: a service that imports backctl may use SQLModel for itself."""


_version = Column("version", BigInteger, nullable=False)


class UserRow(Row, table=True):
    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("email_key"),
        UniqueConstraint("username_key"),
        CheckConstraint("length(email) BETWEEN 3 AND 254", "email_length"),
        CheckConstraint("length(username) BETWEEN 3 AND 50", "username_length"),
        CheckConstraint("mfa_state IN ('off', 'pending', 'on')", "mfa_state"),
        CheckConstraint("version >= 1", "version"),
        CheckConstraint(f"created_at >= {EARLIEST} AND updated_at >= created_at", "times_ordered"),
        CheckConstraint(f"updated_at <= {LATEST}", "updated_at"),
        CheckConstraint(f"expires_at BETWEEN {EARLIEST} AND {LATEST}", "expires_at"),
        Index(None, "created_at", "id"),
        Index(None, "role", "created_at", "id"),
        Index(None, "email_domain", "created_at", "id"),
    )
    # The repository sets the next version, which SQLAlchemy compares with the stored one: an account that
    # somebody else stored meanwhile is not overwritten.
    __mapper_args__: ClassVar[dict[str, Any]] = {"version_id_col": _version, "version_id_generator": False}

    id: str = Field(sa_column=Column(_IDENTIFIER, primary_key=True))
    email: str = Field(sa_column=Column(Text, nullable=False))
    email_key: str = Field(sa_column=Column(_KEY, nullable=False))
    email_domain: str = Field(sa_column=Column(_KEY, nullable=False))
    username: str = Field(sa_column=Column(Text, nullable=False))
    username_key: str = Field(sa_column=Column(_KEY, nullable=False))
    password_hash: str | None = Field(sa_column=Column(Text))
    role: str = Field(sa_column=Column(String(50), nullable=False))
    is_active: bool = Field(sa_column=Column(Boolean(create_constraint=True, name="is_active"), nullable=False))
    expires_at: int | None = Field(sa_column=Column(BigInteger))
    must_change_password: bool = Field(
        sa_column=Column(Boolean(create_constraint=True, name="must_change_password"), nullable=False)
    )
    mfa_state: str = Field(sa_column=Column(String(7), nullable=False))
    created_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    updated_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    version: int = Field(sa_column=_version)


class EventRow(Row, table=True):
    """The log. Nothing here is ever updated, but `data` and `salt` are blanked together when they are erased."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("id"),
        CheckConstraint("seq >= 1", "seq"),
        CheckConstraint("length(data_digest) = 32 AND length(mac) = 32", "digests"),
        CheckConstraint("(data IS NULL) = (salt IS NULL)", "erased_together"),
        Index(None, "subject", "seq"),
        Index(None, "type", "seq"),
    )

    seq: int = Field(sa_column=Column(_ROWID, primary_key=True, autoincrement=False))
    id: str = Field(sa_column=Column(_IDENTIFIER, nullable=False))
    occurred_at: int = Field(sa_column=Column(BigInteger, nullable=False))
    type: str = Field(sa_column=Column(String(64), nullable=False))
    subject: str = Field(sa_column=Column(_KEY, nullable=False))
    actor: str = Field(sa_column=Column(Text, nullable=False))
    reason: str | None = Field(sa_column=Column(Text))
    trace_id: str | None = Field(sa_column=Column(Text))
    audit_kid: str = Field(sa_column=Column(String(64), nullable=False))
    data: str | None = Field(sa_column=Column(Text))
    salt: bytes | None = Field(sa_column=Column(LargeBinary))
    data_digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    mac: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class EventHeadRow(Row, table=True):
    """The end of the chain. Locked last in every transaction, so that sequence order is commit order."""

    __tablename__ = "event_head"
    __table_args__ = (CheckConstraint("id = 1", "single"),)

    id: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    seq: int = Field(sa_column=Column(BigInteger, nullable=False))
    mac: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    audit_kid: str | None = Field(sa_column=Column(String(64)))


class InstallationRow(Row, table=True):
    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("id = 1", "single"),)

    id: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    installation_id: str = Field(sa_column=Column(Text, nullable=False))
    created_at: int = Field(sa_column=Column(BigInteger, nullable=False))


class AuditKeyRow(Row, table=True):
    """An audit key that events were written with, and the first of them."""

    __tablename__ = "audit_keys"

    kid: str = Field(sa_column=Column(String(64), primary_key=True))
    first_seq: int = Field(sa_column=Column(BigInteger, nullable=False))
