"""What is in the accounts right now, as the status page shows it."""

from __future__ import annotations

from typing import Any

from moto.ec2.models import ec2_backends
from moto.elbv2.models import elbv2_backends

from ovenbird.sandbox.loops import CONTROL
from ovenbird.sandbox.places import ACCOUNTS, REGION


def contents() -> dict[str, Any]:
    """Return accounts, machines (terminated ones left out) and load balancers."""
    with CONTROL:
        return {
            "accounts": list(ACCOUNTS),
            "machines": [row for account in ACCOUNTS for row in _machines(account)],
            "load_balancers": [row for account in ACCOUNTS for row in _balancers(account)],
        }


def _machines(account_id: str) -> list[dict[str, Any]]:
    return [
        {
            "account_id": account_id,
            "instance_id": instance.id,
            "image_id": instance.image_id,
            "state": instance._state.name,
            "private_ip": instance.private_ip,
        }
        for reservation in ec2_backends[account_id][REGION].reservations.values()
        for instance in reservation.instances
        if instance._state.name != "terminated"
    ]


def _balancers(account_id: str) -> list[dict[str, Any]]:
    return [
        {
            "account_id": account_id,
            "name": balancer.name,
            "arn": balancer.arn,
            "dns_name": balancer.dns_name,
        }
        for balancer in elbv2_backends[account_id][REGION].load_balancers.values()
    ]
