from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.apps import Health
from ovenbird.domain.clusters import Capacity
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.images import ImageId
from ovenbird.domain.launching import InstanceMix, LaunchSpec, RootVolume
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.plans import CreateServerGroup, Plan, Resize
from ovenbird.domain.preflight import (
    Facts,
    ImageFacts,
    Launching,
    Problem,
    Quota,
    Subnet,
    find_problems,
    launching,
    refuse,
)

NAME = ServerGroupName.parse("hello-prod-v001")
WANTED = CreateServerGroup(
    name=NAME, image_id=ImageId("ami-1"), version="1", release_id="r",
    capacity=Capacity(min=1, desired=4, max=6), port=80, health=Health(path="/healthz"),
    instance_type="t3.micro", draining_s=1, path_patterns=("/*",),
)  # fmt: skip
PLANNED = Launching(wanted=WANTED, instances=4, guards=("checkout",))
GOOD = Facts(
    subnets=(
        Subnet(subnet_id="s-a", vpc_id="vpc", zone="a", free=2),
        Subnet(subnet_id="s-b", vpc_id="vpc", zone="b", free=2),
    ),
    networks={"Security group `sg`": "vpc"},
    image=ImageFacts(architecture="x86_64", size_gib=4),
    types={"t3.micro": ("x86_64",)},
    offered=frozenset({("t3.micro", "a"), ("t3.micro", "b")}),
    quotas=(Quota(what="target groups", used=4, most=5),),
)


def texts(facts: Facts, planned: Launching = PLANNED) -> list[str]:
    return [problem.text for problem in find_problems(planned, facts, vpc_id="vpc")]


def test_nothing_is_said_of_what_can_work() -> None:
    assert texts(GOOD) == []
    assert texts(Facts()) == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(GOOD, networks={"Security group `sg`": "other"}), "in network `other`, not"),
        (replace(GOOD, image=ImageFacts(architecture="arm64", size_gib=1)), "is for arm64"),
        (replace(GOOD, offered=frozenset({("t3.micro", "a")})), "is offered in b"),
        (replace(GOOD, missing_guards=("checkout",)), "No alarm `checkout`"),
        (
            replace(GOOD, unhealthy=("Health checks failed with these codes: [301]",)),
            "`/healthz` redirects: targets of the group before answer 301",
        ),
        (replace(GOOD, quotas=(Quota(what="rules", used=9, most=9),)), "has 9 of 9 rules"),
        (replace(GOOD, subnets=(replace(GOOD.subnets[0], free=3),)), "has 3 free addresses; 4 of"),
    ],
)
def test_each_problem_is_told(facts: Facts, words: str) -> None:
    (found,) = texts(facts)

    assert words in found


def test_all_problems_are_told_at_once() -> None:
    facts = replace(GOOD, missing_guards=("a", "b"), offered=frozenset())

    with pytest.raises(InvalidRequest) as caught:
        refuse("prod", find_problems(PLANNED, facts, vpc_id="vpc"))

    lines = str(caught.value).splitlines()
    assert lines[0] == "A rollout in `prod` cannot work:"
    assert len(lines) == 5
    assert all(line.startswith("- ") and line.endswith(")") for line in lines[1:])
    refuse("prod", ())


def test_a_mix_is_fine_where_one_of_its_types_is_offered() -> None:
    mix = InstanceMix(types=("m5.large", "t3.micro"))
    mixed = replace(PLANNED, wanted=replace(WANTED, launch=LaunchSpec(instances=mix)))

    assert texts(GOOD, mixed) == []


def test_a_root_volume_smaller_than_the_image_and_a_capacity_that_cannot_be_are_told() -> None:
    small = replace(
        WANTED,
        launch=LaunchSpec(root_volume=RootVolume(size_gib=2)),
        capacity=Capacity(min=3, desired=2, max=1),
    )

    found = texts(GOOD, replace(PLANNED, wanted=small))

    assert len(found) == 2
    assert "2 / 3 / 1 (desired / min / max) cannot be" in found[0]
    assert "2 GiB is smaller than the image's 4 GiB" in found[1]


@given(free=st.lists(st.integers(0, 9), min_size=1, max_size=4), instances=st.integers(1, 20))
def test_subnets_are_enough_exactly_when_each_has_room_for_its_share(
    free: list[int], instances: int
) -> None:
    subnets = tuple(
        Subnet(subnet_id=f"s-{n}", vpc_id="vpc", zone=f"z{n}", free=one)
        for n, one in enumerate(free)
    )

    found = texts(Facts(subnets=subnets), replace(PLANNED, instances=instances))

    share = -(-instances // len(free))
    assert len(found) == sum(one < share for one in free)


def test_a_plan_is_looked_at_with_its_greatest_size() -> None:
    grown = Resize(name=NAME, capacity=Capacity(min=1, desired=7, max=9))

    found = launching(Plan(actions=(WANTED, grown)), ("checkout",))

    assert found == replace(PLANNED, instances=7)
    assert launching(Plan(actions=(grown,)), ()) is None
    assert str(Problem(text="No", hint="Yes")) == "No (Yes)"
