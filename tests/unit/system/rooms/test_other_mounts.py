from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.system.rooms.other_mounts import mount_points, refuse_hidden

TABLE = """\
# <file system> <mount point> <type> <options>
LABEL=cloudimg-root / ext4 discard 0 1
LABEL=BOOT /boot ext4 defaults 0 2
LABEL=UEFI /boot/efi vfat umask=0077 0 1
tmpfs /tmp tmpfs defaults 0 0
/dev/xvdb /with\\040space/ ext4 defaults 0 2
UUID=1 none swap sw 0 0
broken
"""


def test_mount_points_that_last_are_read() -> None:
    assert list(mount_points(TABLE)) == ["/boot", "/boot/efi", "/with space"]


@pytest.mark.parametrize("name", ["boot/vmlinuz-2", "boot/efi/EFI/x.efi"])
def test_what_would_be_hidden_on_the_machine_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/fstab").write_text(TABLE)
    (tmp_path / "upper" / name).parent.mkdir(parents=True)

    refuse_hidden(tmp_path, upper=tmp_path / "upper")
    (tmp_path / "upper" / name).write_text("")
    with pytest.raises(InvalidRequest, match=f"wrote `/{name}`") as caught:
        refuse_hidden(tmp_path, upper=tmp_path / "upper")

    assert "`instance`" in caught.value.hint


def test_a_root_without_a_table_has_nothing_hidden(tmp_path: Path) -> None:
    refuse_hidden(tmp_path, upper=tmp_path)
