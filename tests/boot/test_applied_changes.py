"""Any changes to any tree: what debugfs makes of them is what the overlay shows."""

from __future__ import annotations

import os
import shutil
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovenbird.system.disks import overlays
from ovenbird.system.disks.debugfs import EPOCH_S
from ovenbird.system.disks.root_file_systems import mounted_root
from ovenbird.system.rooms import base_roots
from ovenbird.system.rooms.base_roots import BaseRoot
from tests.boot.small_disks import AT, applied, listed, made, run, with_blocks

pytestmark = pytest.mark.boot
DIRECTORIES = ["", "a", "a/b", "usr", "usr/l ib", "new", "new/er"]
NAMES = [
    "x",
    "y z",
    'quo"te',
    "back\\slash",
    "$dollar",
    "-dash",
    "<12>",
    "ümlaut",
    "it's",
    "\udcff",
]
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, who)
    for tag, rights, who in [
        (1, 6, 2**32 - 1),
        (2, 7, 33),
        (4, 4, 2**32 - 1),
        (16, 7, 2**32 - 1),
        (32, 4, 2**32 - 1),
    ]
)  # Source: acl(5); linux/posix_acl_xattr.h: owner, a user, group, mask, others
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # bind low ports, effective

Change = Callable[[Path], object]


def base_tree(root: Path) -> None:
    for number, directory in enumerate(DIRECTORIES[1:5]):
        (root / directory).mkdir(mode=0o755, exist_ok=True, parents=True)
        for name in NAMES[number : number + 4]:
            (root / directory / name).write_text(f"{name!a} of the base\n" * 500)
    os.link(root / "a/x", root / "usr/linked")
    (root / "usr/sym").symlink_to("l ib")
    os.setxattr(root / "a/b", "user.old", b"old")
    os.mkfifo(root / "a/pipe")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("tree") / "d.raw", "ext4", base_tree)


paths = st.builds(lambda directory, name: f"{directory}/{name}".strip("/"),
                  st.sampled_from(DIRECTORIES), st.sampled_from(NAMES))  # fmt: skip
directories = st.sampled_from(DIRECTORIES[1:])


def write(path: str, data: bytes, mode: int, owner: int) -> Change:
    def work(root: Path) -> None:
        target = free(root, path)
        target.write_bytes(data)
        os.chown(target, owner, owner)
        target.chmod(mode)

    return work


def replace_by_directory(path: str, mode: int) -> Change:
    return lambda root: free(root, path).mkdir(mode=mode)


def symlink(path: str, target: str) -> Change:
    return lambda root: free(root, path).symlink_to(target)


def node(path: str, kind: int, device: int) -> Change:
    return lambda root: os.mknod(free(root, path), kind | 0o620, device)


def hard_link(path: str, other: str) -> Change:
    def work(root: Path) -> None:
        is_file = (root / other).is_file() and not (root / other).is_symlink()
        if is_file and not f"{other}/".startswith(f"{path}/"):
            os.link(root / other, free(root, path))

    return work


def remove(path: str) -> Change:
    return lambda root: gone(root / path)


def emptied(path: str) -> Change:
    """Remove a directory and make it again: the overlay calls that opaque."""

    def work(root: Path) -> None:
        gone(root / path)
        (root / path).mkdir(parents=True)

    return work


def attribute(path: str, name: str, value: bytes) -> Change:
    def work(root: Path) -> None:
        target = root / path
        is_right = target.is_dir() if name.endswith("default") else target.is_file()
        if is_right and not target.is_symlink():
            os.setxattr(target, name, value)

    return work


def touched(path: str, at: int) -> Change:
    def work(root: Path) -> None:
        if os.path.lexists(root / path):
            os.utime(root / path, (at, at), follow_symlinks=False)

    return work


def rename(path: str, other: str) -> Change:
    def work(root: Path) -> None:
        if os.path.lexists(root / path) and not f"{other}/".startswith(f"{path}/"):
            if (root / path).is_dir() and not (root / path).is_symlink():
                return  # between layers the kernel says EXDEV, and programs copy
            (root / path).rename(free(root, other))

    return work


def free(root: Path, path: str) -> Path:
    """Make room at a path, whatever is in its way."""
    target = root / path
    for parent in reversed(target.relative_to(root).parents):
        if (root / parent).is_symlink() or not (root / parent).is_dir():
            gone(root / parent)
            (root / parent).mkdir()
    gone(target)
    return target


def gone(path: Path) -> None:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(path)
    else:
        path.unlink()


data = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda size: b"\x07" * size, st.integers(0, 40_000)),
    st.builds(bytes, st.integers(0, 20_000)),
    st.builds(lambda at: bytes(at) + b"end", st.sampled_from([4096, 8192, 12_289])),
)
modes = st.sampled_from([0o644, 0o600, 0o755, 0o4755, 0o2711, 0o1777, 0o000])
owners = st.sampled_from([0, 33, 65534, 100_000])
targets = st.sampled_from(["x", "/etc/else where", "y" * 59, "y" * 61, "\udcff"])
devices = st.sampled_from([os.makedev(1, 3), os.makedev(259, 200), os.makedev(8, 70_000)])
device_kinds = st.sampled_from([stat.S_IFCHR, stat.S_IFBLK])
values = st.sampled_from([b"", b"gr\x00en\n", b"z" * 900])
times = st.sampled_from([1, 1_000_000_000, 2_000_000_000])
changes = st.one_of(
    st.builds(write, paths, data, modes, owners),
    st.builds(replace_by_directory, paths, st.sampled_from([0o755, 0o700, 0o2775])),
    st.builds(symlink, paths, targets),
    st.builds(node, paths, st.just(stat.S_IFIFO), st.just(0)),
    st.builds(node, paths, device_kinds, devices),
    st.builds(hard_link, paths, paths),
    st.builds(remove, st.one_of(paths, directories)),
    st.builds(emptied, directories),
    st.builds(attribute, paths, st.just("user.colour"), values),
    st.builds(attribute, paths, st.just("security.capability"), st.just(CAPABILITY)),
    st.builds(attribute, paths, st.just("system.posix_acl_access"), st.just(ACL)),
    st.builds(attribute, directories, st.just("system.posix_acl_default"), st.just(ACL)),
    st.builds(touched, st.one_of(paths, directories), times),
    st.builds(rename, paths, paths),
)


def modified(base: BaseRoot) -> dict[str, float]:
    """Return path → the time that it should have in the image."""
    found = overlays.changes(base.upper, base.lower)
    return {
        one.path: float(min(int(one.status.st_mtime), EPOCH_S))
        for one in found
        if isinstance(one, overlays.Written) and not stat.S_ISDIR(one.status.st_mode)
    }


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(work=st.lists(changes, min_size=1, max_size=12))
def test_the_image_is_what_the_overlay_shows(disk: Path, place: Path, work: list[Change]) -> None:
    with base_roots.opened(disk, place / "room") as base:
        for change in work:
            change(base.root)
        wanted = listed(base.root)
        times = modified(base)
        result = applied(base).blocks
        assert applied(base).blocks == result

    image = with_blocks(disk, result, place / "image.raw")
    with mounted_root(image, place / "root") as root:
        assert listed(root) == wanted
        assert {path: (root / path).lstat().st_mtime for path in times} == times
    run("e2fsck", "-fn", f"{image}?offset={AT}")
