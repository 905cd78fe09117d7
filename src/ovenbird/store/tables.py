"""The tables of the store; ``migrations/`` makes them, a test holds the two together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect


class Instant(TypeDecorator[datetime]):
    """An aware time, kept as ISO 8601 text in UTC, so that text order is time order."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Write."""
        del dialect
        return value.astimezone(UTC).isoformat(timespec="microseconds") if value else None

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        """Read."""
        del dialect
        return datetime.fromisoformat(value) if value else None


METADATA = MetaData()


def _key(name: str) -> Column[str]:
    return Column(name, String, primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, default="", server_default="")


def _number(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, default=0, server_default="0")


RELEASES = Table(
    "releases",
    METADATA,
    _key("release_id"),
    *(_text(name) for name in ("app", "version", "ref", "commit", "phase", "actor")),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    *(_text(name) for name in ("image_id", "error", "hint")),
    *(_number(name) for name in ("blocks_uploaded", "blocks_total")),
    Column("goal", Text, nullable=False, server_default="rollout"),
)
_PACKAGE = ("name", "version", "architecture", "format")  # what tells a package from all others
PACKAGES = Table(
    "packages",
    METADATA,
    *(_key(name) for name in _PACKAGE),
    *(_text(name) for name in ("path", "digest_sha256", "app", "commit", "url", "ref")),
    *(_text(name) for name in ("directory", "channel", "published_by")),
    *(_number(name) for name in ("size_bytes", "committed_at_epoch_s", "state_number")),
    Column("published_at", Instant, nullable=False),
    _text("signed_by"),
    Column("withdrawn_at", Instant),
    Index("packages_by_time", "published_at"),
    Index("packages_by_app", "app"),
    Index("packages_by_commit", "commit"),
)
PACKAGE_FACTS = Table(  # apart, since one can be a megabyte and lists do not want them
    "package_facts",
    METADATA,
    *(_key(name) for name in _PACKAGE),
    Column("facts", JSON, nullable=False),
)
PACKAGE_TERMS = Table(
    "package_terms",
    METADATA,
    *(_key(name) for name in ("kind", "term", *_PACKAGE)),
    _text("detail"),
    sqlite_with_rowid=False,  # the key is the index: no second copy of each path
)
PUBLICATIONS = Table(
    "publications",
    METADATA,
    *(_key(name) for name in (*_PACKAGE, "repository", "channel")),
    Column("state_number", Integer, primary_key=True, autoincrement=False),
    _text("published_by"),
    Column("published_at", Instant, nullable=False),
    _number("withdrawn_in"),
    Column("withdrawn_at", Instant),
    *(_text(name) for name in ("withdrawn_by", "withdrawn_because")),
)
REPOSITORY_STATES = Table(
    "repository_states",
    METADATA,
    *(_key(name) for name in ("repository", "channel")),
    Column("number", Integer, primary_key=True, autoincrement=False),
    *(_text(name) for name in ("suite", "component", "key_path", "url")),
)
IMAGES = Table(
    "images",
    METADATA,
    _key("image_id"),
    *(_text(name) for name in ("name", "app", "version", "commit", "release_id", "bake_key")),
    *(_text(name) for name in ("digest_sha256",)),
    *(_number(name) for name in ("blocks_uploaded", "blocks_total")),
    Column("created_at", Instant, nullable=False),
)
ROLLOUTS = Table(
    "rollouts",
    METADATA,
    _key("rollout_id"),
    *(_text(name) for name in ("release_id", "kind", "environment", "cluster", "image_id")),
    *(_text(name) for name in ("version", "actor", "phase", "error", "hint")),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
)
ACTIONS = Table(
    "actions",
    METADATA,
    _key("rollout_id"),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _text("text"),
    Column("seconds", Float, nullable=False),
)
VERDICTS = Table(
    "verdicts",
    METADATA,
    _key("rollout_id"),
    Column("action", Integer, primary_key=True, autoincrement=False),
    Column("look", Integer, primary_key=True, autoincrement=False),
    _number("step_percent"),
    _text("outcome"),
    Column("observed_s", Float, nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("canary", JSON),
    Column("baseline", JSON),
    # Since 0004; null in older rows.
    Column("metrics", JSON(none_as_null=True)),
    Column("samples", JSON(none_as_null=True)),  # those that earlier looks had not seen
    Column("instances", JSON(none_as_null=True)),
    Column("score", Float),
    Column("observed", Float),
    Column("is_final", Boolean),
)
JUDGEMENTS = Table(
    "judgements",
    METADATA,
    _key("rollout_id"),
    Column("action", Integer, primary_key=True, autoincrement=False),
    *(_text(name) for name in ("canary", "baseline")),
    Column("since", Instant, nullable=False),
    Column("observe_s", Float, nullable=False),
    _number("steps"),
    Column("policy", JSON, nullable=False),
)
EVENTS = Table(
    "events",
    METADATA,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("subject", String, nullable=False, index=True),
    _text("kind"),
    _text("text"),
    Column("facts", JSON, nullable=False),
    sqlite_autoincrement=True,  # a number is never given twice
)
LOCKS = Table(
    "locks",
    METADATA,
    _key("name"),
    *(_text(name) for name in ("owner", "reason")),
    Column("since", Instant, nullable=False),
)
WORDS = Table(
    "words",
    METADATA,
    _key("release_id"),
    _key("word"),
    _text("actor"),
    Column("at", Instant, nullable=False),
)
