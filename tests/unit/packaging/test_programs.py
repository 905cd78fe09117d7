from __future__ import annotations

import contextlib
import shutil
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.errors import InvalidRequest
from ovenbird.packaging.building.programs import Program, program_of, programs_below

SHELL = Path("/bin/sh").resolve()


def made(*, machine: int = 62, kind: int = 2, needed: tuple[str, ...] = ()) -> bytes:
    """Make a program of one loaded part, with a table of what it needs."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    tags, at = [], 1
    for name in needed:
        tags.append((1, at))
        at += len(name) + 1
    start = 64 + 2 * 56
    tags += [(5, 0x1000 + start), (10, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    total = start + len(strings) + len(dynamic)
    head = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    loaded = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x1000, 0x1000, total, total, 0x1000)
    where = start + len(strings)
    dynamics = struct.pack("<IIQQQQQQ", 2, 6, where, 0, 0, len(dynamic), len(dynamic), 8)
    return head + loaded + dynamics + strings + dynamic


def test_the_shell_says_what_it_needs() -> None:
    found = program_of(SHELL)

    assert found.executable
    assert found.interpreter.startswith("/")
    assert "libc.so.6" in found.needed


@pytest.mark.parametrize(
    ("machine", "architecture"), [(62, "amd64"), (183, "arm64"), (243, "machine 243")]
)
def test_a_program_says_its_machine_and_libraries(
    machine: int, architecture: str, tmp_path: Path
) -> None:
    path = tmp_path / "program"
    path.write_bytes(made(machine=machine, needed=("libssl.so.3", "libc.so.6")))

    assert program_of(path) == Program(
        architecture=architecture,
        interpreter="",
        needed=("libssl.so.3", "libc.so.6"),
        executable=True,
    )


def test_a_library_is_no_program(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(made(kind=3, needed=("libc.so.6",)))

    assert not program_of(path).executable


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01" + bytes(80), b"\x7fELF"])
def test_what_is_no_program_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_bytes(data)

    with pytest.raises(InvalidRequest, match="`script` is not a compiled program: it"):
        program_of(path)


@given(data=st.data())
def test_a_broken_program_is_refused_or_read(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = bytearray(made(needed=("libc.so.6",)))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "broken"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])

    with contextlib.suppress(InvalidRequest):
        assert program_of(path).architecture


def test_compiled_files_of_a_tree_are_found(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    shutil.copyfile(sys.executable, tmp_path / "b/python")
    (tmp_path / "a.so").write_bytes(made())
    (tmp_path / "text").write_text("x")
    (tmp_path / "link").symlink_to("a.so")

    assert list(programs_below(tmp_path)) == [tmp_path / "a.so", tmp_path / "b/python"]
