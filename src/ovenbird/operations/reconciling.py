"""Reconciling: what was changed by hand in a cluster is shown, and mended when it is confirmed."""

from __future__ import annotations

from dataclasses import dataclass

from ovenbird.domain.drift import Difference, drift
from ovenbird.domain.reconciling import plan_reconcile
from ovenbird.domain.retreats import WARM_UP
from ovenbird.operations.changing import Proposal, free
from ovenbird.operations.opening import Installation
from ovenbird.pipeline.hands import recorded_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What differs in a cluster, and what would be done about it.

    Args:
        differences: Also those that only a person can mend.
    """

    differences: tuple[Difference, ...]
    proposal: Proposal


def plan_reconciliation(
    installation: Installation,
    text: str,
    *,
    environment: str | None = None,
    traffic_back: bool = False,
) -> Reconciliation:
    """Compare a cluster with our records and its tags, and plan to mend it.

    Args:
        installation: Where it lives.
        text: Its name.
        environment: None for the one that its name says.
        traffic_back: Whether traffic that was moved by hand goes back to where we sent it.

    Raises:
        NotFound: There is no such cluster.
        Conflict: Something changes it now.
        CloudError: AWS refused a call.
    """
    cluster = free(installation, text, environment)
    groups = installation.environment(cluster.environment).groups
    details = groups.details([group.name for group in cluster.groups])
    known = recorded_of(installation.store, cluster)
    plan = plan_reconcile(cluster, known, details, warm_up=WARM_UP, traffic_back=traffic_back)
    return Reconciliation(
        differences=drift(cluster, known, details),
        proposal=Proposal(kind="reconcile", cluster=cluster, plan=plan),
    )
