"""Layers over large disks: what is written goes to a file of its own, the base is only read.

QEMU's storage daemon shows the layer as a file through FUSE; the kernel mounts that file
as it mounts any other. Slower to write to than a copy, but nothing is copied before.

Source: qemu-storage-daemon(1), "--export type=fuse"; qemu-img(1).
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from ovenbird.domain.errors import CommandFailed
from ovenbird.system.clock import await_true
from ovenbird.system.commands import end, run, spawn
from ovenbird.system.disks.root_file_systems import RootFileSystem

TIMEOUT_S = 60.0
READY = timedelta(seconds=10)
END_S = 10.0
CLUSTER = "512K"  # as EBS's blocks


def missing() -> str | None:
    """Return what this host lacks for layers; None when it has all."""
    for program in ("qemu-img", "qemu-storage-daemon"):
        if shutil.which(program) is None:
            return f"`{program}` (package `qemu-utils` or `qemu-system-common`)"
    device = Path("/dev/fuse")
    if not device.exists() or not stat.S_ISCHR(device.stat().st_mode):
        return "`/dev/fuse` (kernel module `fuse`)"
    return None if os.access(device, os.R_OK | os.W_OK) else "rights to `/dev/fuse`"


@contextmanager
def shown(base: RootFileSystem, path: Path) -> Iterator[Callable[[], list[tuple[int, int]]]]:
    """Show a layer over a root file system at a file; nothing of it is left afterwards.

    The block is given what tells which spans of the file were written, rising; each may
    hold more than was written, as it is in the base.

    Args:
        base: Only read.
        path: A file that is there; what it holds is hidden for as long.

    Raises:
        CommandFailed: QEMU's storage daemon does not show it.
    """
    layer, said = path.with_suffix(".qcow2"), path.with_suffix(".layer-log")
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={CLUSTER}",
         "-b", base.disk.absolute(), "-F", "raw", layer], timeout_s=TIMEOUT_S)  # fmt: skip
    before = path.stat().st_dev
    with said.open("w+b") as log:
        daemon = spawn(storage_daemon(base, layer, path), output=log)
        try:
            is_shown = partial(_is_over, path, before)
            await_true(lambda: is_shown() or daemon.poll() is not None, within=READY)
            if not is_shown():
                log.seek(0)
                words = log.read().decode(errors="replace")
                raise CommandFailed("`qemu-storage-daemon` shows no layer", stderr=words)
            yield partial(_written, base, layer, path)
        finally:
            end(daemon, within_s=END_S)
            for file in (layer, said):
                file.unlink(missing_ok=True)


def storage_daemon(base: RootFileSystem, layer: Path, path: Path) -> list[str]:
    """Return the line that shows a layer's root file system at a file; it dies with us."""
    part = f"driver=raw,node-name=part,file=layer,offset={base.offset},size={base.size}"
    return [
        "setpriv", "--pdeathsig", "KILL", "--", "qemu-storage-daemon",
        "--blockdev", f"driver=file,node-name=file,filename={escaped(layer)}",
        "--blockdev", "driver=qcow2,node-name=layer,file=file",
        "--blockdev", part,
        "--export", f"type=fuse,id=shown,node-name=part,mountpoint={escaped(path)},writable=on",
    ]  # fmt: skip


def escaped(path: Path) -> str:
    """Return a path as a value in a list of QEMU's options."""
    return str(path.absolute()).replace(",", ",,")  # Source: qemu(1), option syntax


def _is_over(path: Path, before: int) -> bool:
    return path.stat().st_dev != before


def _written(base: RootFileSystem, layer: Path, path: Path) -> list[tuple[int, int]]:
    with path.open("r+b") as file:
        os.fsync(file.fileno())  # the layer knows its clusters only then
    told = run(["qemu-img", "map", "-U", "--output=json", layer], timeout_s=TIMEOUT_S)
    spans = [
        (entry["start"] - base.offset, entry["start"] + entry["length"] - base.offset)
        for entry in json.loads(told)
        if entry["depth"] == 0 and entry["present"]
    ]
    return [(max(a, 0), min(b, base.size)) for a, b in spans if b > 0 and a < base.size]
