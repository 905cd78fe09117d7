"""Instances that are machines: launched through boto3, looked at from inside and outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from ovenbird.domain.launching import user_data
from ovenbird.sandbox import leftovers
from ovenbird.sandbox.places import DEVELOPMENT, Places
from tests.boot.conftest import Cloud, until

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

pytestmark = pytest.mark.boot

Launch = Callable[..., str]
SERVICE = """#cloud-config
write_files:
- {path: /srv/index.html, content: hello}
runcmd:
- systemd-run --unit=web --working-directory=/srv python3 -m http.server 80
"""


@pytest.fixture
def ec2(cloud: Cloud) -> EC2Client:
    return cloud.development.ec2


@pytest.fixture
def launch(cloud: Cloud, ec2: EC2Client) -> Iterator[Launch]:
    """Launch in the development account; what a test leaves is terminated after it."""
    made: list[str] = []

    def one(**words: Any) -> str:
        made.append(cloud.launch(cloud.development, **words)["InstanceId"])
        return made[-1]

    yield one
    if made:
        ec2.terminate_instances(InstanceIds=made)
        for instance_id in made:
            cloud.await_state(cloud.development, instance_id, "terminated")


@pytest.fixture(scope="module")
def shared(cloud: Cloud) -> str:
    """An instance that is up, for tests that only look."""
    asked = {"UserData": user_data({"GREETING": "good day"})}
    options = {"HttpTokens": "required"}
    made = cloud.launch(cloud.development, MetadataOptions=options, **asked)
    return booted(cloud, made["InstanceId"])


def booted(cloud: Cloud, instance_id: str) -> str:
    """Wait until an instance's systemd is up."""
    cloud.await_state(cloud.development, instance_id, "running")
    until(lambda: cloud.room.is_ready(instance_id))
    return instance_id


def address(cloud: Cloud, instance_id: str) -> str:
    return cloud.describe(cloud.development, instance_id)["PrivateIpAddress"]


def left(cloud: Cloud, instance_id: str) -> list[str]:
    """Everything of a machine that this host still has."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found = [line for line in mounts if instance_id in line]
    found += [str(path) for path in Path("/run/netns").glob(f"*-{instance_id[-8:]}")]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/*{instance_id}*")]
    found += [str(path) for path in cloud.places.machines.glob(instance_id)]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = process.read_text()
        except OSError:
            continue
        found += [text] if instance_id in text else []
    return found


def test_a_launch_serves_within_seconds(cloud: Cloud, launch: Launch) -> None:
    start = time.monotonic()
    instance_id = launch(UserData=SERVICE)
    url = f"http://{address(cloud, instance_id)}/"
    until(lambda: cloud.get(DEVELOPMENT, url) == (200, "hello"))

    assert time.monotonic() - start < 10  # measured on 2026-11-25: 1.9 on an idle host
    assert cloud.state(cloud.development, instance_id) == "running"
    asked = cloud.development.ec2.describe_instance_status
    until(
        lambda: (
            asked(InstanceIds=[instance_id])["InstanceStatuses"][0]["InstanceStatus"]["Status"]
            == "ok"
        )
    )


def test_user_data_is_applied_and_the_machine_is_called_as_on_ec2(
    cloud: Cloud, shared: str
) -> None:
    ip = address(cloud, shared)
    environment = cloud.inside(shared, "cat", "/etc/ovenbird/environment")
    name = cloud.inside(shared, "hostname").strip()
    status = json.loads(cloud.inside(shared, "cat", "/run/cloud-init/status.json"))

    assert environment == 'GREETING="good day"\n'
    assert name == "ip-" + ip.replace(".", "-")
    assert status["v1"]["datasource"] == "DataSourceEc2"
    stages = [stage for stage in status["v1"].values() if isinstance(stage, dict)]
    assert [stage["errors"] for stage in stages if stage["errors"]] == []
    assert cloud.inside(shared, "systemctl", "is-system-running").strip() == "running"


def ask_metadata(cloud: Cloud, instance_id: str, *words: str) -> str:
    """Ask the metadata service from inside a machine: method, path, headers `name=value`."""
    method, path, *headers = words
    code = (
        "import http.client, sys\n"
        "c = http.client.HTTPConnection('169.254.169.254', timeout=3)\n"
        f"c.request({method!r}, {path!r}, headers=dict(h.split('=', 1) for h in {headers!r}))\n"
        "r = c.getresponse(); print(r.status, r.read().decode(), end='')\n"
    )
    return cloud.inside(instance_id, "python3", "-c", code)


def test_metadata_needs_a_token_where_it_is_required(cloud: Cloud, shared: str) -> None:
    path = "/latest/meta-data/instance-id"
    ttl = "X-aws-ec2-metadata-token-ttl-seconds=60"
    status, token = ask_metadata(cloud, shared, "PUT", "/latest/api/token", ttl).split()

    assert status == "200"
    assert ask_metadata(cloud, shared, "GET", path).startswith("401")
    with_token = ask_metadata(cloud, shared, "GET", path, f"X-aws-ec2-metadata-token={token}")
    assert with_token == f"200 {shared}"
    assert ask_metadata(cloud, shared, "GET", path, "User-Agent=Cloud-Init/22.4.2").startswith(
        "401"
    )


def test_accounts_do_not_see_each_other(cloud: Cloud, shared: str) -> None:
    theirs = cloud.launch(cloud.production, MetadataOptions={"HttpTokens": "optional"})
    their_id, their_ip = theirs["InstanceId"], theirs["PrivateIpAddress"]
    cloud.await_state(cloud.production, their_id, "running")
    identity = "/latest/dynamic/instance-identity/document"
    document = json.loads(ask_metadata(cloud, their_id, "GET", identity).removeprefix("200 "))
    pinged = cloud.get(DEVELOPMENT, f"http://{their_ip}:22/")
    cloud.production.ec2.terminate_instances(InstanceIds=[their_id])
    cloud.await_state(cloud.production, their_id, "terminated")

    assert (document["instanceId"], document["accountId"]) == (their_id, "222222222222")
    assert their_ip == address(cloud, shared) or pinged[0] == 0


def test_the_console_is_the_machines_own_also_when_it_is_gone(
    cloud: Cloud, launch: Launch, ec2: EC2Client
) -> None:
    instance_id = booted(cloud, launch())
    before = ec2.get_console_output(InstanceId=instance_id)["Output"]
    ec2.terminate_instances(InstanceIds=[instance_id])
    cloud.await_state(cloud.development, instance_id, "terminated")
    after = ec2.get_console_output(InstanceId=instance_id)["Output"]

    assert "Welcome to" in before
    assert "Debian" in before
    assert "Multi-User System" in after


def test_terminate_leaves_nothing(cloud: Cloud, launch: Launch, ec2: EC2Client) -> None:
    instance_id = booted(cloud, launch())
    before = left(cloud, instance_id)
    said = ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"][0]
    cloud.await_state(cloud.development, instance_id, "terminated", within_s=5)

    assert len(before) >= 5  # mount, namespace, control groups, files, nspawn
    assert said["CurrentState"]["Name"] == "shutting-down"
    assert left(cloud, instance_id) == []


@pytest.mark.parametrize(("behaviour", "state"), [("stop", "stopped"), ("terminate", "terminated")])
def test_a_machine_that_dies_is_noticed_at_the_next_turns(
    cloud: Cloud, launch: Launch, behaviour: str, state: str
) -> None:
    instance_id = booted(cloud, launch(InstanceInitiatedShutdownBehavior=behaviour))
    pid = cloud.room.pid(instance_id)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    cloud.await_state(cloud.development, instance_id, state, within_s=3)
    reason = cloud.describe(cloud.development, instance_id)["StateReason"]["Code"]
    assert reason == "Client.InstanceInitiatedShutdown"


def test_a_machine_that_powers_itself_off_is_stopped(cloud: Cloud, launch: Launch) -> None:
    instance_id = booted(cloud, launch())
    cloud.inside(instance_id, "systemctl", "poweroff", ok=False)

    cloud.await_state(cloud.development, instance_id, "stopped", within_s=15)


def test_stop_and_start_keep_the_disk_and_the_address(
    cloud: Cloud, launch: Launch, ec2: EC2Client
) -> None:
    instance_id = booted(cloud, launch(UserData=SERVICE))
    before = address(cloud, instance_id)
    cloud.inside(instance_id, "sh", "-c", "echo kept > /root/note")
    ec2.stop_instances(InstanceIds=[instance_id])
    cloud.await_state(cloud.development, instance_id, "stopped", within_s=15)
    mounted = [line for line in left(cloud, instance_id) if "overlay" in line]
    ec2.start_instances(InstanceIds=[instance_id])
    booted(cloud, instance_id)

    assert mounted == []
    assert cloud.inside(instance_id, "cat", "/root/note") == "kept\n"
    assert address(cloud, instance_id) == before


def test_a_stopped_instance_is_terminated_with_its_disk(
    cloud: Cloud, launch: Launch, ec2: EC2Client
) -> None:
    instance_id = booted(cloud, launch())
    ec2.stop_instances(InstanceIds=[instance_id])
    cloud.await_state(cloud.development, instance_id, "stopped", within_s=15)
    assert [line for line in left(cloud, instance_id) if "machines" in line]

    ec2.terminate_instances(InstanceIds=[instance_id])
    cloud.await_state(cloud.development, instance_id, "terminated", within_s=5)

    assert left(cloud, instance_id) == []


def test_a_reboot_boots_again_and_stays_running(
    cloud: Cloud, launch: Launch, ec2: EC2Client
) -> None:
    instance_id = booted(cloud, launch())
    first = cloud.room.pid(instance_id)
    ec2.reboot_instances(InstanceIds=[instance_id])
    until(lambda: cloud.room.pid(instance_id) not in {None, first})

    booted(cloud, instance_id)
    assert cloud.state(cloud.development, instance_id) == "running"


def test_states_that_do_not_allow_it_are_refused(
    cloud: Cloud, launch: Launch, ec2: EC2Client
) -> None:
    instance_id = booted(cloud, launch())
    ec2.stop_instances(InstanceIds=[instance_id])
    cloud.await_state(cloud.development, instance_id, "stopped", within_s=15)

    with pytest.raises(ClientError, match="IncorrectInstanceState"):
        ec2.reboot_instances(InstanceIds=[instance_id])


def test_an_image_that_is_not_shared_is_refused(cloud: Cloud, ec2: EC2Client) -> None:
    (base,) = ec2.describe_images(ImageIds=[cloud.base_image_id])["Images"]
    image_id = ec2.register_image(
        Name=f"own-{uuid.uuid4()}",
        Architecture="x86_64",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {"SnapshotId": base["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]},
            }
        ],
    )["ImageId"]

    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        cloud.launch(cloud.production, ImageId=image_id)


def test_an_image_without_blocks_is_terminated_with_its_reason(
    cloud: Cloud, launch: Launch, ec2: EC2Client
) -> None:
    ebs = cloud.development.ebs
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)
    image_id = ec2.register_image(
        Name=f"empty-{uuid.uuid4()}",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}],
    )["ImageId"]
    instance_id = launch(ImageId=image_id)
    cloud.await_state(cloud.development, instance_id, "terminated")
    reason = cloud.describe(cloud.development, instance_id)["StateReason"]

    assert reason["Code"] == "Client.InvalidSnapshot.NotFound"
    assert "has no blocks" in reason["Message"]
    assert left(cloud, instance_id) == []


def test_ends_do_not_wait_behind_boots(cloud: Cloud, launch: Launch, ec2: EC2Client) -> None:
    first = booted(cloud, launch())
    waiting = [launch() for _ in range(5)]
    ec2.terminate_instances(InstanceIds=[first, waiting[-1]])

    cloud.await_state(cloud.development, first, "terminated", within_s=3)
    cloud.await_state(cloud.development, waiting[-1], "terminated", within_s=3)


def test_a_machine_takes_less_than_forty_megabytes(shared: str) -> None:
    groups = Path("/sys/fs/cgroup").glob(f"**/*{shared}/**/cgroup.procs")
    pids = {pid for path in groups for pid in path.read_text().split()}
    pss_kib = sum(pss(pid) for pid in pids)

    assert len(pids) > 3
    assert pss_kib < 40 * 1024


def pss(pid: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1])


def test_a_machine_keeps_no_other_disk_busy(cloud: Cloud, launch: Launch, tmp_path: Path) -> None:
    disk, where = tmp_path / "disk.raw", tmp_path / "disks/snap-0"
    where.mkdir(parents=True)
    with disk.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)  # noqa: S603, S607 - fixed
    subprocess.run(["mount", "-o", "loop", disk, where], check=True)  # noqa: S603, S607
    booted(cloud, launch())
    busy = leftovers.loops_below(tmp_path)

    subprocess.run(["umount", where], check=True)  # noqa: S603, S607

    assert len(busy) == 1
    until(lambda: leftovers.loops_below(tmp_path) == ())


def test_a_sweep_finds_what_machines_left(tmp_path: Path) -> None:
    places = Places(home=tmp_path, cache=tmp_path)
    name = f"ovb-{places.token}-0abcdef1"
    subprocess.run(["ip", "netns", "add", name], check=True)  # noqa: S603, S607 - fixed
    holder = subprocess.Popen(  # noqa: S603
        ["/usr/bin/nsenter", f"--net=/run/netns/{name}", "sleep", "300"]
    )
    entered = Path(f"/proc/{holder.pid}/ns/net")
    until(lambda: entered.stat().st_ino == Path(f"/run/netns/{name}").stat().st_ino)

    swept = leftovers.sweep(places)

    assert swept == (f"process {holder.pid}", f"namespace {name}")
    assert holder.wait(5) == -signal.SIGKILL
