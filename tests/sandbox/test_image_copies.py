"""CopySnapshot and CopyImage through boto3; the same would hold on AWS."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ovenbird.aws.clients import Account
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.places import REGION
from tests.sandbox.drives import block, completed, image_state, put, snapshot_of
from tests.sandbox.keys import client, customer_key, grant, managed_key, shared_key

pytestmark = pytest.mark.sandbox

NAME = "/dev/xvda"


@pytest.fixture
def ours(endpoint: Endpoint) -> Account:
    return endpoint.development


@pytest.fixture
def theirs(endpoint: Endpoint) -> Account:
    return endpoint.production


def register(account: Account, snapshot_id: str, **more: Any) -> str:
    words: Any = {
        "Name": f"base-{uuid.uuid4()}",
        "Architecture": "arm64",
        "BootMode": "uefi",
        "EnaSupport": True,
        "ImdsSupport": "v2.0",
        "TpmSupport": "v2.0",
        "VirtualizationType": "hvm",
        "RootDeviceName": NAME,
        "BlockDeviceMappings": [{"DeviceName": NAME, "Ebs": {"SnapshotId": snapshot_id}}],
    } | more
    return account.ec2.register_image(**words)["ImageId"]


def copy(account: Account, image_id: str, **more: Any) -> str:
    words: Any = {"Name": f"copy-{uuid.uuid4()}", "SourceImageId": image_id, "SourceRegion": REGION}
    return account.ec2.copy_image(**words | more)["ImageId"]


def copy_snapshot(account: Account, snapshot_id: str, **more: Any) -> str:
    made = account.ec2.copy_snapshot(SourceSnapshotId=snapshot_id, SourceRegion=REGION, **more)
    return made["SnapshotId"]


def described(account: Account, image_id: str) -> Any:
    return account.ec2.describe_images(ImageIds=[image_id])["Images"][0]


def snapshot(account: Account, snapshot_id: str) -> Any:
    return account.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]


def share(account: Account, image_id: str, *, with_snapshot: bool, group: str = "") -> None:
    who: Any = {"UserId": "222222222222"} if not group else {"Group": group}
    account.ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [who]})
    if with_snapshot:
        for mapping in described(account, image_id)["BlockDeviceMappings"]:
            account.ec2.modify_snapshot_attribute(
                SnapshotId=mapping["Ebs"]["SnapshotId"],
                Attribute="createVolumePermission",
                CreateVolumePermission={"Add": [who]},
            )


def test_a_copy_of_a_snapshot_has_its_blocks_and_is_pending_at_first(ours: Account) -> None:
    source = snapshot_of(ours, {0: block(1), 7: block(2)})
    tags: Any = [{"ResourceType": "snapshot", "Tags": [{"Key": "for", "Value": "us"}]}]
    made = copy_snapshot(ours, source, Description="a copy", TagSpecifications=tags)
    first = snapshot(ours, made)
    completed(ours, made)

    assert (first["State"], first["Description"], first["VolumeSize"]) == ("pending", "a copy", 1)
    assert first["Tags"] == [{"Key": "for", "Value": "us"}]
    assert "KmsKeyId" not in first
    listed = ours.ebs.list_snapshot_blocks(SnapshotId=made)["Blocks"]
    assert [row["BlockIndex"] for row in listed] == [0, 7]
    changed = ours.ebs.list_changed_blocks(FirstSnapshotId=source, SecondSnapshotId=made)
    assert changed["ChangedBlocks"] == []


def test_a_copy_lives_on_without_its_source(ours: Account) -> None:
    source = snapshot_of(ours, {3: block(9)})
    made = completed(ours, copy_snapshot(ours, source))
    ours.ec2.delete_snapshot(SnapshotId=source)

    (row,) = ours.ebs.list_snapshot_blocks(SnapshotId=made)["Blocks"]
    read = ours.ebs.get_snapshot_block(
        SnapshotId=made, BlockIndex=row["BlockIndex"], BlockToken=row["BlockToken"]
    )
    assert read["BlockData"].read() == block(9)


def test_an_image_is_copied_with_everything_that_decides_how_it_boots(ours: Account) -> None:
    source = register(ours, snapshot_of(ours, {0: block(1)}), Description="the base")
    tags: Any = [
        {"ResourceType": "image", "Tags": [{"Key": "a", "Value": "1"}]},
        {"ResourceType": "snapshot", "Tags": [{"Key": "b", "Value": "2"}]},
    ]
    made = copy(ours, source, TagSpecifications=tags)
    first = described(ours, made)
    ours.ec2.get_waiter("image_available").wait(ImageIds=[made], WaiterConfig={"Delay": 1})
    was, now = described(ours, source), described(ours, made)

    assert first["State"] == "pending"
    for key in (
        "Architecture", "BootMode", "EnaSupport", "ImdsSupport", "TpmSupport", "RootDeviceName",
        "VirtualizationType", "Description", "UsageOperation", "PlatformDetails",
    ):  # fmt: skip
        assert now[key] == was[key]
    assert (now["State"], now["SourceImageId"]) == ("available", source)
    assert now["Tags"] == [{"Key": "a", "Value": "1"}]
    root = now["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert root != was["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert snapshot(ours, root)["Tags"] == [{"Key": "b", "Value": "2"}]


def test_own_tags_are_copied_when_asked_for(ours: Account) -> None:
    source = register(ours, snapshot_of(ours, {}))
    ours.ec2.create_tags(Resources=[source], Tags=[{"Key": "k", "Value": "v"}])

    assert described(ours, copy(ours, source)).get("Tags", []) == []
    assert described(ours, copy(ours, source, CopyImageTags=True))["Tags"] == [
        {"Key": "k", "Value": "v"}
    ]


def test_an_image_is_copied_into_another_region(ours: Account) -> None:
    source = register(ours, snapshot_of(ours, {2: block(5)}))
    there = client(ours, "ec2", region="eu-central-1")
    made = there.copy_image(Name="far", SourceImageId=source, SourceRegion=REGION)["ImageId"]
    there.get_waiter("image_available").wait(ImageIds=[made], WaiterConfig={"Delay": 1})

    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        described(ours, made)
    assert there.describe_images(ImageIds=[made])["Images"][0]["SourceImageRegion"] == REGION


def test_the_same_client_token_makes_one_copy(ours: Account) -> None:
    source = register(ours, snapshot_of(ours, {}))
    words = {"Name": f"once-{uuid.uuid4()}", "ClientToken": str(uuid.uuid4())}
    first = copy(ours, source, **words)

    assert copy(ours, source, **words) == first
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        copy(ours, source, **words | {"Name": "other name"})
    with pytest.raises(ClientError, match=r"InvalidAMIName\.Duplicate"):
        copy(ours, source, Name=words["Name"])


def test_what_another_account_shares_is_copied_when_its_snapshot_is_shared_too(
    ours: Account, theirs: Account
) -> None:
    image_id = register(ours, snapshot_of(ours, {4: block(4)}))

    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        copy(theirs, image_id)
    share(ours, image_id, with_snapshot=False)
    with pytest.raises(ClientError, match="permission to access the storage of this ami"):
        copy(theirs, image_id)
    share(ours, image_id, with_snapshot=True)
    made = described(theirs, copy(theirs, image_id))

    assert made["OwnerId"] == theirs.account_id
    root = made["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert snapshot(theirs, root)["OwnerId"] == theirs.account_id


def test_a_public_image_is_copied_and_not_read(ours: Account, theirs: Account) -> None:
    snapshot_id = snapshot_of(ours, {1: block(1)})
    image_id = register(ours, snapshot_id)
    share(ours, image_id, with_snapshot=True, group="all")

    assert described(theirs, image_id)["Public"] is True
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        theirs.ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
    assert len(ours.ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"]) == 1
    made = copy(theirs, image_id)
    theirs.ec2.get_waiter("image_available").wait(ImageIds=[made], WaiterConfig={"Delay": 1})
    root = described(theirs, made)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert len(theirs.ebs.list_snapshot_blocks(SnapshotId=root)["Blocks"]) == 1


@pytest.mark.parametrize(
    ("product", "why"), [("bp-6fa54006", "BillingProduct"), ("abc123def456", "Marketplace")]
)
def test_what_is_billed_is_not_copied_by_others(
    ours: Account, theirs: Account, product: str, why: str
) -> None:
    image_id = register(ours, snapshot_of(ours, {}), BillingProducts=[product])
    share(ours, image_id, with_snapshot=True)

    with pytest.raises(ClientError, match=f"InvalidRequest.*{why}"):
        copy(theirs, image_id)


def test_a_copy_is_encrypted_with_the_key_that_is_named(ours: Account) -> None:
    key = customer_key(ours)
    image_id = copy(ours, register(ours, snapshot_of(ours, {})), Encrypted=True, KmsKeyId=key)
    ebs = described(ours, image_id)["BlockDeviceMappings"][0]["Ebs"]

    assert ebs["Encrypted"] is True
    assert snapshot(ours, ebs["SnapshotId"])["KmsKeyId"] == key
    plain = snapshot_of(ours, {})
    with pytest.raises(ClientError, match="requires Encrypted"):
        copy_snapshot(ours, plain, KmsKeyId=key)
    default = copy_snapshot(ours, plain, Encrypted=True)
    assert snapshot(ours, default)["KmsKeyId"] == managed_key(ours)


def test_a_copy_with_a_key_that_cannot_be_used_ends_in_error(
    ours: Account, theirs: Account
) -> None:
    made = copy_snapshot(ours, snapshot_of(ours, {}), Encrypted=True, KmsKeyId=customer_key(theirs))
    found = completed(ours, made, state="error")

    assert "not accessible" in snapshot(ours, found)["StateMessage"]
    image_id = copy(ours, register(ours, snapshot_of(ours, {})), Encrypted=True, KmsKeyId="gone")
    assert image_state(ours, image_id, "failed") == "failed"
    assert "not accessible" in described(ours, image_id)["StateReason"]["Message"]


def test_an_encrypted_snapshot_is_copied_by_who_may_use_its_key(
    ours: Account, theirs: Account
) -> None:
    private, shared = customer_key(ours), shared_key(ours, theirs.account_id)
    ids = []
    for key in (private, shared):
        made = ours.ebs.start_snapshot(VolumeSize=1, Encrypted=True, KmsKeyArn=key)
        assert made["KmsKeyArn"] == key
        put(ours, made["SnapshotId"], 0, block(3))
        ours.ebs.complete_snapshot(SnapshotId=made["SnapshotId"], ChangedBlocksCount=1)
        completed(ours, made["SnapshotId"])
        ours.ec2.modify_snapshot_attribute(
            SnapshotId=made["SnapshotId"],
            OperationType="add",
            UserIds=[theirs.account_id],
        )
        ids.append(made["SnapshotId"])

    completed(theirs, copy_snapshot(theirs, ids[0]), state="error")
    good = completed(theirs, copy_snapshot(theirs, ids[1]))
    assert snapshot(theirs, good)["KmsKeyId"] == managed_key(theirs)
    grant(ours, private, theirs.account_id)
    completed(theirs, copy_snapshot(theirs, ids[0]))


def test_what_is_not_there_is_not_copied(ours: Account) -> None:
    pending = ours.ebs.start_snapshot(VolumeSize=1)["SnapshotId"]

    with pytest.raises(ClientError, match="IncorrectState"):
        copy_snapshot(ours, pending)
    with pytest.raises(ClientError, match=r"InvalidSnapshot\.NotFound"):
        copy_snapshot(ours, "snap-00000000000000000")
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        copy(ours, "ami-00000000000000000")
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        copy(ours, "ami-00000000000000000", SourceRegion="nowhere-1")
