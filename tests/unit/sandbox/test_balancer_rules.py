"""ELBv2's conditions and actions in HAProxy's terms."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ovenbird.sandbox.balancer_rules import _condition, _query, _redirect, group_name, weights
from ovenbird.sandbox.haproxy import Condition, Redirect, pattern

PATH, HOST = "path -m reg", "req.hdr(host),host_only -i -m reg"


@pytest.mark.parametrize(
    ("raw", "test", "values"),
    [
        ({"Field": "path-pattern", "Values": ["/a/*"]}, PATH, ["^/a/.*$"]),
        ({"Field": "path-pattern", "PathPatternConfig": {"Values": ["/?"]}}, PATH, ["^/.$"]),
        ({"Field": "host-header", "Values": ["*.b"]}, HOST, [r"^.*\.b$"]),
        (
            {"Field": "host-header", "HostHeaderConfig": {"Values": ["a", "b"]}},
            HOST,
            ["^a$", "^b$"],
        ),
        (
            {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["GET"]}},
            "method -m str",
            ["GET"],
        ),
        (
            {"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.0/8"]}},
            "src -m ip",
            ["10.0.0.0/8"],
        ),
        (
            {
                "Field": "http-header",
                "HttpHeaderConfig": {"HttpHeaderName": "X-A) b", "Values": ["1*"]},
            },
            "req.hdr(X-Ab) -i -m reg",
            ["^1.*$"],
        ),
    ],
)
def test_conditions_in_their_old_and_new_form(
    raw: dict[str, Any], test: str, values: list[str]
) -> None:
    assert _condition(raw) == Condition(test=test, values=tuple(values))


@pytest.mark.parametrize(
    ("value", "query", "fits"),
    [
        ({"Key": "v", "Value": "1*"}, "v=12", True),
        ({"Key": "v", "Value": "1*"}, "a=b&v=1&c=d", True),
        ({"Key": "v", "Value": "1*"}, "v=2&w=1", False),
        ({"Value": "on"}, "x=on", True),
        ({"Value": "on"}, "x=only", False),
    ],
)
def test_a_key_and_value_of_the_query(value: dict[str, str], query: str, *, fits: bool) -> None:
    assert bool(re.search(_query(value), query)) is fits


@pytest.mark.parametrize(
    ("text", "path", "fits"),
    [
        ("/*", "/anything/below", True),
        ("/a?c", "/abc", True),
        ("/a?c", "/ac", False),
        ("/a.b", "/axb", False),
        ("/(a|b)", "/a", False),
    ],
)
def test_patterns_know_two_wild_cards(text: str, path: str, *, fits: bool) -> None:
    assert bool(re.search(pattern(text), path)) is fits


def test_a_redirect_keeps_what_it_does_not_name() -> None:
    assert _redirect({"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}) == Redirect(
        status=301, location="https://#{host}:443/#{path}?#{query}"
    )


def test_weights_of_both_forms_of_a_forward_action() -> None:
    arn = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/hello-v001/0b"
    weighted = {"ForwardConfig": {"TargetGroups": [{"TargetGroupArn": arn, "Weight": "5"}]}}

    assert weights({"TargetGroupArn": arn}) == {arn: 1}
    assert weights(weighted | {"TargetGroupArn": arn}) == {arn: 5}
    assert weights({"Type": "redirect"}) == {}
    assert group_name(arn) == "hello-v001:0b"
