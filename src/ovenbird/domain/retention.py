"""Which packages may leave their channels: what runs is kept, then the newest, then the young.

A package leaves a channel only when all of these hold:

* no server group runs an image that may hold it, whether it serves or rests;
* no release that could still bring it to a machine is under way;
* it is not among the newest N versions of its name in that channel;
* it was published there longer ago than D days.

The newest of each name stays whatever the policy says. Where it is not known what an image
holds, all packages of its app are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cmp_to_key

from ovenbird.domain.catalog import PackageKey, Publication
from ovenbird.domain.clusters import Cluster, ServerGroup
from ovenbird.domain.durations import counted
from ovenbird.domain.images import COMMIT_TAG, PACKAGES_TAG, Image, ImageId
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.resting import previous, rested_since, window_of
from ovenbird.domain.version_order import compare_deb

KEEP_LAST = 20  # versions of each package in each channel
KEEP_DAYS = 90.0

_newest_first = cmp_to_key(compare_deb)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a channel is kept, beside what runs.

    Args:
        keep_last: So many of the newest versions of each package; at least one is kept.
        keep_days: What was published within so many days.
    """

    keep_last: int = KEEP_LAST
    keep_days: float = KEEP_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is kept, by channel.

    Args:
        channels: Channel → its limits, where they are not the general ones.
    """

    general: Limits = field(default_factory=Limits)
    channels: Mapping[str, Limits] = field(default_factory=dict)

    def limits_of(self, channel: str) -> Limits:
        """Return the limits of one channel."""
        return self.channels.get(channel, self.general)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Something that needs packages: a server group, or a release under way.

    Args:
        reason: Who needs them, as ``hello-prod-v012 in prod serves it``.
        app: Whose packages.
        version: The version that it has; empty when it is not known.
        commit: 40 hex digits; empty when it is not known.
        digests: SHA-256 of packages that are known to be in it, also of other apps.
    """

    reason: str
    app: str
    version: str = ""
    commit: str = ""
    digests: frozenset[str] = frozenset()

    def needs(self, package: Package) -> bool:
        """Tell whether a package is, or may be, among what it needs."""
        if package.digest_sha256 in self.digests:
            return True
        if package.app != self.app:
            return False
        unknown = not self.version and not self.commit
        return unknown or self.version == package.version or self.commit == package.commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What becomes of one publication, and why."""

    publication: Publication
    goes: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPlan:
    """What is withdrawn and what is kept, each with its reason; by channel, name and version."""

    choices: tuple[Choice, ...]

    @property
    def goes(self) -> tuple[Choice, ...]:
        """What is withdrawn."""
        return tuple(choice for choice in self.choices if choice.goes)

    @property
    def stays(self) -> tuple[Choice, ...]:
        """What is kept."""
        return tuple(choice for choice in self.choices if not choice.goes)


def plan_retention(
    packages: Iterable[Package],
    publications: Iterable[Publication],
    *,
    holds: Sequence[Hold],
    policy: Policy,
    now: datetime,
) -> RetentionPlan:
    """Decide for each current publication whether it goes or stays.

    Args:
        packages: The packages that the catalog knows; what it does not know stays.
        publications: Those that were withdrawn before are passed over.
        holds: All that runs and all that is under way.
        policy: What is kept beside it.
        now: To which ages are counted.
    """
    known = {PackageKey.of(package): package for package in packages}
    choices = [
        _choice(publication, known.get(publication.key), rank=rank, policy=policy, at=(now, holds))
        for line in _lines(publications)
        for rank, publication in enumerate(line)
    ]
    return RetentionPlan(choices=tuple(choices))


def oldest_kept(numbers: Iterable[int], times: Mapping[int, datetime], *, before: datetime) -> int:
    """Return the number of the oldest state of a channel that stays readable.

    A state is the newest until the next one comes, so the last one from before the time
    stays, too. Whatever came later stays.

    Args:
        numbers: All states that the repository has.
        times: Number → when it came, for those that the records know.
        before: What was replaced before it is not needed any more.
    """
    newest = max(numbers, default=0)
    return min(newest, max((number for number, at in times.items() if at < before), default=0))


def holds_of(
    cluster: Cluster, images: Mapping[ImageId, Image], *, now: datetime
) -> tuple[Hold, ...]:
    """Return what the server groups of a cluster need: all of them, in traffic or not.

    Args:
        cluster: As it was observed.
        images: What is known of the images.
        now: For the words about the rollback window.
    """
    return tuple(
        _hold(cluster, group, images.get(group.image_id), now=now) for group in cluster.groups
    )


def _hold(cluster: Cluster, group: ServerGroup, image: Image | None, *, now: datetime) -> Hold:
    tags = image.tags if image else {}
    pins = (pin.partition("=")[2] for pin in tags.get(PACKAGES_TAG, "").split())
    return Hold(
        reason=f"{group.name} in {cluster.environment} {_state(cluster, group, now=now)}",
        app=(image.app if image else "") or cluster.name.app,
        version=(image.version if image else "") or group.version,
        commit=tags.get(COMMIT_TAG, ""),
        digests=frozenset(pin for pin in pins if pin),
    )


def _state(cluster: Cluster, group: ServerGroup, *, now: datetime) -> str:
    if group.enabled:
        return "serves it"
    until = rested_since(group) + window_of(cluster)
    if now <= until:
        return f"rests with it, and a rollback may need it until {until:%Y-%m-%d %H:%M:%S} UTC"
    if group == previous(cluster):
        return "rests with it, and a rollback would go there"
    return "rests with it"


def _choice(
    publication: Publication,
    package: Package | None,
    *,
    rank: int,
    policy: Policy,
    at: tuple[datetime, Sequence[Hold]],
) -> Choice:
    """Decide on one publication.

    Args:
        publication: Which.
        package: None when the catalog does not know it.
        rank: How many newer versions the channel has.
        policy: What is kept.
        at: The time, and what needs packages then.
    """
    limits, (now, holds) = policy.limits_of(publication.channel), at
    kept = _kept(publication, package, rank=rank, limits=limits, now=now)
    held = next((hold for hold in holds if package and hold.needs(package)), None)
    if held or kept:
        return Choice(publication=publication, goes=False, reason=held.reason if held else kept)
    age = (now - publication.published_at).days
    return Choice(
        publication=publication,
        goes=True,
        reason=f"{rank} newer versions in `{publication.channel}`, {counted(age, 'day')} old,"
        " runs nowhere",
    )


def _kept(
    publication: Publication,
    package: Package | None,
    *,
    rank: int,
    limits: Limits,
    now: datetime,
) -> str:
    """Return why the policy keeps a publication; empty when it does not."""
    if package is None:
        return "the catalog does not know what it is"
    if rank == 0:
        return "it is the newest"
    if rank < limits.keep_last:
        return f"it is among the {limits.keep_last} newest"
    if now - publication.published_at <= timedelta(days=limits.keep_days):
        return f"it is not older than {counted(limits.keep_days, 'day')}"
    return ""


def _lines(publications: Iterable[Publication]) -> Iterator[list[Publication]]:
    """Yield the publications of each package in each channel, the newest version first."""
    lines: dict[tuple[str, str, str, str, PackageFormat], list[Publication]] = {}
    for one in publications:
        if one.current:
            key = one.key
            line = (one.repository, one.channel, key.name, key.architecture, key.format)
            lines.setdefault(line, []).append(one)
    for line in sorted(lines):
        yield sorted(lines[line], key=_order, reverse=True)


def _order(publication: Publication) -> tuple[object, datetime, str]:
    key = publication.key
    return (_newest_first(key.version), publication.published_at, key.version)
