from __future__ import annotations

import os
from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest, NotFound, OvenbirdError
from ovenbird.system.directory_storage import OWN, DirectoryStorage


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


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a\n", f"{OWN}/lock"]
)
def test_a_name_that_is_none_is_refused(name: str, storage: DirectoryStorage) -> None:
    with pytest.raises(InvalidRequest):
        storage.write(name, b"1")
    with pytest.raises(InvalidRequest):
        storage.read(name)


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


def test_a_file_that_is_gone_is_named(storage: DirectoryStorage, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"gone\.deb` is gone"):
        storage.write("a", tmp_path / "gone.deb")


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
