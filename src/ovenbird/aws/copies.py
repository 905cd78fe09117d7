"""Copies of images: made once for each name, found again when it was interrupted.

    of that name? ─▶ no: CopyImage with a token and tags ─▶ wait, and tell ─▶ available
                  ─▶ yes, also half-made: ───────────────▶ wait, and tell ─▶ available

Source: EC2 API reference, CopyImage; EC2 user guide, "Copy an Amazon EC2 AMI".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.images import Ec2Images
from ovenbird.aws.tags import to_aws
from ovenbird.aws.waiting import await_state
from ovenbird.domain.errors import CloudError, Conflict, NotFound
from ovenbird.domain.images import COPIED_FROM_TAG, DISABLED, Image, ImageId
from ovenbird.domain.ports import Clock, Progress
from ovenbird.system.clock import SystemClock

if TYPE_CHECKING:
    from datetime import datetime

COPIED_WITHIN = timedelta(hours=2)  # "best-effort", AWS says; a large first copy takes long
UNKNOWN_WITHIN = timedelta(minutes=1)  # after which an id that EC2 does not know never was
SHARED_WITHIN = timedelta(seconds=30)  # after which a permission is known everywhere
TOLD_EVERY = timedelta(seconds=30)
LOOKED_EVERY = timedelta(seconds=2)
ATTEMPTS = 3
_FAILED = frozenset({"failed", "error", "invalid", "deregistered", "disabled"})
_GONE = "gone"
_NOT_ALLOWED = (
    "Its owner must let this account read the snapshot, too; images with billing products "
    "cannot be copied by others: bake those with `strategy: instance`"
)
HINTS = {
    "InvalidRequest": _NOT_ALLOWED,
    "AuthFailure": _NOT_ALLOWED,
    "InvalidParameterCombination": "Look at `kms_key` in the settings",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy that shall be.

    Args:
        source: The image, as this account sees it in the Region where it is.
        region: That Region.
        name: Of the copy; what has this name already is the copy.
        tags: Of the copy and its snapshot.
        kms_key: What encrypts it; empty for as the source.
    """

    source: Image
    region: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    kms_key: str = ""


class ImageCopies:
    """Copies of images into one account.

    Permissions: ec2:DescribeImages, ec2:CopyImage, ec2:CreateTags, ec2:DeregisterImage; with a
    key also kms:CreateGrant, kms:Decrypt, kms:DescribeKey, kms:GenerateDataKeyWithoutPlaintext
    and kms:ReEncrypt* on it.

    Args:
        account: Whose the copies are.
        clock: Waits; the host's by default.
    """

    def __init__(self, account: Account, *, clock: Clock | None = None) -> None:
        self._account = account
        self._images = Ec2Images(account)
        self._clock = clock or SystemClock()

    def find(self, copy: Copy) -> Image | None:
        """Return the copy, also a half-made one.

        Raises:
            Conflict: Another image has the name.
        """
        found = self._images.find_by_name(copy.name)
        if found and found.state == DISABLED:
            return None  # another one may have its name: CopyImage does not mind
        if found and found.tags.get(COPIED_FROM_TAG) != copy.source.image_id:
            raise Conflict(
                f"Image `{found.image_id}` is named `{copy.name}`, and is no copy of "
                f"`{copy.source.image_id}`",
                hint="Give it another name, or deregister it",
            )
        return found

    def ensure(self, copy: Copy, *, progress: Progress) -> Image:
        """Return the copy, made now if need be, when it is available.

        Killed in between, the next call goes on with the half-made copy. A copy that failed is
        deregistered.

        Raises:
            Conflict: Another image has the name.
            CloudError: AWS refused, or failed to copy.
            Unhealthy: It took too long; it goes on in AWS.
        """
        token = _token(copy)
        for _ in range(ATTEMPTS):
            found = self.find(copy)
            image_id = found.image_id if found else self._begin(copy, token, progress)
            if self._settle(image_id, copy, progress) != _GONE:
                return self._images.get(image_id)
            token = _digest(token + image_id)  # AWS may answer the old token with the old id
        raise CloudError(
            f"The copy of `{copy.source.image_id}` vanished while it was made",
            hint="Does something deregister images in this account?",
        )

    def remove(self, copy: Copy) -> None:
        """Deregister a copy and delete its snapshots, if there is one; safe to repeat."""
        found = self.find(copy)
        if found is None:
            return
        with cloud_errors(f"removing copy `{found.image_id}`"):
            self._account.ec2.deregister_image(
                ImageId=found.image_id, DeleteAssociatedSnapshots=True
            )

    def _begin(self, copy: Copy, token: str, progress: Progress) -> ImageId:
        """Begin a copy; what another account shares just now is known here after seconds."""
        source, begun = copy.source, self._clock.now()
        progress(f"Copying `{source.name}` ({source.image_id}) into {self._account.account_id}")
        while True:
            try:
                return self._call(copy, token)
            except NotFound:
                is_ours = source.owner_id == self._account.account_id
                if is_ours or self._clock.now() - begun >= SHARED_WITHIN:
                    raise
            self._clock.sleep(LOOKED_EVERY.total_seconds())

    def _call(self, copy: Copy, token: str) -> ImageId:
        source = copy.source
        tags = to_aws({**copy.tags, COPIED_FROM_TAG: source.image_id})
        key: dict[str, Any] = {"Encrypted": True, "KmsKeyId": copy.kms_key} if copy.kms_key else {}
        with cloud_errors(f"copying image `{source.image_id}`", hints=HINTS):
            answer = self._account.ec2.copy_image(
                Name=copy.name,
                SourceImageId=source.image_id,
                SourceRegion=copy.region,
                ClientToken=token,
                Description=f"Copy of {source.image_id}"[:255],
                TagSpecifications=[
                    {"ResourceType": "image", "Tags": tags},
                    {"ResourceType": "snapshot", "Tags": tags},
                ],
                **key,
            )
        return ImageId(answer["ImageId"])

    def _settle(self, image_id: ImageId, copy: Copy, progress: Progress) -> str:
        """Return ``available`` or ``gone`` when it has become so."""
        watch = _Watch(begun=self._clock.now(), told=self._clock.now())

        def look() -> str:
            state, now = self._state(image_id), self._clock.now()
            if state == "pending" and now - watch.told >= TOLD_EVERY:
                waited = (now - watch.begun).total_seconds()
                progress(f"Still copying `{copy.source.name}` after {waited:.0f} s")
                watch.told = now
            if state == "unknown" and now - watch.begun >= UNKNOWN_WITHIN:
                return _GONE
            return state

        return await_state(
            f"Copy `{image_id}` of `{copy.source.image_id}`",
            look,
            done=lambda state: state in {"available", _GONE},
            within=COPIED_WITHIN,
            every=LOOKED_EVERY,
            clock=self._clock,
        )

    def _state(self, image_id: ImageId) -> str:
        with cloud_errors(f"looking at copy `{image_id}`"):
            try:
                with cloud_errors("looking"):
                    found = self._account.ec2.describe_images(ImageIds=[image_id])["Images"]
            except NotFound:
                return "unknown"
        if not found:
            return "unknown"
        state = str(found[0].get("State", ""))
        if state in _FAILED:
            reason = found[0].get("StateReason", {}).get("Message", "AWS gives no reason")
            self._deregister(image_id)
            raise CloudError(
                f"Copying to `{image_id}` ended as `{state}`: {reason}",
                hint="With a key: may this account, and who shares the image, use it?",
            )
        return state

    def _deregister(self, image_id: ImageId) -> None:
        with cloud_errors(f"deregistering the failed copy `{image_id}`"):
            self._account.ec2.deregister_image(ImageId=image_id, DeleteAssociatedSnapshots=True)


@dataclass(slots=True, kw_only=True)
class _Watch:
    """When it began, and when that it lasts was last told."""

    begun: datetime
    told: datetime


def _token(copy: Copy) -> str:
    """Return a client token of all that CopyImage is given: EC2 refuses it with other things."""
    given = [copy.name, copy.source.image_id, copy.region, dict(copy.tags), copy.kms_key]
    return _digest(json.dumps(given, sort_keys=True))


def _digest(text: str) -> str:
    """Return a client token: at most 64 ASCII characters."""
    return hashlib.sha256(text.encode()).hexdigest()
