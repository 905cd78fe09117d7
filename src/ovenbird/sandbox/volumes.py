"""Volumes: their snapshots, and how they come to machines and go.

A snapshot of a volume is pending while EBS takes its blocks. A volume that is attached to a
machine is a device there (:mod:`ovenbird.sandbox.machine_volumes`); the attachment is
`attaching` until it is. Attaching needs a volume that is free, in the instance's zone, and a
device name that the instance does not use; detaching needs no more than the volume. moto 5.2.5
makes snapshots without content, which EBS direct cannot read, attaches anything anywhere, and
cannot detach from an instance that the call does not name.

Source: EC2 API reference, CreateSnapshot, CreateSnapshots, AttachVolume; EBS user guide,
"Attach an Amazon EBS volume to an instance".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_block_store import EBSBackend, Snapshot, Volume
from moto.ec2.models.instances import Instance
from moto.ec2.responses.elastic_block_store import ElasticBlockStore

from ovenbird.sandbox import blocks, launches
from ovenbird.sandbox.block_store import SnapshotBlocks
from ovenbird.sandbox.captures import Capture
from ovenbird.sandbox.instances import REALITY, is_machine
from ovenbird.sandbox.loops import CONTROL


def install() -> None:
    """Put our versions in moto's place."""
    ElasticBlockStore.create_snapshot = create_snapshot
    ElasticBlockStore.create_snapshots = create_snapshots
    setattr(EBSBackend, "attach_volume", _attached(EBSBackend.attach_volume))  # noqa: B010 - mypy knows another type
    setattr(EBSBackend, "detach_volume", _detached(EBSBackend.detach_volume))  # noqa: B010 - as above


def create_snapshot(self: ElasticBlockStore) -> ActionResult:
    """Stand in for CreateSnapshot."""
    self.error_on_dryrun()
    with CONTROL:
        volume = self.ec2_backend.get_volume(self._get_param("VolumeId"))
        (made,) = taken(
            self.ec2_backend,
            [volume],
            description=self._get_param("Description") or "",
            tags=self._parse_tag_specification("snapshot").get("snapshot", {}),
        )
    return ActionResult(made)


def create_snapshots(self: ElasticBlockStore) -> ActionResult:
    """Stand in for CreateSnapshots: of all volumes of an instance, at one moment."""
    self.error_on_dryrun()
    asked = self._get_param("InstanceSpecification", {})
    with CONTROL:
        instance = self.ec2_backend.get_instance(asked["InstanceId"])
        left_out = set(asked.get("ExcludeDataVolumeIds", []))
        volumes = [
            volume
            for device, volume in attached_to(instance).items()
            if volume.id not in left_out
            and not (device == instance.root_device_name and asked.get("ExcludeBootVolume"))
        ]
        made = taken(
            self.ec2_backend,
            volumes,
            description=self._get_param("Description") or "",
            tags=self._parse_tag_specification("snapshot").get("snapshot", {}),
        )
    return ActionResult({"Snapshots": made})


def attached_to(instance: Instance) -> dict[str, Volume]:
    """Return device → volume of an instance, the root included."""
    backend = instance.ec2_backend
    return {
        device: backend.get_volume(mapping.volume_id)
        for device, mapping in instance.get_block_device_mapping
    }


def taken(
    backend: EC2Backend,
    volumes: Sequence[Volume],
    *,
    description: str,
    tags: Mapping[str, str],
    restart: bool = False,
) -> list[Snapshot]:
    """Make snapshots of volumes, all of one instance or one of none; pending at first.

    Args:
        backend: Of the volumes' owner.
        volumes: In the order of the result.
        description: Of each snapshot.
        tags: Of each snapshot.
        restart: Whether the instance's machine, if it runs, shuts down for it and boots again.
    """
    made, into = [], {}
    for volume in volumes:
        record = blocks.made(
            backend,
            size=volume.size,
            description=description,
            tags=tags,
            key=volume.kms_key_id or "",
        )
        record.volume = volume
        made.append(record)
        into[volume.id] = blocks.store().add(
            SnapshotBlocks(
                snapshot_id=record.id,
                account_id=backend.account_id,
                size_gib=int(volume.size),
                parent_id=volume.snapshot_id or "",
            )
        )
    if REALITY.room is None:
        for snapshot in into.values():
            snapshot.seal()
    elif into:
        REALITY.room.capture(_capture(volumes[0], into, restart=restart))
    return made


def _capture(volume: Volume, into: Mapping[str, SnapshotBlocks], *, restart: bool) -> Capture:
    if volume.attachment is None:
        return Capture(key=volume.id, snapshots=into)
    instance: Instance = volume.attachment.instance
    root = instance.block_device_mapping.get(instance.root_device_name)
    return Capture(
        key=instance.id,
        snapshots=into,
        root_volume_id=root.volume_id if root else "",
        root_snapshot_id=launches.root_snapshot(instance),
        restart=restart,
    )


def _attached(original: Any) -> Any:
    """Refuse what EC2 refuses, and let an attachment be under way until the machine has it."""

    def attach_volume(
        self: EC2Backend,
        volume_id: str,
        instance_id: str,
        device_path: str,
        *more: Any,
        **named: Any,
    ) -> Any:
        with CONTROL:
            volume, instance = self.get_volume(volume_id), self.get_instance(instance_id)
            if volume.attachment is not None:
                raise EC2ClientError("VolumeInUse", f"{volume_id} is already attached")
            if device_path in instance.block_device_mapping:
                raise EC2ClientError(
                    "InvalidParameterValue", f"Attachment point {device_path} is already in use"
                )
            attachment = original(self, volume_id, instance_id, device_path, *more, **named)
            room = REALITY.room
            if room is not None and is_machine(instance, room) and instance.state == "running":
                attachment.status = "attaching"
                room.wake()
            return attachment

    return attach_volume


def _detached(original: Any) -> Any:
    """Take the instance from the volume where the call does not name it."""

    def detach_volume(
        self: EC2Backend, volume_id: str, instance_id: str | None, device_path: str | None
    ) -> Any:
        with CONTROL:
            volume = self.get_volume(volume_id)
            if volume.attachment is None:
                raise EC2ClientError(
                    "IncorrectState", f"Volume '{volume_id}' is in the 'available' state."
                )
            instance_id = instance_id or volume.attachment.instance.id
            gone = original(self, volume_id, instance_id, device_path)
            if REALITY.room is not None:
                REALITY.room.wake()
            return gone

    return detach_volume
