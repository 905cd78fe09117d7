"""The volumes of machines: plugged in and out as the API says, and captured when it asks.

    block device mapping in moto's model ─▶ fit ─▶ nodes in the machine's /dev
    CreateImage, CreateSnapshot ─▶ ask ─▶ take ─▶ blocks of snapshots

What is asked for waits until the machine room has a hand free for that instance.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing

from moto.ec2.models.instances import Instance

from ovenbird.sandbox.block_store import SnapshotBlocks
from ovenbird.sandbox.captures import Capture, RootVolume, changed_blocks, fill
from ovenbird.sandbox.disks import RootDisks
from ovenbird.sandbox.loops import CONTROL
from ovenbird.sandbox.nspawn import Machine
from ovenbird.sandbox.places import Places
from ovenbird.sandbox.volume_disks import Drive, VolumeDisks

log = logging.getLogger(__name__)


class MachineVolumes:
    """All volumes of one sandbox's machines."""

    def __init__(self, places: Places, disks: RootDisks) -> None:
        self._places, self._disks, self._volumes = places, disks, VolumeDisks(places)
        self._guard = threading.Lock()
        self._asked: dict[str, list[Capture]] = defaultdict(list)

    def ask(self, capture: Capture) -> None:
        """Let a capture be due."""
        with self._guard:
            self._asked[capture.key].append(capture)

    def due(self) -> tuple[str, ...]:
        """Return the keys of captures that are due."""
        with self._guard:
            return tuple(self._asked)

    def pop(self, key: str) -> tuple[Capture, ...]:
        """Return what is due under a key, and let it be due no more."""
        with self._guard:
            return tuple(self._asked.pop(key, ()))

    def take(self, capture: Capture) -> None:
        """Fill a capture's snapshots; one that fails is in error and says why."""
        for volume_id, snapshot in capture.snapshots.items():
            try:
                if volume_id == capture.root_volume_id:
                    fill(snapshot, self._root_changes(capture))
                else:
                    self._take_drive(volume_id, snapshot)
            except Exception as error:
                log.exception("snapshot `%s` of `%s`", snapshot.snapshot_id, volume_id)
                snapshot.seal(str(error) or repr(error))

    def fit(self, machine: Machine, instance: Instance) -> None:
        """Plug in what a machine should have, and out what it should not."""
        with CONTROL:
            wanted = drives(instance)
        for device, volume_id in machine.drives.items():
            if device not in wanted or wanted[device].volume_id != volume_id:
                machine.unplug(device)
                self._volumes.detach(volume_id)
        for device, drive in wanted.items():
            if device not in machine.drives:
                machine.plug(drive, self._volumes.attach(drive))
        with CONTROL:
            for drive in wanted.values():
                volume = instance.ec2_backend.volumes.get(drive.volume_id)
                if volume is not None and volume.attachment is not None:
                    volume.attachment.status = "attached"

    def leave(self, machine: Machine) -> None:
        """Let go of the volumes of a machine that has ended."""
        for device, volume_id in machine.drives.items():
            machine.unplug(device)
            self._volumes.detach(volume_id)

    def keep(self, volume_ids: Iterable[str]) -> None:
        """Delete the files of all volumes but these."""
        self._volumes.keep(volume_ids)

    def close(self) -> None:
        """Let go of everything; machines must be gone."""
        with closing(self._volumes):
            pass

    def _root_changes(self, capture: Capture) -> Mapping[int, bytes]:
        upper = self._places.machines / capture.key / "upper"
        if not upper.exists():  # it never booted
            return {}
        snapshot_id = capture.root_snapshot_id
        lower = self._disks.lower(capture.key, snapshot_id, user=capture.key)
        root = RootVolume(disk=self._disks.disk(snapshot_id), upper=upper, lower=lower)
        return changed_blocks(root, self._places.volumes)

    def _take_drive(self, volume_id: str, snapshot: SnapshotBlocks) -> None:
        found = self._volumes.blocks(volume_id)
        if found is None:  # nothing ever wrote to it
            snapshot.seal()
            return
        for index in snapshot.blocks.keys() - set(found):
            del snapshot.blocks[index]
        fill(snapshot, found)


def drives(instance: Instance) -> dict[str, Drive]:
    """Return device → volume of an instance, but for its root."""
    found = {}
    for device, mapping in instance.get_block_device_mapping:
        volume = instance.ec2_backend.volumes.get(mapping.volume_id)
        if volume is not None and device != instance.root_device_name:
            found[device] = Drive(
                volume_id=volume.id,
                device=device,
                size_gib=int(volume.size),
                snapshot_id=volume.snapshot_id or "",
            )
    return found


def fits(machine: Machine, instance: Instance) -> bool:
    """Tell whether a machine has the volumes that it should have."""
    wanted = {device: drive.volume_id for device, drive in drives(instance).items()}
    return machine.drives == wanted
