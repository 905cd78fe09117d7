from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ovenbird.config.manifest import load_manifest
from ovenbird.domain.apps import EnvironmentSpec
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.launching import (
    InstanceMix,
    LaunchSpec,
    LifecycleHook,
    RootVolume,
    Schedule,
    Step,
    StepScaling,
    TargetTracking,
    WarmPool,
)
from ovenbird.pipeline.codec import decode, encode

PAGE = Path(__file__).resolve().parents[3] / "docs/reference/manifest.md"
FENCE = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEAD = """\
app: hello
maintainer: Hello Team <hello@example.com>
package: {contents: [{from: dist/, to: /opt/hello}]}
image: {base: debian-12}
deploy:
  port: 80
  prod:
    capacity: {min: 1, desired: 1, max: 2}
"""
Read = Callable[[str], EnvironmentSpec]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str) -> EnvironmentSpec:
        path = tmp_path / "ovenbird.yaml"
        path.write_text(HEAD + "".join(f"    {line}\n" for line in text.splitlines()))
        return load_manifest(path).environments[0]

    return read


def test_without_a_word_everything_is_left_to_aws_and_the_group_before(read: Read) -> None:
    environment = read("approval: required")

    assert environment.launch == LaunchSpec()
    assert (environment.launch.scaling, environment.launch.schedules) == (None, None)
    assert environment.guards == ()


def test_the_whole_of_the_page_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ovenbird.yaml"
    path.write_text("\n".join(FENCE.findall(PAGE.read_text())))

    environment = load_manifest(path).environments[-1]
    launch = environment.launch

    assert launch.instances == InstanceMix(types=("m6i.large", "m5.large"), on_demand_base=1)
    assert launch.root_volume == RootVolume(
        size_gib=20, kind="gp3", iops=3000, throughput_mib_s=250
    )
    assert (launch.health_check, launch.grace_s, launch.hop_limit) == ("elb", 120, 2)
    assert launch.warm_pool == WarmPool(min=1, max_prepared=4, state="stopped", reuse=True)
    assert launch.lifecycle_hooks[0] == LifecycleHook(
        name="warm", transition="launch", timeout_s=60, default="continue"
    )
    assert launch.scaling is not None
    assert launch.scaling[0] == TargetTracking(name="cpu", metric="cpu", target=50, warm_up_s=60)
    assert launch.scaling[3] == StepScaling(
        name="burst", alarm="busy", unit="percent", min_change=1,
        steps=(Step(above=0, below=20, change=10), Step(above=20, change=50)),
    )  # fmt: skip
    assert launch.schedules is not None
    assert launch.schedules[0] == Schedule(
        name="morning", recurrence="0 7 * * 1-5", time_zone="Europe/Berlin", min=2, desired=4, max=6
    )
    assert environment.guards == ("checkout-errors",)
    assert not environment.alarms[1].guard
    assert decode(encode(environment)) == environment


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("launch: {colour: red}", "unknown key"),
        ("launch: {root_volume: {iops: 3000}}", "`iops` needs `kind: gp3`"),
        ("launch: {root_volume: {kind: io2}}", "needs `iops`"),
        ("launch: {root_volume: {throughput_mib_s: 125, kind: gp2}}", "needs `kind: gp3`"),
        ("launch: {metadata: {hop_limit: 65}}", "64"),
        ("launch: {suspended_processes: [Launch]}", "AZRebalance"),
        ("launch: {warm_pool: {min: 3, max_prepared: 2}}", "`min` <= `max_prepared`"),
        (
            "launch: {warm_pool: {}, instances: {types: [a.b, c.d], spot_percent: 10}}",
            "no Spot Instances",
        ),
        ("launch: {instances: {types: [t3.micro, t3.micro]}}", "names one twice"),
        ("launch: {instances: {types: [micro]}}", "not an instance type"),
        ("launch: {lifecycle_hooks: {w: {transition: launch, timeout_s: 5}}}", "30"),
        (
            "launch: {lifecycle_hooks: {w: {transition: launch, notify: 'arn:aws:sns:r:1:t'}}}",
            "go together",
        ),
        ("launch: {scaling: {a: {metric: cpu}}}", "must have `metric` and `target`"),
        ("launch: {scaling: {a: {metric: Backlog, target: 3}}}", "needs `namespace`"),
        ("launch: {scaling: {a: {alarm: busy, steps: [{above: 0, change: 1}]}}}", "`alarms` has"),
        ("launch: {scaling: {a: {alarm: busy, steps: [{change: 1}]}}}", "`above` or `below`"),
        ("launch: {schedules: {a: {min: 1}}}", "must say when"),
        ("launch: {schedules: {a: {recurrence: '0 7 * * *'}}}", "must say how many"),
        ("launch: {schedules: {a: {recurrence: '0 7 *', min: 1}}}", "five fields"),
        ("launch: {schedules: {a: {start: '2026-01-01', min: 1}}}", "with its offset"),
        ("launch: {schedules: {a: {start: '2026-01-01T00:00:00Z', min: 3, max: 2}}}", "`min` <="),
        ("alarms: [{name: a, metric: m, threshold: 1, dimensions: {A: b}}]", "need `namespace`"),
        (
            "alarms: [{name: a, metric: m, threshold: 1, namespace: N, dimensions: {A: '{x}'}}]",
            "`{x}` is not a placeholder",
        ),
        ("alarms: [{name: a, metric: m, threshold: 1, notify: [pages]}]", "not an ARN"),
        (
            "alarms: [{name: a, metric: m, threshold: 1}, {name: a, metric: n, threshold: 1}]",
            "two of the name `a`",
        ),
        ("alarms: [{name: a, metric: m, threshold: 1, of_periods: 1}]", "`periods` <="),
        ('environment: {A: "x\\ny"}', "line break"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_words(read: Read, text: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(text)

    assert words in str(caught.value)
    assert "ovenbird.yaml:" in str(caught.value)


def test_an_environment_that_reads_as_a_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ovenbird.yaml"
    path.write_text(HEAD.replace("  prod:", "  v001:"))

    with pytest.raises(InvalidRequest, match="reads as a server group's version"):
        load_manifest(path)
