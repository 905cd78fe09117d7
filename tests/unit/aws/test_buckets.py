"""What S3 does now and then, and the sandbox never: conflicts, and answers that are lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import botocore.session
import pytest
from botocore.stub import ANY, Stubber

from ovenbird.aws.buckets import ATTEMPTS, BucketStorage
from ovenbird.aws.clients import Account, AccountAccess
from ovenbird.domain.errors import CloudError, Conflict

PLACE = {"Bucket": "packages", "Key": "a"}


class Patient:
    """A clock on which waiting takes no time."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def s3() -> Iterator[Stubber]:
    session = botocore.session.Session()
    session.set_credentials("a", "b")
    with Stubber(session.create_client("s3", "eu-west-1")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def clock() -> Patient:
    return Patient()


@pytest.fixture
def storage(s3: Stubber, clock: Patient) -> BucketStorage:
    account = Account(AccountAccess(account_id="111111111111", region="eu-west-1"))
    vars(account)["s3"] = s3.client  # where the account keeps what it has opened
    return BucketStorage(account, "packages", clock=clock)


def refuse(s3: Stubber, code: str, status: int) -> None:
    put = {**PLACE, "Body": b"1", "Metadata": ANY, "IfNoneMatch": "*"}
    s3.add_client_error("put_object", code, http_status_code=status, expected_params=put)


def test_a_write_that_meets_another_is_asked_again(
    storage: BucketStorage, s3: Stubber, clock: Patient
) -> None:
    refuse(s3, "ConditionalRequestConflict", 409)
    refuse(s3, "ConditionalRequestConflict", 409)
    s3.add_response("put_object", {"ETag": '"1"'})

    assert storage.create("a", b"1")
    assert clock.slept == [0.1, 0.2]


def test_writes_that_meet_others_without_end_are_given_up(
    storage: BucketStorage, s3: Stubber, clock: Patient
) -> None:
    for _ in range(ATTEMPTS):
        refuse(s3, "ConditionalRequestConflict", 409)

    with pytest.raises(Conflict, match="all the time"):
        storage.create("a", b"1")
    assert len(clock.slept) == ATTEMPTS


def test_what_another_created_first_is_anothers(storage: BucketStorage, s3: Stubber) -> None:
    refuse(s3, "PreconditionFailed", 412)
    s3.add_response("head_object", {"Metadata": {"ovenbird-upload": "another's"}}, PLACE)

    assert not storage.create("a", b"1")


def test_what_was_gone_again_was_anothers_too(storage: BucketStorage, s3: Stubber) -> None:
    refuse(s3, "PreconditionFailed", 412)
    s3.add_client_error("head_object", "404", http_status_code=404)

    assert not storage.create("a", b"1")


def test_an_answer_that_was_lost_does_not_turn_ours_into_anothers(
    storage: BucketStorage, s3: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: type("Id", (), {"hex": "ours"}))
    refuse(s3, "PreconditionFailed", 412)  # of botocore's second attempt
    s3.add_response("head_object", {"Metadata": {"ovenbird-upload": "ours"}}, PLACE)

    assert storage.create("a", b"1")


def test_parts_that_come_to_nothing_are_removed(
    storage: BucketStorage, s3: Stubber, tmp_path: Path
) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(17 << 20)
    upload = {**PLACE, "UploadId": "u"}
    s3.add_response("create_multipart_upload", {"UploadId": "u"})
    s3.add_client_error("upload_part", "AccessDenied", http_status_code=403)
    s3.add_client_error("upload_part", "AccessDenied", http_status_code=403)
    s3.add_response("abort_multipart_upload", {}, upload)

    with pytest.raises(CloudError, match="AccessDenied"):
        storage.write("a", big)
