from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.system.disks.overlays import Removed, Written, changes, not_carried_over


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    (tmp_path / "lower").mkdir()
    return tmp_path / "lower"


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    (tmp_path / "upper").mkdir()
    return tmp_path / "upper"


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def whiteout(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, stat.S_IFCHR, 0)


def opaque(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    os.setxattr(path, "user.overlay.opaque", b"y")


def paths(upper: Path, lower: Path) -> list[str]:
    sign = {Removed: "-", Written: "+"}
    return [sign[type(change)] + change.path for change in changes(upper, lower)]


def test_a_whiteout_removes_what_is_below_and_nothing_else(upper: Path, lower: Path) -> None:
    put(lower / "a")
    whiteout(upper / "a")
    whiteout(upper / "never-there")

    assert paths(upper, lower) == ["-a"]


def test_a_directory_made_anew_keeps_nothing_of_the_old_one_at_any_depth(
    upper: Path, lower: Path
) -> None:
    put(lower / "app/conf.d/old.conf")
    put(lower / "app/old")
    opaque(upper / "app")
    put(upper / "app/conf.d/new.conf")

    assert paths(upper, lower) == [
        "-app/old", "-app/conf.d/old.conf", "+app", "+app/conf.d", "+app/conf.d/new.conf",
    ]  # fmt: skip


def test_a_directory_in_the_place_of_a_link_is_not_compared_with_the_links_target(
    upper: Path, lower: Path
) -> None:
    put(lower / "real/same", "x")
    put(lower / "real/other")
    (lower / "link").symlink_to("real")
    opaque(upper / "link")
    put(upper / "link/same", "x")

    assert paths(upper, lower) == ["+link", "+link/same"]


def test_what_a_machine_mounts_is_in_no_image(upper: Path, lower: Path) -> None:
    put(upper / "run/lock")
    put(upper / "tmp/x")
    put(upper / "srv/run/x")

    assert paths(upper, lower) == ["+srv", "+srv/run", "+srv/run/x"]


def test_a_second_name_of_one_file_is_a_link_to_the_first(upper: Path, lower: Path) -> None:
    put(upper / "b")
    os.link(upper / "b", upper / "a")

    first, second = changes(upper, lower)

    assert isinstance(second, Written)
    assert (first.path, second.path, second.link_to) == ("a", "b", "a")


@pytest.mark.parametrize("target", ["x\nrm /etc", "x\ry"])
def test_a_link_to_a_line_break_is_refused(upper: Path, lower: Path, target: str) -> None:
    (upper / "link").symlink_to(target)

    with pytest.raises(InvalidRequest, match="line break"):
        changes(upper, lower)


def test_a_removal_is_carried_over_only_when_the_path_is_gone(upper: Path, lower: Path) -> None:
    put(lower / "a")
    whiteout(upper / "a")
    change = Removed(path="a")

    assert not_carried_over([change], upper, lower) == ["a"]
    (lower / "a").unlink()
    assert not_carried_over([change], upper, lower) == []


def test_a_directory_is_carried_over_with_its_mode_and_attributes(upper: Path, lower: Path) -> None:
    for tree in (upper, lower):
        (tree / "d").mkdir(mode=0o755)
    os.setxattr(upper / "d", "user.colour", b"red")
    (change,) = changes(upper, lower)

    before = not_carried_over([change], upper, lower)
    os.setxattr(lower / "d", "user.colour", b"red")
    after = not_carried_over([change], upper, lower)
    (lower / "d").chmod(0o700)

    assert (before, after, not_carried_over([change], upper, lower)) == (["d"], [], ["d"])


def test_a_link_is_carried_over_when_it_is_one_inode(upper: Path, lower: Path) -> None:
    put(upper / "a")
    os.link(upper / "a", upper / "b")
    found = changes(upper, lower)
    put(lower / "a")
    put(lower / "b")

    assert not_carried_over(found, upper, lower) == ["b"]
    (lower / "b").unlink()
    os.link(lower / "a", lower / "b")
    assert not_carried_over(found, upper, lower) == []


def test_a_socket_is_left_out_and_hides_what_was_below(upper: Path, lower: Path) -> None:
    put(lower / "old")
    for name in ("new", "old"):
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(upper / name))

    assert changes(upper, lower) == (Removed(path="old"),)
