"""Named bytes in an S3 bucket: each write is all or nothing, as S3 itself has it.

What several writers share is changed by conditional writes: ``If-None-Match: *`` creates, and
``If-Match`` with the ETag that was read swaps. S3 answers 412 to who comes too late, and 409
(ConditionalRequestConflict) to who comes at the very same time, which is asked again.

Source: S3 user guide, "How to prevent object overwrites with conditional writes" (for all
buckets since 2024) and "Data consistency model" (a read after a write sees it); S3 API
reference, PutObject, CompleteMultipartUpload, CopyObject, ListObjectsV2.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.uploads import upload
from ovenbird.domain.errors import Conflict, NotFound, Throttled
from ovenbird.domain.ports import Clock
from ovenbird.domain.storing import stored_name
from ovenbird.system.clock import SystemClock

ATTEMPTS = 8  # of a conditional write that meets another one, with a pause that doubles
FIRST_PAUSE_S = 0.1
FIRST_REGION = "us-east-1"  # the one that CreateBucket must not name
SHUT = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
_COPY = TransferConfig(multipart_threshold=5 << 30)  # what CopyObject takes at most


class BucketStorage:
    """The storage that a bucket, or a prefix in it, is.

    Permissions: ``s3:GetObject``, ``s3:PutObject``, ``s3:DeleteObject``,
    ``s3:AbortMultipartUpload`` on the objects; ``s3:ListBucket`` on the bucket, without which S3
    answers 403 for a name that is not there. For :meth:`ensure` also ``s3:CreateBucket``,
    ``s3:PutBucketPublicAccessBlock`` and ``s3:PutEncryptionConfiguration``.

    Args:
        account: Whose credentials are used.
        bucket: Its name.
        prefix: What all names begin with in the bucket, without slashes at its ends; may be empty.
        clock: Waits between attempts; the host's by default.
    """

    def __init__(
        self, account: Account, bucket: str, prefix: str = "", *, clock: Clock | None = None
    ) -> None:
        self._account, self._bucket = account, bucket
        self._prefix = f"{stored_name(prefix)}/" if prefix else ""
        self._clock = clock or SystemClock()

    @property
    def url(self) -> str:
        """``s3://BUCKET/PREFIX``, without a slash at the end."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def read(self, name: str) -> bytes:
        """Return all bytes.

        Raises:
            NotFound: There is no such name, or no such bucket.
            CloudError: AWS refused.
        """
        with self.open(name) as (file, _size):
            return file.read()

    @contextmanager
    def open(self, name: str, *, start: int = 0) -> Iterator[tuple[BinaryIO, int]]:
        """Give the bytes as they come, from the byte *start* on, and the size of the whole.

        Raises:
            NotFound: There is no such name, or no such bucket.
            CloudError: AWS refused.
        """
        place = self._place(name)
        with self._errors("reading", name):
            try:
                found = self._account.s3.get_object(**place, Range=f"bytes={start}-")
            except ClientError as error:
                if error.response["Error"]["Code"] != "InvalidRange":
                    raise
                yield BytesIO(), self._account.s3.head_object(**place)["ContentLength"]
                return
            with found["Body"] as body:
                yield cast("BinaryIO", body), int(found["ContentRange"].rpartition("/")[2])

    def find(self, name: str) -> tuple[bytes, str] | None:
        """Return the bytes and their version (the ETag), or nothing when they are not there.

        Raises:
            NotFound: There is no such bucket.
            CloudError: AWS refused.
        """
        with self._errors("reading", name):
            try:
                found = self._account.s3.get_object(**self._place(name))
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchKey":
                    raise
                return None
            with found["Body"] as body:
                return body.read(), found["ETag"]

    def exists(self, name: str) -> bool:
        """Tell whether the name is there.

        Raises:
            CloudError: AWS refused.
        """
        with suppress(NotFound), self._errors("looking for", name):
            self._account.s3.head_object(**self._place(name))
            return True
        return False

    def write(self, name: str, data: bytes | Path) -> None:
        """Store bytes, or the bytes of a file, whatever is there.

        Raises:
            NotFound: The file to store is gone, or there is no such bucket.
            CloudError: AWS refused.
        """
        self._upload(name, data, {})

    def create(self, name: str, data: bytes | Path) -> bool:
        """Store bytes, or the bytes of a file, and return true, unless the name is there.

        Of several that try at once, exactly one stores.

        Raises:
            NotFound: The file to store is gone, or there is no such bucket.
            CloudError: AWS refused.
        """
        if isinstance(data, Path) and self.exists(name):  # do not send much for nothing
            return False
        return self._upload(name, data, {"IfNoneMatch": "*"})

    def swap(self, name: str, data: bytes, *, version: str | None) -> bool:
        """Store bytes and return true, if what is there has this version.

        Args:
            name: What to change.
            data: Its new bytes.
            version: As :meth:`find` gave it; None: the name must not be there.

        Raises:
            NotFound: There is no such bucket.
            CloudError: AWS refused.
        """
        return self._upload(name, data, {"IfMatch": version} if version else {"IfNoneMatch": "*"})

    def copy(self, source: str, target: str) -> None:
        """Store under a second name what is there under a first, without moving it here.

        Raises:
            NotFound: The first is not there, or there is no such bucket.
            CloudError: AWS refused.
        """
        with self._errors("copying", source):
            if source == target:  # which S3 refuses, unless something else changes too
                self._account.s3.head_object(**self._place(source))
                return
            place = self._place(source)
            self._account.s3.copy(
                {"Bucket": place["Bucket"], "Key": place["Key"]},
                **self._place(target),
                Config=_COPY,
            )

    def names(self, prefix: str) -> Iterator[str]:
        """Yield all names that start so, in the order of their bytes.

        Args:
            prefix: The first characters; need not end at a slash.

        Raises:
            NotFound: There is no such bucket.
            CloudError: AWS refused.
        """
        with self._errors("listing", prefix):
            paginator = self._account.s3.get_paginator("list_objects_v2")
            for page in paginator.paginate(Bucket=self._bucket, Prefix=f"{self._prefix}{prefix}"):
                for row in page.get("Contents", []):
                    yield row["Key"].removeprefix(self._prefix)

    def remove(self, name: str) -> None:
        """Forget a name; nothing happens when it is not there.

        Raises:
            NotFound: There is no such bucket.
            CloudError: AWS refused.
        """
        with self._errors("removing", name):
            self._account.s3.delete_object(**self._place(name))

    def is_made(self) -> bool:
        """Tell whether the bucket is there.

        Raises:
            CloudError: AWS refused, as for another account's bucket.
        """
        with suppress(NotFound), self._errors("looking for", ""):
            self._account.s3.head_bucket(Bucket=self._bucket)
            return True
        return False

    def ensure(self) -> bool:
        """Make the bucket, closed to the public and encrypted (SSE-S3); tell whether it was made.

        A bucket that is there already, and is ours, stays as it is.

        Raises:
            Conflict: Another account has a bucket of this name.
            InvalidRequest: No bucket may have this name.
            CloudError: AWS refused.
        """
        s3, region = self._account.s3, self._account.access.region
        where: dict[str, Any] = (
            {}
            if region == FIRST_REGION
            else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        )
        with self._errors("making", ""):
            try:
                s3.create_bucket(Bucket=self._bucket, **where)
            except ClientError as error:
                if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
                    raise
                return False
            s3.put_public_access_block(
                Bucket=self._bucket, PublicAccessBlockConfiguration=cast("Any", SHUT)
            )
            rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
            s3.put_bucket_encryption(
                Bucket=self._bucket,
                ServerSideEncryptionConfiguration=cast("Any", {"Rules": [rule]}),
            )
        return True

    def _place(self, name: str) -> Any:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{stored_name(name)}"}

    def _upload(self, name: str, data: bytes | Path, condition: Mapping[str, str]) -> bool:
        """Store under a condition; ask again when another write is under way.

        Raises:
            Conflict: Others write the same name without end.
        """
        place, token = self._place(name), uuid.uuid4().hex
        for attempt in range(ATTEMPTS):
            try:
                with self._errors("writing", name):
                    return upload(self._account.s3, place, data, condition=condition, token=token)
            except FileNotFoundError as error:
                raise NotFound(f"The file `{data!s}` is gone", hint="Make it again") from error
            except Throttled as error:
                if error.facts["code"] != "ConditionalRequestConflict":
                    raise
            self._clock.sleep(FIRST_PAUSE_S * 2**attempt)
        raise Conflict(
            f"`{self.url}/{name}` is written by others all the time",
            hint="Start the same command again",
        )

    @contextmanager
    def _errors(self, doing: str, name: str) -> Iterator[None]:
        hints = {
            "AccessDenied": f"Do the policies of the credentials and of the bucket `{self._bucket}`"
            f" in account `{self._account.account_id}` allow it?",
            "NoSuchBucket": "`ovenbird repository create` makes it; is its name right?",
            "403": f"Is the bucket `{self._bucket}` of account `{self._account.account_id}`, and do"
            " the credentials have `s3:GetObject` and `s3:ListBucket`?",
        }
        what = f"{self.url}/{name}" if name else self.url
        with cloud_errors(f"{doing} `{what}`", hints=hints):
            yield
