"""The base image `debian-12`, made from nothing, and kept by its recipe.

    mmdebstrap (the machine's own mirrors) -> settled tree -> disk -> cache

Source: mmdebstrap(1); cloud-init documentation, "Amazon EC2" (strict_id) and
"Datasource identification" (a list of one is not searched for).
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path

from ovenbird.aws.clients import Account
from ovenbird.aws.snapshots import EbsSnapshots
from ovenbird.sandbox import base_disk, leftovers
from ovenbird.system.commands import run, stream
from ovenbird.system.disks.disks import DiskBlocks
from ovenbird.system.locks import file_lock

SUITE = "bookworm"
PACKAGES = (
    "systemd-sysv", "dbus", "udev", "linux-image-cloud-amd64", "initramfs-tools",
    "cloud-init", "openssh-server", "netplan.io", "iproute2", "ca-certificates", "python3",
    "e2fsprogs",
)  # fmt: skip
TIMEOUT_S = 900.0
MIRROR_CHECKS = re.compile(r'^(Acquire::Check-(?:Date|Valid-Until)) "([^"]*)";$', re.MULTILINE)

MIRROR_URL = re.compile(r"\b(https?)://([^/\s:]+)(?::(\d+))?")
PORTS = {"http": "80", "https": "443"}

CLOUD_CFG = """# The image runs on EC2, and on what speaks its metadata service.
datasource_list: [Ec2, None]
datasource:
  Ec2:
    strict_id: false
    timeout: 5
    max_wait: 10
    apply_full_imds_network_config: false
locale: C.UTF-8  # the only one in the image
ssh_genkeytypes: [ed25519, ecdsa]  # RSA and DSA take half a second of each first boot
"""
EMPTIED = ("etc/machine-id",)
REMOVED = (
    "etc/ssh/ssh_host_*", "etc/hostname", "etc/resolv.conf", "var/log/*.log", "var/log/apt/*",
    "var/cache/ldconfig/aux-cache", "var/cache/apt/*.bin", "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old", "var/cache/debconf/*-old", "var/lib/systemd/random-seed",
    "var/lib/dbus/machine-id", "etc/*-", "etc/apt/apt.conf.d/99mmdebstrap",
)  # fmt: skip


def recipe_key() -> str:
    """Return ten hex digits of everything that decides what the base image contains."""
    made_by = [inspect.getsource(part) for part in (base_disk, mmdebstrap, _install, _settle)]
    recipe = (SUITE, PACKAGES, CLOUD_CFG, EMPTIED, REMOVED, *made_by)
    return hashlib.sha256(repr(recipe).encode()).hexdigest()[:10]


def image_name() -> str:
    """Return the base image's name in EC2."""
    return f"debian-12-amd64-{recipe_key()}"


def ensure_base_disk(cache: Path, progress: Callable[[str], None]) -> Path:
    """Return the base image's disk, made unless the cache has it.

    Takes a minute or two when it is made; who asks meanwhile waits for it.

    Raises:
        CommandFailed: A program is missing or failed; nothing half-made is left.
    """
    disk = cache / leftovers.BASE_IMAGES / f"{image_name()}.raw"
    with file_lock(disk.with_suffix(".lock")):
        if not disk.exists():
            _make(disk, progress)
    return disk


def _make(disk: Path, progress: Callable[[str], None]) -> None:
    work = disk.with_suffix(leftovers.WORK)
    leftovers.clear(work)  # of a run that was killed: its mmdebstrap goes on without it
    try:
        work.mkdir()
        progress(f"Making base image `{image_name()}`: installing Debian 12 (about a minute)")
        _install(work / "tree", progress)
        _settle(work / "tree")
        progress("Making base image: writing its disk")
        base_disk.make_disk(work / "tree", work / "disk.raw", work=work)
        (work / "disk.raw").replace(disk)
    finally:
        leftovers.clear(work)


def mmdebstrap(tree: Path, *, sources: list[Path], checks: list[str]) -> list[str]:
    """Return the command that makes the tree.

    Args:
        tree: Directory to make.
        sources: The machine's own apt sources.
        checks: apt options that this machine's mirrors need, as ``Acquire::Check-Date "false"``.
    """
    options = ['Acquire::Languages "none"', 'APT::Install-Recommends "false"', *checks]
    left_out = ("man", "doc", "locale", "info", "lintian")
    return [
        "mmdebstrap", "--mode=root", "--variant=minbase", "--skip=check/empty",
        *(f"--aptopt={option}" for option in options),
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in left_out),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        f"--include={','.join(PACKAGES)}",
        SUITE, str(tree), *map(str, sources),
    ]  # fmt: skip


def _install(tree: Path, progress: Callable[[str], None]) -> None:
    etc = Path("/etc/apt")
    sources = sorted(
        [*etc.glob("sources.list"), *etc.glob("sources.list.d/debian*.sources")]
        or [*etc.glob("sources.list.d/*.list"), *etc.glob("sources.list.d/*.sources")]
    )
    found = MIRROR_CHECKS.findall(run(["apt-config", "dump"], timeout_s=30))
    checks = [f'{name} "{value}"' for name, value in found]

    def tell(line: str) -> None:
        if line.startswith("I: "):
            progress(f"Making base image: {line.removeprefix('I: ')}")

    stream(
        mmdebstrap(tree, sources=sources, checks=checks),
        timeout_s=TIMEOUT_S,
        on_line=tell,
        env={"SOURCE_DATE_EPOCH": str(base_disk.EPOCH_S)},
    )


def mirrors() -> tuple[str, ...]:
    """Return the ``host:port`` of the mirrors that this host has, and so the image."""
    etc = Path("/etc/apt")
    files = [*etc.glob("sources.list"), *etc.glob("sources.list.d/debian*.sources")]
    files = files or list(etc.glob("sources.list.d/*"))  # as in `_install`
    lines = [line for file in files for line in file.read_text().splitlines()]
    named = [line for line in lines if line.startswith(("deb ", "URIs:"))]
    found = [url for line in named for url in MIRROR_URL.findall(line)]
    return tuple(sorted({f"{host}:{port or PORTS[scheme]}" for scheme, host, port in found}))


def _settle(tree: Path) -> None:
    """Remove what belongs to one machine, and say where cloud-init finds its data."""
    (tree / "etc/cloud/cloud.cfg.d/90_ovenbird.cfg").write_text(CLOUD_CFG)
    for name in EMPTIED:
        (tree / name).write_text("")
    for pattern in REMOVED:
        for path in tree.glob(pattern):
            if path.is_file() or path.is_symlink():
                path.unlink()


def register(disk: Path, *, account: Account, snapshots: EbsSnapshots) -> str:
    """Register the disk as an image through the public API; return the image's id.

    An image of that name is returned as it is.
    """
    found = account.ec2.describe_images(
        Owners=["self"], Filters=[{"Name": "name", "Values": [image_name()]}]
    )["Images"]
    if found:
        return found[0]["ImageId"]
    snapshot_id = snapshots.upload(
        DiskBlocks(disk),
        parent=None,
        size_gib=base_disk.SIZE_GIB,
        token=hashlib.sha256(image_name().encode()).hexdigest(),
        tags={"Name": image_name()},
    )
    return account.ec2.register_image(
        Name=image_name(),
        Description="Debian 12, made by the sandbox from its recipe",
        Architecture="x86_64",
        BootMode="uefi-preferred",
        EnaSupport=True,
        ImdsSupport="v2.0",
        VirtualizationType="hvm",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}],
    )["ImageId"]
