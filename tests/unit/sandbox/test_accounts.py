from __future__ import annotations

from typing import Any

import pytest

from ovenbird.sandbox.accounts import Caller, allows

US = "111111111111"
USER = f"arn:aws:iam::{US}:user/ovenbird"


def statement(
    effect: str = "Allow", principal: Any = None, action: Any = "sts:AssumeRole", **more: Any
) -> Any:
    who = {"AWS": f"arn:aws:iam::{US}:root"} if principal is None else principal
    return {"Effect": effect, "Principal": who, "Action": action, **more}


def only_with(external_id: str) -> Any:
    return {"StringEquals": {"sts:ExternalId": external_id}}


FROM_OFFICE = {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}


@pytest.mark.parametrize(
    ("statements", "lets_in"),
    [
        ([statement()], True),
        (statement(), True),
        ([statement(principal={"AWS": [US, "333333333333"]})], True),
        ([statement(principal="*")], True),
        ([statement(action=["sts:TagSession", "sts:*"])], True),
        ([statement(principal={"AWS": USER})], True),
        ([statement(principal={"AWS": f"{USER}-2"})], False),
        ([statement(Condition=only_with("secret"))], True),
        ([statement(Condition=only_with("another"))], False),
        ([statement(Condition=FROM_OFFICE)], False),
        ([statement(), statement(effect="Deny", Condition=FROM_OFFICE)], False),
        ([statement(), statement(effect="Deny", Condition=only_with("another"))], True),
        ([statement(principal={"AWS": "arn:aws:iam::333333333333:root"})], False),
        ([statement(principal={"Service": "ec2.amazonaws.com"})], False),
        ([statement(action="s3:GetObject")], False),
        ([statement(), statement(effect="Deny")], False),
        ([], False),
    ],
)
def test_a_trust_policy_lets_in_whom_it_names(statements: Any, *, lets_in: bool) -> None:
    caller = Caller(account_id=US, arn=USER, external_id="secret")

    assert allows({"Statement": statements}, caller) is lets_in


def test_a_session_is_named_by_its_role() -> None:
    caller = Caller(account_id=US, arn=f"arn:aws:sts::{US}:assumed-role/deploy/session-1")

    assert f"arn:aws:iam::{US}:role/deploy" in caller.names
