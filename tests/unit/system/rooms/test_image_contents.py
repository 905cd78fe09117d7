"""What is inside of an image: lists of files that are kept, and databases of packages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.contents import ImageFile, InstalledPackage, files_of, lines_of
from ovenbird.system.commands import run
from ovenbird.system.disks.overlays import changes
from ovenbird.system.rooms import image_contents
from tests.unit.packaging.repositories import built

STATUS = """\
Package: zlib1g
Status: install ok installed
Source: zlib (1:1.2.13)
Architecture: amd64
Version: 1:1.2.13.dfsg-1
Maintainer: Mark <mark@example.com>
Description: one
 Version: of a line that goes on

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: adduser
Status: install ok installed
Architecture: all
Version: 3.134
"""


def tree(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_files_are_listed_by_path_with_what_an_image_keeps_of_them(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", a__z="hello\n", a__b__c="", a_b="x")
    (root / "a-link").symlink_to("a/z")
    (root / "a" / "z").chmod(0o640)

    found = image_contents.files(root)

    assert [file.path for file in found] == ["/a", "/a-link", "/a/b", "/a/b/c", "/a/z", "/a_b"]
    assert found[4][1:] == (
        0o100640, os.getuid(), os.getgid(), 6, "",
        "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    )  # fmt: skip
    assert (found[1].target, found[1].digest_sha256) == ("a/z", "")


def test_changes_of_an_overlay_give_what_reading_all_anew_gives(tmp_path: Path) -> None:
    lower = tree(
        tmp_path / "lower", a__same="1", a__changed="1", a__gone="1", tree__x__y="1", tree0="1",
        becomes_file__x="1", becomes_tree="1",
    )  # fmt: skip
    upper = tree(tmp_path / "upper", a__changed="2", a__new="2", becomes_tree__x="2")
    tree(upper, becomes_file="2")
    merged = tree(
        tmp_path / "merged", a__same="1", a__changed="2", a__new="2", becomes_file="2",
        becomes_tree__x="2", tree0="1",
    )  # fmt: skip
    gone = [upper / "tree", upper / "a/gone"]
    for path in gone:
        os.mknod(path, 0o020000)

    base = image_contents.files(lower)
    found = image_contents.with_changes(base, changes(upper, lower), upper)

    assert found == image_contents.files(merged)


def test_the_list_of_a_base_is_kept_and_made_again_when_it_is_damaged(tmp_path: Path) -> None:
    root, kept = tree(tmp_path / "root", a="1"), tmp_path / "kept/base.jsonl.zst"
    first = image_contents.kept_files(root, kept)
    tree(root, b="2")
    from_the_list = image_contents.kept_files(root, kept)
    kept.write_bytes(kept.read_bytes()[:-4])
    anew = image_contents.kept_files(root, kept)

    assert from_the_list == first == image_contents.unpacked(image_contents.packed(first))
    assert [file.path for file in anew] == ["/a", "/b"]
    assert [path.name for path in kept.parent.iterdir()] == ["base.jsonl.zst"]


@given(st.lists(st.builds(ImageFile, st.text(), st.integers(0, 65535), target=st.text())))
def test_lines_and_files_are_inverses(found: list[ImageFile]) -> None:
    assert files_of(lines_of(found)) == tuple(found)


def test_names_that_are_no_utf_8_are_kept() -> None:
    file = ImageFile(os.fsdecode(b"/a\xff\n"), 0)

    assert files_of(lines_of([file])) == (file,)


@pytest.mark.parametrize("data", [b"", b"hello", image_contents.packed(())[:-1]])
def test_what_is_no_list_is_said_so(data: bytes) -> None:
    with pytest.raises(ValueError, match="no list of files"):
        image_contents.unpacked(data)


def test_packages_of_dpkg_are_those_that_are_installed(tmp_path: Path) -> None:
    tree(tmp_path, var__lib__dpkg__status=STATUS)

    assert image_contents.packages(tmp_path) == (
        InstalledPackage(name="adduser", version="3.134", architecture="all"),
        InstalledPackage(
            name="zlib1g", version="1:1.2.13.dfsg-1", architecture="amd64", source="zlib",
            maintainer="Mark <mark@example.com>",
        ),
    )  # fmt: skip


def test_packages_of_rpm_are_read_from_its_database(tmp_path: Path) -> None:
    database = tmp_path / "root/usr/lib/sysimage/rpm"
    rpm = built(tmp_path / "built", "hello", "2:1.0", "rpm")
    database.mkdir(parents=True)
    run(["rpm", "--dbpath", database, "--install", "--justdb", "--nodeps", "--nosignature",
         rpm.path], timeout_s=60)  # fmt: skip

    (found,) = image_contents.packages(tmp_path / "root")

    assert (found.name, found.version, found.manager) == ("hello", "2:1.0-1", "rpm")
    assert (found.architecture, found.source) == ("noarch", "hello")
