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
# What dpkg reads in a package's fields, which is more than that: `python3:any`.
_DEBIAN = re.compile(
    rf"{_NAME}(?::[a-z0-9-]+)?\s*(?:\(\s*(?:<<|<=|=|>=|>>)\s*[0-9][A-Za-z0-9.+~:-]*\s*\))?"
)


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


def check_debian(text: str) -> None:
    """Refuse what dpkg does not read: one such line spoils the index of a whole repository.

    Raises:
        InvalidRequest: It is not a relation of Debian's.
    """
    if not all(_DEBIAN.fullmatch(part.strip()) for part in text.split("|")):
        raise InvalidRequest(
            f"`{text}` is not a relation of Debian's",
            hint="Write it as `nginx`, `nginx (>= 1.20)` or `python3:any`, each by itself",
        )


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
