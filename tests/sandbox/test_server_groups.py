"""Server groups through their whole life: our classes against the sandbox's API.

Nothing is booted: the group loop is turned by hand whenever somebody waits, and what the
balancer would find is written by the test.
"""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ovenbird.aws.clients import Account
from ovenbird.aws.group_reading import IMAGE_TAG
from ovenbird.aws.networks import NetworkSpec
from ovenbird.aws.server_groups import ServerGroups
from ovenbird.aws.traffic import Traffic
from ovenbird.domain.apps import DEFAULT_ALARM, AlarmSpec, Health
from ovenbird.domain.clusters import (
    CLUSTER_TAG,
    ENVIRONMENT_TAG,
    PINNED_DESIRED_TAG,
    PINNED_MIN_TAG,
    SERVER_GROUP_TAG,
    Capacity,
    InstanceState,
)
from ovenbird.domain.errors import CloudError, Conflict, InvalidRequest
from ovenbird.domain.images import APP_TAG, RELEASE_TAG, VERSION_TAG, ImageId
from ovenbird.domain.names import ClusterName, ServerGroupName
from ovenbird.domain.plans import AwaitHealthy, CreateServerGroup, Weight
from ovenbird.domain.traffic import MarkedRequests
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.targets import HEALTH
from ovenbird.stages.deploy import carry_out
from tests.sandbox.fleet import default_subnets, model, register_image, set_health, turn

pytestmark = pytest.mark.sandbox

PORT = 8080


class TurningClock:
    """A clock whose sleeper lets the group loop look meanwhile."""

    def now(self) -> datetime:
        return datetime.now(tz=UTC)  # noqa: TID251 - a clock

    def sleep(self, seconds: float) -> None:
        turn()
        threading.Event().wait(min(seconds, 0.05))


class Place:
    """A load balancer in production, and server groups behind it."""

    def __init__(self, account: Account) -> None:
        self.account = account
        vpc_id, subnets = default_subnets(account)
        name = f"place-{uuid.uuid4().hex[:8]}"
        security_group = account.ec2.create_security_group(
            GroupName=name, Description="-", VpcId=vpc_id
        )["GroupId"]
        balancer = account.elbv2.create_load_balancer(
            Name=name, Type="application", Subnets=subnets, SecurityGroups=[security_group]
        )["LoadBalancers"][0]["LoadBalancerArn"]
        fixed: Any = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
        self.listener = account.elbv2.create_listener(
            LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=[fixed]
        )["Listeners"][0]["ListenerArn"]
        self.image_id = ImageId(register_image(account))
        network = NetworkSpec(
            vpc_id=vpc_id,
            subnet_ids=tuple(subnets),
            security_group_ids=(security_group,),
            listener_arn=self.listener,
        )
        self.network = network
        self.groups = ServerGroups(account, network, clock=TurningClock(), period_s=1.0)

    def rules(self) -> list[Any]:
        found = self.account.elbv2.describe_rules(ListenerArn=self.listener)["Rules"]
        return [rule for rule in found if not rule["IsDefault"]]

    def heal(self, name: ServerGroupName, state: str = "healthy") -> None:
        """Let all instances of a group run and be found in that state."""
        turn(times=2)
        group = model(self.account, str(name))
        for member in group.members:
            for target_group in group.attached:
                set_health(target_group.arn, member.instance_id, state, port=PORT)


@pytest.fixture(scope="module")
def place(endpoint: Endpoint) -> Place:
    return Place(endpoint.production)


class Deployment:
    """One cluster of the place."""

    def __init__(self, place: Place) -> None:
        self.place, self.groups = place, place.groups
        self.app = f"app{uuid.uuid4().hex[:8]}"
        self.environment = f"env{uuid.uuid4().hex[:8]}"
        self.cluster = ClusterName(app=self.app, stack="prod")
        self.made: set[ServerGroupName] = set()

    def wanted(self, version: int = 1, **others: Any) -> CreateServerGroup:
        name = ServerGroupName(cluster=self.cluster, version=version)
        self.made.add(name)
        release = f"release-{version}"
        wanted = CreateServerGroup(
            name=name,
            image_id=self.place.image_id,
            version=f"1.{version}",
            release_id=release,
            capacity=Capacity(min=1, desired=2, max=3),
            port=PORT,
            health=Health(startup_s=60.0),
            instance_type="t3.micro",
            draining_s=1,
            path_patterns=(f"/{self.app}/*",),
            alarms=(
                DEFAULT_ALARM,
                AlarmSpec(name="slow", metric="p", threshold=1, statistic="p99"),
            ),
            environment={"GREETING": 'say "hi"'},
            tags={
                APP_TAG: self.app,
                CLUSTER_TAG: str(self.cluster),
                SERVER_GROUP_TAG: str(name),
                ENVIRONMENT_TAG: self.environment,
                RELEASE_TAG: release,
                VERSION_TAG: f"1.{version}",
            },
        )
        return replace(wanted, **others)

    def create(self, version: int = 1, **others: Any) -> ServerGroupName:
        wanted = self.wanted(version, **others)
        self.groups.create(wanted)
        return wanted.name

    def rules(self) -> list[Any]:
        """Return the rules with this cluster's path, in the order in which they were made."""
        path = f"/{self.app}/*"
        return [rule for rule in self.place.rules() if path in str(rule["Conditions"])]

    def see(self) -> dict[int, Any]:
        found = self.groups.get_cluster(self.cluster, self.environment).groups
        return {group.name.version: group for group in found}


@pytest.fixture
def here(place: Place) -> Iterator[Deployment]:
    deployment = Deployment(place)
    yield deployment
    for name in deployment.made:
        deployment.groups.destroy(name)


def test_a_group_is_made_out_of_traffic_and_read_back(here: Deployment) -> None:
    name = here.create()
    here.place.heal(name)

    cluster = here.groups.get_cluster(here.cluster, here.environment)
    (group,) = cluster.groups
    assert (group.name, group.version, group.image_id) == (name, "1.1", here.place.image_id)
    assert group.capacity == Capacity(min=1, desired=2, max=3)
    assert (group.weight, group.enabled, cluster.serving) == (0, False, None)
    assert group.release_id == "release-1"
    assert [i.state for i in group.instances] == [InstanceState.HEALTHY] * 2
    assert (group.healthy, group.pinned_min, group.disabled_at) == (2, None, None)
    assert abs(group.created_at - datetime.now(tz=UTC)) < timedelta(minutes=1)  # noqa: TID251
    assert group.tags[IMAGE_TAG] == here.place.image_id
    assert isinstance(here.groups.console(group.instances[0].instance_id), str)
    assert cluster.rule.startswith("arn:aws:elasticloadbalancing:")


def test_tags_of_target_groups_have_only_letters_that_elbv2_takes(here: Deployment) -> None:
    wanted = here.wanted()
    here.groups.create(replace(wanted, tags={**wanted.tags, VERSION_TAG: "1.0~rc1+3.g1a2b3c4"}))

    elbv2 = here.place.account.elbv2
    arn = here.see()[1].target_group
    (found,) = elbv2.describe_tags(ResourceArns=[arn])["TagDescriptions"]
    tags = {tag["Key"]: tag.get("Value", "") for tag in found["Tags"]}
    assert tags[VERSION_TAG] == "1.0-rc1+3.g1a2b3c4"
    assert here.see()[1].version == "1.0~rc1+3.g1a2b3c4"


def test_creating_twice_makes_one(here: Deployment) -> None:
    name = here.create()
    here.groups.resize(name, Capacity(min=1, desired=3, max=3))
    first = here.see()[1]
    here.create()

    assert here.see()[1] == first
    assert first.capacity.desired == 3
    templates = here.place.account.ec2.describe_launch_template_versions(
        LaunchTemplateName=str(name)
    )
    assert len(templates["LaunchTemplateVersions"]) == 1


@pytest.mark.parametrize("crash", ["target group", "rule", "template", "group"])
def test_what_a_crash_left_half_made_is_completed(here: Deployment, crash: str) -> None:
    wanted, groups = here.wanted(), here.groups
    tags = {**wanted.tags, IMAGE_TAG: wanted.image_id}
    arn = groups._traffic.ensure_target_group(wanted, tags)
    if crash != "target group":
        groups._traffic.ensure_in_rule(arn, wanted)
        half = here.see()[1]
        assert (half.instances, half.release_id, half.version) == ((), "release-1", "1.1")
        (listed,) = groups.list_clusters(here.environment)
        assert [group.name for group in listed.groups] == [wanted.name]
    if crash in {"template", "group"}:
        groups._templates.ensure(wanted, tags, security_groups=())
    if crash == "group":
        groups._groups.create(
            wanted, tags, target_group=arn, template_version="1",
            subnet_ids=groups._network.subnet_ids,
        )  # fmt: skip

    groups.create(wanted)
    here.place.heal(wanted.name)

    assert here.see()[1].healthy == 2
    assert here.see()[1].target_group == arn


def test_left_overs_of_another_release_are_removed_first(here: Deployment) -> None:
    old = here.wanted(release_id="older", tags={**here.wanted().tags, RELEASE_TAG: "older"})
    arn = here.groups._traffic.ensure_target_group(old, old.tags)
    here.groups._templates.ensure(old, old.tags, security_groups=())

    name = here.create()

    group = here.see()[1]
    assert group.target_group != arn
    assert here.groups._templates.find_tags(name) == {
        **here.wanted().tags, IMAGE_TAG: here.place.image_id,
    }  # fmt: skip


def test_a_name_of_another_release_is_refused(here: Deployment) -> None:
    here.create()
    other = here.wanted(release_id="other")

    with pytest.raises(Conflict, match="belongs to release `release-1`"):
        here.groups.create(other)


def test_an_image_that_is_not_there_is_refused_and_can_be_mended(here: Deployment) -> None:
    with pytest.raises(CloudError, match=r"ami-0123.*does not exist"):
        here.create(image_id=ImageId("ami-0123"))
    (name,) = here.made
    here.groups.destroy(name)
    here.create()

    assert here.see()[1].image_id == here.place.image_id


def test_instances_carry_tags_and_the_environment(here: Deployment) -> None:
    name = here.create()
    turn(times=2)
    instance_id = here.groups.list_instances(name)[0].instance_id
    ec2 = here.place.account.ec2

    found = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    user_data = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")

    tags = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
    assert tags[SERVER_GROUP_TAG] == tags["aws:autoscaling:groupName"] == str(name)
    assert found["ImageId"] == here.place.image_id
    assert found["MetadataOptions"]["HttpTokens"] == "required"
    text = base64.b64decode(user_data["UserData"]["Value"]).decode()
    assert text.startswith("#cloud-config\n")
    (file,) = json.loads(text.removeprefix("#cloud-config\n"))["write_files"]
    assert file["content"] == 'GREETING="say \\"hi\\""\n'


def test_instances_are_seen_as_the_balancer_sees_them(here: Deployment) -> None:
    name = here.create(health=Health(startup_s=3600))
    here.place.heal(name)
    first, second = (i.instance_id for i in here.groups.list_instances(name))
    arn = here.see()[1].target_group
    set_health(arn, first, "initial", port=PORT)
    set_health(arn, second, "unhealthy", port=PORT)

    states = {i.instance_id: i.state for i in here.groups.list_instances(name)}

    assert states == {first: InstanceState.STARTING, second: InstanceState.UNHEALTHY}
    nobody = ServerGroupName(cluster=here.cluster, version=99)
    assert here.groups.list_instances(nobody) == ()


def test_waiting_for_health(here: Deployment) -> None:
    name = here.create()
    here.place.heal(name)
    said: list[str] = []

    carry_out(
        AwaitHealthy(name=name, instances=2, within=timedelta(seconds=5)),
        groups=here.groups, clock=TurningClock(), progress=said.append,
    )  # fmt: skip

    assert said[-1] == f"`{name}`: 2 of 2 instances healthy"


def test_pinning_and_unpinning(here: Deployment) -> None:
    name = here.create()
    for _ in range(2):
        here.groups.pin(name)
    pinned = here.see()[1]
    for _ in range(2):
        here.groups.unpin(name)
    free = here.see()[1]

    assert (pinned.capacity.min, pinned.pinned_min, pinned.pinned_desired) == (2, 1, 2)
    assert (free.capacity.min, free.pinned_min, free.pinned_desired) == (1, None, None)
    assert not {PINNED_MIN_TAG, PINNED_DESIRED_TAG} & set(free.tags)


def test_resizing_launches_and_drains(here: Deployment) -> None:
    name = here.create()
    here.place.heal(name)
    here.groups.resize(name, Capacity(min=2, desired=3, max=4))
    here.place.heal(name)
    grown = here.see()[1]
    here.groups.resize(name, Capacity(min=1, desired=1, max=4))
    clock, deadline = TurningClock(), datetime.now(tz=UTC) + timedelta(seconds=10)  # noqa: TID251
    while len(here.groups.list_instances(name)) > 1 and clock.now() < deadline:
        clock.sleep(1)

    assert (grown.capacity, grown.healthy) == (Capacity(min=2, desired=3, max=4), 3)
    assert len(here.see()[1].instances) == 1
    with pytest.raises(CloudError, match="ValidationError"):
        here.groups.resize(name, Capacity(min=3, desired=2, max=4))


def test_weights_move_traffic_and_nothing_else(here: Deployment) -> None:
    one, two, three = (here.create(version) for version in (1, 2, 3))
    here.groups.set_weights([Weight(name=one, percent=100)])
    here.groups.set_weights([Weight(name=one, percent=95), Weight(name=two, percent=5)])

    seen = here.see()
    assert {version: group.weight for version, group in seen.items()} == {1: 95, 2: 5, 3: 0}
    cluster = here.groups.get_cluster(here.cluster, here.environment)
    assert cluster.serving == seen[1]
    (rule,) = [r for r in here.place.rules() if r["RuleArn"] == cluster.rule]
    (condition,) = rule["Conditions"]
    assert condition["PathPatternConfig"]["Values"] == [f"/{here.app}/*"]

    with pytest.raises(InvalidRequest):
        here.groups.set_weights([Weight(name=three, percent=99)])
    nobody = ServerGroupName(cluster=here.cluster, version=99)
    with pytest.raises(Conflict, match="does not have all of"):
        here.groups.set_weights([Weight(name=nobody, percent=100)])


def test_clients_stay_only_while_the_traffic_is_divided(here: Deployment) -> None:
    one, two = here.create(1), here.create(2)

    def sticky_s() -> int:
        rule = here.groups._traffic.find_rule(here.cluster)
        return rule.sticky_s if rule else -1

    found = []
    for shares in ((100, 0), (90, 10), (90, 10), (0, 100)):
        weights = [Weight(name=n, percent=p) for n, p in zip((one, two), shares, strict=True)]
        here.groups.set_weights(weights, sticky_s=600)
        found.append(sticky_s())
    here.groups.set_weights([Weight(name=one, percent=50), Weight(name=two, percent=50)])

    assert [*found, sticky_s()] == [0, 600, 600, 0, 0]


def test_who_joins_the_rule_leaves_it_sticky(here: Deployment) -> None:
    one, two = here.create(1), here.create(2)
    here.groups.set_weights(
        [Weight(name=one, percent=60), Weight(name=two, percent=40)], sticky_s=60
    )
    third = here.create(3)
    here.groups.destroy(third)

    rule = here.groups._traffic.find_rule(here.cluster)
    assert rule is not None
    assert rule.sticky_s == 60


def test_testers_have_a_rule_right_before_everybody_s(here: Deployment) -> None:
    one, two = here.create(1), here.create(2)
    here.groups.set_weights([Weight(name=one, percent=100)])
    for _ in range(2):
        here.groups.open_to_testers(two, MarkedRequests(header="X-Canary", value="please"))

    everybody, testers = here.rules()
    assert int(testers["Priority"]) == int(everybody["Priority"]) - 1
    paths, header = testers["Conditions"]
    assert paths["PathPatternConfig"]["Values"] == [f"/{here.app}/*"]
    assert header["HttpHeaderConfig"] == {"HttpHeaderName": "X-Canary", "Values": ["please"]}
    (found,) = testers["Actions"][0]["ForwardConfig"]["TargetGroups"]
    assert found["TargetGroupArn"] == here.see()[2].target_group
    assert {version: group.weight for version, group in here.see().items()} == {1: 100, 2: 0}

    here.groups.open_to_testers(one, MarkedRequests(cookie="canary", value="yes"))
    (_, moved) = here.rules()
    assert moved["RuleArn"] == testers["RuleArn"]
    assert moved["Conditions"][1]["HttpHeaderConfig"]["Values"] == ["*canary=yes*"]
    here.groups.close_to_testers(two)
    assert len(here.rules()) == 2, "it leads to another group by now"
    for _ in range(2):
        here.groups.close_to_testers(one)
    assert len(here.rules()) == 1


def test_testers_leave_before_their_group_is_drained(here: Deployment) -> None:
    one, two = here.create(1), here.create(2)
    here.groups.set_weights([Weight(name=one, percent=100)])
    here.groups.open_to_testers(two, MarkedRequests(header="X-Canary", value="please"))

    here.groups.destroy(two)

    assert len(here.rules()) == 1


def test_testers_need_a_priority_before_everybody_s(here: Deployment) -> None:
    name = here.create(rule_priority=1)

    with pytest.raises(Conflict, match="No priority before"):
        here.groups.open_to_testers(name, MarkedRequests(header="X-Canary", value="please"))
    nobody = ServerGroupName(cluster=here.cluster, version=99)
    with pytest.raises(Conflict, match="no target group"):
        here.groups.open_to_testers(nobody, MarkedRequests(header="X-Canary", value="please"))


def test_all_listeners_change_as_one_also_one_that_came_later(here: Deployment) -> None:
    place, elbv2 = here.place, here.place.account.elbv2
    one, two = here.create(1), here.create(2)
    here.groups.set_weights([Weight(name=one, percent=100)])
    (balancer,) = elbv2.describe_listeners(ListenerArns=[place.listener])["Listeners"]
    fixed: Any = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
    later = elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=8443,
        DefaultActions=[fixed],
    )["Listeners"][0]["ListenerArn"]
    network = replace(place.groups._network, more_listener_arns=(later,))
    groups = ServerGroups(place.account, network, clock=TurningClock(), period_s=1.0)

    def weights(listener: str) -> list[tuple[str, dict[str, int]]]:
        traffic = Traffic(place.account, vpc_id=network.vpc_id, listener_arn=listener)
        rule = traffic.find_rule(here.cluster)
        return [(str(rule.conditions), dict(rule.weights))] if rule else []

    groups.set_weights([Weight(name=one, percent=90), Weight(name=two, percent=10)])
    assert weights(later) == weights(place.listener)
    assert sorted(weights(later)[0][1].values()) == [10, 90]
    three = here.wanted(3)
    groups.create(three)
    groups.open_to_testers(two, MarkedRequests(header="X-Canary", value="please"))
    assert weights(later) == weights(place.listener)
    assert len(weights(later)[0][1]) == 3
    groups.destroy(three.name)
    assert weights(later) == weights(place.listener)
    for name in (one, two):
        groups.destroy(name)
    assert weights(later) == weights(place.listener) == []
    left = elbv2.describe_rules(ListenerArn=later)["Rules"]
    assert [rule["IsDefault"] for rule in left] == [True]
    elbv2.delete_listener(ListenerArn=later)


def test_a_retreat_destroys_only_what_its_release_made(here: Deployment) -> None:
    name = here.create()
    here.groups.destroy(name, release_id="release-2")
    assert [*here.see()] == [1]
    groups = here.groups._groups
    groups.untag(name, RELEASE_TAG)
    here.groups.destroy(name, release_id="release-1")
    assert [*here.see()] == [1]
    groups.tag(name, {RELEASE_TAG: "release-1"})
    here.groups.destroy(name, release_id="release-1")
    assert here.see() == {}
    here.groups.destroy(name, release_id="release-1")  # a second run finds it gone


def test_each_cluster_has_a_rule_of_its_own(place: Place, here: Deployment) -> None:
    other = Deployment(place)
    name = here.create()
    theirs = other.create()
    here.groups.set_weights([Weight(name=name, percent=100)])

    rules = {rule["RuleArn"]: rule["Priority"] for rule in place.rules()}
    mine = here.groups.get_cluster(here.cluster, here.environment).rule
    its = other.groups.get_cluster(other.cluster, other.environment).rule
    assert mine != its
    assert rules[mine] != rules[its]
    assert other.see()[1].weight == 0
    other.groups.destroy(theirs)
    assert its not in {rule["RuleArn"] for rule in place.rules()}
    assert here.see()[1].weight == 100


def test_clusters_that_are_made_at_once_do_not_take_each_others_priority(place: Place) -> None:
    deployments = [Deployment(place) for _ in range(6)]
    with ThreadPoolExecutor(max_workers=6) as pool:
        names = list(pool.map(Deployment.create, deployments))

    found = [one.groups.get_cluster(one.cluster, one.environment).rule for one in deployments]
    for one, name in zip(deployments, names, strict=True):
        one.groups.destroy(name)
    assert len(set(found)) == 6


def test_a_priority_that_was_asked_for_and_is_taken_is_a_conflict(here: Deployment) -> None:
    here.create(rule_priority=777)
    other = Deployment(here.place)
    with pytest.raises(Conflict, match="PriorityInUse"):
        other.create(rule_priority=777)
    other.groups.destroy(next(iter(other.made)))


def test_disabling_and_enabling_only_marks(here: Deployment) -> None:
    name, at = here.create(), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    here.groups.disable(name, at=at)
    here.groups.disable(name, at=at + timedelta(hours=1))
    disabled = here.see()[1].disabled_at
    for _ in range(2):
        here.groups.enable(name)

    assert (disabled, here.see()[1].disabled_at) == (at, None)


def test_clusters_are_listed_by_environment(place: Place, here: Deployment) -> None:
    other = Deployment(place)
    here.create()
    second = here.create(2)
    theirs = other.create()
    here.groups.set_weights([Weight(name=second, percent=100)])
    here.place.heal(second)

    (cluster,) = here.groups.list_clusters(here.environment)

    assert (cluster.name, len(cluster.groups)) == (here.cluster, 2)
    assert cluster.serving == here.see()[2]
    assert here.groups.list_clusters("nowhere") == ()
    other.groups.destroy(theirs)


def test_destroying_removes_all_that_belongs_to_it(place: Place, here: Deployment) -> None:
    name = here.create()
    here.place.heal(name)
    here.groups.set_weights([Weight(name=name, percent=100)])
    ids = [i.instance_id for i in here.groups.list_instances(name)]

    for _ in range(2):
        here.groups.destroy(name)

    cluster = here.groups.get_cluster(here.cluster, here.environment)
    assert (cluster.groups, cluster.rule) == ((), "")
    assert here.groups._templates.find_tags(name) is None
    assert here.groups._traffic.find_target_group(name) is None
    left = place.account.cloudwatch.describe_alarms(AlarmNamePrefix=f"{name}-")
    assert left["MetricAlarms"] == []
    found = place.account.ec2.describe_instances(InstanceIds=ids)["Reservations"]
    assert {i["State"]["Name"] for r in found for i in r["Instances"]} == {"terminated"}


def test_a_group_is_drained_while_the_rule_still_has_it(here: Deployment) -> None:
    first, name = here.create(), here.create(2)
    here.place.heal(name)
    here.groups.set_weights([Weight(name=first, percent=100)])
    arn = here.groups._traffic.find_target_group(name) or ""
    drained: list[bool] = []
    turned = TurningClock.sleep

    class Watching(TurningClock):
        def sleep(self, seconds: float) -> None:
            turned(self, seconds)
            rule = here.groups._traffic.find_rule(here.cluster)
            if HEALTH.draining(arn):
                drained.append(rule is not None and arn in rule.weights)

    here.groups._groups._clock = Watching()
    here.groups.destroy(name)
    here.groups._groups._clock = TurningClock()

    assert drained != []
    assert all(drained)


def test_destroying_goes_on_where_an_earlier_run_has_deleted_the_group(
    place: Place, here: Deployment
) -> None:
    name = here.create()
    here.place.heal(name)
    place.account.autoscaling.delete_auto_scaling_group(
        AutoScalingGroupName=str(name), ForceDelete=True
    )

    here.groups.destroy(name)

    assert here.see() == {}


def test_destroying_one_leaves_its_neighbour_in_traffic(here: Deployment) -> None:
    one, two = here.create(1), here.create(2)
    here.groups.set_weights([Weight(name=two, percent=100)])

    here.groups.destroy(one)

    assert {version: group.weight for version, group in here.see().items()} == {2: 100}


def test_a_group_that_is_gone_is_a_conflict(here: Deployment) -> None:
    name = ServerGroupName(cluster=here.cluster, version=7)

    changes: list[Callable[[], None]] = [
        lambda: here.groups.pin(name),
        lambda: here.groups.unpin(name),
        lambda: here.groups.resize(name, Capacity(min=1, desired=1, max=1)),
        lambda: here.groups.disable(name, at=datetime(2026, 1, 1, tzinfo=UTC)),
        lambda: here.groups.enable(name),
    ]
    for change in changes:
        with pytest.raises(Conflict, match="not there any more"):
            change()
