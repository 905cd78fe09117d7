"""The records of packages: what each is and came from, and where it was published.

packages        one row for each package file, small
package_facts   what is inside it: read for one package at a time, never in lists
package_terms   what it can be found by: the index of searches
publications    its stays in channels; a withdrawn one keeps its row
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Connection, Table, and_, exists, func, select, update
from sqlalchemy.dialects.sqlite import insert

from ovenbird.domain.catalog import (
    CatalogEntry,
    PackageFacts,
    PackageKey,
    Publication,
    RepositoryState,
)
from ovenbird.domain.errors import Conflict, NotFound
from ovenbird.domain.package_terms import terms_of
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.sources import Source
from ovenbird.store import tables as t
from ovenbird.store.database import Database, Row, insert_missing, row_of

_FACTS = TypeAdapter(PackageFacts)
_IN_CHANNEL = ("channel", "state_number", "published_at", "published_by")


class CatalogRecords(Database):
    """The part of the store that knows packages."""

    # Entries

    def put_catalog_entry(self, entry: CatalogEntry) -> None:
        """Write a package with its provenance; who publishes it again changes nothing.

        One that was withdrawn is there again. Facts are written once, when they are known.

        Raises:
            Conflict: The package is recorded with other bytes.
        """
        row = {**asdict(entry.package), **asdict(entry.source), **row_of(entry, t.PACKAGES)}
        row = {name: row[name] for name in t.PACKAGES.c.keys()}  # noqa: SIM118
        with self.transaction() as connection:
            connection.execute(insert(t.PACKAGES).on_conflict_do_nothing(), row)
            self._refuse_other_bytes(connection, entry.package)
            again = {"withdrawn_at": None, "path": entry.package.path}
            gone = t.PACKAGES.c.withdrawn_at.is_not(None)
            if entry.withdrawn_at is None:
                mine = _is(t.PACKAGES, entry.key) & gone
                connection.execute(update(t.PACKAGES).where(mine).values(again))
            if entry.facts != PackageFacts():
                _put_facts(connection, entry)

    def refuse_other_bytes(self, package: Package) -> None:
        """Refuse a package that is recorded with other bytes, also when it was withdrawn.

        Raises:
            Conflict: It is.
        """
        with self.transaction() as connection:
            self._refuse_other_bytes(connection, package)

    def _refuse_other_bytes(self, connection: Connection, package: Package) -> None:
        mine = _is(t.PACKAGES, PackageKey.of(package))
        known = connection.scalar(select(t.PACKAGES.c.digest_sha256).where(mine))
        if known not in {None, package.digest_sha256}:
            raise Conflict(
                f"`{PackageKey.of(package)}` is in the catalog with other bytes",
                hint="Tag a new version: what was published never changes",
                published_sha256=str(known),
                built_sha256=package.digest_sha256,
            )

    def list_catalog(
        self, name: str | None = None, *, channel: str | None = None, limit: int | None = None
    ) -> tuple[CatalogEntry, ...]:
        """Return the catalog without facts, newest first.

        Args:
            name: Only this package, or the packages of this app.
            channel: Only what this channel has now, as it was published there.
            limit: At most so many.
        """
        if channel:
            kept = [column for column in t.PACKAGES.c if column.name not in _IN_CHANNEL]
            query = select(*kept, *(t.PUBLICATIONS.c[name] for name in _IN_CHANNEL))
            query = query.join(t.PUBLICATIONS, of_same_package(t.PUBLICATIONS)).where(
                t.PUBLICATIONS.c.channel == channel, t.PUBLICATIONS.c.withdrawn_at.is_(None)
            )
            query = query.order_by(t.PUBLICATIONS.c.published_at.desc())
        else:
            query = select(t.PACKAGES).order_by(t.PACKAGES.c.published_at.desc())
        if name:
            query = query.where((t.PACKAGES.c.name == name) | (t.PACKAGES.c.app == name))
        return tuple(entry_of(row) for row in self.rows(query.limit(limit)))

    def get_catalog_entry(self, key: PackageKey) -> CatalogEntry:
        """Return one package with its facts.

        Raises:
            NotFound: The catalog does not have it.
        """
        both = t.PACKAGES.outerjoin(t.PACKAGE_FACTS, of_same_package(t.PACKAGE_FACTS))
        query = select(t.PACKAGES, t.PACKAGE_FACTS.c.facts).select_from(both)
        rows = self.rows(query.where(_is(t.PACKAGES, key)))
        if not rows:
            raise NotFound(
                f"The catalog has no `{key}`", hint="`ovenbird catalog list` shows what it has"
            )
        return entry_of(rows[0])

    # Publications

    def put_repository_state(self, state: RepositoryState) -> None:
        """Write a state of a repository."""
        self.put(t.REPOSITORY_STATES, row_of(state, t.REPOSITORY_STATES))

    def put_publication(self, publication: Publication) -> None:
        """Write that a channel has a package; while it has it, saying so again changes nothing."""
        row = {**asdict(publication.key), **row_of(publication, t.PUBLICATIONS)}
        mine = _is(t.PUBLICATIONS, publication.key) & _in(publication)
        with self.transaction() as connection:
            if publication.current:
                current = mine & t.PUBLICATIONS.c.withdrawn_at.is_(None)
                if connection.scalar(select(exists().where(current))):
                    return
                of_package = _is(t.PACKAGES, publication.key)
                connection.execute(update(t.PACKAGES).where(of_package).values(withdrawn_at=None))
            insert_missing(connection, t.PUBLICATIONS, [row])

    def publications_of(self, package: Package | PackageKey) -> tuple[Publication, ...]:
        """Return where a package was published, oldest first; withdrawn ones, too."""
        key = PackageKey.of(package) if isinstance(package, Package) else package
        query = select(t.PUBLICATIONS).where(_is(t.PUBLICATIONS, key))
        return tuple(map(_publication, self.rows(query.order_by(t.PUBLICATIONS.c.published_at))))

    def list_publications(self, channel: str | None = None) -> tuple[Publication, ...]:
        """Return what the channels have now.

        Args:
            channel: Only this one.
        """
        query = select(t.PUBLICATIONS).where(t.PUBLICATIONS.c.withdrawn_at.is_(None))
        if channel:
            query = query.where(t.PUBLICATIONS.c.channel == channel)
        return tuple(map(_publication, self.rows(query)))

    def state_times(self, channel: str) -> dict[int, datetime]:
        """Return number → when it came, for the states of a channel that changed packages."""
        columns = t.PUBLICATIONS.c
        times: dict[int, datetime] = {}
        for number, at in (
            (columns.state_number, columns.published_at),
            (columns.withdrawn_in, columns.withdrawn_at),
        ):
            query = select(number.label("number"), func.min(at).label("at"))
            found = self.rows(query.where(columns.channel == channel, number > 0).group_by(number))
            for row in found:
                known = times.get(row["number"], row["at"])
                times[row["number"]] = min(row["at"], known)
        return times

    def put_withdrawals(
        self,
        reasons: Mapping[PackageKey, str],
        *,
        state: RepositoryState,
        at: datetime,
        by: str,
    ) -> None:
        """Write that a channel has some packages no more, all at once; entries stay.

        A package that no channel has is marked as withdrawn.

        Args:
            reasons: Package → why it went.
            state: The first state without them.
            at: When it was published.
            by: Who asked for it.
        """
        values = {"withdrawn_in": state.number, "withdrawn_at": at, "withdrawn_by": by}
        with self.transaction() as connection:
            row = row_of(state, t.REPOSITORY_STATES)
            connection.execute(insert(t.REPOSITORY_STATES).on_conflict_do_nothing(), row)
            for key, reason in reasons.items():
                current = _is(t.PUBLICATIONS, key) & t.PUBLICATIONS.c.withdrawn_at.is_(None)
                written = update(t.PUBLICATIONS).where(current & _in(state))
                connection.execute(written.values(**values, withdrawn_because=reason))
                if not connection.scalar(select(exists().where(current))):
                    mine = _is(t.PACKAGES, key) & t.PACKAGES.c.withdrawn_at.is_(None)
                    connection.execute(update(t.PACKAGES).where(mine).values(withdrawn_at=at))


def entry_of(row: Row) -> CatalogEntry:
    """Return the entry that a row of packages is, with facts if it has them."""
    package = {field.name: row[field.name] for field in fields(Package)}
    facts = row.get("facts")
    return CatalogEntry(
        package=Package(**{**package, "format": PackageFormat(row["format"])}),
        source=Source(**{field.name: row[field.name] for field in fields(Source)}),
        **{name: row[name] for name in (*_IN_CHANNEL, "withdrawn_at")},
        facts=_FACTS.validate_python(facts) if facts else PackageFacts(),
    )


def _put_facts(connection: Connection, entry: CatalogEntry) -> None:
    key = asdict(entry.key)
    row = {**key, "facts": _FACTS.dump_python(entry.facts, mode="json")}
    written = connection.execute(insert(t.PACKAGE_FACTS).on_conflict_do_nothing(), row)
    if written.rowcount:
        rows = [
            {**key, "kind": term.kind.value, "term": term.text, "detail": term.detail}
            for term in terms_of(entry.facts)
        ]
        insert_missing(connection, t.PACKAGE_TERMS, rows)


def _publication(row: Row) -> Publication:
    names = {field.name for field in fields(Publication)} - {"key"}
    key = {field.name: row[field.name] for field in fields(PackageKey)}
    return Publication(
        key=PackageKey(**{**key, "format": PackageFormat(row["format"])}),
        **{name: row[name] for name in names},
    )


def _is(table: Table, key: PackageKey) -> ColumnElement[bool]:
    return and_(*(table.c[name] == value for name, value in asdict(key).items()))


def _in(place: Publication | RepositoryState) -> ColumnElement[bool]:
    columns = t.PUBLICATIONS.c
    return (columns.repository == place.repository) & (columns.channel == place.channel)


def of_same_package(table: Table) -> ColumnElement[bool]:
    """Return that a row of another table is about the same package."""
    return and_(*(table.c[field.name] == t.PACKAGES.c[field.name] for field in fields(PackageKey)))
