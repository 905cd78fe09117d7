"""Packages on their own: built from a commit, nothing published."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ovenbird.config.manifest import load_committed
from ovenbird.domain.packages import Package
from ovenbird.domain.ports import Progress
from ovenbird.stages.build import build
from ovenbird.system import git


def build_packages(app: str, ref: str, *, into: Path, progress: Progress) -> tuple[Package, ...]:
    """Build the packages of one commit.

    Args:
        app: Git URL or directory.
        ref: Branch, tag or commit.
        into: Directory that receives the packages.
        progress: Told what happens, line by line.

    Raises:
        NotFound: The remote, the ref or the manifest does not exist.
        InvalidRequest: The manifest is wrong.
        CommandFailed: The build failed.
    """
    url = str(Path(app).absolute()) if Path(app).is_dir() else app
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as directory:
        mirror = Path(directory) / "mirror"
        source = git.resolve(url, ref, mirror=mirror)
        progress(f"Building `{ref}`, commit {source.short_commit}")
        checkout = git.checkout(source, mirror=mirror, into=Path(directory) / "checkout")
        spec = load_committed(source, checkout)
        return build(source, spec, checkout=checkout, outbox=into, progress=progress)
