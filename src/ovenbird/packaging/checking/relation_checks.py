"""Checks of relations, before anything is built: can they all hold at once?

Source: Debian policy 7.2 (dependencies), 7.4 (conflicts); rpm, "Dependencies".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

from ovenbird.domain.catalog import Finding
from ovenbird.domain.packages import ContentKind, PackageFormat, PackageSpec, RelationKind
from ovenbird.domain.relations import Atom, Relation
from ovenbird.domain.version_order import compare_deb, compare_rpm
from ovenbird.packaging.reading.examined import TOOL
from ovenbird.packaging.writing.services import service_files

Compare = Callable[[str, str], int]
# What does not conflict, where a version or all versions do.
_OTHERWISE = {"<<": ">=", "<=": ">>", ">=": "<<", ">>": "<="}


def impossible_relations(packages: Sequence[PackageSpec]) -> Iterator[Finding]:
    """Find relations that no machine can have all at once, in any format that is built."""
    for package in packages:
        for format_ in package.formats:
            yield from _own(package, format_)
            yield from _ranges(package, format_)
            yield from _conflicts(package, format_)
    for format_ in PackageFormat:
        together = {p.name: p for p in packages if format_ in p.formats}
        yield from _circles(together, format_)
        yield from _shared(tuple(together.values()), format_)


def _sole(relations: Sequence[Relation]) -> list[Atom]:
    """Return what is needed without an alternative."""
    return [relation.atoms[0] for relation in relations if len(relation.atoms) == 1]


def _depends(package: PackageSpec, format_: PackageFormat) -> list[Atom]:
    return _sole(package.relations_of(format_, RelationKind.DEPENDS))


def _own(package: PackageSpec, format_: PackageFormat) -> Iterator[Finding]:
    if any(atom.name == package.name for atom in _depends(package, format_)):
        yield _finding("depends-on-itself", f"`{package.name}` depends on itself", package)


def _ranges(package: PackageSpec, format_: PackageFormat) -> Iterator[Finding]:
    needed = _depends(package, format_)
    for one, other in combinations(needed, 2):
        if one.name == other.name and not satisfiable(one, other, compare_of(format_)):
            text = f"no version is both {said(one)} and {said(other)}"
            yield _finding("unsatisfiable-relation", text, package)


def _conflicts(package: PackageSpec, format_: PackageFormat) -> Iterator[Finding]:
    compare = compare_of(format_)
    refused = package.relations_of(format_, RelationKind.CONFLICTS)
    for atom in (atom for relation in refused for atom in relation.atoms):
        for needed in _depends(package, format_):
            if needed.name == atom.name and _is_refused(needed, atom, compare):
                text = f"{said(needed)} is both needed and, as {said(atom)}, in conflict"
                yield _finding("contradictory-relation", text, package, place="conflicts")


def _is_refused(needed: Atom, conflict: Atom, compare: Compare) -> bool:
    """Tell whether every version that would do is one that conflicts."""
    if not conflict.operator:
        return True
    if conflict.operator == "=":
        return needed.operator == "=" and compare(needed.version, conflict.version) == 0
    rest = Atom(
        name=conflict.name, operator=_OTHERWISE[conflict.operator], version=conflict.version
    )
    return not satisfiable(needed, rest, compare)


def satisfiable(one: Atom, other: Atom, compare: Compare) -> bool:
    """Tell whether some version satisfies both of two ranges.

    Args:
        one: A range of versions of a package.
        other: Another of the same package.
        compare: Returns -1, 0 or 1 for two versions, as the format's manager sees them.
    """
    if not one.operator or not other.operator:
        return True
    order = compare(one.version, other.version)
    if order == 0:
        return (_has_bound(one.operator) and _has_bound(other.operator)) or _same_side(one, other)
    low, high = (one, other) if order < 0 else (other, one)
    # Versions lie close enough that there is one between any two.
    return low.operator in {">=", ">>"} or high.operator in {"<=", "<<"}


def _same_side(one: Atom, other: Atom) -> bool:
    return one.operator[0] == other.operator[0] != "="


def _has_bound(operator: str) -> bool:
    return operator in {"=", "<=", ">="}


def compare_of(format_: PackageFormat) -> Compare:
    """Return how a format's package manager orders versions.

    Source: alpm_pkg_vercmp(3) is rpm's order; Alpine's agrees with dpkg's on our versions.
    """
    if format_ in {PackageFormat.RPM, PackageFormat.ARCHLINUX}:
        return compare_rpm
    return compare_deb


def _circles(packages: Mapping[str, PackageSpec], format_: PackageFormat) -> Iterator[Finding]:
    """Find circles among the packages of one manifest, each once."""
    edges = {
        name: [a.name for a in _depends(package, format_) if a.name in packages and a.name != name]
        for name, package in packages.items()
    }
    found: set[frozenset[str]] = set()
    for name in packages:
        circle = _circle(name, edges)
        if circle and frozenset(circle) not in found:
            found.add(frozenset(circle))
            text = "packages depend on each other in a circle: " + " → ".join(
                f"`{one}`" for one in (*circle, circle[0])
            )
            yield _finding("circular-relation", text, packages[name])


def _circle(start: str, edges: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the shortest way from a package back to itself; empty when there is none."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    while ways:
        way = ways.pop(0)
        for name in edges[way[-1]]:
            if name == start:
                return way
            if name not in seen:
                seen.add(name)
                ways.append((*way, name))
    return ()


def _shared(packages: Sequence[PackageSpec], format_: PackageFormat) -> Iterator[Finding]:
    """Find paths of two packages that may be installed together; trees are not looked into."""
    for one, other in combinations(packages, 2):
        if not _excludes(one, other, format_) and not _excludes(other, one, format_):
            for path in sorted(_paths(one, format_) & _paths(other, format_)):
                text = f"`{path}` is in `{one.name}`, too: rename a service or move a content"
                yield _finding("shared-path", text, other, place=path)


def _excludes(one: PackageSpec, other: PackageSpec, format_: PackageFormat) -> bool:
    refused = _sole(one.relations_of(format_, RelationKind.CONFLICTS))
    return any(atom.name == other.name and not atom.operator for atom in refused)


def _paths(package: PackageSpec, format_: PackageFormat) -> set[str]:
    trees = {ContentKind.TREE, ContentKind.DIR, ContentKind.GHOST}
    contents = {c.destination for c in package.contents_of(format_) if c.kind not in trees}
    return contents | {file.path for file in service_files(package, format_)}


def said(atom: Atom) -> str:
    """Return a relation to one package for people."""
    return f"`{atom.name} ({atom.operator} {atom.version})`" if atom.operator else f"`{atom.name}`"


def _finding(code: str, text: str, package: PackageSpec, *, place: str = "depends") -> Finding:
    return Finding(tool=TOOL, code=code, level="error", text=text, place=f"{package.name}: {place}")
