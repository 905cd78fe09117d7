"""apt's command lines and configuration for installing inside a bake.

Source: apt-get(8), apt.conf(5), sources.list(5).
"""

from __future__ import annotations

from collections.abc import Iterable

OURS = "/etc/apt/sources.list.d/ovenbird.list"  # only while the bake runs
_ONLY_OURS = (
    "--option", f"Dir::Etc::sourcelist={OURS}",
    "--option", "Dir::Etc::sourceparts=-",
    "--option", "Dir::Cache::srcpkgcache=",  # those on disk are of all sources
    "--option", "Dir::Cache::pkgcache=",
)  # fmt: skip


def update(*, only_ours: bool = False) -> list[str]:
    """Read the indexes of all sources, or of our own repository alone."""
    ours = [*_ONLY_OURS, "--option", "APT::Get::List-Cleanup=0"]
    return ["apt-get", "update", "--quiet", "--error-on=any", *(ours if only_ours else [])]


def install(packages: Iterable[str], *, only_ours: bool = False) -> list[str]:
    """Install exact versions and nothing that is merely recommended.

    Args:
        packages: ``name=version`` pairs.
        only_ours: From our own repository alone; fails rather than remove what is there.
    """
    return [
        "apt-get", "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        "--option", "Dpkg::Options::=--force-confold",
        *([*_ONLY_OURS, "--no-remove"] if only_ours else []),
        *sorted(packages),
    ]  # fmt: skip


def suffices(packages: Iterable[str]) -> list[str]:
    """Ask, by the exit status, whether our own repository has all that packages need.

    It does when their dependencies are installed, or ours. apt then need not know the tens of
    thousands of packages of the distribution, which takes most of a second.
    """
    asked = [*install(packages, only_ours=True), "--simulate"]
    return ["sh", "-c", 'exec "$@" >/dev/null 2>&1', "sh", *asked]


def source(*, key: str, url: str, suite: str, component: str) -> str:
    """Return one line of sources.list; the key signs this source and no other."""
    return f"deb [signed-by={key}] {url} {suite} {component}\n"
