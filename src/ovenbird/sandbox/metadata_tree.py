"""What an instance is told about itself: the paths and texts of its metadata.

Source: EC2 user guide, "Instance metadata categories", "Instance identity documents".
"""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Mapping
from typing import Any

from moto.ec2.models.instances import Instance

Tree = Mapping[str, bytes]
"""Path below a version → text; a path that ends with a slash is a listing that differs
from the names of what is below it."""


def tree(instance: Instance) -> Tree:
    """Return an instance's metadata; the control lock is held."""
    meta = {**_identity(instance), **_network(instance), **_devices(instance), **_keys(instance)}
    if instance.metadata_options.instance_metadata_tags == "enabled":
        meta |= {f"tags/instance/{tag['key']}": tag["value"] for tag in instance.get_tags()}
    found = {f"meta-data/{path}": str(text).encode() for path, text in meta.items()}
    found["dynamic/instance-identity/document"] = json.dumps(_document(instance), indent=2).encode()
    top = ["dynamic", "meta-data"]
    if instance.user_data is not None:
        found["user-data"] = base64.b64decode(str(instance.user_data))
        top.append("user-data")
    found["/"] = "\n".join(top).encode()
    return found


def _identity(instance: Instance) -> dict[str, Any]:
    zone = instance.availability_zone or ""
    return {
        "ami-id": instance.image_id,
        "ami-launch-index": instance.ami_launch_index,
        "ami-manifest-path": "(unknown)",
        "hostname": instance.private_dns_name,
        "instance-action": "none",
        "instance-id": instance.id,
        "instance-life-cycle": instance.lifecycle or "on-demand",
        "instance-type": instance.instance_type,
        "local-hostname": instance.private_dns_name,
        "local-ipv4": instance.private_ip,
        "mac": instance.nics[0].mac_address,
        "placement/availability-zone": zone,
        "placement/region": instance.region_name,
        "profile": "default-hvm",
        "reservation-id": _reservation(instance),
        "security-groups": "\n".join(group.name for group in instance.security_groups),
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
    }


def _network(instance: Instance) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for index, nic in instance.nics.items():
        vpc = instance.ec2_backend.get_vpc(nic.subnet.vpc_id)
        groups = instance.security_groups or nic._group_set
        one = {
            "device-number": index,
            "interface-id": nic.id,
            "local-hostname": instance.private_dns_name,
            "local-ipv4s": nic.private_ip_address,
            "mac": nic.mac_address,
            "owner-id": instance.owner_id,
            "security-group-ids": "\n".join(group.id for group in groups),
            "security-groups": "\n".join(group.name for group in groups),
            "subnet-id": nic.subnet.id,
            "subnet-ipv4-cidr-block": ipaddress.ip_network(nic.subnet.cidr_block),
            "vpc-id": vpc.id,
            "vpc-ipv4-cidr-block": vpc.cidr_block,
            "vpc-ipv4-cidr-blocks": vpc.cidr_block,
        }
        prefix = f"network/interfaces/macs/{nic.mac_address}"
        found |= {f"{prefix}/{key}": value for key, value in one.items()}
    return found


def _devices(instance: Instance) -> dict[str, Any]:
    root = str(instance.root_device_name).removeprefix("/dev/")
    others = [name for name, _ in instance.get_block_device_mapping if name != f"/dev/{root}"]
    volumes = {f"ebs{n}": name.removeprefix("/dev/") for n, name in enumerate(others, 1)}
    found = {"ami": root, "root": f"/dev/{root}", **volumes}
    return {f"block-device-mapping/{key}": value for key, value in found.items()}


def _keys(instance: Instance) -> dict[str, Any]:
    """Return the key pair's public half; an instance without one has no such path."""
    pair = instance.ec2_backend.key_pairs.get(instance.key_name) if instance.key_name else None
    if pair is None:
        return {}
    return {
        "public-keys/": f"0={instance.key_name}",
        "public-keys/0/openssh-key": pair.material_public.decode().strip() + "\n",
    }


def _document(instance: Instance) -> dict[str, Any]:
    return {
        "accountId": instance.owner_id,
        "architecture": instance.architecture,
        "availabilityZone": instance.availability_zone,
        "billingProducts": None,
        "devpayProductCodes": None,
        "imageId": instance.image_id,
        "instanceId": instance.id,
        "instanceType": instance.instance_type,
        "kernelId": None,
        "marketplaceProductCodes": None,
        "pendingTime": f"{instance.launch_time:%Y-%m-%dT%H:%M:%SZ}",
        "privateIp": instance.private_ip,
        "ramdiskId": None,
        "region": instance.region_name,
        "version": "2017-09-30",
    }


def _reservation(instance: Instance) -> str:
    for reservation in instance.ec2_backend.reservations.values():
        if any(one.id == instance.id for one in reservation.instances):
            return str(reservation.id)
    return ""
