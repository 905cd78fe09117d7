"""Buckets through boto3 and through our storage; the same would hold on AWS."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ovenbird.aws.buckets import BucketStorage
from ovenbird.aws.uploads import PART_BYTES
from ovenbird.domain.errors import CloudError, Conflict, InvalidRequest, NotFound
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.places import PRODUCTION, REGION
from tests.storage_contract import StorageContract

pytestmark = pytest.mark.sandbox


@pytest.fixture
def bucket() -> str:
    return f"packages-{uuid.uuid4()}"


@pytest.fixture
def storage(endpoint: Endpoint, bucket: str) -> BucketStorage:
    storage = BucketStorage(endpoint.development, bucket, "team/main")
    assert storage.ensure()
    return storage


@pytest.fixture
def made(endpoint: Endpoint, bucket: str) -> str:
    """A bucket as anybody makes one."""
    where: Any = {"LocationConstraint": REGION}
    endpoint.development.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    return bucket


def code(call: Callable[[], Any]) -> str:
    """Return AWS's word for why it refuses; empty when it does not."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


class TestContract(StorageContract):
    """The bucket keeps what every storage does."""


def test_a_prefix_is_a_storage_of_its_own(endpoint: Endpoint, bucket: str) -> None:
    whole = BucketStorage(endpoint.development, bucket)
    whole.ensure()
    team = BucketStorage(endpoint.development, bucket, "team")
    team.write("a", b"1")
    whole.write("teamwork/a", b"2")

    assert (whole.url, team.url) == (f"s3://{bucket}", f"s3://{bucket}/team")
    assert list(whole.names("")) == ["team/a", "teamwork/a"]
    assert list(team.names("")) == ["a"]


def test_more_names_than_one_page_has_are_listed(storage: BucketStorage) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: storage.write(f"pool/{number:04}", b""), range(1001)))

    assert list(storage.names("pool/")) == [f"pool/{number:04}" for number in range(1001)]


def test_a_big_file_comes_in_parts_and_is_created_by_one_alone(
    storage: BucketStorage, endpoint: Endpoint, bucket: str, tmp_path: Path
) -> None:
    data = os.urandom(PART_BYTES) + b"the rest"
    big = tmp_path / "big.deb"
    big.write_bytes(data)
    with ThreadPoolExecutor(3) as pool:
        won = list(pool.map(lambda _: storage.create("big", big), range(3)))

    assert won.count(True) == 1
    assert storage.read("big") == data
    storage.write("big", big)
    found = storage.find("big")
    assert found
    assert found[1].endswith('-2"')  # of two parts
    uploads = endpoint.development.s3.list_multipart_uploads(Bucket=bucket)
    assert uploads.get("Uploads", []) == []


def test_a_bucket_is_made_closed_and_only_once(
    storage: BucketStorage, endpoint: Endpoint, bucket: str
) -> None:
    s3 = endpoint.development.s3
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]

    assert set(block.values()) == {True}
    assert not storage.ensure()
    with pytest.raises(Conflict, match="BucketAlreadyExists") as caught:
        BucketStorage(endpoint.production, bucket).ensure()
    assert "another" in caught.value.hint
    with pytest.raises(InvalidRequest, match="InvalidBucketName"):
        BucketStorage(endpoint.development, "No_Such_Name").ensure()


def test_a_bucket_that_is_missing_is_said(endpoint: Endpoint) -> None:
    storage = BucketStorage(endpoint.development, "nobody-has-made-it")

    for call in (
        lambda: storage.find("a"),
        lambda: storage.read("a"),
        lambda: storage.write("a", b"1"),
        lambda: storage.create("a", b"1"),
        lambda: list(storage.names("")),
        lambda: storage.remove("a"),
    ):
        with pytest.raises(NotFound, match="NoSuchBucket") as caught:
            call()
        assert "`ovenbird repository create`" in caught.value.hint


def test_a_bucket_that_refuses_is_said(
    storage: BucketStorage, endpoint: Endpoint, bucket: str
) -> None:
    storage.write("a", b"1")
    theirs = BucketStorage(endpoint.production, bucket, "team/main")

    for call in (
        lambda: theirs.find("a"),
        lambda: theirs.create("b", b"1"),
        lambda: theirs.swap("a", b"2", version='"0"'),
        lambda: list(theirs.names("")),
    ):
        with pytest.raises(CloudError, match="AccessDenied") as caught:
            call()
        assert f"`{bucket}`" in caught.value.hint
        assert PRODUCTION in caught.value.hint
    with pytest.raises(CloudError, match="403") as caught:
        theirs.exists("a")
    assert "s3:ListBucket" in caught.value.hint


def test_another_account_comes_in_by_the_buckets_policy(
    storage: BucketStorage, endpoint: Endpoint, bucket: str
) -> None:
    storage.write("a", b"1")
    theirs = BucketStorage(endpoint.production, bucket, "team/main")
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{PRODUCTION}:root"},
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    endpoint.development.s3.put_bucket_policy(Bucket=bucket, Policy=policy)

    assert theirs.read("a") == b"1"
    assert list(theirs.names("")) == ["a"]
    with pytest.raises(CloudError, match="AccessDenied"):
        theirs.write("a", b"2")


# What follows is the sandbox's S3 itself; each departs from moto.


def test_a_new_bucket_is_closed_and_encrypted(endpoint: Endpoint, made: str) -> None:
    s3 = endpoint.development.s3
    block = s3.get_public_access_block(Bucket=made)["PublicAccessBlockConfiguration"]
    rules = s3.get_bucket_encryption(Bucket=made)["ServerSideEncryptionConfiguration"]["Rules"]
    owner = s3.get_bucket_ownership_controls(Bucket=made)["OwnershipControls"]["Rules"]

    assert set(block.values()) == {True}
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert owner == [{"ObjectOwnership": "BucketOwnerEnforced"}]


@pytest.mark.parametrize("name", ["Upper", "under_score", "1.2.3.4", "a..b", "-a-b", "xn--abc"])
def test_a_name_that_no_bucket_may_have_is_refused(endpoint: Endpoint, name: str) -> None:
    where: Any = {"LocationConstraint": REGION}
    s3 = endpoint.development.s3
    found = code(lambda: s3.create_bucket(Bucket=name, CreateBucketConfiguration=where))

    assert found == "InvalidBucketName"


def test_nobody_reads_without_a_signature(endpoint: Endpoint, made: str) -> None:
    endpoint.development.s3.put_object(Bucket=made, Key="a", Body=b"1")
    for path in (f"/{made}/a", f"/{made}", f"/{made}/none"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{endpoint.url}{path}")  # noqa: S310 - it is http

        assert caught.value.code == 403
        caught.value.close()


def test_acls_are_refused(endpoint: Endpoint, made: str) -> None:
    s3 = endpoint.development.s3
    public = code(lambda: s3.put_object(Bucket=made, Key="a", Body=b"1", ACL="public-read"))
    owner = code(
        lambda: s3.put_object(Bucket=made, Key="a", Body=b"1", ACL="bucket-owner-full-control")
    )

    assert (public, owner) == ("AccessControlListNotSupported", "")
    assert code(lambda: s3.put_object_acl(Bucket=made, Key="a", ACL="public-read")) == public


def test_puts_have_conditions(endpoint: Endpoint, made: str) -> None:
    s3 = endpoint.development.s3

    def put(**condition: str) -> str:
        named: Any = condition
        return code(lambda: s3.put_object(Bucket=made, Key="a", Body=b"1", **named))

    assert put(IfMatch='"0"') == "NoSuchKey"
    assert put(IfNoneMatch="*") == ""
    assert put(IfNoneMatch="*") == "PreconditionFailed"
    assert put(IfNoneMatch='"0"') == "NotImplemented"
    assert put(IfMatch='"0"') == "PreconditionFailed"
    assert put(IfMatch=s3.head_object(Bucket=made, Key="a")["ETag"]) == ""


def test_copies_have_conditions(endpoint: Endpoint, made: str) -> None:
    s3 = endpoint.development.s3
    etag = s3.put_object(Bucket=made, Key="a", Body=b"1")["ETag"]

    def copy(**condition: str) -> str:
        named: Any = condition
        source: Any = {"Bucket": made, "Key": "a"}
        return code(lambda: s3.copy_object(Bucket=made, Key="b", CopySource=source, **named))

    assert copy(CopySourceIfMatch='"0"') == "PreconditionFailed"
    assert copy(IfMatch='"0"') == "NoSuchKey"
    assert copy(IfNoneMatch="*", CopySourceIfMatch=etag) == ""
    assert copy(IfNoneMatch="*") == "PreconditionFailed"
    assert copy(IfMatch='"0"') == "PreconditionFailed"
    assert copy(IfMatch=etag) == ""


def test_nobody_copies_out_of_anothers_bucket(endpoint: Endpoint, made: str, bucket: str) -> None:
    endpoint.development.s3.put_object(Bucket=made, Key="a", Body=b"1")
    own = f"own-{uuid.uuid4()}"
    BucketStorage(endpoint.production, own).ensure()
    source: Any = {"Bucket": made, "Key": "a"}
    theirs = endpoint.production.s3

    assert code(lambda: theirs.copy_object(Bucket=own, Key="a", CopySource=source)) == (
        "AccessDenied"
    )


def test_an_upload_in_parts_ends_under_conditions(endpoint: Endpoint, made: str) -> None:
    s3 = endpoint.development.s3

    def end(**condition: str) -> str:
        named: Any = condition
        upload = s3.create_multipart_upload(Bucket=made, Key="a")["UploadId"]
        part = s3.upload_part(Bucket=made, Key="a", UploadId=upload, PartNumber=1, Body=b"1")
        parts: Any = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        return code(
            lambda: s3.complete_multipart_upload(
                Bucket=made, Key="a", UploadId=upload, MultipartUpload=parts, **named
            )
        )

    assert end(IfMatch='"0"') == "NoSuchKey"
    assert end(IfNoneMatch="*") == ""
    assert end(IfNoneMatch="*") == "PreconditionFailed"
    assert end(IfMatch='"0"') == "PreconditionFailed"
    assert end(IfMatch=s3.head_object(Bucket=made, Key="a")["ETag"]) == ""
    parts: Any = {"Parts": [{"PartNumber": 1, "ETag": '"0"'}]}
    missing = code(
        lambda: s3.complete_multipart_upload(
            Bucket=made, Key="a", UploadId="none", MultipartUpload=parts
        )
    )
    assert missing == "NoSuchUpload"
