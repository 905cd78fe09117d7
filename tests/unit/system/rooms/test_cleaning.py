"""The script that cleans an image, run on a small root."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.system.commands import run
from ovenbird.system.rooms import cleaning

IDENTITY = "0123456789abcdef0123456789abcdef\n"
GOES = (
    "etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_ed25519_key.pub", "etc/shadow-",
    "etc/apt/sources.list.d/ovenbird.list", "etc/yum.repos.d/ovenbird.repo",
    "etc/netplan/50-cloud-init.yaml", "etc/udev/rules.d/70-persistent-net.rules",
    "root/.bash_history", "root/.psql_history", "root/.ssh/authorized_keys", "root/.cache/pip/x",
    "home/ubuntu/.ssh/authorized_keys", "home/ec2-user/.bash_history",
    "tmp/left", "tmp/.hidden", "var/tmp/left", "var/tmp/.hidden", "var/lib/cloud/instance/x",
    "var/lib/systemd/random-seed", "var/lib/dbus/machine-id", "var/lib/dhcp/dhclient.eth0.leases",
    "var/lib/apt/lists/main_Packages", "var/cache/apt/pkgcache.bin",
    "var/cache/apt/archives/a_1_all.deb", "var/cache/dnf/main/repodata/primary.xml.zst",
    "var/log/syslog.1", "var/log/dpkg.log.12.gz", "var/log/messages-20260101",
    "var/log/journal/0123/system.journal",
)  # fmt: skip
STAYS = (
    "etc/ssh/sshd_config", "etc/shadow", "etc/netplan/10-ours.yaml", "root/.profile",
    "root/.ssh/config", "home/app/.ssh/authorized_keys", "home/ubuntu/.bashrc",
    "etc/apt/sources.list.d/debian.list", "var/lib/dpkg/status",
)  # fmt: skip
EMPTIED = ("etc/machine-id", "var/log/dpkg.log", "var/log/apt/term.log", "var/log/wtmp")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    top = tmp_path / "root"
    for name in (*GOES, *STAYS, *EMPTIED):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(IDENTITY)
    return top


def cleaned(root: Path) -> dict[str, str]:
    """Clean a root and return path → text of the files that are left."""
    run(["sh", "-e", "-c", cleaning.script(), "clean", root], timeout_s=30)
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_text() for path in files}


def test_what_is_of_one_machine_or_of_the_bake_goes_and_all_else_stays(root: Path) -> None:
    expected = dict.fromkeys(STAYS, IDENTITY) | dict.fromkeys(EMPTIED, "")

    assert cleaned(root) == expected
    assert cleaned(root) == expected


def test_a_log_keeps_its_mode(root: Path) -> None:
    (root / "var/log/wtmp").chmod(0o664)

    cleaned(root)

    assert (root / "var/log/wtmp").stat().st_mode & 0o777 == 0o664


def test_a_machine_id_that_was_never_made_stays_as_it_is(root: Path) -> None:
    (root / "etc/machine-id").write_text("uninitialized\n")
    (root / "var/lib/dbus/machine-id").unlink()
    (root / "var/lib/dbus/machine-id").symlink_to("/etc/machine-id")

    left = cleaned(root)

    assert left["etc/machine-id"] == "uninitialized\n"
    assert (root / "var/lib/dbus/machine-id").is_symlink()


def test_links_of_logs_and_identities_are_not_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.log").write_text(IDENTITY)
    (root / "var/log/elsewhere").symlink_to(outside)
    (root / "etc/machine-id").unlink()
    (root / "etc/machine-id").symlink_to(outside / "kept.log")

    cleaned(root)

    assert (outside / "kept.log").read_text() == IDENTITY


def test_a_root_with_nothing_to_clean_is_left_alone(tmp_path: Path) -> None:
    assert cleaned(tmp_path) == {}
