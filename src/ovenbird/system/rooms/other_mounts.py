"""Directories of an image that are on file systems of their own, which a direct bake does not see.

What a bake writes there would be hidden on the machine: a kernel below ``/boot`` of a base whose
``/boot`` is a partition, for instance.

Source: fstab(5); Ubuntu 24.04's cloud images have ``/boot`` on a partition.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ovenbird.domain.errors import InvalidRequest
from ovenbird.system.mount_namespaces import unescaped
from ovenbird.system.rooms.image_paths import resolved

HINT = "Set `image.strategy` to `instance`, or do not change what is below it"
NOT_KEPT = frozenset({"/tmp", "/var/tmp", "/run", "/dev", "/proc", "/sys", "/dev/shm"})  # noqa: S108


def refuse_hidden(root: Path, *, upper: Path) -> None:
    """Refuse a bake that wrote where another file system is mounted on the machine.

    Args:
        root: The overlay's merged view.
        upper: What the bake changed.

    Raises:
        InvalidRequest: It did.
    """
    table = resolved(root, "/etc/fstab")
    text = table.read_text(encoding="utf-8", errors="replace") if table.is_file() else ""
    for point in mount_points(text):
        if written := _first_file(upper / point.removeprefix("/")):
            raise InvalidRequest(
                f"The base image mounts another file system at `{point}`, and this bake "
                f"wrote `/{written.relative_to(upper)}`",
                hint=HINT,
            )


def mount_points(table: str) -> Iterator[str]:
    """Yield where fstab(5) mounts file systems that last, besides the root."""
    for line in table.splitlines():
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith("#") or not fields[1].startswith("/"):
            continue
        point = unescaped(fields[1]).rstrip("/")
        if point and point not in NOT_KEPT and fields[2] not in {"tmpfs", "swap"}:
            yield point


def _first_file(top: Path) -> Path | None:
    if top.is_symlink() or not top.is_dir():
        return None
    for directory, names, files in os.walk(top):
        names.sort()
        if files:
            return Path(directory, min(files))
    return None
