"""The base image: its recipe's name, mmdebstrap's line, and times that are always the same."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.sandbox import base_disk, base_images
from ovenbird.sandbox.base_images import PACKAGES, image_name, mmdebstrap, recipe_key


def test_the_recipe_decides_the_name() -> None:
    assert re.fullmatch(r"[0-9a-f]{10}", recipe_key())
    assert image_name() == f"debian-12-amd64-{recipe_key()}"


def test_the_mirrors_are_the_machines_own() -> None:
    line = mmdebstrap(Path("/t"), sources=[Path("/s")], checks=['Acquire::Check-Date "false"'])

    assert line[-3:] == ["bookworm", "/t", "/s"]
    assert '--aptopt=Acquire::Check-Date "false"' in line
    assert f"--include={','.join(PACKAGES)}" in line


def test_a_disk_in_the_cache_is_not_made_again(tmp_path: Path) -> None:
    made = tmp_path / "base-images" / f"{image_name()}.raw"
    made.parent.mkdir()
    made.write_bytes(b"as it was")
    said: list[str] = []

    assert base_images.ensure_base_disk(tmp_path, said.append) == made
    assert made.read_bytes() == b"as it was"
    assert said == []


@pytest.mark.parametrize("package", ["linux-image-cloud-amd64", "cloud-init", "openssh-server"])
def test_the_image_includes_what_ec2_needs(package: str) -> None:
    argv = mmdebstrap(Path("/t"), sources=[], checks=[])
    (include,) = [part for part in argv if part.startswith("--include=")]

    assert package in include.removeprefix("--include=").split(",")


def test_only_the_checks_of_dates_are_taken_from_the_machines_apt() -> None:
    dump = (
        'Acquire::Check-Valid-Until "false";\n'
        'Acquire::Check-Date "false";\n'
        'Acquire::http::Proxy "http://proxy.example:3128";\n'
        'APT::Install-Recommends "true";\n'
    )
    assert base_images.MIRROR_CHECKS.findall(dump) == [
        ("Acquire::Check-Valid-Until", "false"),
        ("Acquire::Check-Date", "false"),
    ]


def test_the_options_of_this_machine_and_its_keys_do_not_stay_in_the_image(tmp_path: Path) -> None:
    gone = ("etc/apt/apt.conf.d/99mmdebstrap", "etc/ssh/ssh_host_rsa_key", "etc/hostname")
    stays = "etc/ssh/sshd_config"
    for name in (*gone, stays, "etc/machine-id", "etc/cloud/cloud.cfg.d/05_logging.cfg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text\n")

    base_images._settle(tmp_path)

    assert [name for name in gone if (tmp_path / name).exists()] == []
    assert (tmp_path / stays).exists()
    assert (tmp_path / "etc/machine-id").read_text() == ""
    config = (tmp_path / "etc/cloud/cloud.cfg.d/90_ovenbird.cfg").read_text()
    assert "datasource_list: [Ec2, None]" in config


def test_no_file_is_newer_than_the_epoch_and_old_ones_keep_their_time(tmp_path: Path) -> None:
    old, new, link = tmp_path / "old", tmp_path / "new", tmp_path / "link"
    old.write_text("")
    new.write_text("")
    link.symlink_to("nowhere")
    os.utime(old, (1_500_000_000, 1_500_000_000))
    os.utime(new, (base_disk.EPOCH_S + 1, base_disk.EPOCH_S + 1))

    base_disk.clamp_times(tmp_path)

    assert old.stat().st_mtime == 1_500_000_000
    assert {path.lstat().st_mtime for path in (new, link, tmp_path)} == {base_disk.EPOCH_S}


def test_change_times_are_set_for_the_root_and_what_follows_the_reserved_inodes() -> None:
    assert base_disk.change_time_commands(12) == [
        "sif <2> ctime @1760000000",
        "sif <11> ctime @1760000000",
        "sif <12> ctime @1760000000",
    ]


def test_inodes_in_use_are_all_but_the_free_ones() -> None:
    header = "Inode count:              253952\nBlock count: 1\nFree inodes:              239079\n"
    assert base_disk.used_inodes(header) == 14_873


def test_a_header_without_inodes_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="inodes"):
        base_disk.used_inodes("dumpe2fs 1.47.0")


def test_the_partitions_follow_each_other_and_end_on_the_disk() -> None:
    bounds = [*base_disk.BIOS_BOOT, *base_disk.ESP, base_disk.ROOT_FIRST, base_disk.ROOT_LAST]

    assert bounds == sorted(set(bounds))
    assert base_disk.ROOT_LAST < base_disk.SIZE_GIB * 2**30 // base_disk.SECTOR - 33
