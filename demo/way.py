"""One version's way from a commit to an image that production may launch."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from demo.report import Release
from ovenbird.aws.images import Ec2Images
from ovenbird.aws.snapshots import EbsSnapshots
from ovenbird.config.manifest import load_manifest
from ovenbird.domain.apps import AppSpec
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.images import Baked, BakeRequest, ImageId, PackagePin
from ovenbird.domain.packages import Package
from ovenbird.domain.sources import Source
from ovenbird.packaging.apt_repository import AptRepository
from ovenbird.packaging.signing import SigningKey
from ovenbird.sandbox import base_images
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.lifecycle import STATUS_PATH
from ovenbird.sandbox.places import PRODUCTION, cache_home
from ovenbird.stages.bake import bake
from ovenbird.stages.build import build
from ovenbird.stages.publish import publish
from ovenbird.stages.share import share
from ovenbird.system import git
from ovenbird.system.clock import SystemClock
from ovenbird.system.workshop import Workshop


class Way:
    """The stages with the sandbox behind them.

    Args:
        endpoint: The sandbox's API.
        home: Directory for everything that is made.
        app: Git URL or directory.
        console: Told what happens.
    """

    def __init__(self, endpoint: Endpoint, *, home: Path, app: str, console: Console) -> None:
        self._endpoint, self._home, self._app, self._console = endpoint, home, app, console
        self._ours = Ec2Images(endpoint.development)
        self._theirs = Ec2Images(endpoint.production)
        self._snapshots = EbsSnapshots(
            endpoint.development, cache=home / "disks", clock=SystemClock()
        )
        self._workshop = Workshop(home / "bakes", cache=cache_home() / "apt")
        self._repository = AptRepository(
            home / "repository", name="main", channel="candidate", key=SigningKey(home / "keys")
        )
        self._stages: list[tuple[str, float]] = []
        self._requests: list[tuple[BakeRequest, Baked]] = []
        self._base = self._registered()

    def go(self, ref: str) -> Release:
        """Go from a ref to a shared image, and return what each stage took."""
        self._stages = []
        self._say(f"[bold]== {ref}[/bold]")
        with self._timed("build"):
            source, spec, packages = self._built(ref)
        with self._timed("publish"):
            state = publish(
                packages, repository=self._repository, clock=SystemClock(), progress=self._quiet
            )
        request = self._request(source, spec, packages, state)
        with self._timed("bake"):
            baked = self._bake(request)
        with self._timed("share"):
            share(
                baked.image,
                account_id=PRODUCTION,
                images=self._ours,
                there=self._theirs,
                progress=self._quiet,
            )
        self._requests.append((request, baked))
        self._say(f"   image {baked.image.image_id} `{baked.image.name}`")
        return Release(
            version=request.version,
            image_id=baked.image.image_id,
            stages=tuple(self._stages),
            bake_phases=dict(baked.seconds),
            blocks_uploaded=baked.blocks_uploaded,
            blocks_total=baked.blocks_total,
        )

    def again_from_scratch(self) -> bool:
        """Bake the first version anew and tell whether it gave the same bits."""
        request, before = self._requests[0]
        self._say(f"[bold]== {request.version} again, from scratch[/bold]")
        again = self._bake(replace(request, fresh=True, release_id=f"{request.release_id}-again"))
        return again.digest_sha256 == before.digest_sha256

    def api_calls(self) -> int:
        """Return how many AWS API calls the sandbox has answered."""
        with urllib.request.urlopen(f"{self._endpoint.url}{STATUS_PATH}") as answer:  # noqa: S310 - loopback
            return int(json.load(answer)["api_calls"])

    def _registered(self) -> ImageId:
        disk = base_images.ensure_base_disk(cache_home(), self._say)
        self._say("Registering the base image: uploading its blocks")
        account = self._endpoint.development
        return ImageId(base_images.register(disk, account=account, snapshots=self._snapshots))

    def _built(self, ref: str) -> tuple[Source, AppSpec, tuple[Package, ...]]:
        mirror = self._home / "mirror"
        source = git.resolve(self._app, ref, mirror=mirror)
        into = self._home / "checkouts" / source.commit
        checkout = git.checkout(source, mirror=mirror, into=into)
        spec = load_manifest(checkout)
        outbox = self._home / "outbox"
        packages = build(source, spec, checkout=checkout, outbox=outbox, progress=self._quiet)
        return source, spec, packages

    def _request(
        self,
        source: Source,
        spec: AppSpec,
        packages: tuple[Package, ...],
        state: RepositoryState,
    ) -> BakeRequest:
        return BakeRequest(
            app=spec.app,
            version=packages[0].version,
            commit=source.commit,
            release_id=f"{spec.app}-{source.short_commit}-1",
            base_image_id=self._base,
            recipe=spec.image.recipe,
            packages=tuple(
                PackagePin(
                    name=package.name,
                    version=package.version,
                    architecture=package.architecture,
                    digest_sha256=package.digest_sha256,
                )
                for package in packages
            ),
            repository=state,
        )

    def _bake(self, request: BakeRequest) -> Baked:
        return bake(
            request,
            images=self._ours,
            snapshots=self._snapshots,
            workshop=self._workshop,
            progress=self._quiet,
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        seconds = time.monotonic() - begun
        self._stages.append((stage, seconds))
        self._say(f"   {stage:<8} {seconds:5.1f} s")

    def _say(self, line: str) -> None:
        self._console.print(line)

    def _quiet(self, _line: str) -> None:
        """Programs' own lines are not shown; an error carries the last of them."""
