"""Ports: what stages need from the outside, in domain words.

``aws``, ``system`` and the tests' worlds satisfy them by shape; nothing inherits from them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from ovenbird.domain.catalog import CatalogEntry, Finding, Publication, RepositoryState
from ovenbird.domain.clusters import Capacity, Cluster, Details, Instance, InstanceId
from ovenbird.domain.contents import ImageContents
from ovenbird.domain.images import BaseSource, Image, ImageId, PackagePin, SnapshotId
from ovenbird.domain.names import ClusterName, ServerGroupName
from ovenbird.domain.packages import BuildSite, Package
from ovenbird.domain.plans import CreateServerGroup, Mend, Weight
from ovenbird.domain.recipes import RecipeStep
from ovenbird.domain.sharing import Key
from ovenbird.domain.traffic import MarkedRequests

Progress = Callable[[str], None]
"""Takes one sentence about what is happening now, for a person who waits."""


SignerOf = Callable[[Path, Package], str]
"""Raises an ``OvenbirdError`` for a signature that is there and is not valid."""


class Clock(Protocol):
    """Time, which only adapters know."""

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


class Storage(Protocol):
    """Named bytes: a directory, or a bucket; each write is all or nothing.

    Names are relative paths, as ``dists/candidate-7/InRelease`` (``domain/storing.py``); they
    are listed in the order of their UTF-8 bytes. A *version* changes with the bytes, as an ETag
    does.
    """

    @property
    def url(self) -> str: ...  # file:/srv/repository or s3://BUCKET/PREFIX

    def read(self, name: str) -> bytes: ...  # NotFound

    def open(  # NotFound; the bytes as they come, from *start* on, and the size of the whole
        self, name: str, *, start: int = 0
    ) -> AbstractContextManager[tuple[BinaryIO, int]]: ...

    def find(self, name: str) -> tuple[bytes, str] | None: ...  # bytes and version

    def exists(self, name: str) -> bool: ...

    def write(self, name: str, data: bytes | Path) -> None: ...

    def create(self, name: str, data: bytes | Path) -> bool: ...  # False when it was there

    def swap(self, name: str, data: bytes, *, version: str | None) -> bool: ...  # None: absent

    def copy(self, source: str, target: str) -> None: ...

    def names(self, prefix: str) -> Iterator[str]: ...

    def remove(self, name: str) -> None: ...


class StoragePlace(Storage, Protocol):
    """A storage that is made before the first write, or by it."""

    def is_made(self) -> bool: ...

    def ensure(self) -> bool: ...  # False when it was there


class Signer(Protocol):
    """The key that signs packages and repositories."""

    def ensure(self) -> Path: ...  # makes it unless it is there; path of the public keys (binary)

    @property
    def public(self) -> Path: ...  # the same path; nothing is made

    def session(self) -> AbstractContextManager[object]: ...  # one thread signs faster inside

    def check(self, known: Collection[str]) -> None: ...  # NotFound: none of them is of here

    def known(self) -> bytes: ...  # NotFound; public keys that sign or have signed (binary)

    def fingerprint(self) -> str: ...  # of what signs packages

    def fingerprints(self) -> tuple[str, ...]: ...  # of what signs repositories

    def clear_sign(self, data: bytes) -> bytes: ...

    def detach_sign(self, data: bytes, *, at_epoch_s: int | None = None) -> bytes: ...


class Repository(Protocol):
    """A signed package repository; publishing twice is publishing once."""

    def publish(
        self, packages: Sequence[Package], *, channel: str, at: datetime
    ) -> RepositoryState: ...

    def reachable(self, state: RepositoryState) -> AbstractContextManager[RepositoryState]: ...

    def put_record(self, entry: CatalogEntry) -> None: ...  # the first one of a package stays

    def records_of(self, name: str, version: str) -> tuple[CatalogEntry, ...]: ...

    def every_record(self) -> tuple[CatalogEntry, ...]: ...

    def fetch(self, package: Package, into: Path) -> Package: ...  # NotFound; with its new path

    def channels(self) -> tuple[str, ...]: ...  # that have a state, by name

    def state(self, channel: str) -> RepositoryState: ...  # NotFound; the newest that is served

    def states(self, channel: str) -> tuple[RepositoryState, ...]: ...  # oldest first

    def unserved(self, channel: str) -> tuple[int, ...]: ...  # states that a killed publisher left

    def repair(self, channel: str) -> RepositoryState: ...  # NotFound; serves what is unserved

    def rebuild(self, channel: str, *, at: datetime) -> RepositoryState: ...  # indexes made anew

    def list_packages(  # of the newest state, or of one; each path is a name in the storage
        self, channel: str, number: int | None = None
    ) -> tuple[Package, ...]: ...

    def fetched(  # NotFound; a copy of its file on this host, while the block lasts
        self, package: Package
    ) -> AbstractContextManager[Path]: ...

    def signers(  # a package's file → fingerprint of the key that signed it, empty for none
        self,
    ) -> AbstractContextManager[SignerOf]: ...

    def withdraw(
        self, packages: Sequence[Package], *, channel: str, at: datetime
    ) -> RepositoryState: ...

    def verify(self) -> tuple[Finding, ...]: ...

    def prune_before(  # channel → its oldest state that stays; other channels stay whole
        self, oldest: Mapping[str, int]
    ) -> object: ...


class PackageRecords(Protocol):
    """Our own memory of packages; each write can be made twice."""

    def list_catalog(self, name: str | None = None) -> tuple[CatalogEntry, ...]: ...

    def refuse_other_bytes(self, package: Package) -> None: ...  # Conflict

    def put_catalog_entry(self, entry: CatalogEntry) -> None: ...

    def put_publication(self, publication: Publication) -> None: ...

    def put_repository_state(self, state: RepositoryState) -> None: ...


class Images(Protocol):
    """Images of one account."""

    def get(self, image_id: ImageId) -> Image: ...

    def find_by_name(self, name: str) -> Image | None: ...

    def find_baked(self, bake_key: str) -> Image | None: ...

    def list_baked(
        self, app: str | None = None, *, disabled: bool = False
    ) -> tuple[Image, ...]: ...

    def register(
        self, *, name: str, base: Image, snapshot_id: SnapshotId, tags: Mapping[str, str]
    ) -> Image: ...


class Snapshots(Protocol):
    """Snapshots of one account, by block."""

    def download(  # with *parent*, only what differs from it is read
        self, snapshot_id: SnapshotId, *, parent: SnapshotId | None = None
    ) -> Path: ...

    def upload(
        self,
        blocks: Mapping[int, bytes],
        *,
        parent: SnapshotId | None,
        size_gib: int,
        token: str,
        tags: Mapping[str, str],
    ) -> SnapshotId: ...

    def forget_unfinished(  # also what dead bakes of any other value left long ago
        self, tag: str, value: str, *, keep: SnapshotId
    ) -> None: ...

    def changed(  # CloudError: the two are not related
        self, first: SnapshotId, second: SnapshotId
    ) -> frozenset[int]: ...

    def verify(  # CloudError: other blocks than these differ between the two
        self, snapshot_id: SnapshotId, *, parent: SnapshotId, blocks: Collection[int]
    ) -> None: ...


class Hands(Protocol):
    """Work inside of an image that is being made, as root: in a chroot, or over SSH."""

    def run(  # CommandFailed that calls it *said*, with *hint*; each line of output is told
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout_s: float,
        said: str,
        hint: str,
    ) -> None: ...

    def status(  # exit status; what it prints is told; CommandFailed when it runs too long
        self, argv: Sequence[str], *, environment: Mapping[str, str], timeout_s: float
    ) -> int: ...

    def lend(  # a file or tree of this host, to be read inside while the block lasts: its path
        self, source: Path
    ) -> AbstractContextManager[str]: ...

    def put(  # a file that stays; owner and group by name; directories above it are made
        self, data: bytes, target: str, *, owner: str, group: str, mode: int
    ) -> None: ...


class BakeRoom(Protocol):
    """An image that is being made, in which recipe and packages do their work."""

    def perform(self, step: RecipeStep, *, directory: Path | None) -> None: ...

    def install(self, pins: Sequence[PackagePin]) -> None: ...

    def clean(self) -> None: ...

    def check(self) -> None: ...  # CommandFailed: a service would not start at boot


class DirectRoom(BakeRoom, Protocol):
    """A base disk's root file system that can be changed, on this host."""

    def changed_blocks(self) -> Mapping[int, bytes]: ...

    def total_blocks(self) -> int: ...  # to be asked after the changes

    def contents(self) -> ImageContents: ...  # likewise

    def notes(self) -> tuple[str, ...]: ...  # likewise


Completing = Callable[[Image], Mapping[str, str]]
"""Told an image that is whole and that nobody finds yet; returns further tags for it."""


class BuilderRoom(BakeRoom, Protocol):
    """A builder instance."""

    def make_image(self, *, name: str, tags: Mapping[str, str], complete: Completing) -> Image: ...


class BakeWorkshop(Protocol):
    """Opens base disks as rooms; nothing is left when a room is closed."""

    def open(
        self, disk: Path, *, key: str, repository: RepositoryState, progress: Progress
    ) -> AbstractContextManager[DirectRoom]: ...

    def contents(self, disk: Path) -> ImageContents: ...  # of one that is only read


class Builders(Protocol):
    """Launches base images as rooms; nothing is left when a room is closed."""

    def open(
        self, base: Image, *, key: str, repository: RepositoryState, progress: Progress
    ) -> AbstractContextManager[BuilderRoom]: ...

    def sweep(self, progress: Progress) -> None: ...  # removes what killed bakes left


class BaseImages(Protocol):
    """Finds base images, and makes them readable: a public one is copied first, once."""

    def find(self, source: BaseSource) -> Image: ...  # NotFound, InvalidRequest

    def ready(self, base: Image, *, progress: Progress) -> Image: ...  # it, or our copy of it

    def key_of(self, base: Image) -> Key | None: ...  # what encrypts what is baked on it


class BuildRoom(Protocol):
    """Where a build runs: it sees a checkout and a home of its own, and is never root."""

    @property
    def checkout(self) -> str: ...  # the app's directory as it is called inside, absolute

    @property
    def home(self) -> str: ...

    def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout_s: float,
        on_line: Progress,
    ) -> None: ...  # CommandFailed


class BuildRooms(Protocol):
    """Opens base images as rooms for builds; nothing is left when a room is closed."""

    def open(
        self, base: str, site: BuildSite, *, depends: Sequence[str], progress: Progress
    ) -> AbstractContextManager[BuildRoom]: ...


class ServerGroups(Protocol):
    """Clusters and server groups of one environment; each change can be made twice."""

    def get_cluster(
        self, name: ClusterName, environment: str, *, health: bool = True
    ) -> Cluster: ...

    def list_clusters(self, environment: str) -> tuple[Cluster, ...]: ...

    def list_instances(self, name: ServerGroupName) -> tuple[Instance, ...]: ...

    def console(self, instance_id: InstanceId) -> str: ...

    def create(self, wanted: CreateServerGroup) -> None: ...

    def pin(self, name: ServerGroupName) -> None: ...

    def unpin(self, name: ServerGroupName) -> None: ...

    def resize(self, name: ServerGroupName, capacity: Capacity) -> None: ...

    def set_weights(self, weights: Sequence[Weight], *, sticky_s: int = 0) -> None: ...

    def open_to_testers(self, name: ServerGroupName, testers: MarkedRequests) -> None: ...

    def close_to_testers(self, name: ServerGroupName) -> None: ...

    def disable(self, name: ServerGroupName, *, at: datetime) -> None: ...

    def enable(self, name: ServerGroupName) -> None: ...

    def destroy(self, name: ServerGroupName, *, release_id: str = "") -> None: ...

    def mend(self, wanted: Mend) -> None: ...

    def details(self, names: Sequence[ServerGroupName]) -> Mapping[ServerGroupName, Details]: ...

    def addresses(self, instances: Sequence[InstanceId]) -> Mapping[InstanceId, str]: ...

    def launch_settings(self, name: ServerGroupName) -> Mapping[str, str]: ...

    def settings_to_be(self, wanted: CreateServerGroup) -> Mapping[str, str]: ...
