"""What the sandbox has right now, as `ovenbird sandbox status` shows it."""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from pathlib import Path
from typing import Any

from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance
from moto.elbv2.models import ELBv2Backend, FakeLoadBalancer, elbv2_backends

from ovenbird.sandbox import balancer_rules, instances
from ovenbird.sandbox.loops import CONTROL
from ovenbird.sandbox.places import ACCOUNTS, REGION

MIB = 2**20
_BEGUN = time.monotonic()


def contents() -> dict[str, Any]:
    """Return accounts, machines (terminated ones left out), load balancers, and the server."""
    with CONTROL:
        machines = [row for account in ACCOUNTS for row in _machines(account)]
        balancers = [row for account in ACCOUNTS for row in _balancers(account)]
    if room := instances.REALITY.room:  # without the lock: it asks the kernel
        for row in machines:
            row["memory_mib"] = round(room.memory_bytes(row["instance_id"]) / MIB, 1)
    return {
        "accounts": list(ACCOUNTS),
        "machines": machines,
        "load_balancers": balancers,
        "up_s": round(time.monotonic() - _BEGUN, 1),
        "memory_mib": round(_own_memory_bytes() / MIB, 1),
    }


def _machines(account_id: str) -> list[dict[str, Any]]:
    return [
        {
            "account_id": account_id,
            "instance_id": instance.id,
            "image_id": instance.image_id,
            "server_group": _server_group(instance),
            "state": instance.state,
            "private_ip": instance.private_ip,
            "memory_mib": 0.0,
        }
        for instance in ec2_backends[account_id][REGION].all_instances()
        if instance.state != "terminated"
    ]


def _server_group(instance: Instance) -> str | None:
    """Return the name of the Auto Scaling group that launched an instance, if one did."""
    group = getattr(instance, "autoscaling_group", None)
    return str(group.name) if group else None


def _balancers(account_id: str) -> list[dict[str, Any]]:
    backend = elbv2_backends[account_id][REGION]
    return [
        {
            "account_id": account_id,
            "name": balancer.name,
            "arn": balancer.arn,
            "dns_name": balancer.dns_name,
            "target_groups": _target_groups(backend, balancer),
        }
        for balancer in backend.load_balancers.values()
    ]


def _target_groups(backend: ELBv2Backend, balancer: FakeLoadBalancer) -> list[dict[str, Any]]:
    """Return how many targets there are, and are healthy, of each group in a rule."""
    found = []
    for arn in balancer_rules.groups_of(balancer):
        if group := backend.target_groups.get(arn):
            keys = balancer_rules.keys(group)
            states = Counter(balancer_rules.health_of(group, k, used=True).state for k in keys)
            found.append({"name": group.name, "healthy": states["healthy"], "total": len(keys)})
    return found


def _own_memory_bytes() -> int:
    pages = Path(f"/proc/{os.getpid()}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()
