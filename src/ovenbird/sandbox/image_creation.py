"""CreateImage, as EC2 does it.

The image has a snapshot of each EBS volume of the instance, and is pending until they are
completed. It takes over what the instance's own image says of architecture, boot, devices and
billing, so that what is billed stays billed. Unless the call says `NoReboot`, a running
instance is shut down, captured and booted again; its state is `running` all the while. A
stopped one stays stopped. The call's block devices leave volumes out, or change whether they
go with an instance; sizes and encryption are the volumes' own.

moto 5.2.5 makes an image without content, and knows no tags for snapshots.

Source: EC2 API reference, CreateImage; EC2 user guide, "Create an Amazon EBS-backed AMI".
"""

from __future__ import annotations

import dataclasses
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.elastic_block_store import Volume
from moto.ec2.models.instances import Instance
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.utils import random_ami_id

from ovenbird.sandbox import volumes
from ovenbird.sandbox.image_model import Origin, RegisteredAmi, Traits, refuse_name, tags_for
from ovenbird.sandbox.loops import CONTROL
from ovenbird.sandbox.places import REGION

CAPTURABLE = frozenset({"running", "stopped"})
UNKNOWN = Traits(architecture="x86_64", virtualization_type="hvm")


def install() -> None:
    """Put our version in moto's place."""
    AmisResponse.create_image = create_image


def create_image(self: AmisResponse) -> ActionResult:
    """Stand in for CreateImage."""
    self.error_on_dryrun()
    backend, name = self.ec2_backend, self._get_param("Name")
    with CONTROL:
        refuse_name(backend, name)
        tags = tags_for(self, {"image", "snapshot"})
        instance = _capturable(backend.get_instance(self._get_param("InstanceId")))
        asked = {one["DeviceName"]: one for one in self._get_param("BlockDeviceMappings", [])}
        devices = {
            device: volume
            for device, volume in volumes.attached_to(instance).items()
            if "NoDevice" not in asked.get(device, {})
        }
        image_id = random_ami_id()
        made = volumes.taken(
            backend,
            list(devices.values()),
            description=f"Created by CreateImage({instance.id}) for {image_id}",
            tags=tags["snapshot"],
            restart=instance.state == "running" and not self._get_bool_param("NoReboot"),
        )
        ids = {device: one.id for device, one in zip(devices, made, strict=True)}
        ami = RegisteredAmi(
            backend,
            [
                *(_mapping(instance, d, v, ids[d], asked.get(d, {})) for d, v in devices.items()),
                *(one for d, one in asked.items() if d not in devices and "NoDevice" not in one),
            ],
            image_id=image_id,
            traits=_traits(self, instance),
            origin=Origin(
                instance_id=instance.id,
                image_id=instance.image_id,
                region=REGION,
                awaits=tuple(ids.values()),
            ),
            name=name,
            description=self._get_param("Description", ""),
            tags=tags["image"],
        )
        backend.amis[ami.id] = ami
    return ActionResult({"ImageId": ami.id})


def _capturable(instance: Instance) -> Instance:
    if instance.state not in CAPTURABLE:
        raise EC2ClientError(
            "IncorrectInstanceState",
            f"The instance '{instance.id}' is {instance.state}: an image is made of one that is"
            " running or stopped.",
        )
    return instance


def _mapping(
    instance: Instance, device: str, volume: Volume, snapshot_id: str, asked: dict[str, Any]
) -> dict[str, Any]:
    """Return a volume as a block device of the image."""
    goes = instance.block_device_mapping[device].delete_on_termination
    ebs = {
        "SnapshotId": snapshot_id,
        "VolumeSize": int(volume.size),
        "VolumeType": volume.volume_type,
        "DeleteOnTermination": asked.get("Ebs", {}).get("DeleteOnTermination", goes),
        "Encrypted": bool(volume.kms_key_id),
    }
    return {"DeviceName": device, "Ebs": ebs}


def _traits(self: AmisResponse, instance: Instance) -> Traits:
    traits: Traits = getattr(instance, "image_traits", UNKNOWN)
    if override := self._get_param("BootModeOverride"):
        return dataclasses.replace(traits, boot_mode=override)
    return traits
