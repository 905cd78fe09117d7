"""Buckets through boto3 and through our storage; the same would hold on AWS."""

from __future__ import annotations

import uuid

import pytest

from ovenbird.aws.buckets import BucketStorage
from ovenbird.sandbox.endpoint import Endpoint
from tests.storage_contract import StorageContract

pytestmark = pytest.mark.sandbox


@pytest.fixture
def storage(endpoint: Endpoint) -> BucketStorage:
    storage = BucketStorage(endpoint.development, f"packages-{uuid.uuid4()}", "team/main")
    assert storage.ensure()
    return storage


class TestContract(StorageContract):
    """The bucket keeps what every storage does."""
