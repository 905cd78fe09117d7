"""The same request signed by us and by botocore has the same signature."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.aws.signatures import EMPTY, UNSIGNED, Signer

AT = datetime(2026, 11, 28, 23, 59, 59, tzinfo=UTC)
TOKENS = [None, "FwoGZXIvYXdzE//////////wEaDA=="]
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # noqa: S105 - the example of AWS's documents


def keys(token: str | None) -> ReadOnlyCredentials:
    return ReadOnlyCredentials("AKIDEXAMPLE", SECRET, token)


def ours(token: str | None, method: str, path: str, query: str, **headers: str) -> dict[str, str]:
    signer = Signer(service="ebs", region="eu-west-1", keys=lambda: keys(token))
    payload = UNSIGNED if method == "PUT" else EMPTY
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return signer.signed(method, path, query, named, payload=payload, at=AT)


def theirs(url: str, method: str, token: str | None, headers: dict[str, str]) -> str:
    request = AWSRequest(method=method, url=url, headers=headers)
    if method == "PUT":  # as EBS's model says of PutSnapshotBlock: v4-unsigned-body
        request.context["payload_signing_enabled"] = False
    SigV4Auth(Credentials("AKIDEXAMPLE", SECRET, token), "ebs", "eu-west-1").add_auth(request)
    return str(request.headers["Authorization"])


@pytest.fixture(autouse=True)
def moment(monkeypatch: pytest.MonkeyPatch) -> None:
    at: Callable[..., Any] = lambda *_, **__: AT  # noqa: E731
    monkeypatch.setattr(botocore.auth, "get_current_datetime", at)


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(
    "url", ["https://ebs.eu-west-1.amazonaws.com", "http://127.0.0.1:4599/below"]
)
def test_a_block_that_is_written_is_signed_as_botocore_does(url: str, token: str | None) -> None:
    scheme, _, rest = url.partition("://")
    host, _, below = rest.partition("/")
    path = f"{'/' if below else ''}{below}/snapshots/snap-0123456789abcdef0/blocks/16383"
    headers = {
        "x_amz_checksum": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "x_amz_checksum_algorithm": "SHA256",
        "x_amz_content_sha256": UNSIGNED,
        "x_amz_data_length": "524288",
    }

    mine = ours(token, "PUT", path, "", host=host, **headers)

    sent = {k: v for k, v in mine.items() if k not in {"authorization", "x-amz-date"}}
    assert mine["authorization"] == theirs(f"{scheme}://{host}{path}", "PUT", token, sent)


@pytest.mark.parametrize("token", TOKENS)
def test_a_block_that_is_read_is_signed_as_botocore_does(token: str | None) -> None:
    host, path = "ebs.eu-west-1.amazonaws.com", "/snapshots/snap-0123456789abcdef0/blocks/7"
    query = "blockToken=AAABAVahm9SO60Dyi0ORySzn2ZjGjW%2FKN3uygGlS0QOYWesbzBbDnX2dGpmC"

    mine = ours(token, "GET", path, query, host=host)

    sent = {k: v for k, v in mine.items() if k not in {"authorization", "x-amz-date"}}
    assert mine["authorization"] == theirs(f"https://{host}{path}?{query}", "GET", token, sent)


@given(checksum=st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_any_header_is_signed_as_botocore_does(checksum: str) -> None:
    host, path = "h", "/snapshots/snap-1/blocks/0"

    mine = ours(None, "PUT", path, "", host=host, x_amz_checksum=checksum,
                x_amz_content_sha256=UNSIGNED)  # fmt: skip

    sent = {k: v for k, v in mine.items() if k not in {"authorization", "x-amz-date"}}
    assert mine["authorization"] == theirs(f"https://{host}{path}", "PUT", None, sent)


def test_keys_that_change_are_used_at_once_and_on_the_next_day() -> None:
    current = [ReadOnlyCredentials("A", "one", None)]
    signer = Signer(service="ebs", region="eu-west-1", keys=lambda: current[0])

    def sign(at: datetime) -> str:
        return signer.signed("GET", "/", "", {"host": "h"}, payload=EMPTY, at=at)["authorization"]

    first = sign(AT)
    current[0] = ReadOnlyCredentials("A", "two", None)
    second = sign(AT)
    third = sign(AT.replace(day=29))
    current[0] = ReadOnlyCredentials("A", "one", None)

    assert len({first, second, third}) == 3
    assert sign(AT) == first
    assert "/20261129/" in third
