"""With AWS's throttling on, a crowd's calls are slowed and never fail."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ovenbird.aws.clients import Account, open_account
from ovenbird.aws.server_groups import ServerGroups
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.throttles import Throttles
from tests.sandbox.test_server_groups import Deployment, Place, TurningClock

pytestmark = pytest.mark.sandbox

CROWD = 24
FACTOR = 3.0  # of AWS's numbers, so that a test takes seconds


def limited(endpoint: Endpoint, quotas: Path, *, factor: float) -> Account:
    """Return production with buckets of its own."""
    access = endpoint.production.access
    return open_account(replace(access, quotas=str(quotas), quota_factor=factor))


def seen_by(account: Account, deployment: Deployment) -> ServerGroups:
    """Return the server groups as an account's clients see them."""
    return ServerGroups(account, deployment.place.network, clock=TurningClock(), period_s=1.0)


def refused(endpoint: Endpoint) -> int:
    """Return how many calls were refused so far."""
    return sum(endpoint.faults.report()["refused"].values())


@pytest.fixture
def deployment(endpoint: Endpoint) -> Deployment:
    """A cluster with one server group whose instances are healthy."""
    place = Place(endpoint.production)
    made = Deployment(place)
    wanted = made.wanted()
    place.groups.create(wanted)
    place.heal(wanted.name)
    return made


def test_a_crowd_below_the_limits_is_never_refused_and_shares_its_looks(
    endpoint: Endpoint, deployment: Deployment, tmp_path: Path
) -> None:
    account = limited(endpoint, tmp_path, factor=FACTOR)
    groups = seen_by(account, deployment)
    before = endpoint.faults.report()["decided"]
    with endpoint.faults.deciding(Throttles(factor=FACTOR)), ThreadPoolExecutor(CROWD) as pool:
        none = refused(endpoint)
        looks = [
            pool.submit(groups.get_cluster, deployment.cluster, deployment.environment)
            for _ in range(CROWD * 4)
        ]
        healthy = {sum(g.healthy for g in one.result(60).groups) for one in looks}
        after = endpoint.faults.report()["decided"]

        assert healthy == {2}
        assert refused(endpoint) == none
    name = "autoscaling.DescribeAutoScalingGroups"
    assert after[name] - before.get(name, 0) < CROWD * 4 / 2


def test_a_crowd_that_knows_nothing_of_the_limits_is_refused_and_still_does_not_fail(
    endpoint: Endpoint, deployment: Deployment
) -> None:
    account = open_account(endpoint.production.access)  # without buckets
    (group,) = (
        seen_by(account, deployment).get_cluster(deployment.cluster, deployment.environment).groups
    )
    with endpoint.faults.deciding(Throttles(factor=1.0)), ThreadPoolExecutor(CROWD) as pool:
        before = refused(endpoint)
        answers = [
            pool.submit(account.elbv2.describe_target_health, TargetGroupArn=group.target_group)
            for _ in range(200)
        ]
        targets = {len(one.result(120)["TargetHealthDescriptions"]) for one in answers}

        assert targets == {2}
        assert refused(endpoint) > before


def test_a_rollouts_changes_and_looks_succeed_while_another_crowd_uses_up_the_limits(
    endpoint: Endpoint, deployment: Deployment, tmp_path: Path
) -> None:
    ours, others = limited(endpoint, tmp_path, factor=1.0), open_account(endpoint.production.access)
    groups = seen_by(ours, deployment)
    wanted = deployment.wanted(2)
    with endpoint.faults.deciding(Throttles(factor=2.0)), ThreadPoolExecutor(CROWD) as pool:
        listener = deployment.place.listener
        crowd = [pool.submit(others.elbv2.describe_rules, ListenerArn=listener) for _ in range(150)]
        groups.create(wanted)
        deployment.place.heal(wanted.name)
        cluster = groups.get_cluster(deployment.cluster, deployment.environment)
        for one in crowd:
            one.result(120)

    assert {group.name.version for group in cluster.groups} == {1, 2}
    assert [group.healthy for group in cluster.groups] == [2, 2]
