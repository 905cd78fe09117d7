"""EBS volumes as sparse files and loop devices: what a machine sees beside its root disk.

    snapshot's blocks (or nothing) ─▶ sparse file ─▶ loop devices ─▶ nodes in the machine's /dev

A volume that has a partition table when it is attached has a device for each partition, too,
in the table's order: kernels of hosts differ in whether loop devices show them. A volume's file
is made when it is first attached to a machine, and outlives the machine; the root volume of a
machine is its overlay instead (:mod:`ovenbird.sandbox.captures`).

Source: losetup(8); loop(4).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ovenbird.domain.blocks import BLOCK_BYTES, GIB_BLOCKS
from ovenbird.sandbox import blocks
from ovenbird.sandbox.disks import assemble
from ovenbird.sandbox.places import Places
from ovenbird.system.commands import run
from ovenbird.system.disks.disks import DiskBlocks
from ovenbird.system.disks.partitions import partitions

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """One volume, as a machine has it.

    Args:
        device: As the caller named it: ``/dev/sdf``, ``/dev/xvdf``.
        snapshot_id: What it begins with; empty for zeros.
    """

    volume_id: str
    device: str
    size_gib: int
    snapshot_id: str = ""


class VolumeDisks:
    """The files of all volumes of one sandbox; safe between threads.

    Args:
        places: Files are below ``places.volumes``.
    """

    def __init__(self, places: Places) -> None:
        self._directory = places.volumes
        self._guard = threading.Lock()
        self._loops: dict[str, list[str]] = {}

    def attach(self, drive: Drive) -> tuple[str, ...]:
        """Return a volume's loop devices, made unless it has some: the whole, its partitions."""
        with self._guard:
            if drive.volume_id not in self._loops:
                path = self._made(drive)
                loops = self._loops[drive.volume_id] = [_loop(path)]
                loops += [
                    _loop(path, f"--offset={found.offset}", f"--sizelimit={found.size}")
                    for found in partitions(path)
                ]
            return tuple(self._loops[drive.volume_id])

    def detach(self, volume_id: str) -> None:
        """Let go of a volume's loop devices; the kernel keeps one for as long as it is mounted."""
        with self._guard:
            for device in self._loops.pop(volume_id, []):
                # 1: it went by itself
                run(["losetup", "--detach", device], timeout_s=TIMEOUT_S, ok=frozenset({0, 1}))

    def blocks(self, volume_id: str) -> DiskBlocks | None:
        """Return what is on a volume, as far as it was written out; None before it has a file."""
        path = self._path(volume_id)
        if not path.exists():
            return None
        for device in self._loops.get(volume_id, []):
            descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return DiskBlocks(path)

    def keep(self, volume_ids: Iterable[str]) -> None:
        """Delete the files of all other volumes."""
        kept = set(volume_ids)
        for path in self._directory.glob("vol-*.raw"):
            if path.stem not in kept:
                self.detach(path.stem)
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of all loop devices; machines must be gone."""
        with ExitStack() as parts:
            for volume_id in list(self._loops):
                parts.callback(self.detach, volume_id)

    def _path(self, volume_id: str) -> Path:
        return self._directory / f"{volume_id}.raw"

    def _made(self, drive: Drive) -> Path:
        path = self._path(drive.volume_id)
        if not path.exists():
            self._directory.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.unlink(missing_ok=True)
            if blocks.block_map(drive.snapshot_id):
                assemble("", drive.snapshot_id, part)
            with part.open("ab") as file:
                file.truncate(drive.size_gib * GIB_BLOCKS * BLOCK_BYTES)
            part.replace(path)
        return path


def _loop(path: Path, *options: str) -> str:
    return run(["losetup", "--find", "--show", *options, path], timeout_s=TIMEOUT_S).strip()
