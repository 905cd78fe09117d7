"""What holds for every storage; each lane runs it over its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest, NotFound
from ovenbird.domain.ports import Storage

WRITERS = 6


def create_one(storage: Storage, name: str, writer: int) -> bool:
    """Create a name with bytes that only this writer has."""
    return storage.create(name, f"{writer}\n".encode() * 20_000)


def add_lines(storage: Storage, name: str, lines: Sequence[str]) -> None:
    """Add lines to what several writers share, as publishers add states."""
    for line in lines:
        while True:
            data, version = storage.find(name) or (b"", None)
            if storage.swap(name, data + f"{line}\n".encode(), version=version):
                break


class StorageContract:
    """Needs a fixture ``storage`` that is empty."""

    def test_what_was_written_is_read(self, storage: Storage, tmp_path: Path) -> None:
        file = tmp_path / "hello.deb"
        file.write_bytes(b"\0package")
        storage.write("dists/candidate-1/InRelease", b"1")
        storage.write("dists/candidate-1/InRelease", b"2")
        storage.write("pool/h/hello.deb", file)
        storage.write("empty", b"")

        assert storage.read("dists/candidate-1/InRelease") == b"2"
        assert storage.read("pool/h/hello.deb") == b"\0package"
        assert storage.read("empty") == b""
        assert storage.exists("empty")

    def test_what_is_not_there_is_not_found(self, storage: Storage) -> None:
        with pytest.raises(NotFound, match="none"):
            storage.read("none")
        with pytest.raises(NotFound, match="none"), storage.open("none"):
            raise AssertionError
        with pytest.raises(NotFound, match="none"):
            storage.copy("none", "b")
        with pytest.raises(NotFound, match="none"):
            storage.copy("none", "none")
        storage.remove("none")

        assert storage.find("none") is None
        assert not storage.exists("none")
        assert not storage.exists("b")
        assert list(storage.names("")) == []

    def test_a_file_to_store_that_is_gone_is_named(self, storage: Storage, tmp_path: Path) -> None:
        for store in (storage.write, storage.create):
            with pytest.raises(NotFound, match=r"gone\.deb` is gone"):
                store("a", tmp_path / "gone.deb")
        assert not storage.exists("a")

    def test_bytes_come_from_any_place_on(self, storage: Storage) -> None:
        storage.write("a", b"0123456789")

        for start, expected in ((0, b"0123456789"), (4, b"456789"), (10, b""), (99, b"")):
            with storage.open("a", start=start) as (file, size):
                assert (file.read(), size) == (expected, 10)

    def test_what_is_there_is_not_created_again(self, storage: Storage) -> None:
        assert storage.create("a", b"1")
        assert not storage.create("a", b"2")
        assert storage.read("a") == b"1"

    def test_a_swap_needs_the_version_that_is_there(self, storage: Storage) -> None:
        assert not storage.swap("a", b"1", version='"0"')
        assert storage.swap("a", b"1", version=None)
        assert not storage.swap("a", b"2", version=None)
        found = storage.find("a")
        assert found
        assert storage.swap("a", b"3", version=found[1])
        assert not storage.swap("a", b"4", version=found[1])
        assert storage.read("a") == b"3"

    def test_a_copy_stays_as_it_is(self, storage: Storage) -> None:
        storage.write("a b+~é/x", b"1")
        storage.write("b", b"0")
        storage.copy("a b+~é/x", "b")
        storage.copy("b", "b")
        storage.write("a b+~é/x", b"2")

        assert storage.read("b") == b"1"

    def test_names_are_listed_by_their_first_characters_in_order(self, storage: Storage) -> None:
        written = ["o/a.b", "o/a/b", "o/a0", "o/Z", "o/é", "oo/x", "p"]
        for name in written:
            storage.write(name, b"")

        assert list(storage.names("o/")) == ["o/Z", "o/a.b", "o/a/b", "o/a0", "o/é"]
        assert list(storage.names("o/a")) == ["o/a.b", "o/a/b", "o/a0"]
        assert list(storage.names("o")) == ["o/Z", "o/a.b", "o/a/b", "o/a0", "o/é", "oo/x"]
        assert list(storage.names("")) == sorted(written, key=str.encode)
        assert list(storage.names("q/")) == []

    def test_what_was_removed_is_gone(self, storage: Storage) -> None:
        storage.write("a/b", b"1")
        storage.remove("a/b")

        assert not storage.exists("a/b")
        assert list(storage.names("")) == []
        assert storage.create("a/b", b"2")

    @pytest.mark.parametrize(
        "name", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a\n", "a" * 950]
    )
    def test_a_name_that_is_none_is_refused(self, name: str, storage: Storage) -> None:
        storage.write("ok", b"1")
        calls: tuple[Callable[[], object], ...] = (
            lambda: storage.write(name, b"1"),
            lambda: storage.create(name, b"1"),
            lambda: storage.read(name),
            lambda: storage.exists(name),
            lambda: storage.remove(name),
            lambda: storage.copy("ok", name),
        )
        for call in calls:
            with pytest.raises(InvalidRequest, match="no name"):
                call()

    def test_of_many_creators_exactly_one_wins(self, storage: Storage) -> None:
        with ThreadPoolExecutor(WRITERS) as pool:
            won = list(pool.map(lambda n: create_one(storage, "state-1", n), range(WRITERS)))

        assert won.count(True) == 1
        assert storage.read("state-1") == f"{won.index(True)}\n".encode() * 20_000

    def test_nothing_is_lost_when_many_swap(self, storage: Storage) -> None:
        lines = [[f"{writer}.{number}" for number in range(4)] for writer in range(WRITERS)]
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda own: add_lines(storage, "pointer", own), lines))

        found = storage.read("pointer").decode().split()
        assert sorted(found) == sorted(line for own in lines for line in own)

    def test_readers_see_whole_files_while_they_are_written(self, storage: Storage) -> None:
        storage.write("a", b"0" * 100_000)
        with ThreadPoolExecutor(WRITERS) as pool:
            writing = [
                pool.submit(storage.write, "a", f"{number % 10}".encode() * 100_000)
                for number in range(20)
            ]
            seen = [storage.read("a") for _ in range(20)]
            for one in writing:
                one.result()

        assert {(len(data), len(set(data))) for data in seen} == {(100_000, 1)}
