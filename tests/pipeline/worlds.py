"""A world for the pipeline: images and server groups that live in one file.

It outlives the process, so that a killed release finds what it had made; its log holds
every act that must not happen twice.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ovenbird.domain.catalog import CatalogEntry, RepositoryState
from ovenbird.domain.clusters import (
    CLUSTER_TAG,
    Capacity,
    Cluster,
    Details,
    Instance,
    InstanceId,
    InstanceState,
    ServerGroup,
)
from ovenbird.domain.contents import ImageContents
from ovenbird.domain.errors import CommandFailed, NotFound, Throttled
from ovenbird.domain.image_retention import RETIRED_TAG, ImageUse
from ovenbird.domain.images import (
    DISABLED,
    RELEASE_TAG,
    BaseSource,
    Image,
    ImageId,
    PackagePin,
    SnapshotId,
)
from ovenbird.domain.janitor import Kind, Leftover
from ovenbird.domain.judging import MetricSpec, Pair
from ovenbird.domain.measuring import Measured, Sides, pair
from ovenbird.domain.names import ClusterName, ServerGroupName
from ovenbird.domain.packages import Package
from ovenbird.domain.plans import CreateServerGroup, Mend, Weight
from ovenbird.domain.ports import Progress
from ovenbird.domain.preflight import Launching, Problem
from ovenbird.domain.recipes import RecipeStep
from ovenbird.domain.sharing import (
    SOURCE_ACCOUNT_TAG,
    Key,
    Permissions,
    Principal,
    PrincipalKind,
    ShareTarget,
)
from ovenbird.domain.traffic import MarkedRequests
from ovenbird.pipeline.codec import decode, encode
from ovenbird.pipeline.ports import Environment, Ports
from ovenbird.store.opening import open_store
from ovenbird.system.clock import SystemClock
from tests.pipeline.repositories import Repository

AT = datetime(2026, 1, 1, tzinfo=UTC)
DEV, PROD = "111111111111", "222222222222"
BASE = Image(
    image_id=ImageId("ami-base"), name="debian-12-amd64", owner_id=DEV,
    root_snapshot_id=SnapshotId("snap-base"), root_device_name="/dev/xvda",
    architecture="x86_64", boot_mode="uefi", ena=True, imds_v2=True, size_gib=4,
    created_at=AT, state="available",
)  # fmt: skip
PERIOD_S = 0.05
REGION = "eu-west-1"


@dataclass(kw_only=True)
class State:
    """Everything that is kept.

    Args:
        log: What was done, in order.
        bad: Versions whose canaries answer with errors.
        silent: Whether no requests come.
        breaks_on: What fails when it would be logged.
        throttled: How often the next bake is throttled.
        sick: Whether no new instance gets healthy.
        problems: What a preflight finds.
        fires_after: What is done, as it is logged, before all alarms fire.
        channels: The repository's channels: the packages of each state, None when it is gone.
        rotten: Versions whose files have other bytes in the repository.
        forged: Versions whose files have signatures that are not valid.
        records: What the repository keeps of where packages came from.
        shared: Images that production may launch, by id.
        key: What encrypts images; AWS's own when it has `managed` in it.
        newer_base: Id of the image that the base image's name means now.
        uses: Image → what needs it, besides server groups.
        launched: Server group → what its instances are launched with.
        suspended: Server groups whose process `Launch` is suspended.
        left: Target group in production without a group → what uses it.
        made_by: Release that made these.
    """

    images: list[Image] = field(default_factory=list)
    groups: dict[str, ServerGroup] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    silent: bool = False
    breaks_on: str = ""
    throttled: int = 0
    sick: bool = False
    problems: list[str] = field(default_factory=list)
    fires_after: str = ""
    channels: dict[str, Sequence[Sequence[Package] | None]] = field(default_factory=dict)
    rotten: list[str] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)
    records: list[CatalogEntry] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    newer_base: str = ""
    key: str = ""
    uses: dict[str, str] = field(default_factory=dict)
    launched: dict[str, dict[str, str]] = field(default_factory=dict)
    suspended: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    made_by: str = ""


class World:
    """All ports of the pipeline in one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = directory / "world.json"
        self._lock = threading.RLock()
        directory.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def state(self) -> Iterator[State]:
        """Read the state, let it be changed, write it."""
        with self._lock:
            state = State(**_read(self._file))
            yield state
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps(encode(vars(state))))
            new.replace(self._file)

    def look(self) -> State:
        """Return the state as it is."""
        return State(**_read(self._file))

    def note(self, what: str) -> None:
        with self.state() as state:
            state.log.append(what)
        if state.breaks_on and state.breaks_on == what:
            raise CommandFailed(f"`{what}` broke", hint="Mend it")

    # Images and snapshots

    def get(self, image_id: ImageId) -> Image:
        for image in (BASE, self._base(), *self.look().images):
            if image.image_id == image_id:
                return image
        raise NotFound(f"No image `{image_id}`")

    def find_by_name(self, name: str) -> Image | None:
        found = (image for image in (BASE, *self.look().images) if image.name == name)
        return next(found, None)

    def find_baked(self, bake_key: str) -> Image | None:
        found = (image for image in self.look().images if image.bake_key == bake_key)
        return next(found, None)

    def list_baked(self, app: str | None = None, *, disabled: bool = False) -> tuple[Image, ...]:
        return tuple(image for image in self.look().images if app in {None, image.app})

    def register(
        self, *, name: str, base: Image, snapshot_id: SnapshotId, tags: Mapping[str, str]
    ) -> Image:
        with self.state() as state:
            made = replace(
                base, image_id=ImageId(f"ami-{len(state.images)}"), name=name,
                root_snapshot_id=snapshot_id, tags=dict(tags),
            )  # fmt: skip
            state.images.append(made)
        self.note(f"register {made.version}")
        return made

    def download(self, snapshot_id: SnapshotId, *, parent: SnapshotId | None = None) -> Path:
        with self.state() as state:
            state.throttled -= 1
        if state.throttled >= 0:
            raise Throttled("Slow down")
        return Path("/disk")

    def upload(
        self,
        blocks: Mapping[int, bytes],
        *,
        parent: SnapshotId | None,
        size_gib: int,
        token: str,
        tags: Mapping[str, str],
    ) -> SnapshotId:
        return SnapshotId(f"snap-{token[:8]}")

    def changed(self, first: SnapshotId, second: SnapshotId) -> frozenset[int]:
        return frozenset({1, 3})

    def forget_unfinished(self, tag: str, value: str, *, keep: SnapshotId) -> None:
        """There are none."""

    def verify(
        self, snapshot_id: SnapshotId, *, parent: SnapshotId, blocks: Collection[int]
    ) -> None: ...

    def list_uses(self) -> tuple[ImageUse, ...]:
        uses = self.look().uses.items()
        return tuple(ImageUse(image_id=ImageId(name), reason=why) for name, why in uses)

    def deprecate(self, image: Image, *, at: datetime) -> None:
        self._change(image, tags={**image.tags, RETIRED_TAG: at.isoformat()})
        self.note(f"deprecate {image.version}")

    def disable(self, image: Image) -> None:
        self._change(image, state=DISABLED)
        self.note(f"disable {image.version}")

    def restore(self, image: Image) -> None:
        tags = {key: value for key, value in image.tags.items() if key != RETIRED_TAG}
        self._change(image, state="available", tags=tags)
        self.note(f"restore {image.version}")

    def remove(self, image: Image) -> None:
        with self.state() as state:
            state.images = [one for one in state.images if one.image_id != image.image_id]
        self.note(f"remove {image.version}")

    def _change(self, image: Image, **changes: Any) -> None:
        with self.state() as state:
            state.images = [
                replace(one, **changes) if one.image_id == image.image_id else one
                for one in state.images
            ]

    # Workshop

    @contextmanager
    def open(
        self, disk: Path, *, key: str, repository: RepositoryState, progress: Progress
    ) -> Iterator[World]:
        progress("Reading package lists")
        yield self

    def perform(self, step: RecipeStep, *, directory: Path | None) -> None: ...

    def install(self, pins: Sequence[PackagePin]) -> None:
        self.note("install " + ", ".join(f"{pin.name} {pin.version}" for pin in pins))

    def clean(self) -> None: ...

    def changed_blocks(self) -> dict[int, bytes]:
        return {3: b"c", 1: b"a"}

    def total_blocks(self) -> int:
        return 900

    def check(self) -> None: ...

    def contents(self, disk: Path | None = None) -> ImageContents:
        return ImageContents()

    def notes(self) -> tuple[str, ...]:
        return ()

    def find(self, source: BaseSource) -> Image:
        assert source.name == BASE.name
        return self._base()

    def _base(self) -> Image:
        newer = self.look().newer_base
        if not newer:
            return BASE
        snapshot_id = SnapshotId(f"snap-of-{newer}")
        return replace(BASE, image_id=ImageId(newer), root_snapshot_id=snapshot_id)

    def ready(self, base: Image, *, progress: Progress) -> Image:
        return base

    def key_of(self, base: Image) -> Key | None:
        arn = self.look().key
        return Key(arn=arn, customer="managed" not in arn, enabled=True) if arn else None

    def owner(self, region: str) -> Sharing:
        assert region == REGION
        return Sharing(self, DEV)

    def ports(self) -> Ports:
        """Return the pipeline's ports, all of them this world."""
        return Ports(
            store=open_store(f"sqlite:///{self.directory}/store.sqlite"),
            clock=SystemClock(),
            directory=self.directory,
            repository=Repository(self),
            channel="candidate",
            release_channel="release",
            snapshots=self,
            workshop=self,
            base_images={"debian-12": BaseSource(name=BASE.name)},
            bases=self,
            bake_environment="dev",
            owner=self.owner,
            environments={
                name: Environment(
                    name=name,
                    account_id=account_id,
                    images=self,
                    groups=Groups(self),
                    metrics=Traffic(self),
                    period_s=PERIOD_S,
                    uses=self,
                    lives=self,
                    sharing=Sharing(self, account_id),
                    target=ShareTarget(environment=name, account_id=account_id, region=REGION),
                    preflight=Preflight(self),
                    left=(Left(self),) if name == "prod" else (),
                )
                for name, account_id in (("dev", DEV), ("prod", PROD))
            },
        )


class Sharing:
    """Who may launch; both accounts see the same images and tags here."""

    def __init__(self, world: World, account_id: str) -> None:
        self._world, self._account_id = world, account_id

    def get(self, image_id: ImageId) -> Image:
        if self._account_id != DEV and image_id not in self._world.look().shared:
            raise NotFound(f"No image `{image_id}`")
        image = self._world.get(image_id)
        return replace(image, tags={**image.tags, SOURCE_ACCOUNT_TAG: DEV})

    def permissions(self, image: Image) -> Permissions:
        if image.image_id not in self._world.look().shared:
            return Permissions()
        prod = Principal(kind=PrincipalKind.ACCOUNT, name=PROD)
        return Permissions(launch=frozenset({prod}), volumes=frozenset({PROD}))

    def allow_launch(self, image: Image, principals: Sequence[Principal]) -> None:
        with self._world.state() as state:
            state.shared.append(image.image_id)
        self._world.note(f"share {image.version} with {principals[0].name}")

    def deny_launch(self, image: Image, principals: Sequence[Principal]) -> None:
        with self._world.state() as state:
            state.shared.remove(image.image_id)
        self._world.note(f"share {image.version} no more with {principals[0].name}")

    def allow_volumes(self, image: Image, accounts: Sequence[str]) -> None: ...

    def deny_volumes(self, image: Image, accounts: Sequence[str]) -> None: ...

    def await_seen(self, image_id: ImageId) -> Image:
        return self.get(image_id)

    def launch_doubt(self, image: Image) -> str:
        return ""

    def key(self, name: str) -> Key:
        raise AssertionError("nothing is encrypted here")

    def grantees(self, key: str) -> frozenset[str]:
        raise AssertionError("nothing is encrypted here")

    def grant(self, key: str, grantee: str) -> None:
        raise AssertionError("nothing is encrypted here")

    def revoke(self, key: str, grantee: str) -> None:
        raise AssertionError("nothing is encrypted here")

    def find_copy(self, source: Image, *, region: str) -> Image | None:
        raise AssertionError("there is one Region, and nobody copies")

    def copy(self, source: Image, **how: object) -> Image:
        raise AssertionError("there is one Region, and nobody copies")

    def remove_copy(self, source: Image, *, region: str) -> None:
        raise AssertionError("there is one Region, and nobody copies")

    def write_tags(self, image_id: ImageId, tags: Mapping[str, str]) -> None:
        if self._account_id != DEV:
            return
        with self._world.state() as state:
            for at, image in enumerate(state.images):
                if image.image_id == image_id:
                    state.images[at] = replace(image, tags={**image.tags, **tags})

    def remove_tags(self, image_id: ImageId, names: Sequence[str]) -> None: ...


class Preflight:
    """Finds what the world's state says."""

    def __init__(self, world: World) -> None:
        self._world = world

    def check(self, planned: Launching) -> tuple[Problem, ...]:
        found = self._world.look().problems
        return tuple(Problem(text=f"{planned.wanted.name}: {one}", hint="-") for one in found)


class Groups:
    """Server groups whose instances are healthy at once."""

    def __init__(self, world: World) -> None:
        self._world = world

    def get_cluster(self, name: ClusterName, environment: str, *, health: bool = True) -> Cluster:
        del health
        groups = self._world.look().groups.values()
        mine = sorted((g for g in groups if g.name.cluster == name), key=lambda g: g.name)
        return Cluster(name=name, environment=environment, groups=tuple(mine), rule="arn:rule")

    def list_clusters(self, environment: str) -> tuple[Cluster, ...]:
        groups = self._world.look().groups.values()
        names = sorted({g.name.cluster for g in groups if g.name.cluster.stack == environment})
        return tuple(self.get_cluster(name, environment) for name in names)

    def list_instances(self, name: ServerGroupName) -> tuple[Instance, ...]:
        return self._world.look().groups[str(name)].instances

    def console(self, instance_id: InstanceId) -> str:
        return "login: "

    def create(self, wanted: CreateServerGroup) -> None:
        with self._world.state() as state:
            if str(wanted.name) in state.groups:
                return
            state.groups[str(wanted.name)] = ServerGroup(
                name=wanted.name, image_id=wanted.image_id, version=wanted.version,
                capacity=wanted.capacity, weight=0,
                instances=() if state.sick else _instances(wanted.capacity),
                target_group=f"arn:{wanted.name}", created_at=AT,
                release_id=wanted.release_id, tags=wanted.tags,
            )  # fmt: skip
            state.launched[str(wanted.name)] = self.settings_to_be(wanted)
        values = "".join(f" {name}={value}" for name, value in wanted.environment.items())
        self._world.note(f"create {wanted.name}{values}")

    def pin(self, name: ServerGroupName) -> None:
        with self._world.state() as state:
            group = state.groups[str(name)]
            old = group.capacity.min if group.pinned_min is None else group.pinned_min
            state.groups[str(name)] = replace(
                group, pinned_min=old, pinned_desired=group.pinned_desired or group.capacity.desired
            )

    def unpin(self, name: ServerGroupName) -> None:
        self._change(name, pinned_min=None, pinned_desired=None)

    def resize(self, name: ServerGroupName, capacity: Capacity) -> None:
        with self._world.state() as state:
            group = state.groups[str(name)]
            fleet = group.instances if state.sick else _instances(capacity)
            state.groups[str(name)] = replace(group, capacity=capacity, instances=fleet)
        self._world.note(f"resize {name} to {capacity.desired}")

    def set_weights(self, weights: Sequence[Weight], *, sticky_s: int = 0) -> None:
        wanted = {str(weight.name): weight.percent for weight in weights}
        cluster = weights[0].name.cluster
        with self._world.state() as state:
            for name, group in state.groups.items():
                if group.name.cluster == cluster:
                    state.groups[name] = replace(group, weight=wanted.get(name, 0))
        words = ", ".join(f"{name} {percent}" for name, percent in wanted.items())
        sticky = f" sticky {sticky_s}" if sticky_s else ""
        self._world.note(f"weights {words}{sticky}")

    def open_to_testers(self, name: ServerGroupName, testers: MarkedRequests) -> None:
        self._world.note(f"testers {testers.field} reach {name}")

    def close_to_testers(self, name: ServerGroupName) -> None:
        self._world.note(f"testers leave {name}")

    def disable(self, name: ServerGroupName, *, at: datetime) -> None:
        self._change(name, disabled_at=at)

    def enable(self, name: ServerGroupName) -> None:
        self._change(name, disabled_at=None)

    def destroy(self, name: ServerGroupName, *, release_id: str = "") -> None:
        with self._world.state() as state:
            found = state.groups.get(str(name))
            if found and release_id not in {"", found.release_id}:
                return
            state.groups.pop(str(name), None)
        self._world.note(f"destroy {name}")

    def mend(self, wanted: Mend) -> None:
        with self._world.state() as state:
            if wanted.processes:
                state.suspended.remove(str(wanted.name))
        self._world.note(f"mend {wanted.name}")

    def details(self, names: Sequence[ServerGroupName]) -> Mapping[ServerGroupName, Details]:
        state = self._world.look()
        found = (state.groups[str(name)] for name in names if str(name) in state.groups)
        return {
            group.name: Details(
                template_version="1", first_version="1", template_image=group.image_id,
                alarms=(f"{group.name}-5xx",), tags=group.tags,
                suspended=("Launch",) if str(group.name) in state.suspended else (),
            )
            for group in found
        }  # fmt: skip

    def addresses(self, instances: Sequence[InstanceId]) -> dict[InstanceId, str]:
        return {one: f"10.0.0.{number}" for number, one in enumerate(instances, 10)}

    def launch_settings(self, name: ServerGroupName) -> dict[str, str]:
        return self._world.look().launched.get(str(name), {})

    def settings_to_be(self, wanted: CreateServerGroup) -> dict[str, str]:
        values = {f"environment.{key}": value for key, value in wanted.environment.items()}
        return {"ImageId": wanted.image_id, "InstanceType": wanted.instance_type, **values}

    def _change(self, name: ServerGroupName, **changes: Any) -> None:
        with self._world.state() as state:
            state.groups[str(name)] = replace(state.groups[str(name)], **changes)


class Left:
    """Target groups that a crashed run may have left in production."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list_left(self) -> tuple[Leftover, ...]:
        state = self._world.look()
        return tuple(
            Leftover(
                kind=Kind.TARGET_GROUP, ident=name, name=name, environment="prod",
                tags={RELEASE_TAG: state.made_by, CLUSTER_TAG: "hello-prod"},
                made_at=AT, used_by=used,
            )
            for name, used in state.left.items()
        )  # fmt: skip

    def look_again(self, leftover: Leftover) -> Leftover | None:
        return next((one for one in self.list_left() if one.ident == leftover.ident), None)

    def remove(self, leftover: Leftover) -> None:
        with self._world.state() as state:
            state.left.pop(leftover.ident, None)
        self._world.note(f"remove {leftover.name}")


class Traffic:
    """A thousand requests of each group in each period, unless nobody calls.

    Periods of the clock count as seconds: sources have none that are shorter.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def pairs(self, specs: Sequence[MetricSpec], sides: Sides) -> tuple[Pair, ...]:
        state = self._world.look()
        requests = 0 if state.silent else 1000
        periods = max(1, int((sides.until - sides.since).total_seconds() / PERIOD_S))

        def measured(name: ServerGroupName, what: str) -> Measured:
            is_bad = what == "errors" and state.groups[str(name)].version in state.bad
            times = range(periods) if requests else ()
            return Measured(
                found=dict.fromkeys(times, requests / 5 if is_bad else 0.0),
                total=dict.fromkeys(times, requests),
            )

        return tuple(
            pair(
                spec,
                (measured(sides.canary, spec.name), measured(sides.baseline, spec.name)),
                range(periods),
            )
            for spec in specs
        )

    def missing(
        self, specs: Sequence[MetricSpec], group: ServerGroupName | None
    ) -> tuple[str, ...]:
        return tuple(f"no `{spec.name}` of {group}" for spec in specs if spec.name == "unknown")

    def firing(self, alarms: Sequence[str]) -> Mapping[str, str]:
        state = self._world.look()
        fires = state.fires_after in state.log
        return dict.fromkeys(alarms, "too many answers 5xx") if fires else {}


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    found = decode(json.loads(file.read_text()))
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def _instances(capacity: Capacity) -> tuple[Instance, ...]:
    return tuple(
        Instance(instance_id=InstanceId(f"i-{n}"), state=InstanceState.HEALTHY)
        for n in range(capacity.desired)
    )
