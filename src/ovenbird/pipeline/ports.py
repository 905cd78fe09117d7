"""What the pipeline's steps need from the outside, put together once for each process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ovenbird.domain.apps import EnvironmentSpec
from ovenbird.domain.image_ports import Boots, ImageEvidence, ImageLives, ImageUses
from ovenbird.domain.images import BaseSource, Image
from ovenbird.domain.janitor import Leftovers
from ovenbird.domain.metric_ports import Metrics
from ovenbird.domain.plans import Plan
from ovenbird.domain.ports import (
    BakeWorkshop,
    BaseImages,
    Builders,
    BuildRooms,
    Clock,
    Images,
    Repository,
    ServerGroups,
    Snapshots,
)
from ovenbird.domain.preflight import Preflight, Problem, launching
from ovenbird.domain.sharing import Principal, ShareRequest, ShareTarget
from ovenbird.domain.sharing_ports import ImageSharing
from ovenbird.stages.boot_check import Proving
from ovenbird.stages.build import Sign
from ovenbird.stages.kitchen import Kitchen
from ovenbird.stages.share import Doors
from ovenbird.store.records import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One environment's doors.

    Args:
        images: The images of its account.
        period_s: Period of its load balancer's metrics.
        uses: What needs images there, besides server groups of ours.
        lives: The last days of images there.
        sharing: Permissions, copies and tags of images there.
        target: How it gets images.
        preflight: Looks for what would keep a rollout from working; None where nobody can.
        left: What may be left over there, by the janitor's lists; none where nobody looks.
    """

    name: str
    account_id: str
    images: Images
    groups: ServerGroups
    metrics: Metrics
    period_s: float
    uses: ImageUses
    lives: ImageLives
    sharing: ImageSharing
    target: ShareTarget
    preflight: Preflight | None = None

    def problems_of(
        self, plan: Plan, spec: EnvironmentSpec, *, shared: bool = True
    ) -> tuple[Problem, ...]:
        """Return what would keep a plan from working, as far as AWS lets it be known.

        Args:
            plan: What is to be done.
            spec: The part of the manifest for this environment.
            shared: Whether the environment's account has the image already.
        """
        planned = launching(plan, spec.guards, shared=shared)
        if planned is None or self.preflight is None:
            return ()
        return self.preflight.check(planned)

    left: tuple[Leftovers, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything that steps use.

    Args:
        directory: For mirrors, checkouts and built packages.
        channel: Of the repository; what releases build is published to it.
        release_channel: What was promoted everywhere is published to it; empty for none.
        rooms: Base images for builds in them; None where there are none.
        sign: Signs packages that were built; None to leave them unsigned.
        evidence: Keeps what is known of images; None to keep nothing.
        boots: Boots images once before they are offered; None where nothing can be booted.
        boot_ignored: Units that may fail in a boot check.
        base_images: Name in manifests → how the image is found.
        bases: Finds them, in the account that bakes.
        builders: Bakes by a builder instance; None where there is no network for one.
        bake_environment: Whose account bakes and owns images.
        owner: Region → permissions and copies of images of the account that bakes, there.
    """

    store: Store
    clock: Clock
    directory: Path
    repository: Repository
    channel: str
    release_channel: str
    snapshots: Snapshots
    workshop: BakeWorkshop
    base_images: Mapping[str, BaseSource]
    bases: BaseImages
    bake_environment: str
    owner: Callable[[str], ImageSharing]
    environments: Mapping[str, Environment]
    builders: Builders | None = None
    rooms: BuildRooms | None = None
    sign: Sign | None = None
    evidence: ImageEvidence | None = None
    boots: Boots | None = None
    boot_ignored: tuple[str, ...] = ()

    @property
    def images(self) -> Images:
        """The images of the account that bakes."""
        return self.environments[self.bake_environment].images

    @property
    def sharing(self) -> Doors:
        """Both sides of a sharing."""
        there = {name: found.sharing for name, found in self.environments.items()}
        return Doors(owner=self.owner, there=there)

    def share_request(
        self, image: Image, environments: Iterable[str], *, others: tuple[Principal, ...] = ()
    ) -> ShareRequest:
        """Return what it means to share an image with environments."""
        return ShareRequest(
            image=image,
            region=self.environments[self.bake_environment].target.region,
            targets=tuple(self.environments[name].target for name in environments),
            others=others,
        )

    @property
    def kitchen(self) -> Kitchen:
        """What bakes use."""
        return Kitchen(
            images=self.images,
            snapshots=self.snapshots,
            workshop=self.workshop,
            builders=self.builders,
            evidence=self.evidence,
        )

    @property
    def proving(self) -> Proving:
        """What boot checks use."""
        return Proving(
            images=self.images,
            tags=self.environments[self.bake_environment].sharing,
            snapshots=self.snapshots,
            boots=self.boots,
            evidence=self.evidence,
        )

    def mirror(self, url: str) -> Path:
        """Return where the mirror of a git remote is kept."""
        return mirror_of(self.directory, url)


def mirror_of(directory: Path, url: str) -> Path:
    """Return where the mirror of a git remote is kept in a state directory."""
    word = "".join(c if c.isalnum() else "-" for c in url).strip("-")
    return directory / "mirrors" / word[-100:]
