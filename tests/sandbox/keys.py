"""Keys of KMS for tests: a customer's, one that another account may use, AWS's own."""

from __future__ import annotations

import json
from typing import Any

from ovenbird.aws.clients import Account
from ovenbird.sandbox.places import REGION


def client(account: Account, service: str, *, region: str = REGION) -> Any:
    """Return a client that the product does not need, of the same account."""
    url = account.ec2.meta.endpoint_url
    session: Any = account._session
    return session.client(service, region_name=region, endpoint_url=url)


def customer_key(account: Account, policy: Any = None) -> str:
    """Make a key; return its ARN."""
    words = {"Policy": json.dumps(policy)} if policy else {}
    made = client(account, "kms").create_key(**words)
    return str(made["KeyMetadata"]["Arn"])


def shared_key(account: Account, other: str) -> str:
    """Make a key whose policy lets another account use it; return its ARN."""
    names = [f"arn:aws:iam::{one}:root" for one in (account.account_id, other)]
    allowed = {"Effect": "Allow", "Principal": {"AWS": names}, "Action": "kms:*", "Resource": "*"}
    return customer_key(account, {"Version": "2012-10-17", "Statement": [allowed]})


def grant(account: Account, key: str, principal: str) -> None:
    """Let an account, or a role, use a key."""
    arn = principal if principal.startswith("arn:") else f"arn:aws:iam::{principal}:root"
    client(account, "kms").create_grant(
        KeyId=key, GranteePrincipal=arn, Operations=["Decrypt", "CreateGrant"]
    )


def managed_key(account: Account) -> str:
    """Return the ARN of AWS's own key for EBS."""
    found = client(account, "kms").describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]
    assert found["KeyManager"] == "AWS"
    return str(found["Arn"])
