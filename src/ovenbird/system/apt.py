"""apt's command lines and configuration for installing inside a bake.

Source: apt-get(8), apt.conf(5), sources.list(5).
"""

from __future__ import annotations

from collections.abc import Iterable

OURS = "/etc/apt/sources.list.d/ovenbird.list"  # only while the bake runs


def update(*, only_ours: bool = False) -> list[str]:
    """Read the indexes of all sources, or of our own repository alone."""
    ours = [
        "--option", f"Dir::Etc::sourcelist={OURS}",
        "--option", "Dir::Etc::sourceparts=-",
        "--option", "APT::Get::List-Cleanup=0",
    ]  # fmt: skip
    return ["apt-get", "update", "--quiet", "--error-on=any", *(ours if only_ours else [])]


def install(packages: Iterable[str]) -> list[str]:
    """Install exact versions and nothing that is merely recommended.

    Args:
        packages: ``name=version`` pairs.
    """
    return [
        "apt-get", "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        "--option", "Dpkg::Options::=--force-confold",
        *sorted(packages),
    ]  # fmt: skip


def source(*, key: str, url: str, suite: str, component: str) -> str:
    """Return one line of sources.list; the key signs this source and no other."""
    return f"deb [signed-by={key}] {url} {suite} {component}\n"
