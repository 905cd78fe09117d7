"""Relations between packages: written once, said in the words of each format.

    nginx (>= 1.20)      deb   nginx (>= 1.20)
                         rpm   nginx >= 1.20
                         apk   nginx>=1.20         archlinux  nginx>=1.20
    a | b                deb   a | b               rpm  (a or b)

Source: Debian policy 7.1; rpm, "Dependencies" and "Boolean dependencies"; apk-world(5);
PKGBUILD(5), depends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ovenbird.domain.errors import InvalidRequest

_NAME = r"[A-Za-z0-9][A-Za-z0-9+._-]*"
_ONE = re.compile(
    rf"(?P<name>{_NAME})\s*(?:\(\s*(?P<operator><<|<=|=|>=|>>|<|>)\s*(?P<version>[^\s()|]+)\s*\))?"
)
_OPERATORS = {"<<": "<", ">>": ">"}  # everyone but dpkg says it with one sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Atom:
    """One package, in any version or in some.

    Args:
        operator: One of ``<<``, ``<=``, ``=``, ``>=``, ``>>``, as dpkg writes them; or empty.
        version: As dpkg takes it; empty without an operator.
    """

    name: str
    operator: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """One of several packages, any of which will do.

    Args:
        atoms: The alternatives, best first; empty for what one format alone understands.
        raw: The words of one format, passed on as they are, as ``/usr/bin/python3`` for rpm.
    """

    atoms: tuple[Atom, ...] = ()
    raw: str = ""


def parse(text: str) -> Relation:
    """Read a relation as Debian writes it.

    Raises:
        InvalidRequest: It is not one.
    """
    atoms = tuple(_atom(part.strip(), text) for part in text.split("|"))
    return Relation(atoms=atoms)


def parse_for_one_format(text: str) -> Relation:
    """Read a relation that one format alone has: as Debian writes it, or in its own words."""
    try:
        return parse(text)
    except InvalidRequest:
        return Relation(raw=text.strip())


def _atom(part: str, whole: str) -> Atom:
    match = _ONE.fullmatch(part)
    if match is None:
        raise InvalidRequest(
            f"`{whole}` is not a relation", hint="Write it as `nginx` or `nginx (>= 1.20)`"
        )
    operator = match["operator"] or ""
    return Atom(
        name=match["name"],
        operator={"<": "<<", ">": ">>"}.get(operator, operator),
        version=match["version"] or "",
    )


def names(relation: Relation) -> tuple[str, ...]:
    """Return the names of the packages that would do."""
    return tuple(atom.name for atom in relation.atoms)
