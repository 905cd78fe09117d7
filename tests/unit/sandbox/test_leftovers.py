from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ovenbird.sandbox.leftovers import clear, clear_half_made, mounts_below
from ovenbird.system.locks import file_lock

HOME = Path("/state/sandbox")
LINE = "36 35 7:0 / {} ro,relatime shared:1 - ext4 /dev/loop0 ro"


def mountinfo(*points: str) -> str:
    return "".join(LINE.format(point) + "\n" for point in points)


def test_mounts_of_this_home_are_found_in_the_order_of_their_mounting() -> None:
    found = mounts_below(HOME, mountinfo("/", "/state/sandbox/disks/snap-1", "/state/sandbox/m/1"))

    assert found == (HOME / "disks/snap-1", HOME / "m/1")


def test_a_home_whose_name_begins_alike_is_another_one() -> None:
    assert mounts_below(HOME, mountinfo("/state/sandbox2/disks/snap-1", "/state")) == ()


def test_blanks_in_a_path_are_read_back() -> None:
    found = mounts_below(Path("/a b"), mountinfo(r"/a\040b/disks"))

    assert found == (Path("/a b/disks"),)


@given(st.text(alphabet="ab \t\\", min_size=1, max_size=20))
def test_what_the_kernel_escapes_is_read_back(name: str) -> None:
    escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in name)

    assert mounts_below(HOME, mountinfo(f"{HOME}/{escaped}")) == (HOME / name,)


def test_a_directory_goes_with_what_works_in_it(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "tree").mkdir(parents=True)
    with subprocess.Popen(["/bin/sleep", "60"], cwd=work / "tree") as orphan:
        clear(work)

    assert orphan.returncode == -9
    assert not work.exists()
    clear(work)  # once more does no harm


def test_a_half_made_base_image_goes_unless_somebody_makes_it(tmp_path: Path) -> None:
    images = tmp_path / "base-images"
    for name in ("a.work", "b.work"):
        (images / name).mkdir(parents=True)

    with file_lock(images / "b.lock"):
        assert clear_half_made(tmp_path) == (f"directory {images / 'a.work'}",)
    assert not (images / "a.work").exists()
    assert (images / "b.work").exists()
