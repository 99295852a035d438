"""The tables. Accounts are SQLModel rows. The domain enforces all rules; the CHECK constraints only repeat them.

Times are integer microseconds since 1970 UTC. Ids are canonical text on SQLite and the type uuid on PostgreSQL; both
sort alike. Columns named `…_key` compare byte by byte on both.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import registry
from sqlalchemy.sql.compiler import DDLCompiler
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
_ROWID = BigInteger().with_variant(Integer, "sqlite")  # in SQLite, only a column of type INTEGER is the rowid


class Row(SQLModel, registry=registry(metadata=MetaData(naming_convention=_NAMES))):
    """Uses its own registry, because a service that imports backctl may use SQLModel too."""

    def __repr__(self) -> str:  # the inherited one would show a password hash
        return f"{type(self).__name__}(…)"

    __str__ = __repr__


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
        Index(None, "expires_at"),
    )

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
    version: int = Field(sa_column=Column("version", BigInteger, nullable=False))
    password_imported: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=false()))
    last_login_at: int | None = Field(sa_column=Column(BigInteger))


_TRACED, _REASONED = text("trace_id IS NOT NULL"), text("reason IS NOT NULL")


class ActorMember(Computed):
    """A member of the actor of an event. The database computes it from the column `actor`, which the chain protects."""

    inherit_cache = True

    def __init__(self, member: str) -> None:
        super().__init__(member)
        self.member = member


@compiles(ActorMember, "sqlite")
def _in_sqlite(element: ActorMember, _compiler: DDLCompiler, **_details: object) -> str:
    member = f"json_extract(actor, '$.{element.member}')"
    return f"GENERATED ALWAYS AS (CASE WHEN typeof(actor) = 'text' AND json_valid(actor) THEN {member} END)"


@compiles(ActorMember, "postgresql")
def _in_postgres(element: ActorMember, _compiler: DDLCompiler, **_details: object) -> str:
    member = f"CAST(actor AS json) ->> '{element.member}'"
    return f"GENERATED ALWAYS AS (CASE WHEN actor IS JSON OBJECT THEN {member} END) STORED"


# The event log and the tables below are never loaded as objects, so they are plain tables: these take a tenth of the
# start-up time of mapped rows.

events = Table(
    "events",
    Row.metadata,
    Column("seq", _ROWID, primary_key=True, autoincrement=False),
    Column("id", _IDENTIFIER, nullable=False),
    Column("occurred_at", BigInteger, nullable=False),
    Column("type", String(64), nullable=False),
    Column("subject", _KEY, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text),
    Column("trace_id", Text),
    Column("audit_kid", String(64), nullable=False),
    Column("data", Text),
    Column("salt", LargeBinary),
    Column("data_digest", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    Column("actor_label", _KEY, ActorMember("label")),
    Column("actor_os_user", _KEY, ActorMember("os_user")),
    UniqueConstraint("id"),
    CheckConstraint("seq >= 1", "seq"),
    CheckConstraint("length(data_digest) = 32 AND length(mac) = 32", "digests"),
    CheckConstraint("(data IS NULL) = (salt IS NULL)", "erased_together"),
    Index(None, "subject", "seq"),
    Index(None, "type", "seq"),
    Index(None, "occurred_at", "seq"),
    Index(None, "actor_label", "seq"),
    Index(None, "actor_os_user", "seq"),
    Index(None, "trace_id", "seq", sqlite_where=_TRACED, postgresql_where=_TRACED),
    Index("ix_events_with_reason", "seq", sqlite_where=_REASONED, postgresql_where=_REASONED),
)
"""The event log. Rows are never updated, except that an erasure sets `data` and `salt` to NULL together."""

former_names = Table(
    "former_names",
    Row.metadata,
    Column("user_id", _KEY, primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("key", _KEY, primary_key=True),
    Column("name", Text, nullable=False),
    Column("at_deletion", Boolean(create_constraint=True, name="at_deletion"), nullable=False),
    CheckConstraint("kind IN ('username', 'email')", "kind"),
    Index(None, "key", "kind"),
)
"""Usernames and e-mail addresses that accounts no longer have, to find their events. `at_deletion`: the account had the
name when it was deleted. The log contains the same names; an erasure removes them from both."""

event_head = Table(
    "event_head",
    Row.metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    CheckConstraint("id = 1", "single"),
)
"""The end of the chain. Locked last in every transaction, so that sequence order is commit order."""

installation = Table(
    "installation",
    Row.metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("installation_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("id = 1", "single"),
)

audit_keys = Table(
    "audit_keys",
    Row.metadata,
    Column("kid", String(64), primary_key=True),
    Column("first_seq", BigInteger, nullable=False),
)
"""The audit keys of the events, and the first event of each key."""

login_failures = Table(
    "login_failures",
    Row.metadata,
    Column("key", _KEY, primary_key=True),
    Column("recent", Text, nullable=False),
    Column("locked_until", BigInteger),
    Column("expires_at", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False, server_default="0"),
    Index(None, "expires_at"),
)
"""The key is an account's id, or a digest of an unknown name. `recent` is a JSON array of times, oldest first, and
`refused` counts the logins during a lock."""

sessions = Table(
    "sessions",
    Row.metadata,
    Column("id", _IDENTIFIER, primary_key=True),
    Column("user_id", _IDENTIFIER, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("issuer", _KEY, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("audience", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("access_ttl", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("not_before", BigInteger),
    Column("revoked_at", BigInteger),
    Column("revoked_because", String(32)),
    CheckConstraint(f"created_at >= {EARLIEST} AND issued_at >= created_at", "begin_ordered"),
    CheckConstraint(f"expires_at >= created_at AND ends_at <= {LATEST}", "end_ordered"),
    CheckConstraint("(revoked_at IS NULL) = (revoked_because IS NULL)", "revoked_because"),
    Index(None, "user_id", "id"),
    Index(None, "expires_at"),
)
"""Sessions, kept until `expires_at`, when the last token has expired. A session without a row is invalid, as if it was
revoked."""

refresh_tokens = Table(
    "refresh_tokens",
    Row.metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("session_id", _IDENTIFIER, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Column("successor", LargeBinary),
    CheckConstraint("length(digest) = 32", "digest"),
    CheckConstraint("successor IS NULL OR (used_at IS NOT NULL AND length(successor) = 32)", "successor"),
    Index(None, "session_id"),
    Index(None, "expires_at"),
)
"""Refresh tokens by their SHA-256. The tokens themselves are not stored."""

revoked_tokens = Table(
    "revoked_tokens",
    Row.metadata,
    Column("jti", _KEY, primary_key=True),
    Column("revoked_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index(None, "expires_at"),
)
"""Revoked access tokens, each kept until it has expired."""

mfa_secrets = Table(
    "mfa_secrets",
    Row.metadata,
    Column("user_id", _IDENTIFIER, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("secret", Text, nullable=False),
    Column("kid", String(64), nullable=False),
    Column("algorithm", String(6), nullable=False),
    Column("digits", SmallInteger, nullable=False),
    Column("period", SmallInteger, nullable=False),
    Column("enrolled_at", BigInteger, nullable=False),
    Column("confirmed_at", BigInteger),
    Column("last_used_step", BigInteger, nullable=False),
    CheckConstraint("algorithm IN ('sha1', 'sha256', 'sha512')", "algorithm"),
    CheckConstraint("digits BETWEEN 6 AND 8", "digits"),
    CheckConstraint("period BETWEEN 10 AND 300", "period"),
    CheckConstraint("last_used_step >= -1", "last_used_step"),
    Index(None, "kid"),
)
"""Secrets of one-time codes, encrypted with the key `kid`. `last_used_step` is -1 if no code was used."""

recovery_codes = Table(
    "recovery_codes",
    Row.metadata,
    Column("user_id", _IDENTIFIER, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("kid", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    CheckConstraint("length(digest) = 64", "digest"),
    Index(None, "kid"),
)
"""Recovery codes by their HMAC-SHA256 with the `index` key `kid`. Used codes are kept until new codes replace them."""

seeded_accounts = Table(
    "seeded_accounts",
    Row.metadata,
    Column("user_id", _IDENTIFIER, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(64), nullable=False),
    Index(None, "name"),
)
"""The accounts that seed files created. `name` is the name of the seed."""

token_issuers = Table(
    "token_issuers",
    Row.metadata,
    Column("issuer", _KEY, primary_key=True),
    Column("not_before", BigInteger, nullable=False),
)
"""Sessions of this issuer that began at `not_before` or earlier are invalid."""

written_updates = Table(
    "written_updates",
    Row.metadata,
    Column("queue", _KEY, primary_key=True),
    Column("writer", _KEY, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("written_at", BigInteger, nullable=False),
    Index(None, "written_at"),
)
"""The last update that write-behind has written for each key, by its position in the queue. `queue` is the identity of
the queue, `writer` the name of the writer without a version."""

written_queues = Table(
    "written_queues",
    Row.metadata,
    Column("queue", _KEY, primary_key=True),
    Column("position", BigInteger, nullable=False),
)
"""The last position that was written from each queue."""

seen_accounts = Table(
    "seen_accounts",
    Row.metadata,
    Column("user_id", _IDENTIFIER, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("at", BigInteger, nullable=False),
)
"""When each account was last seen, as reported by services. Not part of the accounts, which events determine."""

seen_sessions = Table(
    "seen_sessions",
    Row.metadata,
    Column("session_id", _IDENTIFIER, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("at", BigInteger, nullable=False),
)
"""When each session was last seen, as reported by services."""
