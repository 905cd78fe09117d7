"""Server groups as they are read back: from an Auto Scaling group, or from a place in the rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from ovenbird.aws.auto_scaling import instances, tags_of, target_group_of
from ovenbird.aws.traffic import Rule
from ovenbird.domain.clusters import (
    DISABLED_AT_TAG,
    PINNED_DESIRED_TAG,
    PINNED_MIN_TAG,
    SERVER_GROUP_TAG,
    Capacity,
    InstanceState,
    ServerGroup,
)
from ovenbird.domain.images import RELEASE_TAG, TAG, VERSION_TAG, ImageId
from ovenbird.domain.names import ServerGroupName

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef

Health = Mapping[str, tuple[InstanceState, str]]
IMAGE_TAG = TAG + "image"  # so that reading back needs no call for each launch template


def server_group(
    raw: AutoScalingGroupTypeDef, rule: Rule | None, health: Health | None
) -> ServerGroup:
    """Return one group.

    Args:
        raw: As Auto Scaling describes it.
        rule: Its cluster's.
        health: What the load balancer says of its instances; None when it was not asked.
    """
    tags = tags_of(raw)
    return ServerGroup(
        name=ServerGroupName.parse(raw["AutoScalingGroupName"]),
        image_id=ImageId(tags.get(IMAGE_TAG, "")),
        version=tags.get(VERSION_TAG, ""),
        capacity=Capacity(min=raw["MinSize"], desired=raw["DesiredCapacity"], max=raw["MaxSize"]),
        instances=instances(raw, health),
        weight=weight_of(rule, raw),
        target_group=target_group_of(raw),
        created_at=raw["CreatedTime"],
        release_id=tags.get(RELEASE_TAG, ""),
        disabled_at=_time(tags.get(DISABLED_AT_TAG)),
        pinned_min=_number(tags.get(PINNED_MIN_TAG)),
        pinned_desired=_number(tags.get(PINNED_DESIRED_TAG)),
        tags=tags,
    )


def half_made(
    rule: Rule, tags: Mapping[str, Mapping[str, str]], *, now: datetime
) -> list[ServerGroup]:
    """Return groups that have a place in the rule, but no Auto Scaling group (yet).

    Args:
        rule: Their cluster's.
        tags: Target group's ARN → its tags.
        now: A target group does not say when it was made.
    """
    return [
        ServerGroup(
            name=ServerGroupName.parse(found[SERVER_GROUP_TAG]),
            image_id=ImageId(found.get(IMAGE_TAG, "")),
            version=found.get(VERSION_TAG, ""),
            capacity=Capacity(min=0, desired=0, max=0),
            instances=(),
            weight=rule.weights[arn],
            target_group=arn,
            created_at=now,
            release_id=found.get(RELEASE_TAG, ""),
            tags=found,
        )
        for arn, found in tags.items()
        if SERVER_GROUP_TAG in found
    ]


def oldest_first(groups: Iterable[ServerGroup]) -> tuple[ServerGroup, ...]:
    """Return groups in the order in which they were made."""
    return tuple(sorted(groups, key=lambda group: (group.created_at, group.name)))


def weight_of(rule: Rule | None, raw: AutoScalingGroupTypeDef) -> int:
    """Return a group's share of the traffic; 0 when its cluster has no rule."""
    return rule.weights.get(target_group_of(raw), 0) if rule else 0


def _number(text: str | None) -> int | None:
    return int(text) if text else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
