"""Which of two versions is the newer one, as dpkg and as rpm see it.

Source: deb-version(7), "Sorting algorithm"; rpm, docs/manual/dependencies.md and the
table tests/rpmvercmp.at (tilde sorts before the end, caret after it).
"""

from __future__ import annotations

import re
from itertools import zip_longest

from ovenbird.domain.errors import InvalidRequest

EPOCH_MAX = 2**31 - 1  # Source: dpkg, lib/dpkg/parsehelp.c: an epoch is an int
_UPSTREAM = re.compile(r"[0-9][A-Za-z0-9.+~:-]*")
_REVISION = re.compile(r"[A-Za-z0-9.+~]+")
_RPM_SEGMENTS = re.compile(r"\d+|[A-Za-z]+|~|\^")


def split_debian(version: str) -> tuple[int, str, str]:
    """Return epoch, upstream version and revision (empty for none).

    The revision begins after the last hyphen.

    Raises:
        InvalidRequest: dpkg would not take it.
    """
    epoch, upstream, revision, has_revision = _parts(version)
    right = (epoch == "" or epoch.isdecimal()) and _UPSTREAM.fullmatch(upstream)
    if (
        not right
        or (has_revision and not _REVISION.fullmatch(revision))
        or version.strip()[0] == ":"
    ):
        raise InvalidRequest(
            f"`{version}` is not a version that dpkg takes",
            hint="It begins with a digit and has letters, digits and `.+~` in it",
        )
    if int(epoch or 0) > EPOCH_MAX:
        raise InvalidRequest(f"The epoch of `{version}` is too large")
    return int(epoch or 0), upstream, revision


def _parts(version: str) -> tuple[str, str, str, bool]:
    epoch, colon, rest = version.strip().partition(":")
    if not colon:
        epoch, rest = "", epoch
    upstream, hyphen, revision = rest.rpartition("-")
    return (epoch, upstream, revision, True) if hyphen else (epoch, rest, "", False)


def compare_deb(first: str, second: str) -> int:
    """Return -1, 0 or 1: whether dpkg sorts the first before, with, or after the second.

    Like ``dpkg --compare-versions`` it does not mind signs that no version should have.
    """
    one, two = _parts(first), _parts(second)
    epochs = [int(parts[0]) if parts[0].isdecimal() else 0 for parts in (one, two)]
    if epochs[0] != epochs[1]:
        return _sign(*epochs)
    return _compare_part(one[1], two[1]) or _compare_part(one[2], two[2])


def _compare_part(first: str, second: str) -> int:
    """Compare as dpkg does: letters before other signs, the tilde before the end."""
    one, two = _deb_key(first), _deb_key(second)
    for mine, theirs in zip_longest(one, two, fillvalue=((0,), 0)):
        if mine != theirs:
            return -1 if mine < theirs else 1
    return 0


def _deb_key(text: str) -> list[tuple[tuple[int, ...], int]]:
    """Return pairs of what is no digit (weights, ended by 0) and the number after it."""
    pairs: list[tuple[tuple[int, ...], int]] = []
    for words, digits in re.findall(r"([^0-9]*)([0-9]*)", text):
        if words or digits:
            pairs.append(((*map(_weight, words), 0), int(digits or 0)))
    return pairs


def _weight(sign: str) -> int:
    if sign == "~":
        return -1
    return ord(sign) if sign.isalpha() else ord(sign) + 256


def compare_rpm(first: str, second: str) -> int:
    """Return -1, 0 or 1 for two ``[epoch:]version[-release]`` as rpm sees them.

    A part that one of them does not give is not compared.
    """
    one, two = _split_rpm(first), _split_rpm(second)
    if one[0] != two[0]:
        return _sign(one[0], two[0])
    found = rpmvercmp(one[1], two[1])
    if found or not (one[2] and two[2]):
        return found
    return rpmvercmp(one[2], two[2])


def _split_rpm(text: str) -> tuple[int, str, str]:
    epoch, colon, rest = text.partition(":")
    if not colon:
        epoch, rest = "0", text
    version, _, release = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch) if epoch.isdecimal() else 0, version, release


def rpmvercmp(first: str, second: str) -> int:
    """Compare one part, a version or a release, segment by segment."""
    one, two = _RPM_SEGMENTS.findall(first), _RPM_SEGMENTS.findall(second)
    for mine, theirs in zip_longest(one, two, fillvalue=""):
        if mine != theirs and (found := _compare_segments(mine, theirs)):
            return found
    return 0


def _compare_segments(mine: str, theirs: str) -> int:
    """Compare two segments; an empty one stands for the end."""
    one, two = _rpm_rank(mine), _rpm_rank(theirs)
    if one != two:
        return _sign(one, two)
    if mine.isdigit():
        return _sign(int(mine), int(theirs))
    return _sign(mine, theirs)


def _rpm_rank(segment: str) -> int:
    """Tilde, end, caret, letters, numbers: this is how different kinds sort."""
    if segment == "~":
        return 0
    if segment == "":
        return 1
    if segment == "^":
        return 2
    return 4 if segment.isdigit() else 3


def _sign(one: int | str, two: int | str) -> int:
    return (one > two) - (one < two)  # type: ignore[operator]
