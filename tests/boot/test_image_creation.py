"""Images of real machines: what was written is in the image; volumes are real disks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.boot.conftest import Cloud, until

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

pytestmark = pytest.mark.boot

Launch = Callable[..., str]
DATA = "/dev/xvdf"


@pytest.fixture
def ec2(cloud: Cloud) -> EC2Client:
    return cloud.development.ec2


@pytest.fixture
def launch(cloud: Cloud, ec2: EC2Client) -> Iterator[Launch]:
    """Launch and wait for the boot; what a test leaves is terminated after it."""
    made: list[str] = []

    def one(**words: Any) -> str:
        made.append(cloud.launch(cloud.development, **words)["InstanceId"])
        booted(cloud, made[-1])
        return made[-1]

    yield one
    if made:
        ec2.terminate_instances(InstanceIds=made)
        for instance_id in made:
            cloud.await_state(cloud.development, instance_id, "terminated")


def booted(cloud: Cloud, instance_id: str) -> None:
    cloud.await_state(cloud.development, instance_id, "running")
    until(lambda: cloud.room.is_ready(instance_id))


def image_of(ec2: EC2Client, instance_id: str, **more: Any) -> dict[str, Any]:
    """Make an image, wait until it is available, and describe it."""
    image_id = ec2.create_image(InstanceId=instance_id, Name=f"made-{uuid.uuid4()}", **more)[
        "ImageId"
    ]
    until(lambda: described(ec2, image_id)["State"] != "pending", within_s=60)
    found = described(ec2, image_id)
    assert found["State"] == "available", found
    return found


def described(ec2: EC2Client, image_id: str) -> dict[str, Any]:
    found: Any = ec2.describe_images(ImageIds=[image_id])["Images"][0]
    return dict(found)


def snapshots(image: dict[str, Any]) -> dict[str, str]:
    """Device → snapshot."""
    return {m["DeviceName"]: m["Ebs"]["SnapshotId"] for m in image["BlockDeviceMappings"]}


def test_an_image_holds_what_its_running_machine_wrote_and_boots(
    cloud: Cloud, launch: Launch, ec2: EC2Client
) -> None:
    instance_id = launch()
    before = cloud.room.pid(instance_id)
    cloud.inside(instance_id, "sh", "-c", "echo hello > /etc/greeting; rm /etc/debian_version")
    image = image_of(ec2, instance_id, NoReboot=True)
    made = launch(ImageId=image["ImageId"])

    assert cloud.room.pid(instance_id) == before  # it was not rebooted
    assert cloud.inside(made, "cat", "/etc/greeting") == "hello\n"
    assert "No such file" in cloud.inside(
        made, "sh", "-c", "cat /etc/debian_version 2>&1", ok=False
    )
    base = described(ec2, cloud.base_image_id)
    for key in ("Architecture", "BootMode", "EnaSupport", "ImdsSupport", "RootDeviceName"):
        assert image[key] == base[key]
    assert (image["SourceInstanceId"], image["OwnerId"]) == (instance_id, base["OwnerId"])
    changed = cloud.development.ebs.list_changed_blocks(
        FirstSnapshotId=snapshots(base)["/dev/xvda"],
        SecondSnapshotId=snapshots(image)["/dev/xvda"],
    )["ChangedBlocks"]
    assert 0 < len(changed) < 400


def test_a_running_machine_is_restarted_for_its_image_and_a_stopped_one_stays(
    cloud: Cloud, launch: Launch, ec2: EC2Client
) -> None:
    instance_id = launch()
    before = cloud.room.pid(instance_id)
    cloud.inside(instance_id, "sh", "-c", "echo one > /root/one")
    image_of(ec2, instance_id)
    until(lambda: cloud.room.pid(instance_id) not in {None, before})
    booted(cloud, instance_id)
    kept = cloud.inside(instance_id, "cat", "/root/one")
    ec2.stop_instances(InstanceIds=[instance_id])
    with pytest.raises(ClientError, match="IncorrectInstanceState"):
        ec2.create_image(InstanceId=instance_id, Name="too early")
    cloud.await_state(cloud.development, instance_id, "stopped")
    image_of(ec2, instance_id)

    assert kept == "one\n"
    assert cloud.state(cloud.development, instance_id) == "stopped"


def test_a_volume_is_a_disk_in_its_machine_and_its_snapshot_is_what_is_on_it(
    cloud: Cloud, launch: Launch, ec2: EC2Client
) -> None:
    asked = {"DeviceName": DATA, "Ebs": {"VolumeSize": 1, "DeleteOnTermination": True}}
    instance_id = launch(BlockDeviceMappings=[asked])
    lines = f"mkfs.ext4 -q {DATA} && mount {DATA} /mnt && echo data > /mnt/file && umount /mnt"
    cloud.inside(instance_id, "sh", "-c", lines)
    (volume,) = ec2.describe_volumes(
        Filters=[
            {"Name": "attachment.instance-id", "Values": [instance_id]},
            {"Name": "attachment.device", "Values": [DATA]},
        ]
    )["Volumes"]
    snapshot_id = ec2.create_snapshot(VolumeId=volume["VolumeId"])["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig={"Delay": 1})
    again = ec2.create_volume(AvailabilityZone=volume["AvailabilityZone"], SnapshotId=snapshot_id)
    ec2.attach_volume(VolumeId=again["VolumeId"], InstanceId=instance_id, Device="/dev/sdg")
    until(lambda: attachment(ec2, again["VolumeId"]) == "attached")
    read = cloud.inside(
        instance_id, "sh", "-c", "mount /dev/xvdg /mnt && cat /mnt/file; umount /mnt"
    )
    ec2.detach_volume(VolumeId=again["VolumeId"])
    until(lambda: "gone" in cloud.inside(instance_id, "sh", "-c", "[ -e /dev/sdg ] || echo gone"))
    ec2.delete_volume(VolumeId=again["VolumeId"])

    assert read == "data\n"
    image = image_of(ec2, instance_id)
    assert set(snapshots(image)) == {"/dev/xvda", DATA}
    changed = cloud.development.ebs.list_changed_blocks(
        FirstSnapshotId=snapshot_id, SecondSnapshotId=snapshots(image)[DATA]
    )
    assert changed["ChangedBlocks"] == []


def test_a_volume_with_partitions_shows_them(cloud: Cloud, launch: Launch, ec2: EC2Client) -> None:
    instance_id = launch()
    root = snapshots(described(ec2, cloud.base_image_id))["/dev/xvda"]
    zone = cloud.describe(cloud.development, instance_id)["Placement"]["AvailabilityZone"]
    volume_id = ec2.create_volume(AvailabilityZone=zone, SnapshotId=root)["VolumeId"]
    ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdh")
    until(lambda: attachment(ec2, volume_id) == "attached")
    lines = "mount -o ro,noload /dev/xvdh1 /mnt && cat /mnt/etc/debian_version; umount /mnt"
    read = cloud.inside(instance_id, "sh", "-c", lines)
    ec2.detach_volume(VolumeId=volume_id)
    ec2.delete_volume(VolumeId=volume_id)

    assert read.startswith("12.")


def attachment(ec2: EC2Client, volume_id: str) -> str:
    return ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["Attachments"][0]["State"]
