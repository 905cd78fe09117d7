from __future__ import annotations

from typing import Any

import pytest

from ovenbird.sandbox.accounts import allows

US = "111111111111"


def statement(effect: str = "Allow", principal: Any = None, action: Any = "sts:AssumeRole") -> Any:
    who = {"AWS": f"arn:aws:iam::{US}:root"} if principal is None else principal
    return {"Effect": effect, "Principal": who, "Action": action}


@pytest.mark.parametrize(
    ("statements", "lets_in"),
    [
        ([statement()], True),
        (statement(), True),
        ([statement(principal={"AWS": [US, "333333333333"]})], True),
        ([statement(principal="*")], True),
        ([statement(action=["sts:TagSession", "sts:*"])], True),
        ([statement(principal={"AWS": "arn:aws:iam::333333333333:root"})], False),
        ([statement(principal={"Service": "ec2.amazonaws.com"})], False),
        ([statement(action="s3:GetObject")], False),
        ([statement(), statement(effect="Deny")], False),
        ([], False),
    ],
)
def test_a_trust_policy_lets_in_whom_it_names(statements: Any, *, lets_in: bool) -> None:
    assert allows({"Statement": statements}, US) is lets_in
