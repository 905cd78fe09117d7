from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.system.commands import run
from ovenbird.system.disks.debugfs import EPOCH_S, apply, commands, quoted
from ovenbird.system.disks.overlays import Removed, changes

NAMES = ["plain", "with space", 'quo"te', "back\\slash", "$dollar", "-dash", "<12>", "ümlaut"]


class Trees:
    """A lower tree, an upper one beside it, and an ext4 made from the lower."""

    def __init__(self, home: Path) -> None:
        self.lower, self.upper, self.work = home / "lower", home / "upper", home / "work"
        for directory in (self.lower, self.upper, self.work):
            directory.mkdir()
        self.disk = home / "disk.raw"

    def applied(self) -> str:
        """Apply the upper tree and return debugfs's listing of the root."""
        with self.disk.open("wb") as file:
            file.truncate(16 * 2**20)
        env = {"E2FSPROGS_FAKE_TIME": str(EPOCH_S)}
        run(
            ["mke2fs", "-q", "-F", "-t", "ext4", "-d", self.lower, self.disk], timeout_s=30, env=env
        )
        apply(
            self.disk,
            changes(self.upper, self.lower),
            upper=self.upper,
            lower=self.lower,
            work=self.work,
        )
        return self.ask("ls -p /")

    def ask(self, question: str) -> str:
        return run(["debugfs", "-R", question, self.disk], timeout_s=30)


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_written_and_read_back(trees: Trees, name: str) -> None:
    (trees.upper / "etc").mkdir()
    (trees.upper / "etc" / name).write_text(f"in {name}\n")

    trees.applied()

    assert trees.ask(f"cat {quoted(f'/etc/{name}')}") == f"in {name}\n"


def test_a_line_break_in_a_name_is_refused(trees: Trees) -> None:
    (trees.upper / "a\nrm b").write_text("")

    with pytest.raises(InvalidRequest, match="line break"):
        changes(trees.upper, trees.lower)


def test_what_is_as_before_is_left_alone(trees: Trees) -> None:
    for tree in (trees.lower, trees.upper):
        (tree / "same").write_text("same")
        (tree / "link").symlink_to("same")

    assert changes(trees.upper, trees.lower) == ()


def test_modes_links_and_attributes_arrive(trees: Trees) -> None:
    (trees.lower / "old").write_text("old")
    (trees.upper / "old").write_text("new")
    (trees.upper / "old").chmod(0o4750)
    (trees.upper / "first").write_text("one inode")
    os.link(trees.upper / "first", trees.upper / "second")
    (trees.upper / "to").symlink_to("/etc/else where")
    (trees.upper / "dir").mkdir(mode=0o700)
    os.setxattr(trees.upper / "dir", "user.colour", b"gr\x00en")

    trees.applied()

    assert "Mode:  04750" in trees.ask("stat /old")
    assert "Links: 2" in trees.ask("stat /first")
    assert trees.ask("cat /second") == "one inode"
    assert 'Fast link dest: "/etc/else where"' in trees.ask("stat /to")
    assert "Mode:  0700" in trees.ask("stat /dir")
    assert "user.colour (5)" in trees.ask("ea_list /dir")


def test_a_directory_becomes_a_file_and_a_file_a_directory(trees: Trees) -> None:
    (trees.lower / "a/deep").mkdir(parents=True)
    (trees.lower / "a/deep/file").write_text("x")
    (trees.lower / "b").write_text("file")
    (trees.upper / "a").write_text("now a file")
    (trees.upper / "b").mkdir()
    (trees.upper / "b/inner").write_text("y")

    trees.applied()

    assert trees.ask("cat /a") == "now a file"
    assert trees.ask("cat /b/inner") == "y"


def test_what_stands_in_the_root_is_found_after_a_file_deep_below(trees: Trees) -> None:
    (trees.lower / "initrd.img").symlink_to("boot/old")
    (trees.upper / "boot").mkdir()
    (trees.upper / "boot/new").write_text("new")
    (trees.upper / "initrd.img").symlink_to("boot/new")
    (trees.upper / "mnt").mkdir()

    trees.applied()

    assert 'Fast link dest: "boot/new"' in trees.ask("stat /initrd.img")
    assert "Type: directory" in trees.ask("stat /mnt")
    assert trees.ask("ls -p /boot").count("new") == 1


def test_the_same_changes_give_the_same_bytes(trees: Trees) -> None:
    (trees.upper / "sub").mkdir()
    (trees.upper / "sub/new").write_text("new" * 5000)
    with trees.disk.open("wb") as file:
        file.truncate(16 * 2**20)
    run(["mke2fs", "-q", "-F", "-t", "ext4", trees.disk], timeout_s=30)
    base, digests = trees.disk.read_bytes(), []
    for _ in range(2):
        trees.disk.write_bytes(base)
        apply(
            trees.disk,
            changes(trees.upper, trees.lower),
            upper=trees.upper,
            lower=trees.lower,
            work=trees.work,
        )
        digests.append(hashlib.sha256(trees.disk.read_bytes()).hexdigest())

    assert digests[0] == digests[1]


def test_removals_come_first_and_go_from_the_leaves_up(trees: Trees) -> None:
    (trees.lower / "top/inner").mkdir(parents=True)
    (trees.lower / "top/inner/file").write_text("")

    script = commands((Removed(path="top"),), upper=trees.upper, lower=trees.lower, work=trees.work)

    assert script[:3] == ['rm "/top/inner/file"', 'rmdir "/top/inner"', 'rmdir "/./top"']


@pytest.mark.parametrize("text", ["a\nrm b", "a\rb"])
def test_what_would_end_a_command_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="line break"):
        quoted(text)


def test_a_directory_takes_new_attributes_and_loses_old_ones(trees: Trees) -> None:
    for tree, name in ((trees.lower, "user.old"), (trees.upper, "user.new")):
        (tree / "logs").mkdir(mode=0o755)
        os.setxattr(tree / "logs", name, b"x")

    trees.applied()

    listed = trees.ask("ea_list /logs")
    assert "user.new" in listed
    assert "user.old" not in listed


def test_a_directory_in_the_place_of_a_link_has_its_own_files(trees: Trees) -> None:
    (trees.lower / "real").mkdir()
    (trees.lower / "real/file").write_text("same")
    (trees.lower / "link").symlink_to("real")
    (trees.upper / "link").mkdir()
    (trees.upper / "link/file").write_text("same")

    trees.applied()

    assert trees.ask("cat /link/file") == "same"
    assert trees.ask("cat /real/file") == "same"


def test_a_full_file_system_is_said_to_be_full(trees: Trees) -> None:
    (trees.upper / "big").write_bytes(os.urandom(20 * 2**20))

    with pytest.raises(CommandFailed, match="could not apply") as caught:
        trees.applied()

    assert "larger base image" in caught.value.hint


@given(st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"])))
def test_quoting_doubles_quotes_and_nothing_else(text: str) -> None:
    assert quoted(text)[1:-1].replace('""', '"') == text
