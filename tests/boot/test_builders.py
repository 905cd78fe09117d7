"""A bake by a builder instance: a real machine, real SSH, apt through the connection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from ovenbird.aws.builder_resources import BuilderSpec
from ovenbird.aws.builders import Builders
from ovenbird.domain.images import Baked, BakeStrategy, ImageId
from ovenbird.sandbox import base_images, reaching
from ovenbird.sandbox.places import DEVELOPMENT
from ovenbird.stages.bake import bake
from ovenbird.stages.kitchen import Kitchen
from ovenbird.system.clock import SystemClock
from tests.boot.conftest import Cloud, until
from tests.boot.test_bake import Bakery

pytestmark = pytest.mark.boot


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A bake by a builder, done once, and what was said meanwhile."""

    cloud: Cloud
    baked: Baked
    said: list[str]
    home: Path


@pytest.fixture(scope="module")
def bench(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    home = tmp_path_factory.mktemp("builders")
    bakery = Bakery(cloud.endpoint, home / "bakery")
    builders = Builders(
        cloud.development,
        spec(cloud),
        directory=home / "builders",
        tools=home / "tools",
        clock=SystemClock(),
    )
    kitchen = Kitchen(
        images=bakery.images,
        snapshots=bakery.snapshots,
        workshop=bakery.workshop,
        builders=builders,
    )
    request = replace(
        bakery.request,
        base_image_id=ImageId(cloud.base_image_id),
        strategy=BakeStrategy.INSTANCE,
    )
    baked = bake(request, kitchen=kitchen, progress=bakery.said.append)
    return Bench(cloud=cloud, baked=baked, said=bakery.said, home=home)


def spec(cloud: Cloud) -> BuilderSpec:
    """Builders in the default network, reached through the sandbox's own way in."""
    (vpc, *_) = cloud.development.ec2.describe_vpcs()["Vpcs"]
    (subnet, *_) = cloud.development.ec2.describe_subnets()["Subnets"]
    return BuilderSpec(
        vpc_id=vpc["VpcId"],
        subnet_id=subnet["SubnetId"],
        proxy_command=reaching.proxy_command(cloud.networks[DEVELOPMENT]),
        open_to=base_images.mirrors(),
        answers_within=timedelta(seconds=60),
        within=timedelta(minutes=10),
    )


def test_the_image_of_a_builder_serves_the_app(bench: Bench) -> None:
    cloud = bench.cloud
    made = cloud.launch(cloud.development, ImageId=bench.baked.image.image_id)
    url = f"http://{made['PrivateIpAddress']}/healthz"
    try:
        until(lambda: cloud.get(DEVELOPMENT, url)[0] == 200)
        left = cloud.inside(made["InstanceId"], "cat", "/root/.ssh/authorized_keys", ok=False)
        failed = cloud.inside(made["InstanceId"], "systemctl", "--failed", "--quiet")
    finally:
        cloud.development.ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
        cloud.await_state(cloud.development, made["InstanceId"], "terminated")

    assert left == ""
    assert failed == ""
