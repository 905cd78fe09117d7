"""What every root file system needs that is booted by systemd-nspawn.

* udev, time, kernel file systems and terminals are the host's, and packages have no mirror
  to come from;
* its address is set from outside, so nothing in it shall look for another one.

Source: systemd-nspawn(1); kernel-command-line(7), `systemd.mask=`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

MASKED = (
    "systemd-networkd.service", "systemd-networkd.socket",
    "systemd-networkd-wait-online.service", "networking.service",
    "systemd-udevd.service", "systemd-udev-trigger.service", "systemd-udev-settle.service",
    "systemd-timesyncd.service", "systemd-pstore.service", "systemd-remount-fs.service",
    "e2scrub_reap.service", "apt-daily.timer", "apt-daily-upgrade.timer",
    "getty.target", "console-getty.service",
)  # fmt: skip
ENVIRONMENT = {"SYSTEMD_NSPAWN_LOCK": "0"}  # no lock file beside the root: nobody else boots it
SETTLED = (  # what stays outside: no directory of the host is looked at or changed
    "--register=no", "--keep-unit", "--console=read-only", "--link-journal=no",
    "--resolv-conf=off", "--timezone=off",
)  # fmt: skip
_APART = """
for mount in $(cut -d' ' -f2 /proc/self/mounts); do
  case $mount in
    "$0") ;;
    {patterns}) umount --lazy "$mount" 2>/dev/null ;;
  esac
done
exec "$@"
"""


def apart(root: Path, argv: Sequence[str], *, patterns: Sequence[str]) -> list[str]:
    """Start a machine where the disks of all other machines are not mounted.

    systemd-nspawn takes a copy of every mount of this host into its machine, hidden below the
    machine's root, and each copy keeps its disk busy for as long as the machine runs: no other
    image, and no other sandbox, could let go of its disks.

    Source: measured on 2026-11-25 with systemd 252: a loop device stays when its file system is
    unmounted, and goes when a machine that was started before ends.

    Args:
        root: The machine's.
        argv: What starts it.
        patterns: Of the shell, for the mount points of others.
    """
    script = _APART.format(patterns=" | ".join(patterns))
    return ["unshare", "--mount", "sh", "-c", script, str(root), *argv]


def masked(*more: str) -> list[str]:
    """Return what a machine's systemd is told as by a boot loader, so that units stay away."""
    return [f"systemd.mask={unit}" for unit in (*MASKED, *more)]
