"""A bake by a builder instance: a real machine, real SSH, apt through the connection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from ovenbird.aws.builder_resources import BuilderSpec
from ovenbird.aws.builders import Builders
from ovenbird.domain.images import Baked, BakeStrategy, ImageId
from ovenbird.domain.recipes import Ansible, BroughtFile, Puppet, RecipeStep, Shell
from ovenbird.sandbox import base_images, reaching
from ovenbird.sandbox.places import DEVELOPMENT
from ovenbird.stages.bake import bake
from ovenbird.stages.kitchen import Kitchen
from ovenbird.system.clock import SystemClock
from tests.boot.conftest import Cloud, until
from tests.boot.test_bake import Bakery

pytestmark = pytest.mark.boot


PLAYBOOK = """\
- hosts: all
  tasks:
    - copy: {content: "{{ who }}", dest: /etc/by-ansible}
    - script: {cmd: run.sh, creates: /etc/by-script}
"""
WHO = {"who": "me", "WHO": "me"}
STEPS = (
    RecipeStep(
        work=BroughtFile(source="motd", target="/etc/by-file", is_template=True), variables=WHO
    ),
    RecipeStep(work=Ansible(playbook="site.yml"), variables=WHO),
    RecipeStep(work=Puppet(manifest="site.pp"), variables={"who": "me"}),
    RecipeStep(work=Shell(lines=("! ls -d /tmp/ovenbird-* /run/ovenbird-* 2>/dev/null",))),
)


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
        recipe=(*bakery.request.recipe, *STEPS),
        directory=str(_app(home / "app")),
    )
    baked = bake(request, kitchen=kitchen, progress=bakery.said.append)
    return Bench(cloud=cloud, baked=baked, said=bakery.said, home=home)


def _app(place: Path) -> Path:
    place.mkdir()
    (place / "motd").write_text("${WHO}\n")
    (place / "site.yml").write_text(PLAYBOOK)
    (place / "run.sh").write_text("#!/bin/sh\necho me > /etc/by-script\n")
    (place / "site.pp").write_text("file { '/etc/by-puppet': content => $facts['who'] }\n")
    return place


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
        steps = cloud.inside(
            made["InstanceId"], "sh", "-c", "cat /etc/by-*; find /root /etc -name '.*ansible*'"
        )
        left = cloud.inside(made["InstanceId"], "cat", "/root/.ssh/authorized_keys", ok=False)
        failed = cloud.inside(made["InstanceId"], "systemctl", "--failed", "--quiet")
    finally:
        cloud.development.ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
        cloud.await_state(cloud.development, made["InstanceId"], "terminated")

    assert steps.split() == ["meme", "meme"]  # by ansible and file, puppet and script
    assert left == ""
    assert failed == ""
