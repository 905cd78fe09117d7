"""Networks: one namespace for each account, one for each machine, and threads that step in.

    host                 127.x.y.z   the load balancers' addresses
    account's namespace  bridge ``vpc``: 172.31.0.1/16 and 169.254.169.254 (metadata)
    machine's namespace  eth0: the instance's private address, on the account's bridge

Both accounts have the default VPC 172.31.0.0/16, and neither sees the other's machines.
No namespace has a way out of this host.

Source: ip-netns(8), veth(4); VPC user guide, "Default VPCs".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ovenbird.sandbox.places import Places
from ovenbird.system.boots import namespaces
from ovenbird.system.commands import run

RUN_NETNS = Path("/run/netns")
GATEWAY = "172.31.0.1"
METADATA = "169.254.169.254"
BRIDGE = "vpc"
TIMEOUT_S = 30.0

Result = TypeVar("Result")


@contextmanager
def account_network(places: Places, account_id: str) -> Iterator[str]:
    """Keep an account's namespace with its bridge for as long as the block runs; yield its name."""
    name = places.namespace(account_id)
    _ip(f"netns add {name}")
    try:
        _inside(
            name,
            "link set lo up",
            f"link add {BRIDGE} type bridge",
            f"addr add {GATEWAY}/16 dev {BRIDGE}",
            f"addr add {METADATA}/32 dev {BRIDGE}",
            f"link set {BRIDGE} up",
        )
        yield name
    finally:
        _ip(f"netns delete {name}")


def plug_in(account: str, machine: str, *, address: str, mac: str) -> None:
    """Make a machine's namespace and connect it with its account's bridge.

    Args:
        account: Name of the account's namespace.
        machine: Name of the namespace to make.
        address: Private IPv4 address, in 172.31.0.0/16.
        mac: Hardware address of the machine's interface.
    """
    _ip(f"netns add {machine}")
    _ip(f"-n {account} link add {_port(address)} type veth peer name eth0 netns {machine}")
    _inside(account, f"link set {_port(address)} master {BRIDGE} up")
    _inside(
        machine,
        "link set lo up",
        f"link set eth0 address {mac}",
        f"addr add {address}/16 dev eth0",
        "link set eth0 up",
        f"route add {METADATA} dev eth0",
        f"route add default via {GATEWAY}",
    )


def unplug(machine: str) -> None:
    """Delete a machine's cable and its namespace; what is gone is left so.

    The cable by itself and first: a namespace's own end is put off by the kernel, and the
    next machine with this address would find the name of the bridge's end taken.
    """
    if (RUN_NETNS / machine).exists():
        unplugged = frozenset({0, 1})  # 1: it was never plugged in
        run(["ip", "-n", machine, "link", "delete", "eth0"], timeout_s=TIMEOUT_S, ok=unplugged)
        _ip(f"netns delete {machine}")


def enter(namespace: str) -> None:
    """Move the calling thread into a namespace, for good; sockets made before stay outside."""
    namespaces.enter(RUN_NETNS / namespace)


def within(namespace: str, work: Callable[[], Result]) -> Result:
    """Do *work* in a namespace, on a thread of its own, and return what it returned.

    A socket that is made there stays there, whoever uses it later.
    """
    return namespaces.within(RUN_NETNS / namespace, work)


def nsenter(namespace: str) -> list[str]:
    """Return the words before a program that shall run in a namespace.

    Not ``ip netns exec``, which mounts /sys anew and hides the control groups.
    """
    return ["nsenter", f"--net={RUN_NETNS / namespace}"]


def _port(address: str) -> str:
    """Return the name of the bridge's end of a cable; the kernel takes 15 characters."""
    return f"v{int(ipaddress.ip_address(address)):08x}"


def _ip(line: str) -> None:
    run(["ip", *line.split()], timeout_s=TIMEOUT_S)


def _inside(namespace: str, *lines: str) -> None:
    """Run several lines of ip(8) in a namespace by one process."""
    run(["ip", "-n", namespace, "-batch", "-"], timeout_s=TIMEOUT_S, stdin="\n".join(lines) + "\n")
