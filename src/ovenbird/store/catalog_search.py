"""Searching the catalog: every question is answered from an index or a small table.

A text with ``*``, ``?`` or ``[`` is a pattern, in which ``*`` also stands for slashes.
Source: sqlite.org, "The LIKE, GLOB, REGEXP, MATCH, and extract operators"; "The Query
Optimizer Overview", 5: a pattern with a fixed beginning is a range of the index.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy import ColumnElement, and_, func, literal, or_, select

from ovenbird.domain.catalog import CatalogEntry, PackageKey
from ovenbird.domain.package_terms import Found, Match, TermKind
from ovenbird.store import tables as t
from ovenbird.store.catalog_records import entry_of, of_same_package
from ovenbird.store.database import Database, Row

COMMIT_CHARS = 4  # of a commit's beginning, at least; as git's core.abbrev
_COMMIT = re.compile(rf"[0-9a-f]{{{COMMIT_CHARS},40}}")
_PATTERN = re.compile(r"[*?\[]")


def search(database: Database, text: str) -> tuple[Found, ...]:
    """Return the packages that a text finds and what matched, newest first.

    Args:
        database: With the catalog's tables.
        text: A part of the name or of the app, the beginning of a version or commit, or
            all of a path, dependency, bundled component or code of a finding; or a
            pattern for one of these.
    """
    entries: dict[PackageKey, CatalogEntry] = {}
    matches: dict[PackageKey, list[Match]] = {}
    for row, match in _matches(database, text):
        entry = entry_of(row)
        entries.setdefault(entry.key, entry)
        matches.setdefault(entry.key, []).append(match)
    order = sorted(entries.values(), key=lambda entry: entry.published_at, reverse=True)
    return tuple(Found(entry=entry, matches=tuple(matches[entry.key])) for entry in order)


def _matches(database: Database, text: str) -> Iterator[tuple[Row, Match]]:
    tests = _tests(text)
    query = select(t.PACKAGES, *(test.label(f"is_{kind}") for kind, test in tests.items())).where(
        or_(*tests.values())
    )
    for row in database.rows(query):
        for kind in tests:
            if row[f"is_{kind}"]:
                yield row, Match(kind=kind, detail=str(row[kind]))
    for kind in TermKind:
        if kind is not TermKind.FILE or text.startswith("/") or _PATTERN.search(text):
            yield from _terms(database, kind, text)


def _tests(text: str) -> dict[str, ColumnElement[bool]]:
    """Return column → how a package is found by it."""
    columns = t.PACKAGES.c
    tests = {"name": _part(columns["name"], text), "version": _begins(columns.version, text)}
    if _COMMIT.fullmatch(text.lower()):
        tests["commit"] = _begins(columns.commit, text.lower())
    # An app's package mostly has the app's name; that is said once.
    tests["app"] = and_(_part(columns.app, text), columns.app != columns["name"])
    return tests


def _part(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    if _PATTERN.search(text):
        return _glob(column, text)
    return func.instr(func.lower(column), text.lower()) > 0


def _begins(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    if _PATTERN.search(text):
        return _glob(column, text)
    return func.substr(column, 1, len(text)) == text


def _terms(database: Database, kind: TermKind, text: str) -> Iterator[tuple[Row, Match]]:
    """Yield each package once, with the number of its terms that match and the first one.

    Source: sqlite.org, SELECT, "Bare columns in an aggregate query": beside one min() they
    come from the row that has it.
    """
    columns = t.PACKAGE_TERMS.c
    wanted = text.lower() if kind is TermKind.COMPONENT else text
    test = _glob(columns.term, wanted) if _PATTERN.search(wanted) else columns.term == wanted
    query = (
        select(
            t.PACKAGES,
            columns.detail.label("term_detail"),
            func.min(columns.term).label("first"),
            func.count(columns.detail.distinct()).label("terms"),
        )
        .join(t.PACKAGE_TERMS, of_same_package(t.PACKAGE_TERMS))
        .where(columns.kind == kind.value, test)
        .group_by(*(columns[name] for name in ("name", "version", "architecture", "format")))
    )
    for row in database.rows(query):
        detail = row["term_detail"]
        if kind is TermKind.FINDING:
            detail = f"{row['first']} ({detail})"
        yield row, Match(kind=kind.value, detail=detail, count=int(row["terms"]))


def _glob(column: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    return column.op("GLOB", is_comparison=True)(literal(pattern))
