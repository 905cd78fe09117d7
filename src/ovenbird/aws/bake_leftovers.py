"""What bakes may have left: snapshots without image, builder instances and what they needed.

The bakes' own sweeps (``unregistered.py``, ``builder_resources.py``, ``builder_images.py``)
remove what is certainly dead when the next bake begins. This shows all of it, also where no
bake begins any more, and removes one thing at a time.

Source: EC2 API reference, DescribeInstances, DescribeKeyPairs, DescribeSecurityGroups,
DescribeImages, DescribeSnapshots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ovenbird.aws.builder_images import BuilderImages
from ovenbird.aws.builder_resources import (
    TEMPORARY_TAG,
    BuilderResources,
    BuilderSpec,
    IsDead,
    Mark,
)
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.tags import from_aws
from ovenbird.aws.unregistered import Unregistered
from ovenbird.domain.images import SnapshotId
from ovenbird.domain.janitor import Kind, Leftover
from ovenbird.domain.ports import Clock

if TYPE_CHECKING:
    from ovenbird.aws.clients import Account

_LIVING = ["pending", "running", "stopping", "stopped"]
_LIVES = "a bake may still work with it"


class BakeLeftovers:
    """Things of bakes, in the account that bakes.

    Permissions: those of ``BuilderResources``, ``BuilderImages`` and ``Unregistered``.

    Args:
        account: Where bakes work.
        spec: How builders are launched; says how long a bake may take.
        is_dead: Tells whether the bake of a mark has ended.
        environment: What the account is called.
        clock: Tells which snapshots are old.
    """

    def __init__(
        self,
        account: Account,
        spec: BuilderSpec,
        *,
        is_dead: IsDead,
        environment: str,
        clock: Clock,
    ) -> None:
        self._ec2, self._spec = account.ec2, spec
        self._is_dead, self._environment = is_dead, environment
        self._unregistered = Unregistered(account.ec2, clock=clock)
        self._resources = BuilderResources(account, spec, clock=clock)
        self._images = BuilderImages(account, clock=clock)

    def list_left(self) -> tuple[Leftover, ...]:
        """Return everything with a mark of a bake, each with whether its bake may live.

        Raises:
            CloudError: AWS refused a call.
        """
        with cloud_errors("looking for what bakes left"):
            return (*self._temporary(), *self._snapshots())

    def look_again(self, leftover: Leftover) -> Leftover | None:
        """Return the same thing as it is now, or None when it is gone."""
        return next((one for one in self.list_left() if one.ident == leftover.ident), None)

    def remove(self, leftover: Leftover) -> None:
        """Remove one thing; what is gone is no error, and what an image uses stays.

        Raises:
            Unhealthy: An instance did not end, or a security group stayed in use.
        """
        match leftover.kind:
            case Kind.INSTANCE:
                self._resources.terminate([leftover.ident])
            case Kind.KEY_PAIR:
                self._resources.delete_key(leftover.ident)
            case Kind.SECURITY_GROUP:
                self._resources.delete_group(leftover.ident)
            case Kind.SNAPSHOT:
                self._unregistered.discard(SnapshotId(leftover.ident))
            case _:
                mark = leftover.tags.get(TEMPORARY_TAG, "")
                self._images.sweep(lambda found: str(found) == mark)

    def _temporary(self) -> Iterator[Leftover]:
        only: list[Any] = [{"Name": "tag-key", "Values": [TEMPORARY_TAG]}]
        states: Any = {"Name": "instance-state-name", "Values": _LIVING}
        pages = self._ec2.get_paginator("describe_instances").paginate(Filters=[*only, states])
        for one in (i for page in pages for r in page["Reservations"] for i in r["Instances"]):
            yield self._marked(Kind.INSTANCE, "InstanceId", one, at=one.get("LaunchTime"))
        groups = self._ec2.get_paginator("describe_security_groups").paginate(Filters=only)
        for group in (group for page in groups for group in page["SecurityGroups"]):
            yield self._marked(Kind.SECURITY_GROUP, "GroupId", group)
        for key in self._ec2.describe_key_pairs(Filters=only)["KeyPairs"]:
            yield self._marked(Kind.KEY_PAIR, "KeyName", key, at=key.get("CreateTime"))
        images = self._ec2.get_paginator("describe_images").paginate(Owners=["self"], Filters=only)
        for image in (image for page in images for image in page["Images"]):
            made = datetime.fromisoformat(image["CreationDate"])
            yield self._marked(Kind.IMAGE, "ImageId", image, at=made)

    def _marked(
        self, kind: Kind, key: str, raw: Mapping[str, Any], *, at: datetime | None = None
    ) -> Leftover:
        tags = from_aws(raw.get("Tags", []))
        mark = Mark.find(tags.get(TEMPORARY_TAG, ""))
        # Without a time of its own it is as old as its bake, whose end is in the mark.
        begun = mark.deadline - self._spec.within if mark else None
        used = "its mark is not one of ours"
        if mark is not None:
            used = "" if self._is_dead(mark) else _LIVES
        return Leftover(
            kind=kind,
            ident=str(raw[key]),
            name=str(raw[key]),
            environment=self._environment,
            tags=tags,
            made_at=at or begun,
            used_by=used,
        )

    def _snapshots(self) -> Iterator[Leftover]:
        for raw, is_old in self._unregistered.every():
            yield Leftover(
                kind=Kind.SNAPSHOT,
                ident=str(raw["SnapshotId"]),
                name=str(raw["SnapshotId"]),
                environment=self._environment,
                tags=from_aws(raw.get("Tags", [])),
                made_at=raw.get("CompletionTime") or raw.get("StartTime"),
                used_by="" if is_old else _LIVES,
            )
