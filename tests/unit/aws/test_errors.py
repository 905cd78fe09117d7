from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from ovenbird.aws.errors import cloud_errors
from ovenbird.domain.errors import (
    CapacityShortage,
    CloudError,
    Conflict,
    NotFound,
    OvenbirdError,
    Throttled,
)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("RequestLimitExceeded", Throttled),
        ("InsufficientInstanceCapacity", CapacityShortage),
        ("InvalidAMIID.NotFound", NotFound),
        ("InvalidAMIName.Duplicate", Conflict),
        ("SomethingNew", CloudError),
    ],
)
def test_each_code_of_aws_becomes_an_error_of_ours(code: str, kind: type[OvenbirdError]) -> None:
    raw = ClientError({"Error": {"Code": code, "Message": "because"}}, "Do")

    with (
        pytest.raises(kind, match=f"refused doing it: {code}: because") as caught,
        cloud_errors("doing it"),
    ):
        raise raw

    assert type(caught.value) is kind
    assert caught.value.facts == {"code": code}


def test_an_endpoint_that_does_not_answer_asks_for_the_sandbox() -> None:
    with pytest.raises(CloudError, match="Doing it failed") as caught, cloud_errors("doing it"):
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    assert "sandbox" in caught.value.hint
