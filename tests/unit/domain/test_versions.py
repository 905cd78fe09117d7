"""Versions in the words of each format."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import PackageFormat
from ovenbird.domain.version_order import compare_deb, compare_rpm, rpmvercmp
from ovenbird.domain.versions import Rendered, render

CASES: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "cases/nfpm_versions_names.json").read_text()
)
# As git's history goes.
HISTORY = (
    "0.0.0+5.gabcdef0", "0.9.0", "1.0.0~a1", "1.0.0~b1", "1.0.0~rc1", "1.0.0~rc1+2.gabcdef0",
    "1.0.0~rc2", "1.0.0~rc10", "1.0.0", "1.0.0+1.gfffffff", "1.0.0+2.g0000000",
    "1.0.0+10.gabcdef0", "1.0.1", "1.1.0", "1.10.0", "2.0.0", "2.0.0-2", "2.0.0-10",
    "1:0.1", "1:0.1+1.gabcdef0", "2:0.0.1~rc1",
)  # fmt: skip
PAIRS = [*itertools.pairwise(HISTORY)]


def full(version: str, format_: PackageFormat) -> str:
    found = render(version, format_)
    release = f"-{found.release}" if found.release else ""
    return f"{found.epoch or 0}:{found.version}{release}"


@pytest.mark.parametrize(("older", "newer"), PAIRS)
def test_deb_and_rpm_sort_as_history_goes(older: str, newer: str) -> None:
    assert compare_deb(older, newer) == -1
    assert compare_rpm(full(older, PackageFormat.RPM), full(newer, PackageFormat.RPM)) == -1


@pytest.mark.parametrize(("older", "newer"), [pair for pair in PAIRS if ":" not in "".join(pair)])
def test_pacman_sorts_as_history_goes(older: str, newer: str) -> None:
    one, two = (render(text, PackageFormat.ARCHLINUX) for text in (older, newer))

    assert (pacman(one.version, two.version) or rpmvercmp(one.release, two.release)) == -1


def pacman(first: str, second: str) -> int:
    """Compare as vercmp(8) does: as rpm, but letters right after a number are older than none."""
    if first != second and second.startswith(first) and second[len(first)].isalpha():
        return 1
    if first != second and first.startswith(second) and first[len(second)].isalpha():
        return -1
    return rpmvercmp(first, second)


def test_nfpms_table_of_deb_versions() -> None:
    for fields, text in CASES["deb_version_field"]:
        if "+" in fields["version"]:
            continue  # nfpm takes metadata out of the version and drops it; ours is one text
        assert joined(render(said(fields), PackageFormat.DEB)) == text


def test_nfpms_table_of_rpm_versions() -> None:
    for fields, expected in CASES["rpm_version_release"]:
        if expected == "ERROR" or "-" in fields.get("prerelease", ""):
            continue  # an epoch below nought and hyphens are refused before
        found = render(said(fields), PackageFormat.RPM)
        assert [found.version, found.release] == expected


def said(fields: dict[str, str]) -> str:
    """Return a row of nfpm's table as the one text that we have."""
    version = fields["version"]
    version += f"~{fields['prerelease']}" if "prerelease" in fields else ""
    version += f"+{fields['metadata']}" if "metadata" in fields else ""
    version += f"-{fields['release']}" if "release" in fields else ""
    return f"{fields['epoch']}:{version}" if "epoch" in fields else version


def joined(found: Rendered) -> str:
    text = f"{found.version}-{found.release}" if found.release else found.version
    return f"{found.epoch}:{text}" if found.epoch else text


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.2.0", ("1.2.0", "")),
        ("1.2.0~rc1", ("1.2.0_rc1", "")),
        ("1.2.0~a1+4.gabcdef0", ("1.2.0_alpha1_git4", "")),
        ("1.2.0+3.gabcdef0-2", ("1.2.0_git3", "2")),
    ],
)
def test_apk_has_words_of_its_own(version: str, expected: tuple[str, str]) -> None:
    found = render(version, PackageFormat.APK)

    assert (found.version, found.release) == expected


@pytest.mark.parametrize("version", ["1:1.0", "1.0~weird1", "1.0-rev", "1.0+build"])
def test_what_apk_cannot_say_is_refused(version: str) -> None:
    with pytest.raises(InvalidRequest, match="apk cannot say"):
        render(version, PackageFormat.APK)
