"""What all records stand on: one database, read and written in short transactions.

A database that cannot be read or written is ``Unrecorded``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects.sqlite import insert

from ovenbird.store.faults import database_errors

Row = Mapping[str, Any]


class Database:
    """One database whose tables exist.

    Args:
        engine: Opens connections to it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection whose changes count when the block ends well, or not at all.

        Raises:
            Unrecorded: The database cannot be read or written.
        """
        with database_errors(self._engine.url.database), self._engine.begin() as connection:
            yield connection

    def put(self, table: Table, row: Row) -> None:
        """Write a row, or write the one with the same key over."""
        key = {column.name for column in table.primary_key}
        statement = insert(table).values(row)
        rest = {name: statement.excluded[name] for name in row if name not in key}
        with self.transaction() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=key, set_=rest))

    def rows(self, query: Any) -> tuple[Row, ...]:
        """Return what a query finds, by column names."""
        with self.transaction() as connection:
            return tuple(dict(row) for row in connection.execute(query).mappings())


def insert_missing(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    """Write the rows whose keys are not there yet."""
    if found := list(rows):
        connection.execute(insert(table).on_conflict_do_nothing(), found)


def row_of(value: Any, table: Table) -> dict[str, Any]:
    """Return those fields of a value that are columns of a table."""
    names = {field.name for field in fields(value)} & set(table.c.keys())
    return {name: getattr(value, name) for name in names}
