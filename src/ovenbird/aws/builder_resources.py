"""What a builder instance needs in the account, each thing tagged, and gone with its block.

key pair ─▶ security group ─▶ instance ─▶ image; removed in the other order

Every one has the tag ``ovenbird:temporary`` with an id and the time after which nobody needs it
any more, so that what a killed bake left is found and removed (:meth:`BuilderResources.sweep`).
An image has it only until it is whole.

Source: EC2 API reference, ImportKeyPair, CreateSecurityGroup, RunInstances, StopInstances,
CreateImage, ModifyImageAttribute; EC2 user guide, "Tag your Amazon EC2 resources".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.tags import from_aws, to_aws
from ovenbird.aws.waiting import await_state
from ovenbird.domain.errors import CloudError, Conflict, NotFound
from ovenbird.domain.images import TAG, Image
from ovenbird.domain.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef

TEMPORARY_TAG = TAG + "temporary"
STARTS_WITHIN = timedelta(minutes=10)
ENDS_WITHIN = timedelta(minutes=15)  # a shutdown may hang for some minutes before EC2 forces it
EVERY = timedelta(seconds=1)
CONSOLE_LINES = 25
_TYPES = {"arm64": "t4g.medium"}
_LIVING = ("pending", "running", "stopping", "stopped", "shutting-down")
_HINTS = {
    "InsufficientInstanceCapacity": "Name another `builders.instance_type` or `subnet_id`",
    "VcpuLimitExceeded": "Name a smaller `builders.instance_type`, or ask AWS for a higher quota",
    "Unsupported": "Name a `builders.instance_type` that exists in the subnet's zone",
    "OptInRequired": "Accept the terms of the image's product in AWS Marketplace",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderSpec:
    """How builder instances are launched, and how they are reached.

    Args:
        instance_type: Empty for a small one of the image's architecture.
        volume_gib: Of the root volume; 0 for the base image's.
        kms_key: Id, ARN or alias of the key that encrypts the root volume, and so the image;
            empty to leave it as the base image is.
        instance_profile: Name; empty for none.
        public: Whether it gets a public address and is reached by it.
        ssh_from: CIDR from which it takes SSH; empty for the network's own, ``none`` for nowhere.
        user: Who logs in.
        proxy_command: As in ssh_config(5); ``{instance_id}`` stands for the instance.
        pins_host: Whether its host key is sent to it, and no other accepted.
        open_to: ``host:port`` that package managers on it reach through this host; empty when
            it has a way out of its own.
        answers_within: How long it may take until SSH answers.
        within: How long a whole bake may take; then anybody removes it.
    """

    vpc_id: str
    subnet_id: str
    instance_type: str = ""
    volume_gib: int = 0
    kms_key: str = ""
    instance_profile: str = ""
    public: bool = False
    ssh_from: str = ""
    user: str = "root"
    proxy_command: str = ""
    pins_host: bool = True
    open_to: tuple[str, ...] = ()
    answers_within: timedelta = timedelta(minutes=10)
    within: timedelta = timedelta(hours=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Whose a resource is, and until when: ``3f2a91c0 2026-11-28T14:00:00+00:00``."""

    builder_id: str
    deadline: datetime

    @classmethod
    def find(cls, text: str) -> Mark | None:
        """Read a tag's value; None when it is not one of ours."""
        builder_id, _, deadline = text.partition(" ")
        with suppress(ValueError):
            found = datetime.fromisoformat(deadline)
            if builder_id and found.tzinfo:
                return cls(builder_id=builder_id, deadline=found)
        return None

    @property
    def name(self) -> str:
        """The name of what has names."""
        return f"ovenbird-builder-{self.builder_id}"

    def __str__(self) -> str:
        return f"{self.builder_id} {self.deadline.isoformat()}"


IsDead = Callable[[Mark], bool]


class BuilderResources:
    """What builder instances need, in one account.

    Permissions: ec2:ImportKeyPair, ec2:DeleteKeyPair, ec2:DescribeKeyPairs,
    ec2:CreateSecurityGroup, ec2:AuthorizeSecurityGroupIngress, ec2:DeleteSecurityGroup,
    ec2:DescribeSecurityGroups, ec2:DescribeVpcs, ec2:RunInstances, ec2:StopInstances,
    ec2:TerminateInstances, ec2:DescribeInstances, ec2:GetConsoleOutput, ec2:CreateTags;
    iam:PassRole on the role of the instance profile, when there is one.
    """

    def __init__(self, account: Account, spec: BuilderSpec, *, clock: Clock) -> None:
        self._ec2, self._spec, self._clock = account.ec2, spec, clock

    @contextmanager
    def key_pair(self, mark: Mark, public_key: str, tags: Mapping[str, str]) -> Iterator[str]:
        """Import a key pair's public half; yield its name."""
        try:
            with cloud_errors(f"importing key pair `{mark.name}`"):
                self._ec2.import_key_pair(
                    KeyName=mark.name,
                    PublicKeyMaterial=public_key.encode(),
                    TagSpecifications=_tagged(tags, "key-pair"),
                )
            yield mark.name
        finally:
            self.delete_key(mark.name)

    @contextmanager
    def security_group(self, mark: Mark, tags: Mapping[str, str]) -> Iterator[str]:
        """Make a group that lets SSH in, from where the spec says; yield its id."""
        with cloud_errors(f"creating security group `{mark.name}`"):
            group_id = self._ec2.create_security_group(
                GroupName=mark.name,
                Description="A builder instance of Ovenbird, while a bake lasts",
                VpcId=self._spec.vpc_id,
                TagSpecifications=_tagged(tags, "security-group"),
            )["GroupId"]
        try:
            for cidr in self._ssh_from():
                with cloud_errors(f"letting SSH into `{mark.name}`"):
                    self._ec2.authorize_security_group_ingress(
                        GroupId=group_id, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp=cidr
                    )
            yield group_id
        finally:
            self.delete_group(group_id)

    @contextmanager
    def instance(
        self, mark: Mark, base: Image, *, group_id: str, user_data: str, tags: Mapping[str, str]
    ) -> Iterator[str]:
        """Launch the base image; yield the id when it runs. It is terminated with its disk.

        Raises:
            CapacityShortage: AWS has no such instance now.
            CloudError: It ended by itself; says why.
        """
        words = launch(base, self._spec, mark=mark, group_id=group_id)
        specifications = _tagged(tags, "instance", "volume", "network-interface")
        with cloud_errors(f"launching a builder of `{base.name}`", hints=_HINTS):
            instance_id = self._ec2.run_instances(
                **words, UserData=user_data, TagSpecifications=specifications
            )["Instances"][0]["InstanceId"]
        try:
            self._await(instance_id, "running", within=STARTS_WITHIN)
            yield instance_id
        finally:
            self.terminate([instance_id])

    def address(self, instance_id: str) -> str:
        """Return the address at which the spec says an instance is reached.

        Raises:
            CloudError: It has none.
        """
        found = self._describe(instance_id)
        kind = "public" if self._spec.public else "private"
        key = "PublicIpAddress" if self._spec.public else "PrivateIpAddress"
        address = str(found.get(key, ""))
        if not address:
            raise CloudError(
                f"Builder `{instance_id}` has no {kind} address",
                hint="Look at `builders.subnet_id` and `builders.address` in the settings",
            )
        return address

    def stop(self, instance_id: str) -> None:
        """Shut an instance down; returns when it is stopped."""
        with cloud_errors(f"stopping builder `{instance_id}`"):
            self._ec2.stop_instances(InstanceIds=[instance_id])
        self._await(instance_id, "stopped", within=ENDS_WITHIN)

    def console(self, instance_id: str) -> str:
        """Return the last lines of an instance's console; empty when there are none yet."""
        with suppress(CloudError), cloud_errors(f"reading the console of `{instance_id}`"):
            text = self._ec2.get_console_output(InstanceId=instance_id).get("Output", "")
            return "\n".join(text.splitlines()[-CONSOLE_LINES:])
        return ""

    def sweep(self, is_dead: IsDead) -> tuple[str, ...]:
        """Remove what dead bakes left, and return the ids of it."""
        only = _marked()
        with cloud_errors("looking for what killed bakes left"):
            pages = self._ec2.get_paginator("describe_instances").paginate(
                Filters=[*only, {"Name": "instance-state-name", "Values": list(_LIVING)}]
            )
            instances = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
            groups = self._ec2.get_paginator("describe_security_groups").paginate(Filters=only)
            keys = self._ec2.describe_key_pairs(Filters=only)["KeyPairs"]
        dead_instances = dead(instances, "InstanceId", is_dead)
        dead_groups = dead(
            [g for page in groups for g in page["SecurityGroups"]], "GroupId", is_dead
        )
        dead_keys = dead(keys, "KeyName", is_dead)
        self.terminate(dead_instances)
        for group_id in dead_groups:
            self.delete_group(group_id)
        for name in dead_keys:
            self.delete_key(name)
        return (*dead_instances, *dead_groups, *dead_keys)

    def terminate(self, instance_ids: Sequence[str]) -> None:
        """Terminate instances; returns when they are gone."""
        if not instance_ids:
            return
        with cloud_errors(f"terminating builders {', '.join(instance_ids)}"):
            self._ec2.terminate_instances(InstanceIds=list(instance_ids))
        for instance_id in instance_ids:
            self._await(instance_id, "terminated", within=ENDS_WITHIN)

    def delete_group(self, group_id: str) -> None:
        """Delete a security group, as soon as the network of its instance is gone."""
        await_state(
            f"Security group `{group_id}`",
            lambda: self._try_delete(group_id),
            done=lambda seen: seen == "gone",
            within=ENDS_WITHIN,
            every=EVERY,
            clock=self._clock,
        )

    def delete_key(self, name: str) -> None:
        """Delete a key pair; one that is not there is no error."""
        with cloud_errors(f"deleting key pair `{name}`"):
            self._ec2.delete_key_pair(KeyName=name)

    def _try_delete(self, group_id: str) -> str:
        try:
            with cloud_errors(f"deleting security group `{group_id}`"):
                self._ec2.delete_security_group(GroupId=group_id)
        except NotFound:
            return "gone"
        except Conflict:
            return "in use"
        return "gone"

    def _ssh_from(self) -> tuple[str, ...]:
        if self._spec.ssh_from:
            return () if self._spec.ssh_from == "none" else (self._spec.ssh_from,)
        with cloud_errors(f"describing VPC `{self._spec.vpc_id}`"):
            vpc = self._ec2.describe_vpcs(VpcIds=[self._spec.vpc_id])["Vpcs"][0]
        blocks = vpc.get("CidrBlockAssociationSet") or [{"CidrBlock": vpc.get("CidrBlock", "")}]
        return tuple(block["CidrBlock"] for block in blocks)

    def _await(self, instance_id: str, state: str, *, within: timedelta) -> None:
        await_state(
            f"Builder `{instance_id}`",
            lambda: self._state(instance_id, wanted=state),
            done=lambda seen: seen == state,
            within=within,
            every=EVERY,
            clock=self._clock,
        )

    def _state(self, instance_id: str, *, wanted: str) -> str:
        """Return an instance's state, or raise when the wanted one cannot come any more."""
        try:
            found = self._describe(instance_id)
        except NotFound:  # a new one may be unknown for seconds, an old one is forgotten
            return "terminated" if wanted == "terminated" else "unknown"
        state = str(found["State"]["Name"])
        if state in {"terminated", "shutting-down"} and wanted != "terminated":
            why = found.get("StateReason", {}).get("Message", "AWS does not say why")
            raise CloudError(f"Builder `{instance_id}` is {state}: {why}")
        return state

    def _describe(self, instance_id: str) -> InstanceTypeDef:
        with cloud_errors(f"describing builder `{instance_id}`"):
            found = self._ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        if not found:
            raise NotFound(f"No instance `{instance_id}`")
        return found[0]["Instances"][0]


def launch(base: Image, spec: BuilderSpec, *, mark: Mark, group_id: str) -> dict[str, Any]:
    """Return what RunInstances is given, but for tags and user data.

    The instance ends itself when its own system shuts down: a builder whose bake died with its
    host does so at the deadline. EC2 stops it nevertheless when it is asked to.
    """
    size = max(spec.volume_gib, base.size_gib)
    disk: dict[str, Any] = {"DeleteOnTermination": True, "VolumeSize": size}
    if spec.kms_key:
        disk |= {"Encrypted": True, "KmsKeyId": spec.kms_key}
    interface = {
        "DeviceIndex": 0,
        "SubnetId": spec.subnet_id,
        "Groups": [group_id],
        "AssociatePublicIpAddress": spec.public,
    }
    profile = {"IamInstanceProfile": {"Name": spec.instance_profile}}
    return {
        "ImageId": base.image_id,
        "InstanceType": spec.instance_type or _TYPES.get(base.architecture, "t3.medium"),
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": mark.name,
        "KeyName": mark.name,
        "NetworkInterfaces": [interface],
        "BlockDeviceMappings": [{"DeviceName": base.root_device_name, "Ebs": disk}],
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        "InstanceInitiatedShutdownBehavior": "terminate",
        **(profile if spec.instance_profile else {}),
    }


def dead(found: Sequence[Mapping[str, Any]], key: str, is_dead: IsDead) -> list[str]:
    """Return the ids of those whose bake is dead; what is not marked by us is left alone."""
    ids = []
    for one in found:
        mark = Mark.find(from_aws(one.get("Tags", [])).get(TEMPORARY_TAG, ""))
        if mark is not None and is_dead(mark):
            ids.append(str(one[key]))
    return ids


def _marked() -> list[FilterTypeDef]:
    return [{"Name": "tag-key", "Values": [TEMPORARY_TAG]}]


def _tagged(tags: Mapping[str, str], *kinds: str) -> list[Any]:
    return [{"ResourceType": kind, "Tags": to_aws(tags)} for kind in kinds]
