"""The server itself: what no client library would send, and what lasts for hours."""

from __future__ import annotations

import http.client
import json
import socket
from urllib.parse import urlsplit

import pytest
from moto.elbv2.models import FakeHealthStatus

from ovenbird.sandbox.endpoint import Endpoint
from tests.sandbox.fleet import default_subnets

pytestmark = pytest.mark.sandbox


def signed(service: str) -> dict[str, str]:
    scope = f"Credential=AKIA/20261125/eu-west-1/{service}/aws4_request"
    return {"Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=00"}


def send(
    endpoint: Endpoint, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, str, str]:
    """Return status, type and body of an answer."""
    connection = http.client.HTTPConnection(urlsplit(endpoint.url).netloc, timeout=10)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get_content_type(), answer.read().decode()
    finally:
        connection.close()


def test_a_failure_is_an_error_in_the_services_protocol(endpoint: Endpoint) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    rows = signed("ec2") | form
    status, kind, body = send(endpoint, "POST", "/", b"Action=RunInstances&MinCount=many", rows)
    empty = send(endpoint, "PUT", "/snapshots/snap-1/blocks/0", b"", signed("ebs"))

    assert (status, kind) == (500, "text/xml")
    assert "<Code>InternalError</Code>" in body
    assert empty[:2] == (404, "application/json")
    assert "does not exist" in json.loads(empty[2])["message"]


def test_a_slow_client_holds_up_nobody(endpoint: Endpoint) -> None:
    parts = urlsplit(endpoint.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as slow:
        head = "POST / HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 100\r\n"
        lines = [f"{name}: {value}\r\n" for name, value in signed("ec2").items()]
        slow.sendall(f"{head}{''.join(lines)}\r\nAction=".encode())

        assert endpoint.development.ec2.describe_vpcs()["Vpcs"]


def test_nothing_is_kept_of_an_answer(endpoint: Endpoint) -> None:
    account = endpoint.development
    vpc_id, _ = default_subnets(account)
    group = account.elbv2.create_target_group(
        Name="forgetful", Protocol="HTTP", Port=80, VpcId=vpc_id, TargetType="ip"
    )["TargetGroups"][0]["TargetGroupArn"]
    account.elbv2.register_targets(TargetGroupArn=group, Targets=[{"Id": "172.31.200.1"}])
    account.elbv2.describe_target_health(TargetGroupArn=group)

    assert vars(FakeHealthStatus)["instances_tracked"] == []
