"""A bake by a builder instance: a real machine, real SSH, apt through the connection."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ovenbird.aws.builder_resources import TEMPORARY_TAG, BuilderSpec
from ovenbird.aws.builders import Builders
from ovenbird.domain import image_chain as chain
from ovenbird.domain.blocks import checksum, disk_digest
from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.images import PROVENANCE_TAG, Baked, BakeStrategy, Image, ImageId
from ovenbird.domain.ports import Hands
from ovenbird.domain.provenance import FILES, SBOM, Origin
from ovenbird.domain.recipes import Ansible, BroughtFile, Puppet, RecipeStep, Shell
from ovenbird.sandbox import base_images, reaching
from ovenbird.sandbox.places import DEVELOPMENT
from ovenbird.stages.bake import bake
from ovenbird.stages.kitchen import Kitchen
from ovenbird.system.clock import SystemClock
from ovenbird.system.disks.disk_differences import differing_blocks
from ovenbird.system.disks.root_file_systems import mounted_root
from ovenbird.system.rooms import image_contents, ssh
from ovenbird.system.rooms.live_rooms import LiveRoom
from tests.boot.conftest import Cloud, until
from tests.boot.killed_builder import OPEN
from tests.boot.test_bake import Bakery

pytestmark = pytest.mark.boot
ROOT = Path(__file__).resolve().parents[2]
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


BROKEN_SERVICE = """cd /run/systemd/system
mkdir -p e2scrub_all.service.d
cat > e2scrub_all.service.d/a.conf << END
[Unit]
ConditionCapability=
ConditionPathExists=
[Service]
ExecStart=
ExecStart=false
END
systemctl daemon-reload
! systemctl start e2scrub_all"""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Builders in a sandbox with machines, and one bake by them."""

    cloud: Cloud
    bakery: Bakery
    builders: Builders
    baked: Baked
    home: Path

    @property
    def base(self) -> Image:
        return self.bakery.images.get(ImageId(self.cloud.base_image_id))

    @property
    def said(self) -> list[str]:
        return self.bakery.said

    def temporary(self) -> list[str]:
        """Return what is there of builders: instances, groups and key pairs."""
        ec2, only = self.cloud.development.ec2, marked()
        found = ec2.describe_instances(Filters=only)["Reservations"]
        instances = [one for part in found for one in part["Instances"]]
        living = [one for one in instances if one["State"]["Name"] != "terminated"]
        groups = ec2.describe_security_groups(Filters=only)["SecurityGroups"]
        keys = ec2.describe_key_pairs(Filters=only)["KeyPairs"]
        return [
            *(one["InstanceId"] for one in living),
            *(one["GroupId"] for one in groups),
            *(one["KeyName"] for one in keys),
        ]


def marked() -> list[Any]:
    return [{"Name": "tag-key", "Values": [TEMPORARY_TAG]}]


def reached(cloud: Cloud) -> dict[str, Any]:
    """Return where builders are, and the sandbox's own way in and out."""
    (vpc, *_) = cloud.development.ec2.describe_vpcs()["Vpcs"]
    (subnet, *_) = cloud.development.ec2.describe_subnets()["Subnets"]
    return {
        "vpc_id": vpc["VpcId"],
        "subnet_id": subnet["SubnetId"],
        "proxy_command": reaching.proxy_command(cloud.networks[DEVELOPMENT]),
        "open_to": base_images.mirrors(),
    }


def spec(cloud: Cloud) -> BuilderSpec:
    return BuilderSpec(**reached(cloud), answers_within=timedelta(seconds=60))


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
        evidence=bakery.evidence,
    )
    request = replace(
        bakery.request,
        base_image_id=ImageId(cloud.base_image_id),
        strategy=BakeStrategy.INSTANCE,
        recipe=(*bakery.request.recipe, *STEPS),
        directory=str(_app(home / "app")),
    )
    baked = bake(request, kitchen=kitchen, progress=bakery.said.append)
    return Bench(cloud=cloud, bakery=bakery, builders=builders, baked=baked, home=home)


def _app(place: Path) -> Path:
    place.mkdir()
    (place / "motd").write_text("${WHO}\n")
    (place / "site.yml").write_text(PLAYBOOK)
    (place / "run.sh").write_text("#!/bin/sh\necho me > /etc/by-script\n")
    (place / "site.pp").write_text("file { '/etc/by-puppet': content => $facts['who'] }\n")
    return place


def test_the_image_of_a_builder_serves_the_app(bench: Bench) -> None:
    cloud = bench.cloud
    made = cloud.launch(cloud.development, ImageId=bench.baked.image.image_id)
    url = f"http://{made['PrivateIpAddress']}/healthz"
    try:
        until(lambda: cloud.get(DEVELOPMENT, url)[0] == 200)
        steps = cloud.inside(
            made["InstanceId"], "sh", "-c", "cat /etc/by-*; find /root /etc -name '.*ansible*'"
        )
        key = cloud.inside(made["InstanceId"], "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
        failed = cloud.inside(made["InstanceId"], "systemctl", "--failed", "--quiet")
    finally:
        cloud.development.ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
        cloud.await_state(cloud.development, made["InstanceId"], "terminated")

    assert steps.split() == ["meme", "meme"]  # by ansible and file, puppet and script
    assert key.endswith(f"root@ip-{made['PrivateIpAddress'].replace('.', '-')}\n")  # made there
    assert failed == ""
    assert bench.temporary() == []


def test_the_image_keeps_nothing_of_the_builder(bench: Bench, tmp_path: Path) -> None:
    disk = bench.bakery.snapshots.download(bench.baked.image.root_snapshot_id)

    with mounted_root(disk, tmp_path / "root") as root:
        logs = [path for path in (root / "var/log").rglob("*") if path.is_file()]
        found = {
            "keys": [path.name for path in root.glob("etc/ssh/ssh_host_*")],
            "logins": [str(path) for path in root.glob("**/authorized_keys")],
            "history": [str(path) for path in root.glob("**/.bash_history")],
            "cloud-init": [path.name for path in (root / "var/lib/cloud").iterdir()],
            "apt": [path.name for path in (root / "var/lib/apt/lists").glob("*_*")],
            "archives": [path.name for path in root.glob("var/cache/apt/archives/*.deb")],
            "ours": (root / "etc/apt/sources.list.d/ovenbird.list").exists(),
            "machine-id": (root / "etc/machine-id").read_text(),
            "seed": (root / "var/lib/systemd/random-seed").exists(),
            "logs": [(path.name, path.stat().st_size) for path in logs if path.stat().st_size],
            "temporary": [path.name for part in ("tmp", "var/tmp", "run/ovenbird")
                          for path in (root / part).glob("*")],
        }  # fmt: skip

    assert {name: one for name, one in found.items() if one} == {}


def test_the_image_of_a_builder_has_the_evidence_that_others_have(
    bench: Bench, tmp_path: Path
) -> None:
    image, evidence = bench.baked.image, bench.bakery.evidence
    key, digest = image.bake_key, image.tags.get(PROVENANCE_TAG, "")
    signed = evidence.statement(key, digest)
    origin = Origin.parse(signed.statement)
    parts = {name: evidence.part(key, digest, name) for name in (FILES, SBOM)}
    base = bench.bakery.snapshots.download(bench.base.root_snapshot_id)
    disk = bench.bakery.snapshots.download(image.root_snapshot_id)
    found = {index: checksum(block) for index, block in differing_blocks(base, disk)}
    with mounted_root(disk, tmp_path / "root") as root:
        files = image_contents.files(root)

    assert (bench.baked.notes, origin.is_whole) == ((), False)
    assert [
        link.text
        for link in (
            chain.statement_link(image, signed),
            chain.tags_link(image, origin),
            chain.parts_link(origin, parts),
            chain.blocks_link(origin, disk_digest(found), len(found)),
            chain.files_link(image_contents.unpacked(parts[FILES]), files),
        )
        if link.standing is not chain.Standing.OK
    ] == []
    assert len(signed.fingerprints) == 1
    assert b"pkg:deb/debian/nginx@" in parts[SBOM]
    assert len(found) > 10


@contextmanager
def inside(bench: Bench) -> Iterator[LiveRoom]:
    """Open a builder and reach for its inside."""
    with bench.builders.open(
        bench.base, key="0" * 64, repository=bench.bakery.request.repository,
        progress=bench.said.append,
    ) as builder:  # fmt: skip
        room = builder._room
        assert isinstance(room, LiveRoom)
        yield room


def shell(hands: Hands, line: str, *, timeout_s: float = 30, **environment: str) -> None:
    hands.run(
        ["sh", "-e", "-c", line],
        environment=environment, timeout_s=timeout_s, said=line, hint="mend it",
    )  # fmt: skip


def test_the_inside_of_a_builder_is_as_that_of_a_chroot(bench: Bench, tmp_path: Path) -> None:
    """One builder for all of it: a launch takes longer than the rest."""
    with inside(bench) as room:
        hands = room._hands
        check_commands(hands, bench.said)
        check_files(hands, bench.said, tmp_path / "tree")
        check_services(room)

    assert bench.temporary() == []


def check_commands(hands: Hands, said: list[str]) -> None:
    """Words stay what they are, and nothing that a command starts outlives it."""
    said.clear()
    shell(hands, 'echo "${X} $X"; cd /; pwd; umask; echo "$APT_CONFIG"', X="a '$b\"")
    assert said == ["a '$b\" a '$b\"", "/", "0022", "/run/ovenbird/apt.conf"]
    with pytest.raises(CommandFailed, match="`exit 7` exited with status 7"):
        shell(hands, "exit 7")
    with pytest.raises(CommandFailed, match="ran past 1 s"):
        shell(hands, "(setsid sleep 987 &) ; sleep 986", timeout_s=1)
    shell(hands, "setsid sleep 985 & exit 0")
    line = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q 'sleep 98[567]'"
    assert hands.status(["sh", "-c", line], environment={}, timeout_s=30) == 1


def check_files(hands: Hands, said: list[str], tree: Path) -> None:
    """What is lent goes; what is put stays, or what was there does."""
    tree.mkdir()
    (tree / "a b").write_text("lent\n")
    said.clear()
    with hands.lend(tree) as place:
        shell(hands, f"cat '{place}/a b'; stat -c %U '{place}/a b'")
    shell(hands, f"test ! -e {place}")
    hands.put(b"kept\n", "/etc/new dir/a 'b", owner="daemon", group="adm", mode=0o640)
    shell(hands, "stat -c '%U %G %a %s' \"/etc/new dir/a 'b\"")
    with pytest.raises(CommandFailed, match="writing `/etc/passwd`") as caught:
        hands.put(b"", "/etc/passwd", owner="nobody-else", group="root", mode=0o644)
    shell(hands, "grep -c ^root: /etc/passwd")
    assert "nobody-else:root" in caught.value.hint
    assert said == ["lent", "root", "daemon adm 640 5", "1"]


def check_services(room: LiveRoom) -> None:
    """A service of a package that failed on the builder fails the bake."""
    room.check()
    shell(room._hands, BROKEN_SERVICE)
    room._names = ["e2fsprogs"]
    with pytest.raises(CommandFailed, match="a look for services that failed") as failed:
        room.check()
    assert "e2scrub_all.service" in str(failed.value.facts["stderr"])


def test_a_builder_that_takes_another_key_says_what_stands_on_its_console(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "REFUSED_S", 2.0)
    other = replace(spec(bench.cloud), user="nobody-else")
    builders = Builders(
        bench.cloud.development,
        other,
        directory=bench.bakery.home / "others",
        tools=bench.bakery.home,
        clock=SystemClock(),
    )
    opened = builders.open(
        bench.base, key="1" * 64, repository=bench.bakery.request.repository,
        progress=bench.said.append,
    )  # fmt: skip

    with pytest.raises(CommandFailed, match="does not take the key") as caught, opened:
        raise AssertionError("nobody can log in so")

    assert "Its console:" in str(caught.value.facts["stderr"])
    assert bench.temporary() == []


def test_a_killed_bake_is_ended_and_removed(bench: Bench) -> None:
    """Its connection ends with it; its builder with the next bake of this host."""
    endpoint, place = bench.cloud.endpoint, bench.home / "builders"
    known = {
        "url": endpoint.url,
        "credentials": str(endpoint.credentials_file),
        "spec": reached(bench.cloud),
        "directory": str(place),
        "image_id": bench.base.image_id,
        "repository": asdict(bench.bakery.request.repository),
    }
    line = [sys.executable, "-m", "tests.boot.killed_builder", json.dumps(known)]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
        is_open = any(said == f"{OPEN}\n" for said in child.stdout or ())
        left, connected = bench.temporary(), ssh_of(place)
        child.kill()
    until(lambda: not ssh_of(place))
    bench.builders.sweep(bench.said.append)

    assert is_open
    assert connected
    assert len(left) == 3
    assert bench.temporary() == []
    assert sorted(path.name for path in place.iterdir()) == ["gate", "logs"]


def ssh_of(home: Path) -> list[str]:
    """Return the processes of OpenSSH that work in a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text() == "ssh\n":
                found.append(str((process / "cwd").readlink()))
        except OSError:  # it ended meanwhile
            continue
    return [place for place in found if place.startswith(str(home))]
