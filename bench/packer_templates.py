"""What Packer is told: templates for amazon-ebs and amazon-ebssurrogate, and their scripts.

Packer is Debian's, unmodified. It polls each second, does not phone home, connects by SSH with
a key pair of its own, and installs the same package from the same signed repository by apt.
The surrogate's disk gets a copy of the running root, as its own documentation suggests for
what is not bootstrapped from nothing, and the package is installed into that copy.

Source: Packer 1.6 documentation, "Amazon EBS builder", "EBS Surrogate builder".
"""

from __future__ import annotations

import json
from typing import Any

from bench.bake_packages import Published
from ovenbird.domain.images import PackagePin
from ovenbird.sandbox.networks import GATEWAY

ENVIRONMENT = {"CHECKPOINT_DISABLE": "1", "AWS_POLL_DELAY_SECONDS": "1"}
TEMPORARY = "/tmp"  # noqa: S108 - on a machine of the benchmark's own
KEY = f"{TEMPORARY}/bench.gpg"
EXTRA = "/dev/xvdf"
REPOSITORY_PORT = 8099  # in the account's network
ROOT_LOGIN = "#cloud-config\ndisable_root: false\n"


def template(
    kind: str, *, access: dict[str, str], base: str, pin: PackagePin, published: Published
) -> str:
    """Return a template.

    Args:
        kind: ``amazon-ebs`` or ``amazon-ebssurrogate``.
        access: Words of the builder: keys, endpoint.
        base: Image id.
        pin: What is installed.
        published: Where it is.
    """
    script = _install(pin, published)
    builder: dict[str, Any] = {
        "type": kind,
        "region": "eu-west-1",
        "skip_region_validation": True,
        "skip_metadata_api_check": True,
        "skip_credential_validation": True,
        "source_ami": base,
        "instance_type": "t3.micro",
        "ssh_username": "root",
        "ssh_interface": "private_ip",
        "user_data": ROOT_LOGIN,
        "ami_name": "{{user `name`}}",
        "ena_support": True,
        **access,
    }
    if kind == "amazon-ebssurrogate":
        builder |= _surrogate_disk()
        script = _on_surrogate(script)
    steps = [
        {"type": "file", "source": published.state.key_path, "destination": KEY},
        {"type": "shell", "inline": script},
    ]
    return json.dumps(
        {"variables": {"name": ""}, "builders": [builder], "provisioners": steps}, indent=1
    )


def _surrogate_disk() -> dict[str, Any]:
    extra = {"volume_size": 8, "volume_type": "gp2", "delete_on_termination": True}
    return {
        "ami_virtualization_type": "hvm",
        "launch_block_device_mappings": [{"device_name": EXTRA, **extra}],
        "ami_root_device": {"source_device_name": EXTRA, "device_name": "/dev/xvda", **extra},
    }


def _install(pin: PackagePin, published: Published) -> list[str]:
    """Return the lines that install one package from our repository alone, and tidy up."""
    state, source = published.state, "/etc/apt/sources.list.d/bench.list"
    url = f"http://{GATEWAY}:{REPOSITORY_PORT}"
    only = f"-o Dir::Etc::sourcelist={source} -o Dir::Etc::sourceparts=-"
    apt = "DEBIAN_FRONTEND=noninteractive apt-get"
    return [
        "set -eu",
        f"echo 'deb [signed-by={KEY}] {url} {state.suite} {state.component}' > {source}",
        f"chmod 644 {KEY}",
        f"apt-get update -q {only}",
        f"{apt} install -q -y --no-install-recommends {only} {pin.name}={pin.version}",
        "apt-get clean",
        f"rm -rf {source} {KEY} /var/lib/apt/lists/* /etc/ssh/ssh_host_* /var/lib/cloud/*",
        "truncate -s 0 /etc/machine-id",
    ]


def _on_surrogate(script: list[str]) -> list[str]:
    """Let the lines work on a copy of the running root on the extra disk."""
    first, *lines = script
    return [
        first,
        f"mkfs.ext4 -q {EXTRA}",
        f"mount {EXTRA} /mnt",
        "cp -ax /. /mnt/",
        f"cp {KEY} /mnt{KEY}",
        "mount --rbind /dev /mnt/dev && mount --rbind /proc /mnt/proc",
        f'chroot /mnt sh -euxc "{"; ".join(lines)}"',
        "umount -l /mnt/dev /mnt/proc",
        "umount /mnt",
    ]
