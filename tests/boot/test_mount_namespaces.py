"""A bake holds no disk of the bakes and machines beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.system.disks.disks import mounted
from ovenbird.system.mount_namespaces import mount_points, own_mounts

pytestmark = pytest.mark.boot


def test_mounts_of_others_are_not_in_a_namespace_of_ones_own(tmp_path: Path) -> None:
    others = (tmp_path / "bakes/abc/lower", tmp_path / "machines/i-1/root")
    needed, plain = tmp_path / "mine/bakes/volume", tmp_path / "plain"
    with (
        mounted("tmpfs", others[0], kind="tmpfs"),
        mounted("tmpfs", others[1], kind="tmpfs"),
        mounted("tmpfs", needed, kind="tmpfs"),
        mounted("tmpfs", plain, kind="tmpfs"),
    ):
        with own_mounts(needed / "place"):
            inside = set(mount_points())
        outside = set(mount_points())

    assert {str(needed), str(plain)} <= inside
    assert not {str(path) for path in others} & inside
    assert {str(path) for path in (*others, needed, plain)} <= outside
