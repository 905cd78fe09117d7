"""Roots that are made ready for a bake or a boot: no link of an image leads out of it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from ovenbird.system import commands
from ovenbird.system.boots import boot_guests
from ovenbird.system.mount_namespaces import mount_points
from ovenbird.system.rooms import base_roots
from ovenbird.system.rooms.hands import ChrootHands
from tests.boot.small_disks import made

pytestmark = pytest.mark.boot


def test_no_link_of_an_image_leads_out_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    links = {
        "var/tmp": "tmp", "usr/sbin": "sbin", "etc/cloud": "cloud", "etc/systemd/system": "units",
        "var/cache/apt": "cache", "var/lib/apt/lists": "lists", "etc/resolv.conf": "servers",
    }  # fmt: skip

    def leads_out(root: Path) -> None:
        for name in ("run", "dev", "tmp"):
            (root / name).mkdir()
        for name, target in links.items():
            (root / str(outside / target)[1:]).mkdir(parents=True)
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(outside / target)

    for target in links.values():
        (outside / target).mkdir(parents=True)
    disk = made(tmp_path / "disk.raw", "ext4", leads_out)

    with base_roots.opened(disk, tmp_path / "place") as base, ExitStack() as stack:
        written = base_roots.written_inside()
        base_roots.furnish(stack, base.root, cache=tmp_path / "kept", written=written)
        boot_guests.furnish(base.root, "4711")
        inside = base.root / str(outside)[1:]
        found = {str(path.relative_to(inside)) for path in inside.rglob("*") if path.is_file()}
        points = [point for point in mount_points() if point.startswith(str(tmp_path))]

    assert [path for path in outside.rglob("*") if not path.is_dir()] == []
    assert {"sbin/policy-rc.d", "units/ovenbird-boot-check.service"} <= found
    assert [point for point in points if not point.startswith(f"{tmp_path}/place/")] == []


def test_an_image_may_be_read_by_its_accounts_whatever_the_umask_is(tmp_path: Path) -> None:
    def plain(root: Path) -> None:
        for name in ("run", "dev", "tmp", "etc", "usr/sbin", "var/tmp", "var/lib/apt/lists"):
            (root / name).mkdir(parents=True)

    disk = made(tmp_path / "disk.raw", "ext4", plain)
    before = os.umask(0o077)
    try:
        with base_roots.opened(disk, tmp_path / "place") as base, ExitStack() as stack:
            base_roots.furnish(stack, base.root, cache=tmp_path / "kept", written=())
            modes = [base.root, base.root / "var/lib/apt/lists"]
            found = [oct(path.stat().st_mode & 0o7777) for path in modes]
    finally:
        os.umask(before)

    assert found == ["0o755", "0o755"]


def test_a_root_is_furnished_where_the_host_names_no_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_roots, "_RESOLVER", tmp_path / "missing")

    assert base_roots.written_inside()[1] == ("etc/resolv.conf", b"", 0o644)


def test_commands_inside_do_not_see_where_this_host_keeps_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, str]] = []
    monkeypatch.setenv("PATH", f"/opt/of-this-host:{os.environ['PATH']}")
    monkeypatch.setattr(
        "ovenbird.system.rooms.hands.stream",
        lambda *_, env, **more: asked.append(commands.environment(env)),
    )

    ChrootHands(tmp_path, tell=print).run(
        ["true"], environment={}, timeout_s=1, said="true", hint=""
    )

    assert "of-this-host" not in asked[0]["PATH"]
