from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.sandbox.machines import Act, due
from ovenbird.sandbox.nspawn import Launch, Machine, command_line, machine_id, nspawn
from ovenbird.sandbox.places import Places
from ovenbird.system.boots.control_groups import hierarchies

LAUNCH = Launch(
    instance_id="i-0123456789abcdef0",
    image_id="ami-1",
    snapshot_id="snap-1",
    network="ovb-abcdef-111",
    address="172.31.0.4",
    mac="02:00:00:00:00:01",
    host_name="ip-172-31-0-4",
    metadata_url="http://169.254.169.254/key",
)


@pytest.mark.parametrize(
    ("state", "exists", "has_ended", "act"),
    [
        ("pending", False, False, Act.BOOT),
        ("pending", True, False, None),
        ("pending", True, True, Act.MOURN),
        ("running", True, False, None),
        ("running", True, True, Act.MOURN),
        ("running", False, False, Act.BOOT),
        ("stopping", True, False, Act.END),
        ("stopping", True, True, Act.END),
        ("stopping", False, False, Act.END),
        ("shutting-down", True, False, Act.END),
        ("shutting-down", False, False, Act.END),
        ("stopped", False, False, None),
        ("stopped", True, False, Act.END),
        ("terminated", False, False, None),
        ("terminated", True, False, Act.END),
    ],
)
def test_what_is_due_follows_from_state_and_machine(
    state: str, *, exists: bool, has_ended: bool, act: Act | None
) -> None:
    assert due(state, exists=exists, has_ended=has_ended) == act


def test_a_machine_is_booted_by_this_command() -> None:
    found = nspawn(Path("/m/root"), LAUNCH, "ovb-abcdef-9abcdef0")

    assert found == [
        "systemd-nspawn", "--boot", "--quiet", "-D", "/m/root",
        "--machine=i-0123456789abcdef0",
        "--hostname=ip-172-31-0-4",
        f"--uuid={machine_id(LAUNCH.instance_id)}",
        "--network-namespace-path=/run/netns/ovb-abcdef-9abcdef0",
        "--register=no", "--keep-unit", "--console=read-only", "--link-journal=no",
        "--resolv-conf=off", "--timezone=off", "--notify-ready=yes", "--kill-signal=37",
        *command_line(LAUNCH),
    ]  # fmt: skip


def test_cloud_init_is_told_where_to_ask_and_to_leave_the_network_alone() -> None:
    *masks, network, config = command_line(LAUNCH)

    assert all(mask.startswith("systemd.mask=") for mask in masks)
    assert network == "network-config=disabled"
    assert config == (
        'cc: {"datasource": {"Ec2": {"metadata_urls": ["http://169.254.169.254/key"]}}} end_cc'
    )


def test_a_machine_id_is_the_instances_own_and_stays() -> None:
    assert machine_id("i-1") == machine_id("i-1")
    assert machine_id("i-1") != machine_id("i-2")
    assert len(machine_id("i-1")) == 32


def test_groups_are_made_in_v2_alone_or_in_systemds_hierarchies(tmp_path: Path) -> None:
    for name in ("cpu", "systemd", "unified"):
        (tmp_path / name).mkdir()

    assert hierarchies(tmp_path) == (tmp_path / "systemd", tmp_path / "unified")

    (tmp_path / "cgroup.controllers").touch()

    assert hierarchies(tmp_path) == (tmp_path,)


def test_a_console_is_cut_to_its_end_when_it_has_grown_large(tmp_path: Path) -> None:
    machine = Machine(Places(home=tmp_path, cache=tmp_path), LAUNCH)
    assert machine.console(100) == b""
    path = tmp_path / "machines" / LAUNCH.instance_id / "console.log"
    path.parent.mkdir(parents=True)
    with path.open("ab") as console:
        console.write(bytes(range(200)) * 4)
        console.flush()
        machine.trim_console(100)
        assert path.stat().st_size == 800  # not large yet
        console.write(b"x")
        console.flush()

        machine.trim_console(100)
        console.write(b"behind")

    assert path.read_bytes() == bytes(range(101, 200)) + b"xbehind"
    assert machine.console(6) == b"behind"
