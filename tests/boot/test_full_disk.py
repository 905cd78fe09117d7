"""A disk that fills while something is published: the last good state stays served."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovenbird.domain.errors import OvenbirdError
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.system.commands import run
from ovenbird.system.directory_storage import DirectoryStorage
from tests.unit.packaging.repositories import NOW, Apt, built

pytestmark = pytest.mark.boot


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with little room."""
    place = tmp_path / "disk"
    place.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], timeout_s=20)
    try:
        yield place
    finally:
        run(["umount", place], timeout_s=20)


@pytest.mark.parametrize("size", [40_000, 1_000_000], ids=["in the indexes", "in the pool"])
def test_what_was_published_stays_served_and_goes_on_when_there_is_room(
    disk: Path, tmp_path: Path, size: int
) -> None:
    key = SigningKey(tmp_path / "key", algorithm="ed25519")
    repository = PackageRepository(DirectoryStorage(disk / "r"), name="main", signer=key)
    repository.publish([built(tmp_path / "a", "hello")], channel="candidate", at=NOW)
    large = built(tmp_path / "b", "large", content=os.urandom(size).hex())
    _fill(disk, leaving=60_000)

    with pytest.raises(OvenbirdError, match="full") as caught:
        repository.publish([large], channel="candidate", at=NOW)
    while_full = _seen(disk, tmp_path / "full", key)
    found = repository.verify()
    (disk / "ballast").unlink()
    run(["mount", "-o", "remount,size=16m", disk], timeout_s=20)
    state = repository.publish([large], channel="candidate", at=NOW)

    assert caught.value.hint
    assert (while_full, found) == ({"hello 1.0.0 all"}, ())
    assert state.number == 2
    assert _seen(disk, tmp_path / "room", key) == {"hello 1.0.0 all", "large 1.0.0 all"}
    assert repository.verify() == ()


def _fill(disk: Path, *, leaving: int) -> None:
    status = os.statvfs(disk)
    free = status.f_bavail * status.f_frsize
    (disk / "ballast").write_bytes(bytes(free - leaving))


def _seen(disk: Path, where: Path, key: SigningKey) -> set[str]:
    apt = Apt(
        where, url=f"file:{disk}/r", suite="candidate", key=str(key.ensure()), component="main"
    )
    apt.update()
    return apt.packages()
