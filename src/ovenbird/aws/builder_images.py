"""The image of a builder: made by CreateImage, offered when it is whole, removed when not.

CreateImage, marked ─▶ available ─▶ IMDSv2 required ─▶ completed ─▶ bake key ─▶ mark removed

Only an image with a bake key is found by a later bake, so one of a bake that was killed on the
way is never taken for a result.

Source: EC2 API reference, CreateImage, ModifyImageAttribute (ImdsSupport), DeregisterImage.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ovenbird.aws.builder_resources import TEMPORARY_TAG, IsDead, Mark, dead
from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.images import Ec2Images
from ovenbird.aws.tags import from_aws, to_aws
from ovenbird.aws.waiting import await_state
from ovenbird.domain.errors import CloudError, Conflict, NotFound
from ovenbird.domain.images import BAKE_KEY_TAG, Image, ImageId
from ovenbird.domain.ports import Clock, Completing, Progress

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef

AVAILABLE_WITHIN = timedelta(hours=1)  # the first snapshot of a volume is a copy of all of it
EVERY = timedelta(seconds=1)
_HINTS = {"InvalidAMIName.Duplicate": "Another bake made it meanwhile: start the command again"}
_LOST = frozenset({"failed", "error", "invalid", "deregistered"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A stopped instance that becomes an image, and the mark of all that is its bake's."""

    instance_id: str
    mark: Mark


class BuilderImages:
    """Images of builders, in one account.

    Permissions: ec2:CreateImage, ec2:DescribeImages, ec2:DescribeSnapshots,
    ec2:ModifyImageAttribute, ec2:CreateTags, ec2:DeleteTags, ec2:DeregisterImage,
    ec2:DeleteSnapshot.
    """

    def __init__(self, account: Account, *, clock: Clock) -> None:
        self._ec2, self._clock = account.ec2, clock
        self._images = Ec2Images(account, clock=clock)

    def make(
        self,
        captured: Captured,
        *,
        name: str,
        tags: Mapping[str, str],
        complete: Completing,
        progress: Progress,
    ) -> Image:
        """Make an image of a stopped instance, tagged as its snapshots are.

        One that cannot be offered is removed again.

        Args:
            captured: The instance.
            name: The image's.
            tags: With the bake's key.
            complete: Called before the image gets that key, and again by the next bake when
                this one is killed; the image is removed when it fails.
            progress: Told how far the copy of the disk is.

        Raises:
            Conflict: Another image has the name.
            CloudError: AWS could not make it.
        """
        mark = captured.mark
        marked = {key: value for key, value in tags.items() if key != BAKE_KEY_TAG}
        pairs = to_aws(marked | {TEMPORARY_TAG: str(mark)})
        image_id = self._created(captured.instance_id, name, pairs, mark)
        try:
            self._await(image_id, mark, progress)
            return self._offer(image_id, tags[BAKE_KEY_TAG], complete)
        except BaseException:
            with suppress(CloudError):  # then the next bake does it
                self.sweep(lambda found: found == mark)
            raise

    def _created(self, instance_id: str, name: str, pairs: list[Any], mark: Mark) -> ImageId:
        """Call CreateImage, which takes no client token: a lost answer makes the name taken."""
        try:
            with cloud_errors(f"creating image `{name}`", hints=_HINTS):
                answer = self._ec2.create_image(
                    InstanceId=instance_id,
                    Name=name,
                    TagSpecifications=[
                        {"ResourceType": "image", "Tags": pairs},
                        {"ResourceType": "snapshot", "Tags": pairs},
                    ],
                )
        except Conflict:
            earlier = self._images.find_by_name(name)
            if earlier is None or earlier.tags.get(TEMPORARY_TAG) != str(mark):
                raise
            return earlier.image_id
        return ImageId(answer["ImageId"])

    def sweep(self, is_dead: IsDead) -> tuple[str, ...]:
        """Remove images that were not finished, and their snapshots; return the ids."""
        only: list[FilterTypeDef] = [{"Name": "tag-key", "Values": [TEMPORARY_TAG]}]
        with cloud_errors("looking for images that killed bakes left"):
            image_pages = self._ec2.get_paginator("describe_images").paginate(
                Owners=["self"], Filters=only
            )
            images = [image for page in image_pages for image in page["Images"]]
            snapshot_pages = self._ec2.get_paginator("describe_snapshots").paginate(
                OwnerIds=["self"], Filters=only
            )
            snapshots = [one for page in snapshot_pages for one in page["Snapshots"]]
        whole = [image for image in images if _is_whole(image)]
        for image in whole:  # killed between its last two calls
            self._unmark([str(image["ImageId"]), *_snapshots_of(image)])
        kept = {snapshot_id for image in whole for snapshot_id in _snapshots_of(image)}
        dead_images = dead([one for one in images if not _is_whole(one)], "ImageId", is_dead)
        dead_snapshots = [one for one in dead(snapshots, "SnapshotId", is_dead) if one not in kept]
        for image_id in dead_images:
            with suppress(NotFound), cloud_errors(f"deregistering image `{image_id}`"):
                self._ec2.deregister_image(ImageId=image_id)
        return (*dead_images, *(one for one in dead_snapshots if self._is_deleted(one)))

    def _is_deleted(self, snapshot_id: str) -> bool:
        """Delete a snapshot; false while an image has it, as EC2 knows.

        That image may be gone since a moment: then the next bake deletes the snapshot. Or it
        is whole, and a killed bake took the mark from it alone.
        """
        try:
            with suppress(NotFound), cloud_errors(f"deleting snapshot `{snapshot_id}`"):
                self._ec2.delete_snapshot(SnapshotId=snapshot_id)
        except Conflict:
            return False
        return True

    def _await(self, image_id: ImageId, mark: Mark, progress: Progress) -> None:
        told = ""

        def look() -> str:
            nonlocal told
            state = self._state(image_id)
            if state == "pending" and (done := self._copied(mark)) not in {"", told}:
                told = done
                progress(f"Image `{image_id}`: {done} of its disk is copied")
            return state

        await_state(
            f"Image `{image_id}`",
            look,
            done=lambda state: state == "available",
            within=AVAILABLE_WITHIN,
            every=EVERY,
            clock=self._clock,
        )

    def _state(self, image_id: ImageId) -> str:
        with cloud_errors(f"describing image `{image_id}`"):
            answer = self._ec2.describe_images(
                Filters=[{"Name": "image-id", "Values": [image_id]}], Owners=["self"]
            )
        found = answer["Images"]
        if not found:
            return "unknown"  # EC2 may not know a new id for seconds
        state = str(found[0].get("State", ""))
        if state in _LOST:
            why = found[0].get("StateReason", {}).get("Message", "AWS does not say why")
            raise CloudError(f"Image `{image_id}` ended in state `{state}`: {why}")
        return state

    def _copied(self, mark: Mark) -> str:
        """Return how far the snapshot is, as ``42%``."""
        with cloud_errors("describing the snapshot of a builder"):
            found = self._ec2.describe_snapshots(
                OwnerIds=["self"],
                Filters=[{"Name": f"tag:{TEMPORARY_TAG}", "Values": [str(mark)]}],
            )["Snapshots"]
        return str(found[0].get("Progress", "")) if found else ""

    def _offer(self, image_id: ImageId, bake_key: str, complete: Completing) -> Image:
        """Let bakes find the image, last of all; then it is no garbage any more."""
        with cloud_errors(f"requiring IMDSv2 of image `{image_id}`"):
            self._ec2.modify_image_attribute(ImageId=image_id, ImdsSupport={"Value": "v2.0"})
        more = complete(self._images.get(image_id))
        snapshots = self._snapshot_ids(image_id)
        pairs = to_aws({**more, BAKE_KEY_TAG: bake_key})  # in one call: all of them, or none
        with cloud_errors(f"tagging image `{image_id}`"):
            self._ec2.create_tags(Resources=snapshots, Tags=pairs)
            self._ec2.create_tags(Resources=[image_id], Tags=pairs)
        self._unmark([image_id, *snapshots])
        return self._images.get(image_id)

    def _snapshot_ids(self, image_id: ImageId) -> list[str]:
        with cloud_errors(f"describing image `{image_id}`"):
            found = self._ec2.describe_images(ImageIds=[image_id])["Images"]
        if not found:
            raise NotFound(f"Image `{image_id}` is gone")
        return _snapshots_of(found[0])

    def _unmark(self, ids: list[str]) -> None:
        with cloud_errors(f"tagging image `{ids[0]}`"):
            self._ec2.delete_tags(Resources=ids, Tags=[{"Key": TEMPORARY_TAG}])


def _is_whole(image: Any) -> bool:
    return BAKE_KEY_TAG in from_aws(image.get("Tags", []))


def _snapshots_of(image: Any) -> list[str]:
    mappings = [one.get("Ebs", {}) for one in image.get("BlockDeviceMappings", [])]
    return [str(ebs["SnapshotId"]) for ebs in mappings if "SnapshotId" in ebs]
