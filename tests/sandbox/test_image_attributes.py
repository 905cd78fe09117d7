"""Images changed through boto3: who may launch, states, deprecation, protection, keys."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.ec2.models import ec2_backends

from ovenbird.aws.clients import Account
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.places import REGION
from tests.sandbox.drives import block, completed, image_state, snapshot_of
from tests.sandbox.keys import client, customer_key, grant, managed_key, shared_key

pytestmark = pytest.mark.sandbox

ROOT = "/dev/xvda"
GROUP_ROLE = (
    "arn:aws:iam::222222222222:role/aws-service-role/autoscaling.amazonaws.com/"
    "AWSServiceRoleForAutoScaling"
)


@pytest.fixture
def ours(endpoint: Endpoint) -> Account:
    return endpoint.development


@pytest.fixture
def theirs(endpoint: Endpoint) -> Account:
    return endpoint.production


@pytest.fixture
def image_id(ours: Account) -> str:
    return register(ours, snapshot_of(ours, {0: block(1)}))


def register(account: Account, *snapshot_ids: str, **more: Any) -> str:
    devices = [
        {"DeviceName": name, "Ebs": {"SnapshotId": snapshot_id}}
        for name, snapshot_id in zip((ROOT, "/dev/xvdb"), snapshot_ids, strict=False)
    ]
    words: Any = {
        "Name": f"image-{uuid.uuid4()}",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": ROOT,
        "BlockDeviceMappings": devices,
    } | more
    return account.ec2.register_image(**words)["ImageId"]


def described(account: Account, image_id: str, **more: Any) -> Any:
    return account.ec2.describe_images(ImageIds=[image_id], **more)["Images"][0]


def ids(account: Account, **words: Any) -> set[str]:
    return {one["ImageId"] for one in account.ec2.describe_images(**words)["Images"]}


def share(account: Account, image_id: str, *who: dict[str, str]) -> None:
    wanted: Any = {"Add": list(who)}
    account.ec2.modify_image_attribute(ImageId=image_id, LaunchPermission=wanted)


def launch(account: Account, image_id: str, **more: Any) -> Any:
    made = account.ec2.run_instances(ImageId=image_id, MinCount=1, MaxCount=1, **more)
    return made["Instances"][0]


def encrypted(account: Account, key: str) -> str:
    """Register an image whose snapshot is encrypted with a key."""
    return register(account, snapshot_of(account, {}, Encrypted=True, KmsKeyArn=key))


def test_an_image_is_shared_with_an_organisation_and_with_a_unit(
    ours: Account, theirs: Account, image_id: str
) -> None:
    organizations = client(ours, "organizations")
    organization = organizations.describe_organization()["Organization"]["Arn"]
    (root,) = organizations.list_roots()["Roots"]
    unit = organizations.create_organizational_unit(
        ParentId=root["Id"], Name=f"unit-{uuid.uuid4()}"
    )["OrganizationalUnit"]

    share(ours, image_id, {"OrganizationalUnitArn": unit["Arn"]})
    assert image_id not in ids(theirs)
    words = {"AccountId": theirs.account_id}
    organizations.move_account(**words, SourceParentId=root["Id"], DestinationParentId=unit["Id"])
    assert image_id in ids(theirs)
    assert launch(theirs, image_id)["ImageId"] == image_id
    organizations.move_account(**words, SourceParentId=unit["Id"], DestinationParentId=root["Id"])
    assert image_id not in ids(theirs)
    ours.ec2.modify_image_attribute(
        ImageId=image_id,
        Attribute="launchPermission",
        OperationType="add",
        OrganizationArns=[organization],
    )
    assert image_id in ids(theirs)
    permissions = ours.ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")[
        "LaunchPermissions"
    ]
    assert {"OrganizationArn": organization} in permissions


def test_launch_permissions_are_reset(ours: Account, theirs: Account, image_id: str) -> None:
    share(ours, image_id, {"UserId": theirs.account_id})
    ours.ec2.reset_image_attribute(ImageId=image_id, Attribute="launchPermission")

    assert image_id not in ids(theirs)


def test_a_disabled_image_is_launched_by_nobody_and_private_when_it_is_enabled(
    ours: Account, theirs: Account, image_id: str
) -> None:
    share(ours, image_id, {"UserId": theirs.account_id})
    ours.ec2.disable_image(ImageId=image_id)

    assert image_id not in ids(ours, Owners=["self"])
    assert described(ours, image_id, IncludeDisabled=True)["State"] == "disabled"
    with pytest.raises(ClientError, match=r"InvalidAMIID\.Unavailable"):
        launch(ours, image_id)
    with pytest.raises(ClientError, match="disabled"):
        share(ours, image_id, {"UserId": theirs.account_id})
    ours.ec2.enable_image(ImageId=image_id)
    assert described(ours, image_id)["State"] == "available"
    assert image_id not in ids(theirs)


def test_a_deprecated_image_is_found_by_others_only_when_they_ask(
    ours: Account, theirs: Account, image_id: str
) -> None:
    share(ours, image_id, {"UserId": theirs.account_id})
    now = datetime.now(tz=UTC)  # noqa: TID251 - the server's own time counts
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        ours.ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt=now - timedelta(minutes=2))
    ours.ec2.enable_image_deprecation(ImageId=image_id, DeprecateAt=now + timedelta(days=1))
    assert described(ours, image_id)["DeprecationTime"].endswith(":00.000Z")
    assert image_id in ids(theirs)

    ec2_backends[ours.account_id][REGION].amis[image_id].deprecate_at = now  # type: ignore[attr-defined]
    assert image_id not in ids(theirs)
    assert described(theirs, image_id)["ImageId"] == image_id
    assert image_id in ids(theirs, IncludeDeprecated=True)
    assert image_id in ids(ours, Owners=["self"])
    ours.ec2.disable_image_deprecation(ImageId=image_id)
    assert "DeprecationTime" not in described(ours, image_id)
    assert image_id in ids(theirs)


def test_a_protected_image_is_not_deregistered(ours: Account, image_id: str) -> None:
    ec2 = ours.ec2
    ec2.enable_image_deregistration_protection(ImageId=image_id)
    with pytest.raises(ClientError, match="OperationNotPermitted"):
        ec2.deregister_image(ImageId=image_id)
    ec2.disable_image_deregistration_protection(ImageId=image_id)
    ec2.enable_image_deregistration_protection(ImageId=image_id, WithCooldown=True)
    ec2.disable_image_deregistration_protection(ImageId=image_id)

    assert described(ours, image_id)["DeregistrationProtection"].startswith("enabled-until-")
    with pytest.raises(ClientError, match="OperationNotPermitted"):
        ec2.deregister_image(ImageId=image_id)


def test_deregistering_takes_the_snapshots_that_no_other_image_needs(ours: Account) -> None:
    lonely, needed = snapshot_of(ours, {0: block(1)}), snapshot_of(ours, {0: block(2)})
    other, image_id = register(ours, needed), register(ours, lonely, needed)
    answer = ours.ec2.deregister_image(ImageId=image_id, DeleteAssociatedSnapshots=True)

    assert answer["DeleteSnapshotResults"] == [
        {"SnapshotId": lonely, "ReturnCode": "success"},
        {"SnapshotId": needed, "ReturnCode": "skipped"},
    ]
    with pytest.raises(ClientError, match=r"InvalidSnapshot\.NotFound"):
        ours.ec2.describe_snapshots(SnapshotIds=[lonely])
    with pytest.raises(ClientError, match=r"InvalidAMIID\.Unavailable"):
        ours.ec2.deregister_image(ImageId=image_id)
    ours.ec2.deregister_image(ImageId=other)
    ours.ec2.delete_snapshot(SnapshotId=needed)


def test_only_its_owner_changes_an_image(ours: Account, theirs: Account, image_id: str) -> None:
    share(ours, image_id, {"UserId": theirs.account_id})
    for call in ("deregister_image", "disable_image", "enable_image"):
        with pytest.raises(ClientError, match="AuthFailure"):
            getattr(theirs.ec2, call)(ImageId=image_id)
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        theirs.ec2.deregister_image(ImageId="ami-00000000000000000")


def test_what_uses_an_image_is_found(ours: Account, image_id: str) -> None:
    instance = launch(ours, image_id)["InstanceId"]
    template = ours.ec2.create_launch_template(
        LaunchTemplateName=f"t-{uuid.uuid4()}", LaunchTemplateData={"ImageId": image_id}
    )["LaunchTemplate"]["LaunchTemplateId"]
    found = ours.ec2.describe_image_references(ImageIds=[image_id], IncludeAllResourceTypes=True)[
        "ImageReferences"
    ]

    place = "arn:aws:ec2:eu-west-1:111111111111"
    assert {one["Arn"] for one in found} == {
        f"{place}:instance/{instance}", f"{place}:launch-template/{template}",
    }  # fmt: skip
    only = ours.ec2.describe_image_references(
        ImageIds=[image_id], ResourceTypes=[{"ResourceType": "ec2:Instance"}]
    )["ImageReferences"]
    assert [one["ResourceType"] for one in only] == ["ec2:Instance"]
    assert "LastLaunchedTime" in described(ours, image_id)


def test_attributes_are_described_one_by_one(ours: Account) -> None:
    image_id = register(
        ours, snapshot_of(ours, {}), BootMode="uefi", TpmSupport="v2.0", Description="old",
        BillingProducts=["bp-6fa54006", "code1"],
    )  # fmt: skip
    ours.ec2.modify_image_attribute(ImageId=image_id, Description={"Value": "new"})
    ours.ec2.modify_image_attribute(ImageId=image_id, ImdsSupport={"Value": "v2.0"})

    def value(attribute: Any, member: str) -> Any:
        found: Any = ours.ec2.describe_image_attribute(ImageId=image_id, Attribute=attribute)
        return found[member]

    assert value("tpmSupport", "TpmSupport") == {"Value": "v2.0"}
    assert value("bootMode", "BootMode") == {"Value": "uefi"}
    assert value("description", "Description") == {"Value": "new"}
    assert value("imdsSupport", "ImdsSupport") == {"Value": "v2.0"}
    assert value("productCodes", "ProductCodes")[0]["ProductCodeId"] == "code1"
    found = described(ours, image_id)
    assert (found["UsageOperation"], found["PlatformDetails"]) == (
        "RunInstances:0010", "Red Hat Enterprise Linux",
    )  # fmt: skip
    assert found["ProductCodes"] == [{"ProductCodeId": "code1", "ProductCodeType": "marketplace"}]


def test_an_image_of_an_instance_keeps_what_its_own_image_says(ours: Account) -> None:
    source = register(
        ours, snapshot_of(ours, {5: block(5)}), BootMode="uefi", TpmSupport="v2.0",
        EnaSupport=True, ImdsSupport="v2.0", BillingProducts=["bp-6fa54006", "code2"],
    )  # fmt: skip
    extra: Any = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 3, "VolumeType": "gp3"}}
    instance = launch(ours, source, BlockDeviceMappings=[extra])["InstanceId"]
    name, tags = f"made-{uuid.uuid4()}", [{"Key": "a", "Value": "b"}]
    specifications: Any = [
        {"ResourceType": "image", "Tags": tags}, {"ResourceType": "snapshot", "Tags": tags},
    ]  # fmt: skip
    image_id = ours.ec2.create_image(
        InstanceId=instance, Name=name, TagSpecifications=specifications
    )["ImageId"]
    image_state(ours, image_id, "available")
    was, now = described(ours, source), described(ours, image_id)

    for key in ("Architecture", "BootMode", "EnaSupport", "ImdsSupport", "TpmSupport",
                "UsageOperation", "ProductCodes"):  # fmt: skip
        assert now[key] == was[key]
    devices = {one["DeviceName"]: one["Ebs"] for one in now["BlockDeviceMappings"]}
    assert {name: ebs["VolumeSize"] for name, ebs in devices.items()} == {ROOT: 1, "/dev/sdf": 3}
    (made,) = ours.ec2.describe_snapshots(SnapshotIds=[devices[ROOT]["SnapshotId"]])["Snapshots"]
    assert (made["Tags"], now["Tags"]) == (tags, tags)
    assert instance in made["Description"]
    listed = ours.ebs.list_snapshot_blocks(SnapshotId=made["SnapshotId"])["Blocks"]
    assert [row["BlockIndex"] for row in listed] == [5]
    with pytest.raises(ClientError, match=r"InvalidAMIName\.Duplicate"):
        ours.ec2.create_image(InstanceId=instance, Name=name)
    left_out: Any = [{"DeviceName": "/dev/sdf", "NoDevice": ""}]
    less = ours.ec2.create_image(
        InstanceId=instance, Name=f"less-{name}", BlockDeviceMappings=left_out
    )["ImageId"]
    assert [m["DeviceName"] for m in described(ours, less)["BlockDeviceMappings"]] == [ROOT]
    ours.ec2.terminate_instances(InstanceIds=[instance])
    with pytest.raises(ClientError, match="IncorrectInstanceState"):
        ours.ec2.create_image(InstanceId=instance, Name="too late")


def test_what_is_encrypted_with_awss_own_key_is_shared_with_nobody(ours: Account) -> None:
    snapshot_id = snapshot_of(ours, {}, Encrypted=True)
    image_id = register(ours, snapshot_id)

    assert described(ours, image_id)["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    with pytest.raises(ClientError, match="EBS default key cannot be shared"):
        ours.ec2.modify_snapshot_attribute(
            SnapshotId=snapshot_id, OperationType="add", UserIds=["222222222222"]
        )
    with pytest.raises(ClientError, match=r"InvalidParameter.*AWS Managed CMK"):
        share(ours, image_id, {"UserId": "222222222222"})
    public = encrypted(ours, customer_key(ours))
    with pytest.raises(ClientError, match="InvalidParameter"):
        share(ours, public, {"Group": "all"})


def test_an_encrypted_image_is_launched_by_who_may_use_its_key(
    ours: Account, theirs: Account
) -> None:
    private = encrypted(ours, customer_key(ours))
    shared = encrypted(ours, shared_key(ours, theirs.account_id))
    for image_id in (private, shared):
        share(ours, image_id, {"UserId": theirs.account_id})

    def state(image_id: str) -> tuple[str, str]:
        made = launch(theirs, image_id)["InstanceId"]
        found = theirs.ec2.describe_instances(InstanceIds=[made])["Reservations"][0]
        (instance,) = found["Instances"]
        return instance["State"]["Name"], instance.get("StateReason", {}).get("Code", "")

    assert state(private) == ("terminated", "Client.InternalError")
    assert state(shared)[0] == "running"
    made = launch(ours, private)["InstanceId"]
    (volume,) = ours.ec2.describe_volumes(
        Filters=[{"Name": "attachment.instance-id", "Values": [made]}]
    )["Volumes"]
    assert volume["Encrypted"] is True
    key = ours.ec2.describe_snapshots(SnapshotIds=[volume["SnapshotId"]])["Snapshots"][0]
    assert volume["KmsKeyId"] == key["KmsKeyId"]


def test_a_group_launches_what_is_encrypted_only_by_its_own_roles_grant(
    ours: Account, theirs: Account
) -> None:
    from ovenbird.sandbox import encryption  # noqa: PLC0415 - moto is slow to import

    key = shared_key(ours, theirs.account_id)

    assert encryption.may_use(key, account_id=theirs.account_id)
    assert not encryption.may_use(key, account_id=theirs.account_id, by_group=True)
    grant(ours, key, GROUP_ROLE)
    assert encryption.may_use(key, account_id=theirs.account_id, by_group=True)


def test_everything_new_is_encrypted_by_default_when_that_is_on(theirs: Account) -> None:
    ec2 = theirs.ec2
    plain = snapshot_of(theirs, {})
    assert ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
    ec2.enable_ebs_encryption_by_default()
    try:
        made = theirs.ebs.start_snapshot(VolumeSize=1)
        assert made["KmsKeyArn"] == managed_key(theirs)
        with pytest.raises(ClientError, match="ValidationException"):
            theirs.ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=plain)
        copy = ec2.copy_snapshot(SourceSnapshotId=plain, SourceRegion="eu-west-1")["SnapshotId"]
        completed(theirs, copy)
        volume = ec2.create_volume(AvailabilityZone="eu-west-1a", Size=1)
        assert volume["Encrypted"] is True
        key = customer_key(theirs)
        ec2.modify_ebs_default_kms_key_id(KmsKeyId=key)
        assert ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == key
        child = theirs.ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=copy)
        assert child["KmsKeyArn"] == managed_key(theirs)
        ec2.reset_ebs_default_kms_key_id()
    finally:
        ec2.disable_ebs_encryption_by_default()
