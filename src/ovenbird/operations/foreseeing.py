"""What a rollout changes and costs, before it is done: nothing is guessed.

What is not known is left out and said to be so: packages without kept evidence, prices that
the settings do not have, a launch template that is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from ovenbird.domain.clusters import ServerGroup
from ovenbird.domain.errors import NotFound, OvenbirdError
from ovenbird.domain.footprints import Footprint, Rates, footprint
from ovenbird.domain.image_differences import PackageChange, package_changes
from ovenbird.domain.names import ClusterName
from ovenbird.domain.plans import CreateServerGroup, Plan
from ovenbird.domain.releases import Rollout
from ovenbird.domain.retreats import plan_retreat
from ovenbird.operations.image_comparison import kept_packages
from ovenbird.operations.opening import Installation
from ovenbird.operations.rolling import Preview
from ovenbird.pipeline.ports import Environment

ENVIRONMENT = "environment."  # how the keys of environment values begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One value that would be another: empty for none."""

    key: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What a rollout would need, and what would be different from what runs now.

    Args:
        serving: The server group that runs now; None when there is none.
        packages: None when it is not known.
        settings: Of the launch template, environment values among them; None when it is not
            known.
        prices: Instance type → price of an hour, as the settings have it.
    """

    footprint: Footprint
    serving: ServerGroup | None
    packages: tuple[PackageChange, ...] | None = None
    settings: tuple[Changed, ...] | None = None
    prices: Mapping[str, float] = field(default_factory=dict)


def foresee(installation: Installation, seen: Preview) -> Foreseen:
    """Look at what runs now, and compare.

    Raises:
        CloudError: AWS refused a call.
    """
    environment = installation.environment(seen.wanted.environment)
    prices = installation.settings.prices
    known = {group.name: environment.groups.launch_settings(group.name)
             for group in seen.cluster.groups}  # fmt: skip
    types = {str(name): found.get("InstanceType", "") for name, found in known.items()}
    serving = seen.cluster.serving
    made = next((one for one in seen.plan.actions if isinstance(one, CreateServerGroup)), None)
    before = known[serving.name] if serving else {}
    return Foreseen(
        footprint=footprint(seen.cluster, seen.plan.actions, Rates(prices=prices, types=types)),
        serving=serving,
        packages=_packages(installation, environment, seen, serving) if serving else None,
        settings=_changes(before, environment, made) if before and made else None,
        prices=prices,
    )


def retreat(installation: Installation, rollout: Rollout) -> Plan:
    """Return how a rollout that is aborted now would be taken back.

    Raises:
        CloudError: AWS refused a call.
    """
    groups = installation.environment(rollout.environment).groups
    cluster = groups.get_cluster(ClusterName.parse(rollout.cluster), rollout.environment)
    marks = {rollout.release_id or rollout.rollout_id}
    made = next((group for group in cluster.groups if group.release_id in marks), None)
    if made is None:
        return Plan(actions=(), reason="no server group has been made yet")
    return plan_retreat(cluster, failed=made.name, release_id=made.release_id)


def _packages(
    installation: Installation, environment: Environment, seen: Preview, serving: ServerGroup
) -> tuple[PackageChange, ...] | None:
    with suppress(NotFound):  # its image may be gone
        old = environment.images.get(serving.image_id)
        before = kept_packages(installation.ports, old)
        after = kept_packages(installation.ports, seen.wanted.image)
        if before is not None and after is not None:
            return package_changes(before, after)
    return None


def _changes(
    before: Mapping[str, str], environment: Environment, made: CreateServerGroup
) -> tuple[Changed, ...]:
    try:
        after = environment.groups.settings_to_be(made)
    except OvenbirdError:  # it is refused when it is made, with its reason
        return ()
    keys = sorted(before.keys() | after.keys())
    return tuple(
        Changed(key=key, before=before.get(key, ""), after=after.get(key, ""))
        for key in keys
        if before.get(key, "") != after.get(key, "")
    )
