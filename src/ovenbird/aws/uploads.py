"""One object of any size brought to S3: it appears whole, or not at all, under a condition.

Source: S3 API reference, PutObject (5 GiB at most), CreateMultipartUpload, UploadPart (parts of
5 MiB and more, 10,000 at most), CompleteMultipartUpload. boto3's own managed upload cannot
pass on a condition (s3transfer of boto3 1.44, ``ALLOWED_UPLOAD_ARGS``), so it is not used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 16 << 20  # 10,000 parts are 156 GiB
AT_ONCE = 4
_REFUSED = {"PreconditionFailed", "NoSuchKey"}  # the second: If-Match, and nothing is there


def upload(
    s3: S3Client,
    place: Mapping[str, Any],
    data: bytes | Path,
    *,
    condition: Mapping[str, Any],
    token: str,
) -> bool:
    """Store an object; tell whether the condition held.

    An answer that is lost on its way makes botocore ask again, and what it stored itself
    then fails the condition; the token in the object's metadata tells that from another's.

    Args:
        s3: The client.
        place: ``Bucket`` and ``Key``.
        data: Bytes, or the file that has them.
        condition: ``IfNoneMatch: *``, or ``IfMatch`` and an ETag, or nothing.
        token: Unlike any other upload's.

    Raises:
        ClientError: AWS refused for another reason than the condition.
        FileNotFoundError: The file is gone.
    """
    named: dict[str, Any] = {**place, "Metadata": {"ovenbird-upload": token}}
    try:
        if isinstance(data, bytes):
            s3.put_object(**named, **condition, Body=data)
        elif (size := data.stat().st_size) > PART_BYTES:
            _upload_parts(s3, named, data, size=size, condition=condition)
        else:
            s3.put_object(**named, **condition, Body=data.read_bytes())
    except ClientError as error:
        if not condition or error.response["Error"]["Code"] not in _REFUSED:
            raise
        return _is_ours(s3, place, token)
    return True


def _is_ours(s3: S3Client, place: Mapping[str, Any], token: str) -> bool:
    try:
        found = s3.head_object(Bucket=place["Bucket"], Key=place["Key"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "404":
            raise
        return False
    return found["Metadata"].get("ovenbird-upload") == token


def _upload_parts(
    s3: S3Client,
    named: Mapping[str, Any],
    path: Path,
    *,
    size: int,
    condition: Mapping[str, Any],
) -> None:
    place = {name: named[name] for name in ("Bucket", "Key")}
    with _started(s3, named, place) as upload_id, path.open("rb") as file:

        def send(start: int) -> CompletedPartTypeDef:
            body = os.pread(file.fileno(), PART_BYTES, start)
            number = start // PART_BYTES + 1
            sent = s3.upload_part(**place, UploadId=upload_id, PartNumber=number, Body=body)
            return {"PartNumber": number, "ETag": sent["ETag"]}

        with ThreadPoolExecutor(AT_ONCE) as pool:
            parts = list(pool.map(send, range(0, size, PART_BYTES)))
        s3.complete_multipart_upload(
            **place, UploadId=upload_id, MultipartUpload={"Parts": parts}, **condition
        )


@contextmanager
def _started(s3: S3Client, named: Mapping[str, Any], place: Mapping[str, Any]) -> Iterator[str]:
    """Begin an upload in parts; parts that come to nothing are removed, as they cost money."""
    upload_id = s3.create_multipart_upload(**named)["UploadId"]
    try:
        yield upload_id
    except BaseException as error:
        try:
            s3.abort_multipart_upload(Bucket=place["Bucket"], Key=place["Key"], UploadId=upload_id)
        except ClientError as second:  # NoSuchUpload: it was completed, and the answer lost
            error.add_note(f"The upload `{upload_id}` could not be aborted: {second}")
        raise
