"""Base images: found as the settings say, and made readable.

    name, tags ─▶ the newest of this owner ─┐
    id ─────────────────────────────────────┤─▶ image ─▶ ours, encrypted as wanted? ─▶ it
    parameter ─▶ id ────────────────────────┘           no ─▶ our copy of it, made once

Anyone may publish an image under any name and with any tags: its owner decides.
The EBS direct APIs do not read the snapshots of public images, so that these are copied.

Source: EC2 API reference, DescribeImages, CopyImage; EBS user guide, "FAQs for EBS direct
APIs" (public snapshots are not supported).
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from ovenbird.aws.clients import Account
from ovenbird.aws.copies import Copy, ImageCopies
from ovenbird.aws.images import Ec2Images
from ovenbird.aws.keys import KmsKeys
from ovenbird.aws.parameters import Parameters
from ovenbird.domain.errors import CloudError, InvalidRequest, NotFound
from ovenbird.domain.images import COPIED_FROM_TAG, BaseSource, Image, ImageId
from ovenbird.domain.ports import Clock, Progress
from ovenbird.domain.sharing import Key

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef

COPY_NAME = "ovenbird-base"
_IMAGE_ID = re.compile(r"ami-[0-9a-f]{8,17}")
MEND = "Run `ovenbird sandbox up`, or mend `base_images` in the settings"


class Ec2BaseImages:
    """The :class:`ovenbird.domain.ports.BaseImages` of one account.

    Permissions: ec2:DescribeImages, ec2:DescribeSnapshots, ec2:GetEbsEncryptionByDefault,
    ec2:GetEbsDefaultKmsKeyId, ssm:GetParameter, and those of :class:`ImageCopies`.

    Args:
        account: That bakes.
        kms_key: What encrypts images, by id, ARN or alias; empty for the account's default.
        clock: Waits for copies; the host's by default.
    """

    def __init__(self, account: Account, *, kms_key: str = "", clock: Clock | None = None) -> None:
        self._account = account
        self._images = Ec2Images(account)
        self._copies = ImageCopies(account, clock=clock)
        self._keys = KmsKeys(account)
        self._parameters = Parameters(account)
        self._kms_key = kms_key

    def find(self, source: BaseSource) -> Image:
        """Return the image that a source means now.

        Raises:
            NotFound: There is none.
            InvalidRequest: The source says nothing, or somebody else owns what it names.
        """
        if source.image_id:
            return self._by_id(source.image_id, source)
        if source.parameter:
            return self._by_id(self._parameter(source.parameter), source)
        if source.name or source.tags:
            return self._newest(source)
        raise InvalidRequest("A base image has no name, no tags, no parameter and no id")

    def ready(self, base: Image, *, progress: Progress) -> Image:
        """Return an image whose snapshot can be read, encrypted as is wanted: it, or our copy.

        An image with billing products stays as it is: AWS lets nobody but its owner copy it,
        and a builder instance can start from it.

        Raises:
            CloudError: AWS refused to copy it, or failed.
            Unhealthy: The copy took too long; the next call goes on with it.
        """
        if base.is_billed:
            return base
        key = self._wanted_key(base)
        if base.owner_id == self._account.account_id and key in {"", base.kms_key}:
            return base
        copy = Copy(
            source=base,
            region=self._account.access.region,
            name=copy_name(base, key),
            tags={"Name": base.name},
            kms_key=key,
        )
        return self._copies.ensure(copy, progress=progress)

    def key_of(self, base: Image) -> Key | None:
        """Return the key that encrypts what is baked on a base image, if any.

        Raises:
            NotFound: The settings name a key that does not exist.
        """
        wanted = self._wanted_key(base) or base.kms_key
        return self._keys.get(wanted) if wanted else None

    def _wanted_key(self, base: Image) -> str:
        """Return the ARN of the key that shall encrypt what is made of a base, if any.

        Where the account encrypts by default, AWS refuses a snapshot of an unencrypted parent.
        Source: EBS user guide, "Encryption outcomes for EBS direct APIs".
        """
        if self._kms_key:
            return self._keys.get(self._kms_key).arn
        if base.kms_key and base.owner_id == self._account.account_id:
            return ""
        return self._keys.default_key()

    def _parameter(self, name: str) -> str:
        value = self._parameters.get(name)
        if not _IMAGE_ID.fullmatch(value):
            raise InvalidRequest(
                f"Parameter `{name}` holds `{value[:60]}`, which is no image id",
                hint="Name the parameter whose value is the id alone, as `…/image_id`",
            )
        return value

    def _by_id(self, image_id: str, source: BaseSource) -> Image:
        try:
            image = self._images.get(ImageId(image_id))
        except NotFound as error:
            where = f", which parameter `{source.parameter}` names" if source.parameter else ""
            raise NotFound(f"No image `{image_id}`{where}", hint=MEND) from error
        if not self._images.is_owned(image, source.owner):
            raise InvalidRequest(
                f"Base image `{image_id}` (`{image.name}`) belongs to {image.owner_id}, "
                f"not to `{source.owner}`",
                hint=f'If you trust that account, write `owner: "{image.owner_id}"` beside it',
            )
        _refuse_unusable(image, source)
        return image

    def _newest(self, source: BaseSource) -> Image:
        filters: list[FilterTypeDef] = [{"Name": "state", "Values": ["available"]}]
        if source.name:
            filters.append({"Name": "name", "Values": [source.name]})
        if source.architecture:
            filters.append({"Name": "architecture", "Values": [source.architecture]})
        filters += [{"Name": f"tag:{key}", "Values": [v]} for key, v in source.tags.items()]
        found = [
            image
            for image in self._images.list_owned(source.owner, filters)
            if COPIED_FROM_TAG not in image.tags or image.name == source.name
        ]
        if not found:
            raise NotFound(f"No image {_words(source)}", hint=MEND)
        newest = max(found, key=lambda image: (image.created_at, image.image_id))
        return self._images.get(newest.image_id)


def copy_name(base: Image, key: str) -> str:
    """Return the name of our copy of a base image, one for each key that encrypts it."""
    suffix = f"-{hashlib.sha256(key.encode()).hexdigest()[:8]}" if key else ""
    return f"{COPY_NAME}/{base.image_id}{suffix}"


def _refuse_unusable(image: Image, source: BaseSource) -> None:
    if image.state != "available":
        raise CloudError(f"Base image `{image.image_id}` is `{image.state}`", hint=MEND)
    if source.architecture not in {"", image.architecture}:
        raise InvalidRequest(
            f"Base image `{image.image_id}` is for {image.architecture}, "
            f"not for {source.architecture}",
            hint="Mend `architecture` or the image in `base_images`",
        )


def _words(source: BaseSource) -> str:
    what = f"is named `{source.name}`"
    if source.tags:
        what = "has the tags " + ", ".join(f"`{k}={v}`" for k, v in source.tags.items())
    whose = "" if source.owner == "self" else f" and belongs to `{source.owner}`"
    return f"{what}{whose}" + (f", for {source.architecture}" if source.architecture else "")
