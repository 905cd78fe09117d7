"""What AWS lets be known of a rollout before anything is changed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ovenbird.aws.preflight import Preflight
from ovenbird.domain.images import ImageId
from ovenbird.domain.launching import InstanceMix, LaunchSpec
from ovenbird.domain.preflight import Launching
from ovenbird.sandbox import group_settings
from ovenbird.sandbox.endpoint import Endpoint
from tests.sandbox.fleet import set_health, turn
from tests.sandbox.test_server_groups import PORT, Deployment, Place, TurningClock

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def place(endpoint: Endpoint) -> Place:
    return Place(endpoint.production)


@pytest.fixture
def here(place: Place) -> Iterator[Deployment]:
    deployment = Deployment(place)
    yield deployment
    for name in deployment.made:
        deployment.groups.destroy(name)


def problems(here: Deployment, *, instances: int = 2, **others: Any) -> list[str]:
    guards, shared = others.pop("guards", ()), others.pop("shared", True)
    network = others.pop("network", here.groups._network)
    preflight = Preflight(here.place.account, network, clock=TurningClock())
    planned = Launching(
        wanted=here.wanted(**others), instances=instances, guards=guards, shared=shared
    )
    return [str(one) for one in preflight.check(planned)]


def test_what_can_work_has_no_problems_and_nothing_is_changed(here: Deployment) -> None:
    before = here.place.account.ec2.describe_instances()["Reservations"]

    assert problems(here) == []
    assert problems(here, image_id=ImageId("image to be baked"), shared=False) == []
    assert here.see() == {}
    assert here.place.account.ec2.describe_instances()["Reservations"] == before


def test_everything_that_is_wrong_is_told_at_once(here: Deployment) -> None:
    account: Any = here.place.account
    other_vpc = account.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    foreign = account.ec2.create_security_group(
        GroupName=f"other-{uuid.uuid4().hex[:6]}", Description="-", VpcId=other_vpc
    )["GroupId"]

    found = problems(
        here,
        instances=100_000,
        guards=("checkout",),
        launch=LaunchSpec(instances=InstanceMix(types=("t4g.micro",)), security_groups=(foreign,)),
    )

    def told(words: str) -> bool:
        return any(words in one for one in found)

    assert told("free addresses")
    assert told(f"Security group `{foreign}` is in network `{other_vpc}`")
    assert told("is for x86_64; `t4g.micro` runs arm64")
    assert told("No alarm `checkout`")
    assert len(found) == 5  # both subnets are too small


def test_names_that_are_not_there_are_told(here: Deployment) -> None:
    (zone,) = problems(here, launch=LaunchSpec(zones=("mars-1a",)))
    (group,) = problems(here, launch=LaunchSpec(security_groups=("nobody",)))
    (key,) = problems(here, launch=LaunchSpec(key_pair="nobody"))
    (profile,) = problems(here, launch=LaunchSpec(instance_profile="nobody"))
    (image,) = problems(here, image_id=ImageId("ami-12345678"))

    assert "zone `mars-1a`" in zone
    assert "No security group `nobody`" in group
    assert "InvalidKeyPair.NotFound" in key
    assert "nobody" in profile
    assert "ami-12345678" in image


def test_a_load_balancer_of_another_network_is_told(here: Deployment) -> None:
    network = replace(here.groups._network, vpc_id="vpc-other")

    found = problems(here, network=network)

    assert any("The load balancer" in one and "not in `vpc-other`" in one for one in found)


def test_a_type_that_a_zone_does_not_offer_is_told(here: Deployment) -> None:
    found = problems(here, launch=LaunchSpec(instances=InstanceMix(types=("p4d.24xlarge",))))

    assert found != []
    assert all("is offered in" in one or "InvalidInstanceType" in one for one in found)


def test_a_health_path_that_redirects_is_told_by_the_group_before(here: Deployment) -> None:
    name = here.create()
    here.place.heal(name, "unhealthy")
    arn = here.see()[1].target_group
    turn()
    healthy = problems(here, version=2, copies=name)
    elbv2: Any = here.place.account.elbv2

    class Redirecting:
        def __getattr__(self, word: str) -> Any:
            return getattr(elbv2, word)

        def describe_target_health(self, **_: str) -> Any:
            words = "Health checks failed with these codes: [302]"
            health = {"State": "unhealthy", "Description": words}
            return {"TargetHealthDescriptions": [{"TargetHealth": health}]}

    preflight = Preflight(here.place.account, here.groups._network, clock=TurningClock())
    preflight._elbv2 = Redirecting()
    planned = Launching(wanted=here.wanted(2, copies=name), instances=2)
    (found,) = preflight.check(planned)

    set_health(arn, "nobody", "initial", port=PORT)
    assert healthy == []
    assert "The health path `/healthz` redirects" in found.text
    assert "302" in found.text


def test_rights_that_are_missing_are_told_with_all_others(here: Deployment) -> None:
    preflight = Preflight(here.place.account, here.groups._network, clock=TurningClock())
    ec2: Any = here.place.account.ec2

    class Forbidden:
        def __getattr__(self, word: str) -> Any:
            return getattr(ec2, word)

        def run_instances(self, **_: Any) -> Any:
            detail: Any = {"Code": "UnauthorizedOperation", "Message": "You are not authorized"}
            raise ClientError({"Error": detail}, "RunInstances")

    preflight._ec2 = Forbidden()
    (found,) = preflight.check(Launching(wanted=here.wanted(), instances=2))

    assert "UnauthorizedOperation" in found.text
    assert found.hint == "Do the policies of the role, or of the credentials, allow it?"


def test_a_quota_that_is_reached_is_told(here: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(group_settings.LIMITS, "MaxNumberOfAutoScalingGroups", 0)
    (found,) = problems(here)

    assert "of 0 Auto Scaling groups" in found
