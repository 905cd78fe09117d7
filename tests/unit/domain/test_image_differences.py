"""Two images side by side: packages, files, texts, facts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovenbird.domain.contents import ImageFile, InstalledPackage
from ovenbird.domain.image_differences import (
    PackageChange,
    SettingChange,
    by_directory,
    file_changes,
    package_changes,
    setting_changes,
    text_changes,
    texts_to_read,
)
from ovenbird.domain.package_differences import Change, FileChange
from tests.unit.domain.test_provenance import BASE

FILE, LINK = 0o100644, 0o120777


def package(
    name: str, version: str, architecture: str = "amd64", manager: str = "deb"
) -> InstalledPackage:
    return InstalledPackage(name=name, version=version, architecture=architecture, manager=manager)


def test_packages_are_newer_or_older_as_their_manager_sorts_them() -> None:
    before = [package("a", "1.0~rc1"), package("b", "1:1.0"), package("gone", "1"),
              package("r", "1.0-1", manager="rpm"), package("same", "1")]  # fmt: skip
    after = [package("a", "1.0"), package("b", "2.0"), package("new", "1"),
             package("r", "1.0^git1-1", manager="rpm"), package("same", "1")]  # fmt: skip

    assert package_changes(before, after) == (
        PackageChange(
            name="a", change=Change.CHANGED, before="1.0~rc1", after="1.0", direction="newer"
        ),
        PackageChange(
            name="b", change=Change.CHANGED, before="1:1.0", after="2.0", direction="older"
        ),
        PackageChange(name="gone", change=Change.REMOVED, before="1", after=""),
        PackageChange(name="new", change=Change.ADDED, before="", after="1"),
        PackageChange(
            name="r", change=Change.CHANGED, before="1.0-1", after="1.0^git1-1", direction="newer"
        ),
    )


def test_a_package_of_two_architectures_is_told_apart() -> None:
    before = [package("libc6", "1"), package("libc6", "1", "i386")]
    after = [package("libc6", "1"), package("libc6", "2", "i386")]

    assert [one.name for one in package_changes(before, after)] == ["libc6:i386"]


BEFORE = (
    ImageFile("/etc/big", FILE, size_bytes=70_000, digest_sha256="a"),
    ImageFile("/etc/link", LINK, target="/a"),
    ImageFile("/etc/motd", FILE, size_bytes=3, digest_sha256="a"),
    ImageFile("/etc/only-mode", FILE, size_bytes=3, digest_sha256="a"),
    ImageFile("/usr/share/doc/gone", FILE, digest_sha256="a"),
    ImageFile("/usr/share/same", FILE, digest_sha256="a"),
)
AFTER = (
    ImageFile("/etc/big", FILE, size_bytes=70_001, digest_sha256="b"),
    ImageFile("/etc/link", LINK, target="/b"),
    ImageFile("/etc/motd", FILE, size_bytes=3, digest_sha256="b"),
    ImageFile("/etc/new", FILE, size_bytes=1, digest_sha256="c"),
    ImageFile("/etc/only-mode", 0o100600, size_bytes=3, digest_sha256="a"),
    ImageFile("/usr/share/same", FILE, digest_sha256="a"),
)


def test_files_are_compared_by_all_that_an_image_keeps() -> None:
    assert file_changes(BEFORE, AFTER) == (
        FileChange(path="/etc/big", change=Change.CHANGED,
                   aspects={"size": ("70000", "70001"), "digest": ("a", "b")}),
        FileChange(path="/etc/link", change=Change.CHANGED, aspects={"target": ("/a", "/b")}),
        FileChange(path="/etc/motd", change=Change.CHANGED, aspects={"digest": ("a", "b")}),
        FileChange(path="/etc/new", change=Change.ADDED, aspects={}),
        FileChange(path="/etc/only-mode", change=Change.CHANGED,
                   aspects={"mode": ("100644", "100600")}),
        FileChange(path="/usr/share/doc/gone", change=Change.REMOVED, aspects={}),
    )  # fmt: skip


def test_only_small_texts_below_etc_are_read() -> None:
    changes = file_changes(BEFORE, AFTER)

    assert texts_to_read(changes, BEFORE, AFTER) == ("/etc/motd", "/etc/new")


def test_many_files_are_counted_by_directory() -> None:
    assert by_directory(file_changes(BEFORE, AFTER)) == (
        ("/etc", 1, 0, 4), ("/usr/share", 0, 1, 0),
    )  # fmt: skip


def test_texts_differ_by_lines() -> None:
    changes = text_changes(
        {"/a": "1\n2\n", "/gone": "", "/same": "x"}, {"/a": "1\n3\n", "/same": "x"}
    )

    assert [(one.name, one.change) for one in changes] == [
        ("/a", Change.CHANGED), ("/gone", Change.REMOVED),
    ]  # fmt: skip
    assert changes[0].unified[1:] == (" 1", "-2", "+3")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ()),
        ({"size_gib": 8}, (SettingChange(name="size", before="4 GiB", after="8 GiB"),)),
        ({"tags": {"ovenbird:commit": "c"}},
         (SettingChange(name="commit", before="", after="c"),)),
    ],
)  # fmt: skip
def test_facts_of_images_are_compared(
    change: dict[str, object], expected: tuple[SettingChange, ...]
) -> None:
    assert setting_changes(BASE, replace(BASE, **change)) == expected  # type: ignore[arg-type]
