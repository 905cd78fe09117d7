"""Compiled programs and libraries: for which machine they are, and what they need.

Source: elf(5), "ELF header", "Program header", "Dynamic tags"; the ABI supplements' numbers
of machines.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ovenbird.domain.errors import InvalidRequest

MAGIC = b"\x7fELF"
_MACHINES = {62: "amd64", 183: "arm64"}  # EM_X86_64, EM_AARCH64
_EXECUTABLE, _SHARED = 2, 3
_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_NEEDED, _STRTAB, _STRSZ = 1, 5, 10
_MAX_STRINGS = 64 << 20  # bytes; a table of names is far smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What an ELF file says of itself.

    Args:
        architecture: ``amd64``, ``arm64``, or ``machine N`` for others.
        interpreter: The dynamic loader; empty for libraries and static programs.
        needed: Names of the shared libraries that it needs, in its order.
        executable: It can be run, and is no library.
    """

    architecture: str
    interpreter: str
    needed: tuple[str, ...]
    executable: bool


def program_of(path: Path) -> Program:
    """Read a compiled program or library.

    Raises:
        InvalidRequest: It is not an ELF file of 64 bits, or a broken one.
    """
    try:
        with path.open("rb") as file:
            return _Reader(file.fileno()).program()
    except (struct.error, OverflowError, OSError, ValueError) as error:
        raise InvalidRequest(f"`{path.name}` is not a compiled program: {error}") from error


def programs_below(top: Path) -> Iterator[Path]:
    """Yield the compiled files of a tree, sorted; links are not followed."""
    for directory, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            path = Path(directory, name)
            if not path.is_symlink() and path.is_file() and _begins_as_one(path):
                yield path


def _begins_as_one(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == MAGIC


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


class _Reader:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        head = self._read(0, 64)
        if head[:4] != MAGIC:
            raise ValueError("it does not begin as ELF files do")
        if head[4] != 2:
            raise ValueError("it is not one of 64 bits")
        if head[5] not in {1, 2}:
            raise ValueError("its byte order is unknown")
        self._order = "<" if head[5] == 1 else ">"
        self._type, self._machine = self._unpack("HH", head, 16)
        (table,) = self._unpack("Q", head, 32)
        entry, count = self._unpack("HH", head, 54)
        self._segments = [self._segment(table + entry * index) for index in range(count)]

    def program(self) -> Program:
        interpreter = self._interpreter()
        return Program(
            architecture=_MACHINES.get(self._machine, f"machine {self._machine}"),
            interpreter=interpreter,
            needed=tuple(self._needed()),
            executable=self._type == _EXECUTABLE
            or (self._type == _SHARED and (bool(interpreter) or self._is_static_pie())),
        )

    def _interpreter(self) -> str:
        for segment in self._segments:
            if segment.kind == _INTERP:
                return self._read(segment.offset, segment.size).rstrip(b"\0").decode()
        return ""

    def _is_static_pie(self) -> bool:
        """A static program that can be loaded anywhere is a shared object without a name."""
        tags = {tag for tag, _ in self._dynamic()}
        return not tags & {14, _NEEDED} and 0x6FFFFFFB in tags  # DT_SONAME; DT_FLAGS_1 (PIE)

    def _needed(self) -> Iterator[str]:
        tags = list(self._dynamic())
        values = dict(tags)
        if _STRTAB not in values:
            return
        start, size = self._at(values[_STRTAB]), values.get(_STRSZ, 0)
        if size > _MAX_STRINGS:
            raise ValueError("its table of names is too large")
        strings = self._read(start, size)
        for tag, value in tags:
            if tag == _NEEDED:
                yield strings[value : strings.index(b"\0", value)].decode()

    def _dynamic(self) -> Iterator[tuple[int, int]]:
        for segment in self._segments:
            if segment.kind == _DYNAMIC:
                table = self._read(segment.offset, segment.size)
                for at in range(0, len(table) - 15, 16):
                    tag, value = self._unpack("QQ", table, at)
                    if tag == 0:
                        return
                    yield tag, value

    def _at(self, address: int) -> int:
        for one in self._segments:
            if one.kind == _LOAD and one.address <= address < one.address + one.size:
                return one.offset + address - one.address
        raise ValueError("its table of names is nowhere in it")

    def _segment(self, at: int) -> _Segment:
        raw = self._read(at, 56)
        kind, _flags, offset, address, _physical, size = self._unpack("IIQQQQ", raw, 0)
        if size > _MAX_STRINGS and kind in {_DYNAMIC, _INTERP}:
            raise ValueError("a part of it is too large")
        return _Segment(kind=kind, offset=offset, address=address, size=size)

    def _read(self, at: int, size: int) -> bytes:
        data = os.pread(self._descriptor, size, at)
        if len(data) < size:
            raise ValueError("it ends too early")
        return data

    def _unpack(self, words: str, data: bytes, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + words, data, at)
