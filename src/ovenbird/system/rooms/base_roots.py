"""A base disk's root file system that can be written to, and forgets what was written.

    base disk (read-only) ─ loop mount ─┐
                                        ├─ overlay ─ root
    tmpfs (upper) ──────────────────────┘

Bakes and builds happen in such roots. Everything is mounted under one place; leaving the
block unmounts it, and what a killed process left is unmounted by the next one.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ovenbird.domain.errors import Conflict
from ovenbird.system.commands import run
from ovenbird.system.disks.disks import mounted
from ovenbird.system.disks.journals import replayed
from ovenbird.system.disks.root_file_systems import RootFileSystem, find_root, mounted_file_system
from ovenbird.system.locks import file_lock
from ovenbird.system.mount_namespaces import is_confined, mount_points, own_mounts
from ovenbird.system.rooms import root_devices
from ovenbird.system.rooms.image_paths import make_directories, resolved, within
from ovenbird.system.rooms.package_caches import PackageCaches

INSIDE = Path("run/ovenbird")
POLICY = "#!/bin/sh\nexit 101\n"  # nothing is started in it; Source: invoke-rc.d(8)
_HOST_OPTIONS = re.compile(r'^Acquire::(?:[Hh]ttps?|Check|Retries)[^"]* "[^"]*";$', re.MULTILINE)
# /proc/sys is this host's kernel, and no image's: packages and playbooks like to tune it.
_AS_LOCALHOST = """
hostname localhost
mount --bind -o ro "$1/proc/sys" "$1/proc/sys" || exit
exec chroot "$@"
"""
_APT_OPTIONS = (
    'Acquire::Languages "none";',  # nobody reads descriptions
    'Dpkg::Use-Pty "false";',  # there is none
)
_RESOLVER = Path("/etc/resolv.conf")
_FORGOTTEN = (("run", 0o755), ("tmp", 0o1777), ("dev", 0o755), ("var/tmp", 0o1777))
_DEVICES = (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9))
_DEVICE_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"))

WrittenInside = tuple[str, bytes, int]  # path below the root, bytes, mode


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRoot:
    """A base disk's root file system, opened.

    Args:
        place: Directory of the mounts, for more of them.
        root: Where it is written to.
        file_system: What is below: the disk's own, or a copy with its journal replayed.
        origin: The disk's own.
    """

    place: Path
    root: Path
    file_system: RootFileSystem
    origin: RootFileSystem

    @property
    def lower(self) -> Path:
        """The file system as it was, mounted."""
        return self.place / "lower"

    @property
    def upper(self) -> Path:
        """What was written."""
        return self.place / "layer/upper"

    @property
    def scratch(self) -> Path:
        """A directory in memory, for more of it; what is written in the root takes none of it."""
        return self.place / "scratch"


@contextmanager
def opened(disk: Path, place: Path, *, bounded: bool = False) -> Iterator[BaseRoot]:
    """Open a base disk's root file system; nothing is left when the block ends.

    Args:
        disk: Base disk; only read.
        place: Directory for the mounts; two that open one place wait for each other.
        bounded: Let no more be written than the whole file system holds.

    Raises:
        Conflict: What a killed process mounted there cannot be unmounted.
        InvalidRequest: The disk has no root file system that can be used.
    """
    origin = find_root(disk)
    with ExitStack() as stack:
        file_system, lower = _lower(stack, origin, place)
        size = f"size={_most_bytes(lower) if bounded else '90%'}"
        _layer(stack, place / "layer", size)
        stack.enter_context(
            mounted("tmpfs", place / "scratch", kind="tmpfs", options="mode=755,size=90%")
        )
        for name in ("upper", "work"):
            (place / "layer" / name).mkdir()
        # The root's own mode is what the upper directory has, whatever the caller's umask is.
        (place / "layer/upper").chmod(stat.S_IMODE(lower.stat().st_mode))
        layers = f"lowerdir={lower},upperdir={place}/layer/upper,workdir={place}/layer/work"
        options = f"{layers},index=off,metacopy=off,redirect_dir=nofollow"
        root = stack.enter_context(
            mounted(root_devices.DEVICE, place / "root", kind="overlay", options=options)
        )
        yield BaseRoot(place=place, root=root, file_system=file_system, origin=origin)


@contextmanager
def looked_into(disk: Path, place: Path) -> Iterator[Path]:
    """Mount a disk's root file system, to be read alone; nothing is left when the block ends.

    Args:
        disk: Only read; what its journal holds is there, too.
        place: As :func:`opened` takes it.

    Raises: as :func:`opened`.
    """
    with ExitStack() as stack:
        yield _lower(stack, find_root(disk), place)[1]


def _lower(stack: ExitStack, origin: RootFileSystem, place: Path) -> tuple[RootFileSystem, Path]:
    """Mount a root file system read-only in a place that is nobody else's meanwhile."""
    stack.enter_context(file_lock(place.with_suffix(".lock")))
    sweep(place)
    place.mkdir(parents=True)
    stack.callback(sweep, place)
    stack.enter_context(own_mounts(place, origin.disk))
    file_system = stack.enter_context(replayed(origin, place=place))
    return file_system, stack.enter_context(mounted_file_system(file_system, place / "lower"))


def _most_bytes(lower: Path) -> int:
    """Return what may be written: the size of a file system, if there is memory for it."""
    whole = os.statvfs(lower)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(whole.f_blocks * whole.f_frsize, memory * 9 // 10)


def _layer(stack: ExitStack, place: Path, size: str) -> None:
    """Make a directory in memory; on the disk where memory cannot keep an overlay's marks."""
    with ExitStack() as trial:
        trial.enter_context(mounted("tmpfs", place, kind="tmpfs", options=size))
        try:
            os.setxattr(place, "user.ovenbird" if is_confined() else "trusted.ovenbird", b"")
        except OSError:  # Linux before 6.6 has no attributes of users there
            return
        stack.enter_context(trial.pop_all())


def furnish(
    stack: ExitStack, root: Path, *, cache: Path, written: Sequence[WrittenInside]
) -> PackageCaches:
    """Mount and write what programs need inside and an image must not keep.

    Args:
        stack: Unmounts at its end.
        root: As :func:`opened` gives it.
        cache: For indexes and packages, between two roots of one base disk.
        written: As :func:`written_inside` gives it.
    """

    def at(name: str) -> Path:
        return resolved(root, f"/{name}")  # no link of the image leads out of it

    for name, mode in _FORGOTTEN:
        options = f"mode={mode:o}"
        stack.enter_context(mounted("tmpfs", at(name), kind="tmpfs", options=options))
    for name, minor in _DEVICES:
        _device(stack, at("dev") / name, minor)
    for name, target in _DEVICE_LINKS:
        (at("dev") / name).symlink_to(target)
    for name, mode in (("dev/shm", 0o1777), ("run/lock", 0o1777), (str(INSIDE), 0o755)):
        _directory(at(name), mode)
    caches = PackageCaches(cache, place=root.parent, root=root)
    caches.show(stack)
    caches.forget_unused()
    options = "\n".join([*_APT_OPTIONS, *host_options(), ""])
    (at(str(INSIDE)) / "apt.conf").write_text(options)
    for name, data, mode in written:
        path = within(root, f"/{name}")
        make_directories(path.parent)
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
    return caches


def written_inside() -> tuple[WrittenInside, ...]:
    """Return the files of the base that a furnished root has otherwise.

    To be asked once for each root: the host's name servers may be others a minute later.
    """
    servers = _RESOLVER.read_bytes() if _RESOLVER.exists() else b""
    return (
        ("usr/sbin/policy-rc.d", POLICY.encode(), 0o755),
        ("etc/resolv.conf", servers, 0o644),
    )


def host_options() -> list[str]:
    """Return what this host's apt needs to reach its sources, as lines of apt.conf(5)."""
    found: list[str] = _HOST_OPTIONS.findall(run(["apt-config", "dump"], timeout_s=30))
    return found


def _device(stack: ExitStack, path: Path, minor: int) -> None:
    """Make a memory device, or show the host's where nobody may make one."""
    if is_confined():
        path.touch()
        stack.enter_context(mounted(Path("/dev", path.name), path, bind=True))
        return
    os.mknod(path, stat.S_IFCHR, os.makedev(1, minor))
    path.chmod(0o666)


def _directory(path: Path, mode: int) -> None:
    path.mkdir()
    path.chmod(mode)  # whatever the caller's umask is


def inside(root: Path, argv: list[str]) -> list[str]:
    """Put a command of root's into namespaces of its own: nothing that it starts outlives it.

    Nor does it outlive this process, also when it is killed. The machine's name is always the
    same one, since packages write it down.

    Source: unshare(1), ``--kill-child``; setpriv(1), ``--pdeathsig``; prctl(2).
    """
    return [
        "setpriv", "--pdeathsig", "KILL", "--",
        "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child",
        f"--mount-proc={root}/proc",
        "sh", "-c", _AS_LOCALHOST, "sh", str(root),
        "sh", "-c", 'umask 022 && exec "$@"', "sh",  # whatever the caller's umask is
        *argv,
    ]  # fmt: skip


def sweep(place: Path) -> None:
    """Unmount and remove whatever is in a place; of a killed process, too.

    Raises:
        Conflict: Something is still mounted; removing would reach into what it shows.
    """
    for point in reversed(_mounts_below(place)):
        run(["umount", "--lazy", point], timeout_s=60, ok=frozenset({0, 32}))  # 32: gone already
    if left := _mounts_below(place):
        raise Conflict(f"`{left[0]}` is still mounted", hint=f"Unmount it: `umount -l {left[0]}`")
    shutil.rmtree(place, ignore_errors=True)


def sweep_dead(directory: Path) -> None:
    """Sweep every place in a directory whose opener is gone.

    Raises:
        Conflict: As :func:`sweep`.
    """
    for lock in sorted(directory.glob("*.lock")):
        with ExitStack() as stack:
            try:
                stack.enter_context(file_lock(lock, wait=False))
            except Conflict:
                continue  # its opener lives
            sweep(lock.with_suffix(""))


def _mounts_below(place: Path) -> list[str]:
    return [point for point in mount_points() if point.startswith(f"{place}/")]
