"""Open the store: a database of our own, brought to the newest version first."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from ovenbird.domain.errors import Conflict
from ovenbird.store.faults import database_errors
from ovenbird.store.records import Store
from ovenbird.system.locks import file_lock

MIGRATIONS = Path(__file__).parent / "migrations"
NEWEST = "0004"
BUSY_MS = 30_000  # how long a writer waits for another process's write


def open_store(url: str) -> Store:
    """Open the store at *url*, made and migrated when needed.

    Args:
        url: As ``sqlite:////var/lib/ovenbird/store.sqlite``.

    Raises:
        Conflict: A newer version of this program has migrated it.
        Unrecorded: It cannot be read or written.
    """
    engine = create_engine(url, poolclass=NullPool)
    event.listen(engine, "connect", _prepare)
    path = Path(engine.url.database or "store")
    with database_errors(path):
        version = _version(engine)
        if version > NEWEST:
            raise Conflict(
                f"The records in `{path}` are those of a newer version of ovenbird",
                hint="Use that version, or another `state_directory` in the settings",
            )
        if version != NEWEST:
            path.parent.mkdir(parents=True, exist_ok=True)
            with file_lock(path.with_suffix(".migrating")):
                migrate(engine)
    return Store(engine)


def migrate(engine: Engine, *, to: str = "head") -> None:
    """Run the migrations that this database has not seen.

    Args:
        engine: Opens connections to it.
        to: The last one to run.
    """
    from alembic import command  # noqa: PLC0415 - a tenth of a second, and seldom needed
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        # Python's sqlite3 begins no transaction for what changes tables; all of it, or nothing.
        connection.exec_driver_sql("begin immediate")
        config.attributes["connection"] = connection
        command.upgrade(config, to)


def _version(engine: Engine) -> str:
    if engine.url.database and not Path(engine.url.database).exists():
        return ""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return ""
        return str(connection.scalar(text("select version_num from alembic_version")))


def _prepare(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    """Let readers read while one writes. Source: sqlite.org, "Write-Ahead Logging"."""
    del entry
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_MS}", "journal_mode=wal", "synchronous=normal"):
        cursor.execute(f"pragma {pragma}")
    cursor.close()
