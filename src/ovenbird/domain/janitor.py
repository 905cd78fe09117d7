"""What may be tidied away: what has rested long enough, and what crashed runs left.

    clusters ─▶ plan_cluster: decommission by policy, unpin, groups of releases that failed
    the rest ─▶ plan_leftovers: target groups, templates, alarms, snapshots, builders' things

Something left over goes only when all of these hold:

* it has a tag of ours, and not ``ovenbird:keep``;
* nothing uses it: no rule, no Auto Scaling group, no bake that lives;
* nothing changes its cluster now;
* our records know the release that made it, and that it has ended;
* it is older than the grace time, and that release ended longer ago.

Source: Asgard's cleanup rules as in ``domain/image_retention.py``; Swabbie and Janitor Monkey
(mark first, remove after a time, never what a rule of exclusion names).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from ovenbird.domain.clusters import CLUSTER_TAG, Cluster, ServerGroup
from ovenbird.domain.drift import is_hollow
from ovenbird.domain.errors import Conflict
from ovenbird.domain.image_retention import KEEP_TAG
from ovenbird.domain.images import RELEASE_TAG, TAG
from ovenbird.domain.plans import Action, Decommission, Disable, Plan, Unpin
from ovenbird.domain.resting import is_held, previous, window_of
from ovenbird.domain.rollbacks import plan_decommission

GRACE = timedelta(hours=24)
AT_ONCE = 20
KEPT = "What rests is kept by its tag, or until its release has ended long enough ago"


class Kind(StrEnum):
    """What is left over, in the order in which it is removed."""

    INSTANCE = "instance"  # of a builder
    IMAGE = "image"  # of a builder, that was never offered
    SNAPSHOT = "snapshot"  # that no image has
    KEY_PAIR = "key pair"
    SECURITY_GROUP = "security group"
    ALARM = "alarm"
    LAUNCH_TEMPLATE = "launch template"
    TARGET_GROUP = "target group"


OF_BAKES = frozenset({Kind.INSTANCE, Kind.IMAGE, Kind.SNAPSHOT, Kind.KEY_PAIR, Kind.SECURITY_GROUP})


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something with a place of its own in an account, that may belong to nothing any more.

    Args:
        ident: By which it is removed: id, ARN or name.
        name: For people.
        environment: In which it was found.
        made_at: None when AWS does not say.
        used_by: What needs it, in words; empty when nothing does.
    """

    kind: Kind
    ident: str
    name: str
    environment: str
    tags: Mapping[str, str] = field(default_factory=dict)
    made_at: datetime | None = None
    used_by: str = ""

    @property
    def cluster(self) -> str:
        """Name of the cluster that it is part of; empty for what bakes left."""
        return self.tags.get(CLUSTER_TAG, "")


class Leftovers(Protocol):
    """What may be left over in one environment; each removal can be made twice."""

    def list_left(self) -> tuple[Leftover, ...]:
        """Return everything that was found by tags."""

    def look_again(self, leftover: Leftover) -> Leftover | None:
        """Return the same thing as it is now; None when it is gone."""

    def remove(self, leftover: Leftover) -> None:
        """Remove it; what is gone is no error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What our own records say of those who make things.

    Args:
        ended: Release or change → when it ended; None while it goes on or waits.
        promoted: Those that ended well: what they made is in use, or rests.
        locked: ``environment cluster`` → who changes it now.
    """

    ended: Mapping[str, datetime | None] = field(default_factory=dict)
    promoted: frozenset[str] = frozenset()
    locked: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What becomes of something that was found, and why."""

    leftover: Leftover
    goes: bool
    reason: str


def refuse_strange(clusters: Iterable[Cluster], records: Records) -> None:
    """Refuse to remove anything while our records cannot be those of what runs.

    Raises:
        Conflict: They are empty, or do not know who made what serves.
    """
    groups = [group for cluster in clusters for group in cluster.groups]
    if groups and not records.ended:
        raise Conflict(
            f"The records look wrong: they are empty, and `{groups[0].name}` is there",
            hint="Is it the right `state_directory`? Nothing was removed",
        )
    for group in groups:
        if group.enabled and group.release_id and group.release_id not in records.ended:
            raise Conflict(
                f"The records look wrong: `{group.name}` serves, and they do not know its release"
                f" `{group.release_id}`",
                hint="Is it the right `state_directory`? Nothing was removed",
            )


def plan_cluster(
    cluster: Cluster, records: Records, *, now: datetime, grace: timedelta = GRACE
) -> Plan:
    """Plan what a cluster can do without: nothing while something changes it.

    Args:
        cluster: As observed now.
        records: Who made its groups.
        now: To which ages are counted.
        grace: How long ago a release that failed must have ended.
    """
    place = f"{cluster.environment} {cluster.name}"
    if owner := records.locked.get(place):
        return Plan(actions=(), reason=f"`{owner}` changes `{cluster.name}` now")
    rested = plan_decommission(cluster, now=now, window=window_of(cluster))
    orphans = [g for g in cluster.groups if is_orphan(g, cluster, records, now=now, grace=grace)]
    stays = {
        group.name
        for group in cluster.groups
        # One that never served may be looked at: the grace time of its release counts.
        if KEEP_TAG in group.tags or (group.disabled_at is None and group not in orphans)
    }
    policy = [
        action
        for action in rested.actions
        if isinstance(action, Decommission) and action.name not in stays
    ]
    gone = {action.name for action in policy}
    actions: tuple[Action, ...] = (
        *_let_go(cluster),
        *policy,
        *(Decommission(name=group.name) for group in orphans if group.name not in gone),
    )
    return Plan(actions=actions, reason="" if actions else rested.reason or KEPT)


def _let_go(cluster: Cluster) -> Iterator[Action]:
    """Give back what a rollout held that ended without letting go.

    While two share the traffic, it stopped midway: a rollback needs the sizes that are held.
    """
    shared = sum(group.enabled and not group.is_baseline for group in cluster.groups) > 1
    for group in cluster.groups:
        if group.enabled and group.pinned_min is not None:
            if not shared:
                yield Unpin(name=group.name)
        elif is_held(group) and cluster.serving is not None:
            yield Disable(name=group.name)
            yield Unpin(name=group.name)


def is_orphan(
    group: ServerGroup, cluster: Cluster, records: Records, *, now: datetime, grace: timedelta
) -> bool:
    """Tell whether a group never served, and its release failed long ago or had it as baseline."""
    ended = records.ended.get(group.release_id)
    # A place in the rule without an Auto Scaling group is nothing that anybody goes back to.
    loose = group.is_baseline or is_hollow(group)
    return (
        not group.enabled
        and group.disabled_at is None
        and group.pinned_min is None
        and group != previous(cluster)
        and KEEP_TAG not in group.tags
        and (loose or group.release_id not in records.promoted)
        and ended is not None
        and now - ended > grace
    )


def plan_leftovers(
    found: Iterable[Leftover],
    records: Records,
    *,
    now: datetime,
    grace: timedelta = GRACE,
    at_once: int = AT_ONCE,
) -> tuple[Choice, ...]:
    """Decide what becomes of each thing, in the order in which they would be removed.

    Args:
        found: All that was found by tags.
        records: Who made it.
        now: To which ages are counted.
        grace: How long everything is left alone.
        at_once: So many go, the oldest first.
    """
    choices = [choose(one, records, now=now, grace=grace) for one in found]
    order = list(Kind)
    choices.sort(key=lambda one: (order.index(one.leftover.kind), one.leftover.ident))
    return tuple(_few(choices, at_once))


def choose(leftover: Leftover, records: Records, *, now: datetime, grace: timedelta) -> Choice:
    """Decide on one thing."""
    kept = _kept(leftover, records) or _young(leftover, records, now=now, grace=grace)
    since = _since(leftover, records)
    why = f"nothing needs it since {since:%Y-%m-%d %H:%M} UTC" if since else ""
    return Choice(leftover=leftover, goes=not kept, reason=kept or why)


def _kept(leftover: Leftover, records: Records) -> str:
    """Return why something stays whatever its age; empty when its age decides."""
    owner, tags = leftover.tags.get(RELEASE_TAG, ""), leftover.tags
    changes = records.locked.get(f"{leftover.environment} {leftover.cluster}", "")
    of_bake = leftover.kind in OF_BAKES
    reasons = {
        "it has no tag of ours": not any(tag.startswith(TAG) for tag in tags),
        f"it has the tag `{KEEP_TAG}`": KEEP_TAG in tags,
        leftover.used_by: bool(leftover.used_by),
        f"`{changes}` changes its cluster now": bool(changes),
        f"the records do not know its release `{owner}`": not of_bake
        and owner not in records.ended,
        f"`{owner}`, which made it, has not ended": owner in records.ended
        and records.ended[owner] is None,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _young(leftover: Leftover, records: Records, *, now: datetime, grace: timedelta) -> str:
    since = _since(leftover, records)
    if since is None:
        return "nobody knows how old it is"
    if since > now:
        return "it was made in the future: a clock is wrong"
    hours = grace / timedelta(hours=1)
    return f"it is not older than {hours:g} hours" if now - since <= grace else ""


def _since(leftover: Leftover, records: Records) -> datetime | None:
    """Return since when nobody works with it: it was made then, or its release ended."""
    ended = records.ended.get(leftover.tags.get(RELEASE_TAG, ""))
    known = [at for at in (leftover.made_at, ended) if at is not None]
    return max(known, default=None)


def _few(choices: Sequence[Choice], at_once: int) -> Iterator[Choice]:
    """Let so many go in one run; the others stay for now."""
    left = at_once
    for choice in choices:
        if choice.goes and left <= 0:
            reason = f"{at_once} others go first; then: {choice.reason}"
            yield Choice(leftover=choice.leftover, goes=False, reason=reason)
        else:
            left -= choice.goes
            yield choice
