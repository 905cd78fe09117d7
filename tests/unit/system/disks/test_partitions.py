from __future__ import annotations

import struct
import uuid
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.errors import InvalidRequest
from ovenbird.system.disks.partitions import MOST_LOGICAL, Partition, partitions

ROOT = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
SECTORS = 8192


def gpt(path: Path, table: list[tuple[str, int, int]], *, sectors: int = SECTORS) -> Path:
    """Write a disk whose GPT has these (type, first sector, last sector)."""
    entries = b"".join(
        uuid.UUID(kind).bytes_le + bytes(16) + struct.pack("<QQ", first, last) + bytes(80)
        for kind, first, last in table
    ).ljust(128 * 128, b"\0")
    sums = struct.pack("<QIII", 2, 128, 128, zlib.crc32(entries))
    header = bytearray(b"EFI PART" + struct.pack("<II", 0x10000, 92) + bytes(56) + sums)
    header[16:20] = struct.pack("<I", zlib.crc32(header))
    return written(path, {512: bytes(header), 1024: entries}, sectors=sectors)


def mbr(*entries: tuple[int, int, int], status: int = 0) -> bytes:
    """Return a boot record with these (type, first sector, sectors)."""
    table = b"".join(
        bytes([status, 0, 0, 0, kind, 0, 0, 0]) + struct.pack("<II", first, count)
        for kind, first, count in entries
    )
    return bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"


def written(path: Path, pieces: dict[int, bytes], *, sectors: int = SECTORS) -> Path:
    with path.open("wb") as file:
        for at, data in pieces.items():
            file.seek(at)
            file.write(data)
        file.truncate(sectors * 512)
    return path


def test_a_gpt_has_types_and_places(tmp_path: Path) -> None:
    path = gpt(tmp_path / "d.raw", [(ESP, 2048, 4095), (ROOT, 34, 40)])

    assert partitions(path) == (
        Partition(kind=ESP, offset=2048 * 512, size=2048 * 512),
        Partition(kind=ROOT, offset=34 * 512, size=7 * 512),
    )


@pytest.mark.parametrize("at", [512 + 80, 1024 + 35])
def test_a_damaged_gpt_is_said_to_be_damaged(tmp_path: Path, at: int) -> None:
    path = gpt(tmp_path / "d.raw", [(ROOT, 34, 40)])
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff")

    with pytest.raises(InvalidRequest, match="damaged GUID partition table"):
        partitions(path)


def test_a_disk_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = gpt(tmp_path / "d.raw", [(ROOT, 34, 2000)], sectors=1000)

    with pytest.raises(InvalidRequest, match="cut short: a partition ends at byte 1024512"):
        partitions(path)


def test_an_mbr_has_primary_and_logical_partitions(tmp_path: Path) -> None:
    chain = {
        0: mbr((0x83, 64, 100), (0x05, 1000, 2000)),
        1000 * 512: mbr((0x83, 8, 92), (0x05, 500, 100)),
        1500 * 512: mbr((0x8E, 8, 50)),
    }

    found = partitions(written(tmp_path / "d.raw", chain))

    assert [(p.kind, p.offset // 512, p.size // 512) for p in found] == [
        ("83", 64, 100),
        ("83", 1008, 92),
        ("8e", 1508, 50),
    ]


def test_a_chain_in_circles_ends(tmp_path: Path) -> None:
    chain = {0: mbr((0x0F, 1000, 2000)), 1000 * 512: mbr((0x83, 8, 8), (0x0F, 0, 10))}
    assert len(partitions(written(tmp_path / "d.raw", chain))) == 1

    chain[1000 * 512] = mbr((0x83, 8, 8), (0x0F, 10, 10))
    chain[1010 * 512] = mbr((0x83, 8, 8), (0x0F, 10, 10))
    assert len(partitions(written(tmp_path / "d.raw", chain))) == MOST_LOGICAL


def test_a_file_systems_boot_sector_is_no_table(tmp_path: Path) -> None:
    code = mbr((0x83, 1, 1), status=0x7F)

    assert partitions(written(tmp_path / "d.raw", {0: code})) == ()


def test_an_empty_disk_and_an_empty_file_have_no_partitions(tmp_path: Path) -> None:
    assert partitions(written(tmp_path / "d.raw", {})) == ()
    assert partitions(written(tmp_path / "e.raw", {}, sectors=0)) == ()


@given(st.binary(max_size=2048), st.sampled_from([b"", b"EFI PART"]))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, mark: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.raw"
    path.write_bytes(data[:512].ljust(512, b"\0") + mark + data[512:])

    found: tuple[Partition, ...] = ()
    with suppress(InvalidRequest):
        found = partitions(path)

    assert all(p.offset + p.size <= path.stat().st_size for p in found)
