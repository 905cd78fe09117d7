"""Load balancers through boto3, without traffic; the same would hold on AWS."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.targets import HEALTH, TargetHealth
from tests.sandbox.fleet import default_subnets, register_image, set_state

pytestmark = pytest.mark.sandbox

MakeGroup = Callable[..., str]


class Balancer:
    """A load balancer with one listener that answers by itself."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.elbv2: Any = endpoint.development.elbv2
        self.vpc_id, self.subnets = default_subnets(endpoint.development)
        self.name = f"lb-{uuid.uuid4().hex[:8]}"
        made = self.make()
        self.arn, self.address = made["LoadBalancerArn"], made["DNSName"]
        self.listener = self.listen(80)

    def make(self, **changed: Any) -> Any:
        words = {"Name": self.name, "Subnets": self.subnets, **changed}
        return self.elbv2.create_load_balancer(**words)["LoadBalancers"][0]

    def listen(self, port: int, actions: list[Any] | None = None) -> str:
        fixed = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]
        answer = self.elbv2.create_listener(
            LoadBalancerArn=self.arn, Protocol="HTTP", Port=port, DefaultActions=actions or fixed
        )
        return str(answer["Listeners"][0]["ListenerArn"])

    def group(self, **changed: Any) -> str:
        words = {
            "Name": f"tg-{uuid.uuid4().hex[:8]}",
            "Protocol": "HTTP",
            "Port": 80,
            "VpcId": self.vpc_id,
            **changed,
        }
        answer = self.elbv2.create_target_group(**words)
        return str(answer["TargetGroups"][0]["TargetGroupArn"])

    def rule(self, priority: int, *actions: Any, path: str = "/*") -> str:
        conditions = [{"Field": "path-pattern", "PathPatternConfig": {"Values": [path]}}]
        answer = self.elbv2.create_rule(
            ListenerArn=self.listener,
            Priority=priority,
            Conditions=conditions,
            Actions=list(actions),
        )
        return str(answer["Rules"][0]["RuleArn"])

    def health(self, group: str, *targets: Any) -> dict[tuple[str, int], tuple[str, str | None]]:
        answer = self.elbv2.describe_target_health(TargetGroupArn=group, Targets=list(targets))
        return {
            (one["Target"]["Id"], one["Target"]["Port"]): (
                one["TargetHealth"]["State"],
                one["TargetHealth"].get("Reason"),
            )
            for one in answer["TargetHealthDescriptions"]
        }

    def used_by(self, group: str) -> list[str]:
        answer = self.elbv2.describe_target_groups(TargetGroupArns=[group])
        return list(answer["TargetGroups"][0]["LoadBalancerArns"])


def forward(*groups: str, weight: int = 1) -> Any:
    found = [{"TargetGroupArn": group, "Weight": weight} for group in groups]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": found}}


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as error:
        work()
    return error.value.response["Error"]["Code"]


@pytest.fixture
def balancer(endpoint: Endpoint) -> Iterator[Balancer]:
    made = Balancer(endpoint)
    yield made
    made.elbv2.delete_load_balancer(LoadBalancerArn=made.arn)


@pytest.fixture
def instance(balancer: Balancer) -> str:
    account = balancer.endpoint.development
    image = register_image(account)
    made = account.ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]
    set_state(account, made["InstanceId"], "running")
    return made["InstanceId"]


def test_each_balancer_has_an_address_of_this_host(balancer: Balancer) -> None:
    other = Balancer(balancer.endpoint)
    theirs = balancer.endpoint.production.elbv2.create_load_balancer(
        Name="theirs", Subnets=default_subnets(balancer.endpoint.production)[1]
    )["LoadBalancers"][0]["DNSName"]

    assert {address.split(".")[0] for address in (balancer.address, other.address)} == {"127"}
    assert len({balancer.address, other.address, theirs}) == 3
    assert "127.0.0.1" not in {balancer.address, other.address, theirs}
    other.elbv2.delete_load_balancer(LoadBalancerArn=other.arn)
    again = Balancer(balancer.endpoint)
    assert again.address == other.address
    again.elbv2.delete_load_balancer(LoadBalancerArn=again.arn)


def test_the_same_balancer_is_made_once_and_another_of_its_name_is_refused(
    balancer: Balancer,
) -> None:
    assert balancer.make()["LoadBalancerArn"] == balancer.arn
    assert balancer.make()["DNSName"] == balancer.address
    assert refused(lambda: balancer.make(Scheme="internal")) == "DuplicateLoadBalancerName"
    assert refused(lambda: balancer.make(Name="not a name")) == "ValidationError"


def test_the_same_target_group_is_made_once(balancer: Balancer) -> None:
    arn = balancer.group(Name="twice")

    assert balancer.group(Name="twice") == arn
    assert refused(lambda: balancer.group(Name="twice", Port=81)) == "DuplicateTargetGroupName"
    assert refused(lambda: balancer.group(Name="x" * 33)) == "ValidationError"
    balancer.elbv2.delete_target_group(TargetGroupArn=arn)
    balancer.elbv2.delete_target_group(TargetGroupArn=arn)  # gone is gone


def test_a_port_has_one_listener(balancer: Balancer) -> None:
    assert refused(lambda: balancer.listen(80)) == "DuplicateListener"
    assert balancer.listen(81) != balancer.listener


@pytest.mark.parametrize("weight", [-1, 1000])
def test_weights_are_0_to_999(balancer: Balancer, weight: int) -> None:
    group = balancer.group()
    rule = balancer.rule(1, forward(group, weight=999))
    bad = [forward(group, weight=weight)]

    def modify_rule() -> None:
        balancer.elbv2.modify_rule(RuleArn=rule, Actions=bad)

    def modify_listener() -> None:
        balancer.elbv2.modify_listener(ListenerArn=balancer.listener, DefaultActions=bad)

    assert refused(lambda: balancer.rule(2, *bad)) == "ValidationError"
    assert refused(lambda: balancer.listen(81, bad)) == "ValidationError"
    assert refused(modify_rule) == "ValidationError"
    assert refused(modify_listener) == "ValidationError"


def test_an_action_takes_five_target_groups(balancer: Balancer) -> None:
    groups = [balancer.group() for _ in range(6)]

    balancer.rule(1, forward(*groups[:5]))
    assert refused(lambda: balancer.rule(2, forward(*groups))) == "TooManyTargetGroups"


def test_a_balancer_takes_a_hundred_target_groups(balancer: Balancer) -> None:
    groups = [balancer.group() for _ in range(100)]
    first = balancer.rule(1, forward(*groups[:1]))
    for start in range(1, 100, 5):
        balancer.rule(start + 1, forward(*groups[start : start + 5]))
    full = "TooManyUniqueTargetGroupsPerLoadBalancer"
    extra = balancer.group()

    assert refused(lambda: balancer.rule(101, forward(extra))) == full
    balancer.rule(101, forward(groups[1]))  # counted once
    balancer.elbv2.modify_rule(RuleArn=first, Actions=[forward(extra)])
    assert balancer.used_by(extra) == [balancer.arn]
    assert balancer.used_by(groups[0]) == []


def test_a_target_group_belongs_to_one_balancer_and_is_kept_while_it_is_used(
    balancer: Balancer,
) -> None:
    other, group = Balancer(balancer.endpoint), balancer.group()
    rule = balancer.rule(1, forward(group))

    def delete() -> None:
        balancer.elbv2.delete_target_group(TargetGroupArn=group)

    assert refused(lambda: other.rule(1, forward(group))) == "TargetGroupAssociationLimit"
    assert refused(delete) == "ResourceInUse"
    balancer.elbv2.delete_rule(RuleArn=rule)
    other.rule(1, forward(group))
    assert other.used_by(group) == [other.arn]
    other.elbv2.delete_load_balancer(LoadBalancerArn=other.arn)
    delete()


def test_priorities_are_taken_once_and_may_be_exchanged(balancer: Balancer) -> None:
    group = balancer.group()
    first, second = balancer.rule(1, forward(group)), balancer.rule(2, forward(group))
    balancer.rule(3, forward(group))
    exchange = [{"RuleArn": first, "Priority": 2}, {"RuleArn": second, "Priority": 1}]

    assert refused(lambda: balancer.rule(1, forward(group))) == "PriorityInUse"
    assert refused(lambda: balancer.rule(50_001, forward(group))) == "ValidationError"
    balancer.elbv2.set_rule_priorities(RulePriorities=exchange)
    rules = balancer.elbv2.describe_rules(RuleArns=[first])["Rules"]
    assert rules[0]["Priority"] == "2"
    taken = [{"RuleArn": first, "Priority": 3}]
    assert refused(lambda: balancer.elbv2.set_rule_priorities(RulePriorities=taken)) == (
        "PriorityInUse"
    )


def test_a_listener_is_not_pointed_at_a_group_that_is_not_there(balancer: Balancer) -> None:
    gone = [forward(balancer.group().replace("tg-", "no-"))]

    def modify() -> None:
        balancer.elbv2.modify_listener(ListenerArn=balancer.listener, DefaultActions=gone)

    assert refused(modify) == "TargetGroupNotFound"


def test_the_way_of_a_target(balancer: Balancer, instance: str) -> None:
    group = balancer.group()
    targets = [{"Id": instance}, {"Id": instance, "Port": 81}]
    balancer.elbv2.register_targets(TargetGroupArn=group, Targets=targets)
    unused = balancer.health(group)
    balancer.rule(1, forward(group))
    registering = balancer.health(group)
    HEALTH.write(group, instance, 80, TargetHealth(state="healthy"))
    checked = balancer.health(group)
    balancer.elbv2.deregister_targets(TargetGroupArn=group, Targets=[{"Id": instance}])
    leaving = balancer.health(group)

    assert unused == dict.fromkeys([(instance, 80), (instance, 81)], ("unused", "Target.NotInUse"))
    assert set(registering.values()) == {("initial", "Elb.RegistrationInProgress")}
    assert checked[instance, 80] == ("healthy", None)
    assert leaving == {
        (instance, 80): ("draining", "Target.DeregistrationInProgress"),
        (instance, 81): ("initial", "Elb.RegistrationInProgress"),
    }
    assert HEALTH.is_draining(instance)
    HEALTH.forget(group, instance, 80)  # as the balancer does when the last request ended
    assert balancer.health(group, {"Id": instance}) == {
        (instance, 80): ("unused", "Target.NotRegistered")
    }


def test_a_target_that_nobody_uses_does_not_drain(balancer: Balancer, instance: str) -> None:
    group = balancer.group()
    targets = [{"Id": instance}]
    balancer.elbv2.register_targets(TargetGroupArn=group, Targets=targets)
    balancer.elbv2.deregister_targets(TargetGroupArn=group, Targets=targets)
    balancer.elbv2.deregister_targets(TargetGroupArn=group, Targets=targets)  # none is none

    assert not HEALTH.is_draining(instance)
    assert balancer.health(group) == {}


def test_an_instance_must_run(balancer: Balancer, instance: str) -> None:
    group, account = balancer.group(), balancer.endpoint.development
    balancer.rule(1, forward(group))

    def register(target: str) -> None:
        balancer.elbv2.register_targets(TargetGroupArn=group, Targets=[{"Id": target}])

    assert refused(lambda: register("i-0123456789abcdef0")) == "InvalidTarget"
    set_state(account, instance, "pending")
    assert refused(lambda: register(instance)) == "InvalidTarget"
    set_state(account, instance, "running")
    register(instance)
    set_state(account, instance, "stopped")
    assert balancer.health(group) == {(instance, 80): ("unused", "Target.InvalidState")}
    set_state(account, instance, "running")
    account.ec2.terminate_instances(InstanceIds=[instance])
    assert balancer.health(group)[instance, 80][0] == "draining"
