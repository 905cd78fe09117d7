"""What a package can be found by: its files, what it depends on and bundles, its findings.

Source: CycloneDX 1.6 JSON reference, ``components`` (nested); Debian policy 7.1 and rpm's
"Dependencies" for how relations are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ovenbird.domain.catalog import CatalogEntry, PackageFacts


class TermKind(StrEnum):
    """What a term is in the package."""

    FILE = "file"
    DEPENDENCY = "dependency"
    COMPONENT = "component"
    FINDING = "finding"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One word that finds a package.

    Args:
        text: Absolute path, name of a package, name of a component in lower case, or code.
        detail: What a person wants to see of it, as ``Depends: nginx (>= 1.20)``.
    """

    kind: TermKind
    text: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Why a package was found.

    Args:
        kind: ``name``, ``app``, ``version``, ``commit``, or a :class:`TermKind`.
        detail: What matched; the first one of several.
        count: How many of this kind matched.
    """

    kind: str
    detail: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A package that was searched for, and all that matched in it; the entry has no facts."""

    entry: CatalogEntry
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Component:
    """A piece of software that a package has in it, by its bill of materials.

    Args:
        name: With its group where it has one, as ``org.slf4j/slf4j-api``.
    """

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


# Up to the version: `nginx (>= 1.20)`, `nginx>=1.20`, `nginx = 1.20`, `python3:any`.
_NAME = re.compile(r"[^\s<>=~()|,]+(?:\([^\s<>=]*\))*")
_BETWEEN = re.compile(r"\s*\|\s*|\s+(?:or|and|if|unless|with|without|else)\s+")


def terms_of(facts: PackageFacts) -> tuple[Term, ...]:
    """Return everything that a package can be found by; each kind and text once."""
    found: dict[tuple[TermKind, str], list[str]] = {}
    for term in _terms(facts):
        details = found.setdefault((term.kind, term.text), [])
        if term.detail not in details:
            details.append(term.detail)
    return tuple(
        Term(kind=kind, text=text, detail="; ".join(details))
        for (kind, text), details in found.items()
    )


def components_of(sbom: str) -> tuple[Component, ...]:
    """Return the components of a CycloneDX document, sorted; none of what is no such document."""
    try:
        document = json.loads(sbom or "{}")
    except ValueError:
        return ()
    return tuple(sorted(set(_components(document))))


def names_in(relation: str) -> tuple[str, ...]:
    """Return the names of the packages in a relation of any format.

    ``a (>= 1) | b`` gives ``a`` and ``b``, as does rpm's ``(a >= 1 or b)``.
    """
    text = relation.strip()
    if text.startswith("("):
        text = text[1:].removesuffix(")")
    parts = (_NAME.match(part.strip("( ")) for part in _BETWEEN.split(text))
    return tuple(match[0].removesuffix(":any") for match in parts if match)


def _terms(facts: PackageFacts) -> Iterator[Term]:
    for file in facts.files:
        yield Term(kind=TermKind.FILE, text=file.path, detail=file.path)
    for field, relations in facts.relations.items():
        for relation in relations:
            for name in names_in(relation):
                detail = f"{field}: {relation}"
                yield Term(kind=TermKind.DEPENDENCY, text=name, detail=detail)
    for component in components_of(facts.sbom):
        for name in dict.fromkeys((component.name, component.name.rpartition("/")[2])):
            yield Term(kind=TermKind.COMPONENT, text=name.lower(), detail=str(component))
    for finding in facts.findings:
        place = f" ({finding.place})" if finding.place else ""
        detail = f"{finding.tool} {finding.level}: {finding.text}{place}"
        yield Term(kind=TermKind.FINDING, text=finding.code, detail=detail)


def _components(document: Any) -> Iterator[Component]:
    """Go down a document without trust: others may have written it."""
    inner = document.get("components") if isinstance(document, dict) else None
    for one in inner if isinstance(inner, list) else ():
        if isinstance(one, dict) and one.get("name"):
            name = f"{one['group']}/{one['name']}" if one.get("group") else str(one["name"])
            yield Component(name=name, version=str(one.get("version") or ""))
        yield from _components(one)
