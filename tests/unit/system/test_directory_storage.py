from __future__ import annotations

import itertools
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest, NotFound, OvenbirdError
from ovenbird.system.clock import await_true
from ovenbird.system.directory_storage import OWN, DirectoryStorage
from tests.storage_contract import StorageContract, add_lines, create_one


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path / "store")


def test_files_are_readable_by_all_whatever_the_umask_is(
    storage: DirectoryStorage, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        storage.write("pool/h/hello.deb", b"1")
    finally:
        os.umask(before)

    root = tmp_path / "store"
    modes = [(root / name).stat().st_mode & 0o777 for name in ("", "pool/h", "pool/h/hello.deb")]
    assert modes == [0o755, 0o755, 0o644]


def test_nothing_is_left_beside_what_was_stored(storage: DirectoryStorage, tmp_path: Path) -> None:
    storage.write("a", b"1")
    storage.create("a", b"2")
    storage.swap("a", b"3", version="other")
    storage.copy("a", "b")
    storage.copy("a", "b")
    storage.copy("a", "a")

    assert list((tmp_path / "store" / OWN / "parts").iterdir()) == []
    assert list(storage.names("")) == ["a", "b"]
    assert (tmp_path / "store/a").samefile(tmp_path / "store/b")


def test_a_copy_keeps_its_bytes_when_the_first_name_changes(storage: DirectoryStorage) -> None:
    storage.write("a", b"1")
    storage.copy("a", "b")

    storage.write("a", b"2")

    assert storage.read("b") == b"1"


class TestContract(StorageContract):
    """The directory keeps what every storage does."""


def test_of_many_processes_that_create_exactly_one_wins(
    storage: DirectoryStorage, tmp_path: Path
) -> None:
    lines = [[f"{writer}.{number}" for number in range(5)] for writer in range(3)]
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        created = [pool.submit(create_one, storage, "state-1", writer) for writer in range(3)]
        added = [pool.submit(add_lines, storage, "pointer", own) for own in lines]
        won = [one.result() for one in created]
        for one in added:
            one.result()

    assert won.count(True) == 1
    assert storage.read("state-1") == f"{won.index(True)}\n".encode() * 20_000
    assert len(set(storage.read("pointer").split())) == 15


def write_for_ever(storage: DirectoryStorage) -> None:
    """Write until somebody kills the process."""
    for number in itertools.count():
        storage.write("a", f"{number % 10}".encode() * 3_000_000)
        storage.create(f"new/{number}", f"{number % 10}".encode() * 3_000_000)


def test_a_writer_that_is_killed_leaves_whole_files_and_no_lock(
    storage: DirectoryStorage,
) -> None:
    writer = multiprocessing.get_context("spawn").Process(target=write_for_ever, args=(storage,))
    writer.start()
    await_true(lambda: storage.exists("new/2"), within=timedelta(seconds=30))
    writer.kill()
    writer.join()

    sizes = {(len(data), len(set(data))) for data in map(storage.read, list(storage.names("")))}
    assert sizes == {(3_000_000, 1)}
    storage.write("a", b"1")
    assert storage.read("a") == b"1"


def test_the_storages_own_directory_is_no_name(storage: DirectoryStorage) -> None:
    with pytest.raises(InvalidRequest, match="kept for the storage"):
        storage.write(f"{OWN}/lock", b"1")


def test_a_link_that_leads_out_is_not_followed(storage: DirectoryStorage, tmp_path: Path) -> None:
    storage.write("a", b"1")
    (tmp_path / "secret").write_text("x")
    (tmp_path / "store/out").symlink_to(tmp_path)

    with pytest.raises(InvalidRequest, match="leads out"):
        storage.read("out/secret")
    assert list(storage.names("")) == ["a"]


def test_a_removed_name_takes_its_empty_directories_with_it(
    storage: DirectoryStorage, tmp_path: Path
) -> None:
    storage.write("a/b/c", b"1")
    storage.write("a/d", b"1")

    storage.remove("a/b/c")

    assert sorted(path.name for path in (tmp_path / "store/a").iterdir()) == ["d"]


def test_what_a_killed_writer_left_is_not_seen_and_goes_when_it_is_old(
    storage: DirectoryStorage, tmp_path: Path
) -> None:
    storage.write("a", b"1")
    young, old = (tmp_path / "store" / OWN / "parts" / name for name in ("young", "old"))
    young.write_bytes(b"half")
    old.write_bytes(b"half")

    storage._forget_old_parts(now_s=young.stat().st_ctime + 10)
    assert sorted(path.name for path in old.parent.iterdir()) == ["old", "young"]
    storage._forget_old_parts(now_s=young.stat().st_ctime + 24 * 3600)

    assert list(old.parent.iterdir()) == []
    assert list(storage.names("")) == ["a"]


def test_a_full_disk_is_said_to_be_full(tmp_path: Path) -> None:
    class Full(DirectoryStorage):
        def _sweep(self, mine: Path) -> None:
            raise OSError(28, "No space left on device")

    storage = Full(tmp_path / "store")

    with pytest.raises(OvenbirdError, match="is full"):
        storage.write("a", b"1")
    assert not storage.exists("a")
    assert list((tmp_path / "store" / OWN / "parts").iterdir()) == []


def test_a_directory_in_the_way_is_said(storage: DirectoryStorage) -> None:
    storage.write("a/b", b"1")

    with pytest.raises(OvenbirdError, match="`a` cannot be stored"):
        storage.write("a", b"1")
    with pytest.raises(OvenbirdError, match="`a/b/c` cannot be stored"):
        storage.write("a/b/c", b"1")
    with pytest.raises(NotFound):
        storage.read("a")
    assert storage.find("a/b/c") is None


def test_what_cannot_be_read_is_said_and_is_not_missing(
    storage: DirectoryStorage, tmp_path: Path
) -> None:
    storage.write("a/file", b"1")
    (tmp_path / "store/a/loop").symlink_to("loop")  # which not even root can open

    with pytest.raises(OvenbirdError, match="`a/loop` cannot be read in") as caught:
        storage.read("a/loop")
    assert not isinstance(caught.value, NotFound)
    assert caught.value.hint
