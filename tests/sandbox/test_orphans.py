"""What crashed runs leave is found by tags, says what uses it, and goes one by one.

Also what people did to server groups by hand: read from the sandbox's API, and mended.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ovenbird.aws.bake_leftovers import BakeLeftovers
from ovenbird.aws.builder_resources import TEMPORARY_TAG, BuilderSpec, Mark
from ovenbird.aws.orphans import Orphans
from ovenbird.aws.tags import to_aws
from ovenbird.domain.clusters import CLUSTER_TAG, DISABLED_AT_TAG
from ovenbird.domain.drift import Kind as Changed
from ovenbird.domain.drift import Recorded, drift
from ovenbird.domain.images import BAKE_KEY_TAG, UNREGISTERED_TAG
from ovenbird.domain.janitor import Kind, Leftover
from ovenbird.domain.launching import InstanceMix, LaunchSpec
from ovenbird.domain.plans import Mend
from ovenbird.domain.reconciling import plan_reconcile
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.stages.deploy import carry_out
from tests.sandbox.fleet import register_image
from tests.sandbox.test_server_groups import Deployment, Place, TurningClock

pytestmark = pytest.mark.sandbox
PARTS = [Kind.ALARM, Kind.ALARM, Kind.LAUNCH_TEMPLATE, Kind.TARGET_GROUP]


@pytest.fixture(scope="module")
def place(endpoint: Endpoint) -> Place:
    return Place(endpoint.production)


@pytest.fixture
def here(place: Place) -> Iterator[Deployment]:
    deployment = Deployment(place)
    yield deployment
    for name in deployment.made:
        deployment.groups.destroy(name)


def parts(here: Deployment) -> tuple[Orphans, list[Leftover]]:
    orphans = Orphans(here.place.account, environment=here.environment)
    return orphans, list(orphans.list_left())


def test_parts_of_a_living_group_are_in_use(here: Deployment) -> None:
    here.create()

    _, found = parts(here)

    assert [one.kind for one in found] == PARTS[2:]  # alarms whose group is there are no parts
    assert [bool(one.used_by) for one in found] == [True, True]
    assert found[0].cluster == str(here.cluster)


def test_parts_of_a_group_that_is_gone_go_one_by_one(here: Deployment) -> None:
    name = here.create()
    other = here.create(2)
    here.place.account.autoscaling.delete_auto_scaling_group(
        AutoScalingGroupName=str(name), ForceDelete=True
    )
    for _ in range(5):
        TurningClock().sleep(0.01)
    orphans, found = parts(here)
    mine = [one for one in found if one.tags["ovenbird:server-group"] == str(name)]
    assert [one.kind for one in mine] == PARTS
    assert [one.used_by for one in mine[:3]] == ["", "", ""]
    assert mine[3].used_by == "a load balancer sends requests to it"

    here.groups._traffic.leave_rule(here.cluster, mine[3].ident)
    for one in mine:
        now = orphans.look_again(one)
        assert now is not None
        assert now.used_by == ""
        orphans.remove(now)
        orphans.remove(now)  # a killed run did it already
        assert orphans.look_again(one) is None

    assert [one.tags["ovenbird:server-group"] for one in orphans.list_left()] == [str(other)] * 2
    assert orphans.list_left()[0].used_by == f"Auto Scaling group `{other}` launches from it"


def test_another_environment_s_parts_are_not_seen(here: Deployment) -> None:
    here.create()

    assert Orphans(here.place.account, environment="elsewhere").list_left() == ()


class Clock(TurningClock):
    """Two days later."""

    def now(self) -> datetime:
        return super().now() + timedelta(days=2)


def test_what_bakes_left_is_found_with_its_age_and_removed(place: Place) -> None:
    account = place.account
    begun = datetime.now(tz=UTC).replace(microsecond=0)  # noqa: TID251 - a clock
    mark = Mark(builder_id=secrets.token_hex(4), deadline=begun + timedelta(hours=4))
    tags = {TEMPORARY_TAG: str(mark), BAKE_KEY_TAG: "key"}
    vpc_id = account.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    specification: Any = [{"ResourceType": "security-group", "Tags": to_aws(tags)}]
    group_id = account.ec2.create_security_group(
        GroupName=mark.name, Description="-", VpcId=vpc_id, TagSpecifications=specification
    )["GroupId"]
    key: Any = [{"ResourceType": "key-pair", "Tags": to_aws(tags)}]
    account.ec2.create_key_pair(KeyName=mark.name, TagSpecifications=key)
    snapshot_id = account.ebs.start_snapshot(
        VolumeSize=1, Tags=to_aws({BAKE_KEY_TAG: "key", UNREGISTERED_TAG: "true"})
    )["SnapshotId"]
    dead: set[Mark] = set()
    leftovers = BakeLeftovers(
        account, BuilderSpec(vpc_id=vpc_id, subnet_id="-"), is_dead=dead.__contains__,
        environment="prod", clock=Clock(),
    )  # fmt: skip

    def mine() -> dict[Kind, Leftover]:
        wanted = {group_id, mark.name, snapshot_id}
        return {one.kind: one for one in leftovers.list_left() if one.ident in wanted}

    assert mine()[Kind.SECURITY_GROUP].used_by == "a bake may still work with it"
    dead.add(mark)
    found = mine()
    assert set(found) == {Kind.SECURITY_GROUP, Kind.KEY_PAIR, Kind.SNAPSHOT}
    assert found[Kind.SECURITY_GROUP].made_at == begun
    assert {one.used_by for one in found.values()} == {""}

    for one in found.values():
        leftovers.remove(one)
        leftovers.remove(one)
    assert mine() == {}


def test_what_people_did_by_hand_is_read_and_mended(here: Deployment) -> None:
    name = here.create()
    here.place.heal(name)
    whole = here.groups.details([name])[name]
    assert (whole.template_version, whole.first_version, whole.suspended) == ("1", "1", ())
    assert (whole.template_image, len(whole.images)) == (here.place.image_id, 2)
    assert (len(whole.alarms), whole.scales) == (2, False)
    account = here.place.account
    data: Any = {"ImageId": register_image(account)}
    account.ec2.create_launch_template_version(
        LaunchTemplateName=str(name), SourceVersion="1", LaunchTemplateData=data
    )
    template: Any = {"LaunchTemplateName": str(name), "Version": "2"}
    account.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=str(name), LaunchTemplate=template
    )
    account.autoscaling.suspend_processes(
        AutoScalingGroupName=str(name), ScalingProcesses=["Launch", "AZRebalance"]
    )
    here.groups._alarms.delete(name)
    cluster = here.groups.get_cluster(here.cluster, here.environment)
    details = here.groups.details([name])

    found = drift(cluster, Recorded(), details)
    plan = plan_reconcile(cluster, Recorded(), details, warm_up=timedelta(seconds=1))
    for action in plan.actions:
        carry_out(action, groups=here.groups, clock=TurningClock(), progress=lambda _: None)

    assert {one.kind for one in found} == {
        Changed.TEMPLATE, Changed.IMAGE, Changed.ALARMS, Changed.PROCESSES,
    }  # fmt: skip
    mended = here.groups.details([name])[name]
    assert (mended.template_version, mended.suspended) == ("1", ("AZRebalance",))
    [alarms] = drift(cluster, Recorded(), {name: mended})
    assert alarms.kind is Changed.ALARMS


def test_a_mixture_of_types_stays_when_the_template_is_put_back(here: Deployment) -> None:
    name = here.create(
        launch=LaunchSpec(instances=InstanceMix(types=("m5.large", "m4.large"), on_demand_base=1))
    )
    scaling = here.place.account.autoscaling

    def policy() -> Any:
        found = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[str(name)])
        return found["AutoScalingGroups"][0].get("MixedInstancesPolicy")

    before = policy()
    here.groups.mend(Mend(name=name, template_version="1"))
    after = policy()

    assert after["InstancesDistribution"] == before["InstancesDistribution"]
    assert after["LaunchTemplate"]["Overrides"] == before["LaunchTemplate"]["Overrides"]
    used = after["LaunchTemplate"]["LaunchTemplateSpecification"]
    assert used["LaunchTemplateName"] == str(name)
    assert used["Version"] == "1"


def test_a_group_whose_tag_was_taken_is_found_by_its_place_in_the_rule(here: Deployment) -> None:
    name = here.create()
    here.place.heal(name)
    autoscaling = here.place.account.autoscaling
    tag: Any = {"ResourceId": str(name), "ResourceType": "auto-scaling-group", "Key": CLUSTER_TAG}
    autoscaling.delete_tags(Tags=[tag])
    hidden = here.groups.get_cluster(here.cluster, here.environment)
    details = here.groups.details([name])
    plan = plan_reconcile(hidden, Recorded(), details, warm_up=timedelta(seconds=1))

    for action in plan.actions:
        carry_out(action, groups=here.groups, clock=TurningClock(), progress=lambda _: None)

    assert hidden.groups[0].capacity.max == 0
    [seen] = here.groups.get_cluster(here.cluster, here.environment).groups
    assert (seen.capacity.desired, DISABLED_AT_TAG in seen.tags) == (2, False)
    assert replace(seen, tags={}).healthy == 2
