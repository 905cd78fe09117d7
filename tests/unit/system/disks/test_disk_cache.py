from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ovenbird.domain.blocks import BLOCK_BYTES
from ovenbird.domain.errors import OvenbirdError
from ovenbird.system.disks import disk_cache
from ovenbird.system.disks.disk_cache import DiskCache, Fill, write_block
from ovenbird.system.locks import file_lock

BLOCK = b"x" * BLOCK_BYTES
GIB = 2**30
Make = Callable[..., DiskCache]


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(tz=UTC) + self.ahead  # noqa: TID251 - files have the host's time

    def sleep(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


class Filling:
    """Fills disks with one block at index 3, and counts."""

    def __init__(self, *, blocks: int = 1, fails: Exception | None = None) -> None:
        self.calls, self.blocks, self.fails = 0, blocks, fails

    def __call__(self, part: Path) -> Mapping[int, bytes]:
        self.calls += 1
        with part.open("wb") as file:
            file.truncate(64 * BLOCK_BYTES)
            for index in range(3, 3 + self.blocks):
                write_block(file, index, BLOCK)
        if self.fails:
            raise self.fails
        return dict.fromkeys(range(3, 3 + self.blocks), hashlib.sha256(BLOCK).digest())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Make:
    """Each cache is that of another process; one that is dropped lets go of its disks."""
    return lambda gib=1.0: DiskCache(tmp_path, limit_gib=gib, clock=clock)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.suffix != ".lock")


def test_a_disk_is_made_once_and_stays_sparse_and_read_only(make: Make, tmp_path: Path) -> None:
    fill = Filling()

    disk = make().get("snap-1", fill)

    assert make().get("snap-1", fill) == disk
    assert fill.calls == 1
    assert (disk.stat().st_size, disk.stat().st_mode & 0o777) == (64 * BLOCK_BYTES, 0o444)
    assert disk.stat().st_blocks * 512 <= 2 * BLOCK_BYTES
    assert names(tmp_path) == ["snap-1.raw", "snap-1.sums"]
    assert make().digests("snap-1") == {3: hashlib.sha256(BLOCK).digest()}


def test_who_asks_while_a_disk_is_made_waits_for_it(make: Make) -> None:
    begun, fill = threading.Event(), Filling()

    def slowly(part: Path) -> Mapping[int, bytes]:
        begun.set()
        asked.wait(10)
        return fill(part)

    asked = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(make().get, "snap-1", slowly)
        begun.wait(10)
        second = pool.submit(make().get, "snap-1", fill)
        asked.set()

        assert first.result() == second.result()
    assert fill.calls == 1


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_disk_that_could_not_be_made(
    make: Make, tmp_path: Path, error: Exception
) -> None:
    with pytest.raises(type(error)):
        make().get("snap-1", Filling(fails=error))

    assert names(tmp_path) == []


def overwrite(disk: Path) -> None:
    disk.chmod(0o644)
    with disk.open("r+b") as file:
        file.write(b"!")


def cut(disk: Path) -> None:
    disk.chmod(0o644)
    os.truncate(disk, BLOCK_BYTES)


def spoil_sums(disk: Path) -> None:
    disk.with_suffix(".sums").write_bytes(b'{"size": 1}\nnothing')


@pytest.mark.parametrize(
    "damage", [overwrite, cut, spoil_sums, lambda disk: disk.with_suffix(".sums").unlink()]
)
def test_a_damaged_disk_is_made_anew(make: Make, damage: Callable[[Path], None]) -> None:
    fill, cache = Filling(), make()
    disk = cache.get("snap-1", fill)
    damage(disk)

    assert cache.get("snap-1", fill) == disk
    assert fill.calls == 2
    assert dict(cache.examined()) == {disk: True}


def silently_lose(disk: Path) -> None:
    """What a machine that lost its power may do: the name is there, the bytes are not."""
    before = disk.stat()
    disk.chmod(0o644)
    with disk.open("r+b") as file:
        file.seek(3 * BLOCK_BYTES)
        file.write(bytes(4096))
    os.utime(disk, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_bytes_are_read_once_after_each_boot(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill, cache = Filling(), make()
    disk = cache.get("snap-1", fill)
    silently_lose(disk)

    assert cache.get("snap-1", fill) == disk
    assert fill.calls == 1  # not noticed by time and size
    assert dict(cache.examined()) == {disk: False}  # but on demand

    (tmp_path / "boot.lock").write_text("another")
    monkeypatch.setattr(disk_cache, "BOOT_ID", tmp_path / "boot.lock")
    cache.get("snap-1", fill)
    assert fill.calls == 2
    (tmp_path / "boot.lock").write_text("a third")
    cache.get("snap-1", fill)
    assert fill.calls == 2
    assert dict(cache.examined()) == {disk: True}


def test_the_least_recently_used_go_when_there_are_too_many(
    make: Make, tmp_path: Path, clock: Clock
) -> None:
    for name in ("a", "b", "a", "c"):
        make(9 * BLOCK_BYTES / GIB).get(name, Filling(blocks=4))
        clock.ahead += timedelta(minutes=1)

    assert names(tmp_path) == ["a.raw", "a.sums", "c.raw", "c.sums"]


def test_a_disk_that_a_process_uses_stays_whatever_it_costs(make: Make, tmp_path: Path) -> None:
    user = make()
    user.get("used", Filling(blocks=4))

    make(1 / GIB).get("other", Filling(blocks=4))
    assert "used.raw" in names(tmp_path)

    del user
    make(1 / GIB).get("other", Filling(blocks=4))
    assert names(tmp_path) == ["other.raw", "other.sums"]


def test_idle_disks_and_what_killed_processes_left_go(
    make: Make, tmp_path: Path, clock: Clock
) -> None:
    make().get("old", Filling())
    (tmp_path / "half.part").write_bytes(b"half")
    (tmp_path / "unknown.raw").write_bytes(b"of before")
    (tmp_path / "busy.part").write_bytes(b"under way")
    clock.ahead = timedelta(days=15)

    with file_lock(tmp_path / "busy.lock"):
        make().get("new", Filling())

    assert names(tmp_path) == ["busy.part", "new.raw", "new.sums"]


def test_half_a_disk_that_became_a_whole_one_meanwhile_keeps_its_sums(
    make: Make, tmp_path: Path
) -> None:
    cache = make()
    cache.get("one", Filling())

    cache._remove(tmp_path / "one.part")  # it was seen a moment before

    assert list(cache.digests("one")) == [3]


def test_a_server_lets_go_of_what_rested_for_long(make: Make, tmp_path: Path, clock: Clock) -> None:
    server = make()
    server.get("first", Filling())
    clock.ahead = timedelta(hours=7)
    server.get("second", Filling())

    make(1 / GIB).get("third", Filling())

    assert "first.raw" not in names(tmp_path)


def test_a_full_disk_is_emptied_of_what_is_not_in_use_and_tried_again(
    make: Make, tmp_path: Path
) -> None:
    make().get("unused", Filling())
    tries: list[bool] = []

    def fill(part: Path) -> Mapping[int, bytes]:
        tries.append((tmp_path / "unused.raw").exists())
        if len(tries) == 1:
            raise OSError(errno.ENOSPC, "no space")
        return Filling()(part)

    wanted: Fill = fill
    make().get("new", wanted)

    assert tries == [True, False]


def test_a_disk_without_room_is_refused_in_our_words(make: Make, tmp_path: Path) -> None:
    with pytest.raises(OvenbirdError, match="is full"):
        make().get("snap-1", Filling(fails=OSError(errno.ENOSPC, "no space")))

    assert names(tmp_path) == []
