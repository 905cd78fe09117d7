"""What comes before a release: the commit is found, its manifest is read, plans are shown.

    commit ─▶ manifest ─▶ do the settings serve it? ─▶ a plan for each environment

Nothing is changed but the mirror of the git remote.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ovenbird.config.manifest import load_committed
from ovenbird.config.places import Places
from ovenbird.config.settings import cache_home
from ovenbird.domain.apps import AppSpec, EnvironmentSpec
from ovenbird.domain.drift import Difference
from ovenbird.domain.given_values import with_values
from ovenbird.domain.images import COMMIT_TAG, ImageId
from ovenbird.domain.names import ClusterName
from ovenbird.domain.plans import Plan
from ovenbird.domain.preflight import Problem
from ovenbird.domain.rollouts import plan_rollout
from ovenbird.domain.sources import Source
from ovenbird.domain.strategies.refusals import refuse_needless
from ovenbird.operations.locating import located
from ovenbird.operations.opening import Installation
from ovenbird.packaging.versions import version_of
from ovenbird.pipeline.hands import changed_by_hand
from ovenbird.pipeline.ports import Ports
from ovenbird.pipeline.release_steps import base_image, check_feasible, check_sharing
from ovenbird.store.records import Store
from ovenbird.system import git
from ovenbird.system.caches import refuse_full_disk

NEEDED_MIB = 512  # a copy of the base disk, changed blocks, packages and records
TO_BE_BAKED = ImageId("image to be baked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A commit that can be released: its manifest is right and the settings can serve it.

    Args:
        confirmed: Clusters of which nothing else need stay; the manifest knows them already.
        spec: With the values that were given.
        values: Of the environment of machines, over those of the manifest.
    """

    source: Source
    spec: AppSpec
    version: str
    confirmed: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a rollout of the release would do in one environment, as things stand.

    Args:
        approval: Whether a person must approve it first.
        by_hand: What people changed since our last change of the cluster.
        problems: What would keep it from working, as far as AWS lets it be known.
    """

    environment: str
    cluster: str
    approval: bool
    plan: Plan
    by_hand: tuple[Difference, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a release would do.

    Args:
        image_id: An image of this commit, which is used if its bake key is still the same.
    """

    release_id: str
    image_id: str
    rollouts: tuple[Planned, ...]


def prepare(
    installation: Installation,
    *,
    app: str,
    ref: str,
    confirmed: Sequence[str] = (),
    values: Mapping[str, str] | None = None,
) -> Prepared:
    """Find the commit, and refuse what could not be released; nothing is changed.

    Args:
        installation: Where it would be released.
        app: Git URL, or a directory in a git repository.
        ref: Branch, tag or commit.
        confirmed: Clusters that a person named to do without everything else in them.
        values: Of the environment of machines, over those of the manifest.

    Raises:
        NotFound: The sandbox, the commit, its manifest, an environment or the base image is not
            there.
        InvalidRequest: The manifest is wrong, or a cluster was confirmed that need not be.
        OvenbirdError: There is no room for a release on the disk.
    """
    for written in (installation.state, cache_home()):
        refuse_full_disk(written, needed_mib=NEEDED_MIB)
    ports = installation.ports
    url, directory = located(app)
    mirror = ports.mirror(url)
    source = git.resolve(url, ref, mirror=mirror, directory=directory)
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as place:
        checkout = git.checkout(source, mirror=mirror, into=Path(place) / "checkout")
        spec = with_values(load_committed(source, checkout), values or {}).confirmed(confirmed)
        places = Places(source, checkout)
        version = version_of(checkout, spec.version)
    refuse_needless(spec, confirmed)
    with places.named():
        check_feasible(spec, ports)
    base_image(spec, ports)
    return Prepared(
        source=source, spec=spec, version=version, confirmed=tuple(confirmed), values=values or {}
    )


def preview(installation: Installation, prepared: Prepared, *, fresh: bool) -> Preview:
    """Plan each rollout on its cluster as it is now; nothing is changed.

    Args:
        installation: Where it would be released.
        prepared: The commit.
        fresh: Whether an image of an earlier bake must not be used.

    Raises:
        Conflict: A plan is not possible now.
        InvalidRequest: The image could not be shared: its key can be used by no other account.
        CloudError: AWS refused a call.
    """
    ports = installation.ports
    check_sharing(prepared.spec, ports)
    release_id = next_id(ports.store, prepared)
    image_id = "" if fresh else _image_of(prepared, ports)
    return Preview(
        release_id=release_id,
        image_id=image_id,
        rollouts=tuple(
            _planned(spec, prepared, ports, ImageId(image_id) or TO_BE_BAKED)
            for spec in prepared.spec.environments
        ),
    )


def next_id(store: Store, prepared: Prepared) -> str:
    """Return the id of the next attempt to release a commit."""
    head = f"{prepared.spec.app}-{prepared.source.short_commit}"
    attempt = re.compile(rf"{re.escape(head)}-(\d+)")
    found = (attempt.fullmatch(one.release_id) for one in store.list_releases(prepared.spec.app))
    return f"{head}-{max((int(match[1]) for match in found if match), default=0) + 1}"


def _image_of(prepared: Prepared, ports: Ports) -> str:
    for image in ports.images.list_baked(prepared.spec.app):
        if image.tags.get(COMMIT_TAG) == prepared.source.commit:
            return image.image_id
    return ""


def _planned(spec: EnvironmentSpec, prepared: Prepared, ports: Ports, image_id: ImageId) -> Planned:
    environment = ports.environments[spec.name]
    name = ClusterName(app=prepared.spec.app, stack=spec.name)
    cluster = environment.groups.get_cluster(name, spec.name)
    plan = plan_rollout(
        cluster,
        image_id=image_id,
        version=prepared.version,
        release_id=next_id(ports.store, prepared),
        spec=prepared.spec,
        environment=spec,
        period_s=environment.period_s,
        now=ports.clock.now(),
    )
    return Planned(
        environment=spec.name,
        cluster=str(name),
        approval=spec.approval,
        plan=plan,
        by_hand=changed_by_hand(ports.store, cluster),
        problems=environment.problems_of(plan, spec, shared=False),
    )
