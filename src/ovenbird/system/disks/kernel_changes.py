"""Changes applied to a mounted file system: for XFS and btrfs, which no debugfs writes.

The kernel gives times, generations and inode numbers of its own, so two bakes of the same
input hold the same files in other bytes.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from ovenbird.system.disks.overlays import Change, Removed, Written, attributes


def apply(root: Path, changed: Sequence[Change], *, upper: Path, newest_s: int) -> None:
    """Apply an overlay's changes to a mounted file system.

    Args:
        root: Where it is mounted, writable.
        changed: What :func:`ovenbird.system.disks.overlays.changes` found.
        upper: The overlay's upper directory.
        newest_s: No file becomes newer than this, in seconds since 1970.
    """
    directories = []
    for change in changed:
        path = root / change.path
        if isinstance(change, Removed):
            _remove(path)
            continue
        if stat.S_ISDIR(change.status.st_mode):
            if path.is_symlink() or not path.is_dir():
                _remove(path)
                path.mkdir()
            directories.append(change)
            continue
        _remove(path)
        if change.link_to:
            os.link(root / change.link_to, path, follow_symlinks=False)
        else:
            _write(upper / change.path, path, change.status)
            _describe(path, change, newest_s)
    for change in reversed(directories):  # their entries changed their times
        _describe(root / change.path, change, newest_s)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write(source: Path, path: Path, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        shutil.copyfile(source, path)
    elif stat.S_ISLNK(status.st_mode):
        path.symlink_to(source.readlink())
    else:
        os.mknod(path, status.st_mode, status.st_rdev)


def _describe(path: Path, change: Written, newest_s: int) -> None:
    status = change.status
    os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        path.chmod(stat.S_IMODE(status.st_mode))  # after chown, which takes set-id bits away
    for name in set(attributes(path)) - set(change.attributes):
        os.removexattr(path, name, follow_symlinks=False)
    for name, value in change.attributes.items():
        os.setxattr(path, name, value, follow_symlinks=False)
    modified_s = min(int(status.st_mtime), newest_s)
    os.utime(path, (modified_s, modified_s), follow_symlinks=False)
