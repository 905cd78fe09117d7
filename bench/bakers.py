"""Those who bake the same package on the same base image: ours in its ways, and the peers.

Ours runs as in a release, within a process that runs; and once as a process of its own, which
also imports all that a bake needs. Each call makes a new image under a name of its own.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.bake_packages import Published
from bench.bake_sandbox import BenchSandbox
from bench.packer_templates import ENVIRONMENT, template
from ovenbird.aws.builders import Builders
from ovenbird.aws.images import Ec2Images
from ovenbird.aws.snapshots import EbsSnapshots
from ovenbird.config.settings import cache_home
from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.images import BakeRequest, BakeStrategy, Image, ImageId, PackagePin, SnapshotId
from ovenbird.domain.recipes import RecipeStep, Shell
from ovenbird.operations import doors
from ovenbird.stages.bake import bake
from ovenbird.stages.kitchen import Kitchen
from ovenbird.system.clock import SystemClock
from ovenbird.system.commands import run
from ovenbird.system.disks.disks import DiskBlocks
from ovenbird.system.rooms.workshop import Workshop

PACKER_TIMEOUT_S = 900.0
OWN_TIMEOUT_S = 300.0
_AMI = re.compile(r"eu-west-1: (ami-[0-9a-f]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaf:
    """One image that was baked.

    Args:
        seconds: From the call to the image that is available.
        phases: Phase → seconds, where it is known.
    """

    image_id: str
    seconds: float
    phases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Bakery:
    """What all of them are given.

    Args:
        inside: Words before a program that shall run in the account's network.
    """

    sandbox: BenchSandbox
    published: Published
    base: Image
    work: Path
    inside: list[str]

    def kitchen(self, cache: Path) -> Kitchen:
        """Open what our bakes need.

        Args:
            cache: Of downloaded disks.
        """
        account, settings, clock = self.sandbox.account, self.sandbox.settings, SystemClock()
        return Kitchen(
            images=Ec2Images(account),
            snapshots=EbsSnapshots(account, cache=cache, clock=clock),
            workshop=Workshop(self.work / "bakes", cache=cache_home() / "apt"),
            builders=Builders(
                account,
                doors.builder_spec(settings),
                directory=self.work / "builders",
                tools=cache_home() / "apt/tools",
                clock=clock,
            ),
            evidence=doors.open_evidence(settings),
        )

    def request(
        self, pin: PackagePin, name: str, strategy: BakeStrategy = BakeStrategy.DIRECT
    ) -> BakeRequest:
        """Return what is to be baked; each name is a bake of its own, also beside others."""
        step = RecipeStep(name="bench", work=Shell(lines=(f": {name}",)))
        return BakeRequest(
            app="bench",
            version=pin.version,
            commit="0" * 40,
            release_id=name,
            base_image_id=self.base.image_id,
            recipe=(step,),
            packages=(pin,),
            repository=self.published.state,
            fresh=True,
            strategy=strategy,
        )


Baker = Callable[[Bakery, PackagePin, str], Loaf]
"""Bakes a package into a new image; the last word is a name that nobody has used."""


def direct(bakery: Bakery, pin: PackagePin, name: str) -> Loaf:
    """Bake ours, with a base that was read before."""
    return _ours(bakery, bakery.request(pin, name), bakery.work / "disks")


def cold(bakery: Bakery, pin: PackagePin, name: str) -> Loaf:
    """Bake ours, with a base that is read now."""
    cache = bakery.work / f"disks-{name}"
    try:
        return _ours(bakery, bakery.request(pin, name), cache)
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def by_instance(bakery: Bakery, pin: PackagePin, name: str) -> Loaf:
    """Bake ours with a builder instance."""
    request = bakery.request(pin, name, BakeStrategy.INSTANCE)
    return _ours(bakery, request, bakery.work / "disks")


def own_process(bakery: Bakery, pin: PackagePin, name: str) -> Loaf:
    """Bake ours in a process of its own."""
    told = {
        "home": str(bakery.sandbox.places.home.parent),
        "work": str(bakery.work),
        "base": bakery.base.image_id,
        "size": next(size for size, one in bakery.published.pins.items() if one == pin),
        "name": name,
        "pin": [pin.name, pin.version, pin.architecture, pin.digest_sha256],
        "state": [getattr(bakery.published.state, key) for key in STATE],
    }
    begun = time.perf_counter()
    said = run(
        [sys.executable, "-m", "bench.bake_process", json.dumps(told)],
        timeout_s=OWN_TIMEOUT_S,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    return Loaf(image_id=said.split()[-1], seconds=time.perf_counter() - begun)


STATE = ("repository", "channel", "number", "url", "suite", "component", "key_path")


def packer(kind: str) -> Baker:
    """Return what bakes with one of Packer's builders."""

    def baker(bakery: Bakery, pin: PackagePin, name: str) -> Loaf:
        path = bakery.work / f"{name}.json"
        access = _access(bakery.sandbox)
        path.write_text(
            template(
                kind,
                access=access,
                base=bakery.base.image_id,
                pin=pin,
                published=bakery.published,
            )
        )
        return _packed(bakery, name, path)

    return baker


def whole(bakery: Bakery, pin: PackagePin, name: str) -> Loaf:
    """Upload every block of a disk as a snapshot without a parent, and register it.

    The disk is the base image's: what a package adds is not in it, nor is its installation.
    """
    del pin
    kitchen = bakery.kitchen(bakery.work / "disks")
    disk = kitchen.snapshots.download(bakery.base.root_snapshot_id)
    begun = time.perf_counter()
    snapshot_id: SnapshotId = kitchen.snapshots.upload(
        DiskBlocks(disk), parent=None, size_gib=bakery.base.size_gib, token=name, tags={}
    )
    image = kitchen.images.register(name=name, base=bakery.base, snapshot_id=snapshot_id, tags={})
    return Loaf(image_id=image.image_id, seconds=time.perf_counter() - begun)


def changed_blocks(bakery: Bakery, image_id: str) -> int:
    """Return in how many blocks an image's root volume differs from the base's.

    For one that has no parent these are all that its disk holds in other ways.
    """
    account = bakery.sandbox.account
    image = Ec2Images(account).get(ImageId(image_id))
    found, start = 0, 0
    while True:
        page = account.ebs.list_changed_blocks(
            FirstSnapshotId=bakery.base.root_snapshot_id,
            SecondSnapshotId=image.root_snapshot_id,
            StartingBlockIndex=start,
        )
        rows = page["ChangedBlocks"]
        found += sum("SecondBlockToken" in row for row in rows)
        if "NextToken" not in page:
            return found
        start = rows[-1]["BlockIndex"] + 1


def _ours(bakery: Bakery, request: BakeRequest, cache: Path) -> Loaf:
    kitchen = bakery.kitchen(cache)
    begun = time.perf_counter()
    baked = bake(request, kitchen=kitchen, progress=lambda _: None)
    return Loaf(
        image_id=baked.image.image_id,
        seconds=time.perf_counter() - begun,
        phases=baked.seconds,
    )


def _packed(bakery: Bakery, name: str, path: Path) -> Loaf:
    begun = time.perf_counter()
    said = run(
        [*bakery.inside, "packer", "build", "-color=false", "-var", f"name={name}", path],
        timeout_s=PACKER_TIMEOUT_S,
        env=ENVIRONMENT | {"HOME": str(bakery.work)},
    )
    seconds = time.perf_counter() - begun
    if not (found := _AMI.search(said)):
        raise CommandFailed("Packer made no image", stderr=said[-2000:])
    return Loaf(image_id=found.group(1), seconds=seconds)


def _access(sandbox: BenchSandbox) -> dict[str, str]:
    lines = sandbox.places.credentials.read_text().splitlines()
    pairs = dict(line.split(" = ") for line in lines if " = " in line)
    return {
        "access_key": pairs["aws_access_key_id"],
        "secret_key": pairs["aws_secret_access_key"],
        "custom_endpoint_ec2": sandbox.running.endpoint_url,
    }
