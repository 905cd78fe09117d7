"""Imported once by the process from which bakes are forked: reading EC2's API takes long."""

from __future__ import annotations

from ovenbird.aws.clients import AccountAccess, open_account
from tests.sandbox import tiny_bakes

_warm = open_account(
    AccountAccess(account_id="1" * 12, region="eu-west-1", endpoint_url="http://127.0.0.1:9")
)
CLIENTS = (_warm.ec2, _warm.ebs)
TinyBake = tiny_bakes.TinyBake
