"""What people changed by hand: where a cluster is not as our records and its tags say.

    changes in the store ─▶ Recorded ─┐
    AWS ─▶ Cluster, Details ──────────┴─▶ drift ─▶ Difference, Difference, …

Plans act on what is; this says where that is not what we left. A group that Auto Scaling grew
or shrank between its minimum and its maximum was not changed by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ovenbird.domain.clusters import (
    CLUSTER_TAG,
    SERVER_GROUP_TAG,
    Capacity,
    Cluster,
    Details,
    ServerGroup,
)
from ovenbird.domain.images import APP_TAG
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.releases import Rollout

DAMAGING = frozenset(
    {"Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy", "AddToLoadBalancer"}
)
_SENT = re.compile(r"Send (?P<shares>\d+ % to `[^`]+`(?:, \d+ % to `[^`]+`)*)")
_SHARE = re.compile(r"(\d+) % to `([^`]+)`")
_RESIZED = re.compile(r"Resize `([^`]+)` to (\d+) / (\d+) / (\d+)")
_CREATED = re.compile(r"Create server group `([^`]+)` with (\d+) instances?")
_UNPINNED = re.compile(r"Unpin `([^`]+)`")
_DESTROYED = re.compile(r"Decommission `([^`]+)`")


class Kind(StrEnum):
    """What differs."""

    GONE = "gone"  # the group is not there
    WEIGHTS = "weights"
    DARK = "dark"  # it gets traffic, and none of its instances can take it
    MARKS = "marks"  # its tag says that it rests, or does not say so
    SIZE = "size"
    PINNED = "pinned"  # a rollout's mark that nothing needs any more
    TEMPLATE = "template"
    IMAGE = "image"
    ALARMS = "alarms"
    TAGS = "tags"
    PROCESSES = "processes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it was left.

    Args:
        name: Of the server group, or of the cluster.
        text: What is, and what was left, as a sentence without a final period.
    """

    kind: Kind
    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """How our own changes left a cluster.

    Args:
        weights: Server group → its share after the last change that moved traffic; empty when
            none is known.
        served: Groups that had traffic at any time.
        sizes: Server group → the capacity that it was given last.
        desired: Server group → instances that it was made with.
        made: Groups that were made and not destroyed.
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    served: frozenset[str] = frozenset()
    sizes: Mapping[str, Capacity] = field(default_factory=dict)
    desired: Mapping[str, int] = field(default_factory=dict)
    made: frozenset[str] = frozenset()

    @property
    def is_known(self) -> bool:
        """Whether anything is recorded."""
        return bool(self.weights or self.made)


def recorded(changes: Iterable[Rollout]) -> Recorded:
    """Read what was done to one cluster.

    Args:
        changes: With their actions, the oldest first.
    """
    weights: dict[str, int] = {}
    served: set[str] = set()
    sizes: dict[str, Capacity] = {}
    desired: dict[str, int] = {}
    made: set[str] = set()
    for text in (action.text for change in changes for action in change.actions):
        if shares := shares_of(text):
            weights = dict(shares)
            served |= {name for name, percent in shares.items() if percent}
        elif found := _RESIZED.match(text):
            size, low, high = (int(found[n]) for n in (2, 3, 4))
            sizes[found[1]] = Capacity(min=low, desired=size, max=high)
        elif found := _UNPINNED.match(text):
            _forget_pinned(found[1], sizes)
        elif found := _CREATED.match(text):
            desired[found[1]] = int(found[2])
            sizes.pop(found[1], None)  # an earlier one of this name is gone
            made.add(found[1])
        elif found := _DESTROYED.match(text):
            made.discard(found[1])
            served.discard(found[1])
    return Recorded(
        weights=weights,
        served=frozenset(served),
        sizes=sizes,
        desired=desired,
        made=frozenset(made),
    )


def _forget_pinned(name: str, sizes: dict[str, Capacity]) -> None:
    """Forget a size with the minimum that a rollout held: the old one is back since."""
    if (size := sizes.get(name)) and size.min == size.desired:
        del sizes[name]


def shares_of(text: str) -> dict[str, int]:
    """Return what ``SetWeights`` divided, from its words; empty for other words."""
    sent = _SENT.match(text)
    return {name: int(percent) for percent, name in _SHARE.findall(sent["shares"])} if sent else {}


def drift(
    cluster: Cluster, known: Recorded, details: Mapping[ServerGroupName, Details] | None = None
) -> tuple[Difference, ...]:
    """Return where a cluster is not as it was left, while nothing of ours changes it.

    Args:
        cluster: As observed now.
        known: How it was left.
        details: Of its groups; without them, templates, alarms and the like are not looked at.
    """
    there = {str(group.name): group for group in cluster.groups}
    return (
        *_gone(known, there, details or {}),
        *_moved(cluster, known),
        *(
            one
            for group in cluster.groups
            for one in (*_of_group(group, known), *_of_details(group, details or {}))
        ),
    )


def taken_by_hand(group: ServerGroup, known: Recorded) -> Capacity | None:
    """Return the capacity that a group had, when it has fewer instances than that by hand."""
    if is_hollow(group):
        return None
    size = known.sizes.get(str(group.name))
    if size is not None:
        least = size.desired if group.pinned_min is not None else size.min
        return size if group.capacity.desired < max(least, 1 if group.enabled else 0) else None
    made = known.desired.get(str(group.name))
    pinned = group.pinned_min is not None and made is not None
    if pinned and made is not None and group.capacity.desired < made:
        return Capacity(min=group.pinned_min or 0, desired=made, max=max(made, group.capacity.max))
    return None


def is_hollow(group: ServerGroup) -> bool:
    """Tell whether only a group's place in the rule was found, and no Auto Scaling group."""
    return group.capacity.max == 0 and not group.instances


def _gone(
    known: Recorded,
    there: Mapping[str, ServerGroup],
    details: Mapping[ServerGroupName, Details],
) -> Iterator[Difference]:
    for name in sorted(known.made):
        group = there.get(name)
        if group is None or (is_hollow(group) and group.name not in details):
            share = known.weights.get(name, 0)
            had = f", which had {share} % of the traffic" if share else ""
            text = f"`{name}`{had}, was deleted by hand" if had else f"`{name}` was deleted by hand"
            yield Difference(kind=Kind.GONE, name=name, text=text)


def _moved(cluster: Cluster, known: Recorded) -> Iterator[Difference]:
    if not known.weights or not cluster.balanced:
        return
    is_now = {name: share for name, share in cluster.weights.items() if share}
    was = {name: share for name, share in known.weights.items() if share}
    if is_now != was:
        text = f"the traffic goes {_shares(is_now)}; it was sent {_shares(was)}"
        yield Difference(kind=Kind.WEIGHTS, name=str(cluster.name), text=text)


def _of_group(group: ServerGroup, known: Recorded) -> Iterator[Difference]:
    name = str(group.name)

    def differs(kind: Kind, text: str) -> Difference:
        return Difference(kind=kind, name=name, text=f"`{name}` {text}")

    if group.enabled and not group.healthy:
        yield differs(Kind.DARK, f"has {group.weight} % of the traffic, and no healthy instance")
    if group.enabled and group.disabled_at is not None:
        yield differs(Kind.MARKS, f"is marked as resting, and has {group.weight} % of the traffic")
    if not group.enabled and group.disabled_at is None and name in known.served:
        yield differs(Kind.MARKS, "served, has no traffic now, and is not marked as resting")
    if group.enabled and group.pinned_min is not None:
        low = group.pinned_min
        yield differs(Kind.PINNED, f"is pinned at {group.capacity.min}; its minimum was {low}")
    if (size := taken_by_hand(group, known)) is not None:
        text = f"has {group.capacity.desired} instances; it was left at {size}"
        yield differs(Kind.SIZE, f"{text} (desired / min / max)")
    elif changed := _resized(group, known):
        yield differs(Kind.SIZE, changed)


def _resized(group: ServerGroup, known: Recorded) -> str:
    """Say how limits were changed; a larger size is a person's word, and is only told."""
    size = known.sizes.get(str(group.name))
    if size is None:
        return ""
    low = group.capacity.min if group.pinned_min is None else group.pinned_min
    is_now = Capacity(min=low, desired=group.capacity.desired, max=group.capacity.max)
    inside = is_now.min <= is_now.desired <= is_now.max
    limits = (is_now.min, is_now.max) == (size.min, size.max)
    # What is pinned keeps no old minimum that is larger than its size.
    if limits and inside and (is_now.min < is_now.max or is_now.desired == size.desired):
        return ""
    return f"has capacity {is_now}; it was left at {size} (desired / min / max)"


def _of_details(
    group: ServerGroup, details: Mapping[ServerGroupName, Details]
) -> Iterator[Difference]:
    name, seen = str(group.name), details.get(group.name)
    if seen is None:
        return
    found = {Kind.TEMPLATE: _other_version(seen), Kind.IMAGE: _other_image(group, seen)}
    if not seen.alarms:
        found[Kind.ALARMS] = "has no alarm: nothing stops a rollout that makes it worse"
    if lacks := sorted(missing_tags(group, seen)):
        found[Kind.TAGS] = f"lacks {', '.join(f'`{tag}`' for tag in lacks)}"
    if stopped := damaging(seen):
        found[Kind.PROCESSES] = f"has suspended processes: {', '.join(stopped)}"
    for kind, text in found.items():
        if text:
            yield Difference(kind=kind, name=name, text=f"`{name}` {text}")


def _other_version(seen: Details) -> str:
    first, used = seen.first_version, seen.template_version
    if not first or used == first:
        return ""
    return f"launches from version {used} of its template; it was made with {first}"


def _other_image(group: ServerGroup, seen: Details) -> str:
    tagged = group.image_id
    if not tagged:
        return ""
    if seen.template_image and seen.template_image != tagged:
        return f"would launch {seen.template_image}; its tag says {tagged}"
    others = sorted({image for image in seen.images.values() if image != tagged})
    return f"runs {', '.join(others)}; its tag says {tagged}" if others else ""


def missing_tags(group: ServerGroup, seen: Details) -> dict[str, str]:
    """Return tags that a group lacks and that its name gives."""
    name = group.name
    needed = {
        APP_TAG: name.cluster.app,
        CLUSTER_TAG: str(name.cluster),
        SERVER_GROUP_TAG: str(name),
    }
    return {tag: value for tag, value in needed.items() if seen.tags.get(tag) != value}


def damaging(seen: Details) -> tuple[str, ...]:
    """Return the suspended processes without which a group cannot keep its instances serving."""
    return tuple(sorted(DAMAGING.intersection(seen.suspended)))


def _shares(weights: Mapping[str, int]) -> str:
    parts = [f"{share} % to `{name}`" for name, share in sorted(weights.items())]
    return ", ".join(parts) or "nowhere"
