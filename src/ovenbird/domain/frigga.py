"""Frigga's convention whole, for names that others made: Asgard's, Spinnaker's.

    cass-nccp-random-junk-c0america-d0prod-v003
    app  stack detail (with labelled variables)  push, sequence 3

What we make ourselves is narrower (``names``): three digits, no ``~`` and ``^``.

Source: Netflix's Frigga, ``Names``, ``LabeledVariables``, ``ClusterGrouper``,
``NameValidation`` and the cases of their tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_PUSH = re.compile(r"([-a-zA-Z0-9._~^]*)-(v([0-9]{3,6}))")
_NAME = re.compile(r"([a-zA-Z0-9._]+)(?:-([a-zA-Z0-9._]*)(?:-([-a-zA-Z0-9._~^]*?))?)?")
_RESERVED = re.compile(r"(?:^|-)v[0-9]{3,6}(?:-|$)")
_LABEL = re.compile(r"-([a-zA-Z])0([a-zA-Z0-9._]+)")
_LABELS_AT_END = re.compile(rf"(?:{_LABEL.pattern})+$")
_SHARD = re.compile(r"-?x([0-9])([a-zA-Z][a-zA-Z0-9]*)(?=-|$)")
LABELS = {
    "c": "countries",
    "d": "dev_phase",
    "h": "hardware",
    "p": "partners",
    "r": "revision",
    "u": "used_by",
    "w": "red_black_swap",
    "z": "zone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FriggaName:
    """A name, taken apart; parts that it does not have are empty.

    Args:
        cluster: The name without its push.
        push: As it stands there, ``v0012``.
        sequence: The push's number; None without one.
        labels: Labelled variables, as ``{"dev_phase": "prod"}``.
    """

    group: str
    cluster: str
    app: str
    stack: str = ""
    detail: str = ""
    push: str = ""
    sequence: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def find_name(text: str) -> FriggaName | None:
    """Take a name apart, or return None for one that does not follow the convention."""
    pushed = _PUSH.fullmatch(text)
    cluster = pushed[1] if pushed else text
    match = _NAME.fullmatch(cluster)
    if match is None:
        return None
    app, stack, detail = match.groups(default="")
    return FriggaName(
        group=text,
        cluster=cluster,
        app=app,
        stack=stack,
        detail=detail,
        push=pushed[2] if pushed else "",
        sequence=int(pushed[3]) if pushed else None,
        labels=labels(cluster),
    )


def labels(text: str) -> dict[str, str]:
    """Return the labelled variables at the end of a name: letter, ``0``, value."""
    found = _LABELS_AT_END.search(text)
    pairs = _LABEL.findall(found[0]) if found else []
    return {LABELS[letter]: value for letter, value in pairs if letter in LABELS}


def shards(detail: str) -> tuple[dict[int, str], str]:
    """Return a detail's shards, number → value, and the rest of the detail.

    Shards stand at its beginning, as ``x1foo-x2bar``; the last one of a number counts.
    """
    found: dict[int, str] = {}
    rest = detail
    while match := _SHARD.match(rest):
        found[int(match[1])] = match[2]
        rest = rest[match.end() :]
    return found, rest


def has_push(part: str) -> bool:
    """Tell whether a stack or detail has a part that reads as a push, as ``v012``."""
    return bool(_RESERVED.search(part))


def is_reserved(text: str) -> bool:
    """Tell whether a text has a part that means something: a push, or a labelled variable."""
    return has_push(text) or bool(_LABEL.search(f"-{text}"))


def by_cluster(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return names of groups by cluster, in their order; other names are left out."""
    found: dict[str, list[str]] = {}
    for name in names:
        if parsed := find_name(name):
            found.setdefault(parsed.cluster, []).append(name)
    return {cluster: tuple(groups) for cluster, groups in found.items()}
