"""A small EC2, KMS and SSM in memory, for the tests of doors: what they were asked, what is."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from botocore.exceptions import ClientError

from ovenbird.aws.clients import Account

OURS, AMAZON = "111111111111", "137112412989"
MANAGED = "arn:aws:kms:eu-west-1:111111111111:key/managed"
CUSTOMER = "arn:aws:kms:eu-west-1:111111111111:key/customer"


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.slept = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.slept, UTC)

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def refusal(code: str, message: str = "no") -> ClientError:
    return ClientError(cast("Any", {"Error": {"Code": code, "Message": message}}), "Call")


def raw(image_id: str, **given: Any) -> dict[str, Any]:
    """Return an image as DescribeImages tells it."""
    ebs = {"SnapshotId": f"snap-{image_id[4:]}", "VolumeSize": 4}
    return {
        "ImageId": image_id, "Name": image_id, "OwnerId": OURS, "State": "available",
        "Architecture": "x86_64", "RootDeviceName": "/dev/xvda", "EnaSupport": True,
        "CreationDate": "2026-01-02T03:04:05.000Z",
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": ebs | given.pop("ebs", {})}],
        "Tags": [], **given,
    }  # fmt: skip


@dataclass(kw_only=True)
class Cloud:
    """One account's view.

    Args:
        images: What DescribeImages knows.
        keys: Snapshot → key.
        copy_states: States that a copy has, one for each look; the last one stays.
        default_key: Of new volumes; empty for no encryption by default.
        parameters: Of Systems Manager.
        refuses: Call → error.
    """

    images: list[dict[str, Any]] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    copy_states: list[str] = field(default_factory=lambda: ["available"])
    default_key: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    refuses: dict[str, ClientError] = field(default_factory=dict)
    copied: list[dict[str, Any]] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    def account(self) -> Account:
        access = SimpleNamespace(region="eu-west-1", account_id=OURS)
        return cast(
            "Account",
            SimpleNamespace(account_id=OURS, access=access, ec2=self, ssm=self, kms=self),
        )

    # EC2

    def get_paginator(self, _: str) -> Any:
        return SimpleNamespace(paginate=lambda **given: [self.describe_images(**given)])

    def describe_images(self, **asked: Any) -> dict[str, Any]:
        found = [dict(image) for image in self.images if _passes(image, asked)]
        for image in self.images:
            states = image.get("States", [])
            if len(states) > 1 and _passes(image, asked):
                states.pop(0)
                image["State"] = states[0]
        return {"Images": found}

    def describe_snapshots(self, *, Filters: Any) -> dict[str, Any]:  # noqa: N803
        key = self.keys.get(Filters[0]["Values"][0])
        return {"Snapshots": [{"KmsKeyId": key}] if key else []}

    def copy_image(self, **given: Any) -> dict[str, str]:
        if error := self.refuses.get("copy_image"):
            raise error
        self.copied.append(given)
        image_id = f"ami-0000000{len(self.copied)}"
        if self.copy_states != ["gone"]:
            tags = given["TagSpecifications"][0]["Tags"]
            key = given.get("KmsKeyId", "")
            states = list(self.copy_states)
            made = raw(image_id, Name=given["Name"], Tags=tags, State=states[0], States=states)
            if key:
                made["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] = True
                self.keys[f"snap-{image_id[4:]}"] = key
            self.images.append(made)
        return {"ImageId": image_id}

    def deregister_image(self, *, ImageId: str, **_: Any) -> None:  # noqa: N803
        self.images[:] = [image for image in self.images if image["ImageId"] != ImageId]

    def get_ebs_encryption_by_default(self) -> dict[str, bool]:
        return {"EbsEncryptionByDefault": bool(self.default_key)}

    def get_ebs_default_kms_key_id(self) -> dict[str, str]:
        return {"KmsKeyId": self.default_key}

    # KMS and SSM

    def describe_key(self, *, KeyId: str) -> dict[str, Any]:  # noqa: N803
        arn = {"alias/ours": CUSTOMER, "alias/aws/ebs": MANAGED}.get(KeyId, KeyId)
        if arn not in {CUSTOMER, MANAGED}:
            raise refusal("NotFoundException")
        manager = "CUSTOMER" if arn == CUSTOMER else "AWS"
        return {"KeyMetadata": {"Arn": arn, "KeyManager": manager, "Enabled": True}}

    def get_parameter(self, *, Name: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        if Name not in self.parameters:
            raise refusal("ParameterNotFound")
        return {"Parameter": {"Value": self.parameters[Name]}}


def _passes(image: dict[str, Any], asked: dict[str, Any]) -> bool:
    tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
    told: dict[str, Callable[[], str]] = {
        "name": lambda: image["Name"],
        "state": lambda: image["State"],
        "owner-id": lambda: image["OwnerId"],
        "image-id": lambda: image["ImageId"],
        "architecture": lambda: image["Architecture"],
    }
    for one in asked.get("Filters", []):
        name = one["Name"]
        value = tags.get(name[4:], "") if name.startswith("tag:") else told[name]()
        if not any(fnmatch.fnmatchcase(value, wanted) for wanted in one["Values"]):
            return False
    ids, owners = asked.get("ImageIds"), asked.get("Owners")
    owner = "self" if image["OwnerId"] == OURS else image["OwnerId"]
    mine = not owners or {owner, image["OwnerId"], image.get("ImageOwnerAlias")} & set(owners)
    return bool(mine) and (not ids or image["ImageId"] in ids)


LONG = timedelta(days=1).total_seconds()
