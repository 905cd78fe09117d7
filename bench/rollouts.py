"""Many rollouts at once in one worker, on instances without machines, with AWS's throttling.

Each rollout brings a new image onto a cluster of its own that has an old server group in
traffic: planned by the product's planner, each action looked at once more and carried out by
the product's stages and adapters, alarms watched all the while, as a worker does it; one
thread for each rollout, no workflow engine. A canary is looked at once and let pass, since
nobody sends requests.

Quotas are AWS's published numbers times ``--factor``, for the sandbox, which refuses what is
too much, and for our own buckets. Clusters are spread over load balancers, 45 on each, since
AWS allows one balancer 100 target groups.

    python -m bench.rollouts --counts 10,100,1000 --factor 1
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import resource
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import machine
from ovenbird.aws.clients import Account, AccountAccess, open_account
from ovenbird.aws.group_reading import IMAGE_TAG
from ovenbird.aws.metrics import Metrics
from ovenbird.aws.networks import NetworkSpec
from ovenbird.aws.server_groups import ServerGroups
from ovenbird.aws.tags import to_aws
from ovenbird.aws.traffic import Traffic, forward
from ovenbird.domain.apps import AppSpec, Canary, EnvironmentSpec, Health
from ovenbird.domain.clusters import CLUSTER_TAG, Capacity, Cluster
from ovenbird.domain.images import ImageId, ImageSpec
from ovenbird.domain.names import ClusterName
from ovenbird.domain.plans import Action, CreateServerGroup, Judge, Plan
from ovenbird.domain.rollouts import plan_rollout
from ovenbird.sandbox.lifecycle import STATUS_PATH
from ovenbird.sandbox.places import DEVELOPMENT, REGION
from ovenbird.sandbox.settings_file import PROFILE
from ovenbird.stages import judge
from ovenbird.stages.deploy import carry_out, check, needs_health
from ovenbird.system.clock import SystemClock, await_true
from ovenbird.system.commands import end_group, spawn

PER = 45  # clusters behind one load balancer
SEEDERS = 8
INSTANCES = 2
SETTLES_S = 20.0  # until the old groups' instances are healthy
STACK_BYTES = 512 * 1024
ENVIRONMENT = EnvironmentSpec(
    name="prod",
    capacity=Capacity(min=1, desired=INSTANCES, max=4),
    strategy=Canary(steps_percent=(50,), observe_s=60),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A clock that looks at alarms whenever somebody waits, as a worker's does."""

    metrics: Metrics
    alarms: tuple[str, ...]

    def now(self) -> datetime:
        """Return the time."""
        return datetime.now(tz=UTC)  # noqa: TID251 - a clock

    def sleep(self, seconds: float) -> None:
        """Look, then wait."""
        self.look()
        SystemClock().sleep(seconds)

    def look(self) -> None:
        """Raise if an alarm fires."""
        if self.alarms and (reasons := judge.alarm_reasons(self.alarms, self.metrics)):
            raise RuntimeError("; ".join(reasons))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One environment: a load balancer, and clusters behind it."""

    groups: ServerGroups
    metrics: Metrics


@dataclass(kw_only=True)
class Result:
    """What so many rollouts at once took."""

    count: int
    seconds: float
    calls: Counter[str]
    refused: Counter[str]
    rss_mib: float
    failed: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)


@contextmanager
def serving(work: Path, factor: float) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run the sandbox in a process of its own; yield its URL, and what lets it throttle."""
    said = work / "url"
    argv = [sys.executable, "-m", "bench.rollouts_server", "--home", str(work)]
    with said.open("wb") as output:
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # this checkout's code
        server = spawn([*argv, "--factor", str(factor)], output=output, cwd=Path.cwd(), env=paths)
    try:
        await_true(lambda: "http" in said.read_text(), within=timedelta(seconds=60))
        url = next(line for line in said.read_text().split() if line.startswith("http"))
        yield url, lambda: os.kill(server.pid, signal.SIGUSR1)
    finally:
        server.terminate()
        server.wait(20)
        end_group(server)


def access(url: str, work: Path, **more: Any) -> AccountAccess:
    """Return how the sandbox's account is reached."""
    return AccountAccess(
        account_id=DEVELOPMENT,
        region=REGION,
        endpoint_url=url,
        credentials_file=str(work / "credentials"),
        profile=PROFILE,
        **more,
    )


def image(account: Account, name: str) -> ImageId:
    """Register an image without content."""
    snapshot_id = account.ebs.start_snapshot(VolumeSize=2)["SnapshotId"]
    account.ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)
    made = account.ec2.register_image(
        Name=name,
        Architecture="x86_64",
        VirtualizationType="hvm",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}],
    )
    return ImageId(made["ImageId"])


def networks(account: Account, count: int) -> list[NetworkSpec]:
    """Make so many load balancers."""
    is_default: Any = [{"Name": "is-default", "Values": ["true"]}]
    vpc_id = account.ec2.describe_vpcs(Filters=is_default)["Vpcs"][0]["VpcId"]
    found = account.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])
    subnets = sorted(subnet["SubnetId"] for subnet in found["Subnets"])
    group_id = account.ec2.create_security_group(GroupName="b", Description="-", VpcId=vpc_id)[
        "GroupId"
    ]
    return [
        NetworkSpec(
            vpc_id=vpc_id,
            subnet_ids=tuple(subnets),
            security_group_ids=(group_id,),
            listener_arn=_listener(account, f"balancer-{number}", subnets, group_id),
        )
        for number in range(count)
    ]


def _listener(account: Account, name: str, subnets: list[str], group_id: str) -> str:
    fixed: Any = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
    balancer = account.elbv2.create_load_balancer(
        Name=name, Type="application", Subnets=subnets, SecurityGroups=[group_id]
    )["LoadBalancers"][0]["LoadBalancerArn"]
    made = account.elbv2.create_listener(
        LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=[fixed]
    )
    return made["Listeners"][0]["ListenerArn"]


def app(name: str) -> AppSpec:
    """Return a manifest."""
    return AppSpec(
        app=name,
        packages=(),
        image=ImageSpec(base="debian-12"),
        port=8080,
        health=Health(startup_s=3600.0),
        environments=(ENVIRONMENT,),
        path_patterns=(f"/{name}/*",),
    )


def old_group(account: Account, network: NetworkSpec, spec: AppSpec, image_id: ImageId) -> None:
    """Make a cluster with one server group in traffic, in few calls."""
    cluster = ClusterName(app=spec.app, stack="prod")
    empty = Cluster(name=cluster, environment="prod", groups=())
    wanted = next(
        action
        for action in planned(empty, spec, image_id, "1").actions
        if isinstance(action, CreateServerGroup)
    )
    tags = {**wanted.tags, IMAGE_TAG: image_id}
    traffic = Traffic(account, vpc_id=network.vpc_id, listener_arn=network.listener_arn)
    arn = traffic.ensure_target_group(wanted, tags)
    pairs = to_aws(tags)
    account.elbv2.create_rule(
        ListenerArn=network.listener_arn,
        Priority=int(spec.app.removeprefix("app")) + 1,
        Conditions=[{"Field": "path-pattern", "Values": list(spec.path_patterns)}],
        Actions=forward({arn: 100}),
        Tags=to_aws({CLUSTER_TAG: str(cluster)}),
    )
    account.ec2.create_launch_template(
        LaunchTemplateName=str(wanted.name),
        LaunchTemplateData={"ImageId": image_id, "InstanceType": "t3.micro"},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": pairs}],
    )
    account.autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=str(wanted.name),
        LaunchTemplate={"LaunchTemplateName": str(wanted.name), "Version": "1"},
        MinSize=1,
        MaxSize=4,
        DesiredCapacity=INSTANCES,
        VPCZoneIdentifier=",".join(network.subnet_ids),
        TargetGroupARNs=[arn],
        HealthCheckType="ELB",
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )


def plan(place: Place, spec: AppSpec, image_id: ImageId, version: str) -> Plan:
    """Plan as a worker does."""
    cluster = ClusterName(app=spec.app, stack="prod")
    return planned(place.groups.get_cluster(cluster, "prod"), spec, image_id, version)


def planned(cluster: Cluster, spec: AppSpec, image_id: ImageId, version: str) -> Plan:
    """Return the plan for a cluster."""
    return plan_rollout(
        cluster,
        image_id=image_id,
        version=version,
        release_id=f"release-{spec.app}-{version}",
        spec=spec,
        environment=ENVIRONMENT,
        period_s=1.0,
        now=SystemClock().now(),
    )


def roll_out(place: Place, spec: AppSpec, image_id: ImageId, version: str) -> None:
    """Bring an image onto a cluster, as a worker does."""
    cluster = ClusterName(app=spec.app, stack="prod")
    alarms: tuple[str, ...] = ()
    for action in plan(place, spec, image_id, version).actions:
        clock = Watched(metrics=place.metrics, alarms=alarms)
        clock.look()
        perform(action, place, cluster, clock)
        if isinstance(action, Judge):
            alarms = action.alarms


def perform(action: Action, place: Place, cluster: ClusterName, clock: Watched) -> None:
    """Look once more, and carry one action out."""
    check(action, place.groups.get_cluster(cluster, "prod", health=needs_health(action)))
    if isinstance(action, Judge):
        before = judge.Before(since=clock.now() - timedelta(seconds=60), observed=1.0)
        seen = place.groups.list_instances
        judge.look(action, before, metrics=place.metrics, instances_of=seen, clock=clock)
    else:
        carry_out(action, groups=place.groups, clock=clock, progress=lambda _: None)


def counted(url: str) -> tuple[Counter[str], Counter[str]]:
    """Return the calls that the sandbox got since it throttles, and those that it refused."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    connection.request("GET", STATUS_PATH)
    found = json.loads(connection.getresponse().read())
    connection.close()
    return Counter(found["decided"]), Counter(found["refused"])


def measured(count: int, factor: float, work: Path) -> Result:
    """Let so many rollouts run at once."""
    with serving(work, factor) as (url, throttle):
        seeding = open_account(access(url, work))
        old, new = image(seeding, "old"), image(seeding, "new")
        places = networks(seeding, -(-count // PER))
        every = range(count)
        apps = [app(f"app{number}") for number in every]
        with ThreadPoolExecutor(SEEDERS) as pool:
            list(pool.map(lambda i: old_group(seeding, places[i // PER], apps[i], old), every))
        SystemClock().sleep(SETTLES_S)
        _say(f"{count} clusters are there; throttling begins")
        throttle()
        limited = open_account(access(url, work, quotas=str(work / "quotas"), quota_factor=factor))
        chosen = [_place(limited, network) for network in places]
        return _at_once(
            count, lambda i: roll_out(_of(chosen, i), apps[i], new, "2"), lambda: counted(url)
        )


def _place(account: Account, network: NetworkSpec) -> Place:
    clock = SystemClock()
    return Place(
        groups=ServerGroups(account, network, clock=clock, period_s=60.0),
        metrics=Metrics(account, listener_arn=network.listener_arn, period_s=60.0),
    )


def _of(places: list[Place], number: int) -> Place:
    return places[number // PER]


def _at_once(
    count: int,
    one: Callable[[int], None],
    counts: Callable[[], tuple[Counter[str], Counter[str]]],
) -> Result:
    failed, took = list[str](), list[float]()
    begun = time.perf_counter()

    def run(number: int) -> None:
        try:
            one(number)
        except Exception as error:  # noqa: BLE001 - counted
            failed.append(f"{type(error).__name__}: {error}")
        took.append(time.perf_counter() - begun)
        if len(took) % max(10, count // 10) == 0:
            _say(f"{len(took)} of {count} after {took[-1]:.0f} s")

    threading.stack_size(STACK_BYTES)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    calls, refused = counts()
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Result(
        count=count, seconds=seconds, calls=calls, refused=refused, rss_mib=rss, failed=failed,
        took=took,
    )  # fmt: skip


def table(results: list[Result]) -> str:
    """Return a table for people."""
    columns = (
        "rollouts at once",
        "failed",
        "wall time",
        "median rollout",
        "calls each",
        "throttled calls",
        "worker's memory",
    )
    lines = [f"| {' | '.join(columns)} |", f"|{' --: |' * len(columns)}"]
    lines += [
        f"| {one.count} | {len(one.failed)} | {one.seconds:.0f} s | "
        f"{statistics.median(one.took):.0f} s | {one.calls.total() / one.count:.1f} | "
        f"{one.refused.total()} | {one.rss_mib:.0f} MiB |"
        for one in results
    ]
    return "\n".join(lines)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", default="10,100")
    parser.add_argument("--factor", type=float, default=1.0)
    parser.add_argument("--work", type=Path, default=None, help="directory for its files")
    asked = parser.parse_args()
    results = []
    for count in map(int, asked.counts.split(",")):
        with tempfile.TemporaryDirectory(dir=asked.work) as made:
            result = measured(count, asked.factor, Path(made))
        results.append(result)
        for name, number in result.calls.most_common():
            _say(f"{number / count:8.2f}  {name}  ({result.refused[name]} throttled)")
        _say("\n".join(sorted(set(result.failed))[:5]))
    print(table(results))
    print(f"\nQuotas: AWS's published numbers times {asked.factor:g}. {machine.described()}")


if __name__ == "__main__":
    main()
