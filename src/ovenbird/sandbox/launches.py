"""RunInstances: what an instance is made from, and where it gets its address.

EC2 takes the image from the call or the launch template (also as `resolve:ssm:NAME`), and
only one that the account may launch; a client token makes the call repeatable; what the
call leaves open comes from the template (user data, type, groups, metadata options, block
devices, interfaces, shutdown behaviour, tags of instance and volumes), then from the image
(its block devices; IMDSv2 required where it says so), then from the default VPC: a subnet,
its default security group and a free address in it. It launches `MaxCount` instances.

moto 5.2.5 launches any image id, ignores token, MaxCount, the template's block devices and
metadata options, and invents addresses in 10.0.0.0/8 without a subnet; interfaces made on
their own get random addresses, and an address may be given twice after a termination.

An encrypted volume needs its key: when nobody lets who launches use it, the call succeeds and
the instance ends in `terminated`, with `Client.InternalError`.

The sandbox's machines live in the default VPC only: a launch elsewhere is `Unsupported`.

Source: EC2 API reference, RunInstances, RequestLaunchTemplateData; EC2 user guide,
"Ensuring idempotency", "Configure the instance metadata options" (imds-support); VPC user
guide, "Subnet sizing"; EC2 user guide, "Troubleshoot Amazon EC2 instance launch issues";
moto/ec2/models/instances.py, subnets.py.
"""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from moto.autoscaling.models import ASG_NAME_TAG
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError
from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami
from moto.ec2.models.instances import Instance, InstanceBackend, Reservation
from moto.ec2.models.subnets import Subnet
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.utils import convert_tag_spec
from moto.ssm.models import ssm_backends

from ovenbird.sandbox import encryption, image_model, launch_wishes, snapshots
from ovenbird.sandbox.loops import CONTROL
from ovenbird.sandbox.snapshots import find_snapshot

MACHINES_VPC = ipaddress.IPv4Network("172.31.0.0/16")
RESERVED = 4  # the first addresses of a subnet are AWS's own
NO_TOKEN = (None, "ABCDE")  # the second is moto's word for none
FROM_TEMPLATE = {
    "nics": "NetworkInterfaces",
    "metadata_options": "MetadataOptions",
    "instance_initiated_shutdown_behavior": "InstanceInitiatedShutdownBehavior",
}
IMDS_V2_IMAGE = {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}
Words = dict[str, Any]


def install() -> None:
    """Put our versions in moto's place."""
    setattr(InstanceBackend, "run_instances", _as_ec2(InstanceBackend.run_instances))  # noqa: B010
    InstanceResponse.run_instances = _as_many(InstanceResponse.run_instances)
    InstanceResponse._parse_block_device_mapping = _as_given(
        InstanceResponse._parse_block_device_mapping
    )
    setattr(  # noqa: B010 - mypy sees no common type
        EC2Backend, "create_network_interface", _addressed(EC2Backend.create_network_interface)
    )


def block_devices(ami: Ami, *overrides: Iterable[Mapping[str, Any]]) -> dict[str, Words]:
    """Return device name → EBS settings: the image's, changed by the template, then the call."""
    found = {m["DeviceName"]: dict(m["Ebs"]) for m in ami.block_device_mappings if "Ebs" in m}
    for mapping in (one for override in overrides for one in override):
        name = mapping["DeviceName"]
        if mapping.get("NoDevice") is not None:
            found.pop(name, None)
        elif "Ebs" in mapping:
            given = {k: v for k, v in mapping["Ebs"].items() if v is not None}
            found[name] = found.get(name, {"DeleteOnTermination": True}) | given
    return found


def drop_empty(backend: EC2Backend) -> None:
    """Drop reservations without instances: of launches that failed, or were purged."""
    for reservation in list(backend.reservations.values()):
        if not reservation.instances:
            del backend.reservations[reservation.id]


def root_snapshot(instance: Instance) -> str:
    """Return the snapshot that an instance boots from, as it was when it was launched."""
    return str(instance.root_snapshot_id)  # type: ignore[attr-defined]


def _as_ec2(original: Any) -> Any:
    """Wrap moto's launch."""

    def run_instances(
        self: EC2Backend, image_id: str, count: int, user_data: Any, groups: list[str], **named: Any
    ) -> Reservation:
        asked = repr((image_id, count, str(user_data), groups, sorted(named.items(), key=str)))
        with CONTROL:
            if earlier := _earlier(self, named.get("client_token"), asked):
                return earlier
            template = _template(self, named.get("launch_template"))
            ami, devices, words = _whole(self, image_id, template, named, has_groups=bool(groups))
            words["block_device_mappings"] = _sized(self, devices)
            try:
                made: Reservation = original(self, ami.id, count, user_data, groups, **words)
            finally:
                drop_empty(self)
            made.asked = asked  # type: ignore[attr-defined]
            by_group = ASG_NAME_TAG in words["tags"].get("instance", {})
            refused = not _keys_allow(self, devices, by_group=by_group)
            for instance in made.instances:
                _complete(instance, ami, devices, words["nics"])
                launch_wishes.fulfil(instance, template)
                instance.lacks_key = refused  # type: ignore[attr-defined]
            return made

    return run_instances


def _whole(
    backend: EC2Backend, image_id: str, template: Words, named: Words, *, has_groups: bool
) -> tuple[Ami, dict[str, Words], Words]:
    """Return a launch's image, block devices and words; what cannot be is refused."""
    wanted = _resolved(backend, image_id or template.get("ImageId", ""))
    ami = image_model.launchable(wanted, backend.account_id, backend.region_name)
    launch_wishes.refuse(backend, template, named)
    overrides = (
        template.get("BlockDeviceMappings", []),
        named.get("block_device_mappings") or [],
    )
    _check_snapshots(backend, overrides)
    words = _completed(backend, ami, template, named, has_groups=has_groups)
    return ami, block_devices(ami, *overrides), words


def lacks_key(instance: Instance) -> bool:
    """Tell whether an instance cannot start, since nobody lets it use a volume's key."""
    return bool(getattr(instance, "lacks_key", False))


def _keys_allow(backend: EC2Backend, devices: Mapping[str, Words], *, by_group: bool) -> bool:
    """Tell whether whoever launches may use the keys of all volumes and of their snapshots."""
    keys = set[str]()
    for ebs in devices.values():
        found = snapshots.anywhere(backend, ebs.get("SnapshotId", ""))
        keys.add((found.kms_key_id or "") if found else "")
        if named := ebs.get("KmsKeyId"):
            keys.add(encryption.arn_of(backend, named))
    account = backend.account_id
    return all(
        encryption.may_use(key, account_id=account, by_group=by_group) for key in keys - {""}
    )


def _earlier(backend: EC2Backend, token: str | None, asked: str) -> Reservation | None:
    """Return what the same call with the same token launched."""
    if token in NO_TOKEN:
        return None
    for reservation in backend.reservations.values():
        if reservation.instances and reservation.instances[0].client_token == token:
            if getattr(reservation, "asked", asked) == asked:
                return reservation
            raise EC2ClientError(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments"
                " used in previous request(s).",
            )
    return None


def _template(backend: EC2Backend, asked: Mapping[str, Any] | None) -> Words:
    """Return the data of the launch template's version, or nothing."""
    if not asked:
        return {}
    if template_id := asked.get("LaunchTemplateId"):
        backend.get_launch_template(template_id)  # refuses one that does not exist
    data: Words = backend._get_template_from_args(dict(asked)).data
    return data


def _resolved(backend: EC2Backend, image_id: str) -> str:
    """Return the image id that a Systems Manager parameter holds, or the one that was given."""
    if not image_id.startswith("resolve:ssm:"):
        return image_id
    name = image_id.removeprefix("resolve:ssm:")
    found = ssm_backends[backend.account_id][backend.region_name].get_parameter(name)
    if found is None:
        raise InvalidAMIIdError([image_id])
    return str(found.value)


def _completed(
    backend: EC2Backend, ami: Ami, template: Words, named: Words, *, has_groups: bool
) -> Words:
    """Return the call's words with what the template, the image and the VPC add."""
    words = dict(named)
    for name, key in FROM_TEMPLATE.items():
        words[name] = copy.deepcopy(words.get(name) or template.get(key))
    imds = IMDS_V2_IMAGE if getattr(ami, "imds_support", None) == "v2.0" else {}
    words["metadata_options"] = {**imds, **(words["metadata_options"] or {})}
    subnet = _placed(backend, words)
    template_has_groups = "SecurityGroupIds" in template or "SecurityGroups" in template
    if not (has_groups or words.get("security_group_ids") or words["nics"] or template_has_groups):
        default = backend.get_default_security_group(subnet.vpc_id)
        words["security_group_ids"] = [default.id] if default else []
    tags = words.get("tags") or {}
    volumes = convert_tag_spec(template.get("TagSpecifications", [])).get("volume", {})
    words["tags"] = {**tags, "volume": {**volumes, **tags.get("volume", {})}}
    return words


def _placed(backend: EC2Backend, words: Words) -> Subnet:
    """See to it that the words name a subnet, and return it.

    Raises:
        EC2ClientError: There is no default subnet, or the subnet is outside the machines' VPC.
    """
    words["nics"] = nics = words["nics"] or []
    first: Words = next((nic for nic in nics if int(nic.get("DeviceIndex", 0)) == 0), {})
    if eni_id := first.get("NetworkInterfaceId"):
        return _reachable(backend.get_network_interface(eni_id).subnet)
    subnet_id = words.get("subnet_id") or first.get("SubnetId")
    subnet = backend.get_subnet(subnet_id) if subnet_id else _default_subnet(backend, words)
    _refuse_taken(subnet, words.get("private_ip") or first.get("PrivateIpAddress"))
    if first:
        first["SubnetId"] = subnet.id
        words["subnet_id"] = None
    else:
        words["subnet_id"] = subnet.id
    return _reachable(subnet)


def _refuse_taken(subnet: Subnet, address: str | None) -> None:
    """Refuse an address that the call names and cannot have; moto raises bare exceptions."""
    if address is None:
        return
    network, wanted = ipaddress.IPv4Network(subnet.cidr_block), ipaddress.IPv4Address(address)
    if wanted not in network or int(wanted) - int(network.network_address) < RESERVED:
        raise EC2ClientError(
            "InvalidParameterValue", f"Address {address} is not one of subnet {subnet.id}."
        )
    if address in subnet._subnet_ips:
        raise EC2ClientError("InvalidIPAddress.InUse", f"Address {address} is in use.")


def _default_subnet(backend: EC2Backend, words: Words) -> Subnet:
    """Return the default subnet of the zone that was asked for, or of the first zone."""
    subnets = backend.get_default_subnets()
    zone = words.get("placement") or min(subnets, default="")
    if zone not in subnets:
        raise EC2ClientError("MissingInput", f"No default subnet in '{zone or 'any zone'}'.")
    return subnets[zone]


def _reachable(subnet: Subnet) -> Subnet:
    if not ipaddress.IPv4Network(subnet.cidr_block).subnet_of(MACHINES_VPC):
        raise EC2ClientError(
            "Unsupported", f"The sandbox has machines in {MACHINES_VPC} only, not in {subnet.id}."
        )
    return subnet


def _check_snapshots(backend: EC2Backend, overrides: Iterable[Iterable[Words]]) -> None:
    """Refuse snapshots that the account may not read; the image's own go with the image."""
    for mapping in (one for override in overrides for one in override):
        if snapshot_id := mapping.get("Ebs", {}).get("SnapshotId"):
            find_snapshot(backend, snapshot_id)


def _sized(backend: EC2Backend, devices: Mapping[str, Words]) -> list[Words]:
    """Return moto's mappings, without snapshots: moto takes none of another account."""
    mappings = []
    for name, ebs in devices.items():
        one = {key: value for key, value in ebs.items() if key != "SnapshotId"}
        if "SnapshotId" in ebs:
            _like(one, ebs["SnapshotId"], backend)
        mappings.append({"DeviceName": name, "Ebs": one})
    return mappings


def _like(ebs: Words, snapshot_id: str, backend: EC2Backend) -> None:
    """Let a volume be as large as its snapshot, and encrypted with its key, if nobody says else.

    The snapshot may be one that goes with the image, and that the account may not see itself.
    """
    found = snapshots.anywhere(backend, snapshot_id)
    if found is not None:
        ebs.setdefault("VolumeSize", found.volume.size)
        if found.kms_key_id:
            ebs["Encrypted"] = True
            ebs.setdefault("KmsKeyId", found.kms_key_id)


def _complete(
    instance: Instance, ami: Ami, devices: Mapping[str, Words], nics: list[Words]
) -> None:
    """Write on an instance what moto has no words for."""
    instance.root_snapshot_id = image_model.root_snapshot(ami)  # type: ignore[attr-defined]
    if isinstance(ami, image_model.RegisteredAmi):
        instance.image_traits = ami.traits  # type: ignore[attr-defined]
        image_model.launched(ami)
    for device, mapping in instance.get_block_device_mapping:
        volume = instance.ec2_backend.get_volume(mapping.volume_id)
        volume.snapshot_id = devices[device].get("SnapshotId")
    given = {int(nic.get("DeviceIndex", 0)): nic for nic in nics}
    for index, nic in instance.nics.items():
        asked = given.get(index, {})
        made_here = "NetworkInterfaceId" not in asked
        nic.delete_on_termination = asked.get("DeleteOnTermination", made_here)


def _as_many(original: Any) -> Any:
    """Launch as many as the call allows; moto launches as few, and checks no dry run."""

    def run_instances(self: InstanceResponse) -> Any:
        if self._get_bool_param("DryRun"):
            named = launch_wishes.asked(self)
            template = _template(self.ec2_backend, named["launch_template"])
            image_id = self._get_param("ImageId")
            has_groups = bool(self._get_param("SecurityGroups", []))
            _whole(self.ec2_backend, image_id, template, named, has_groups=has_groups)
        self.params["MinCount"] = self._get_param("MaxCount") or self._get_param("MinCount", 1)
        return original(self)

    return run_instances


def _as_given(original: Any) -> Any:
    """Leave open what the call leaves open; moto writes False there."""

    def parse(self: InstanceResponse) -> list[Words]:
        parsed: list[Words] = original(self)
        for mapping, given in zip(parsed, self._get_param("BlockDeviceMappings", []), strict=True):
            for key in ("DeleteOnTermination", "Encrypted"):
                mapping["Ebs"][key] = given.get("Ebs", {}).get(key)
        return parsed

    return parse


def _addressed(original: Any) -> Any:
    """Give a new interface a free address of its subnet; moto gives any."""

    def create(
        self: EC2Backend, subnet: Any, private_ip_address: Any, *more: Any, **named: Any
    ) -> Any:
        found = self.get_subnet(subnet) if isinstance(subnet, str) else subnet
        address = private_ip_address or None
        if address is None and not (more or named.get("private_ip_addresses")):
            address = found.get_available_subnet_ip(instance=None)  # type: ignore[arg-type]
        return original(self, found, address, *more, **named)

    return create
