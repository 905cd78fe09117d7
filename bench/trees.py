"""Trees to package: the example app, and larger ones that are the same on every machine."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from ovenbird.config.manifest import load_manifest
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import Content, ContentKind, PackageSpec
from ovenbird.system.commands import run

EXAMPLE = Path(__file__).resolve().parent.parent / "examples/hello"
FILES = 4000  # of a large tree
SIZES = {
    "small": 0,
    "1mb": 1_000_000,
    "60mb": 60_000_000,
    "500mb": 500_000_000,
    "1gb": 1_000_000_000,
}  # bytes
FEW = {"1mb": 60}  # files of a small tree
SPACE = 5  # times its size: the tree, what peers are given, packages and what they are made of
_LINES, _LINE_BYTES = 4096, 48
_SEED = 20261125


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """What is packaged.

    Args:
        spec: As the manifest says it.
        checkout: The built tree.
    """

    name: str
    spec: PackageSpec
    checkout: Path


def make(name: str, work: Path) -> Tree:
    """Make a tree below a directory.

    Raises:
        InvalidRequest: The disk has no room for all that is made of it.
    """
    wanted, free = SIZES[name] * SPACE, shutil.disk_usage(work).free
    if free < wanted:
        raise InvalidRequest(
            f"`{work}` has {free / 1e9:.1f} GB free; packaging `{name}` takes {wanted / 1e9:.1f}",
            hint="Make room, or name another directory with `--work`",
        )
    return _example(work) if name == "small" else _large(name, work, SIZES[name])


def _example(work: Path) -> Tree:
    checkout = work / "small"
    shutil.copytree(EXAMPLE, checkout)
    run(["make", "dist"], cwd=checkout, timeout_s=60)
    return Tree(name="small", spec=load_manifest(checkout).packages[0], checkout=checkout)


def _large(name: str, work: Path, size: int) -> Tree:
    """Write files of many sizes, half of each text and half noise, in nested directories.

    Text is lines out of 4,096, so it shrinks to a tenth as programs' text does; noise stays.
    """
    chance = random.Random(_SEED)  # noqa: S311 - the same tree everywhere is the point
    lines = [chance.randbytes(_LINE_BYTES // 2).hex().encode() for _ in range(_LINES)]
    shares = [chance.lognormvariate(0, 1) for _ in range(FEW.get(name, FILES))]
    checkout = work / name
    for number, share in enumerate(shares):
        path = checkout / "tree" / _place(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        half = int(size * share / sum(shares)) // 2
        text = b"".join(chance.choices(lines, k=half // _LINE_BYTES))
        path.write_bytes(text + chance.randbytes(half))
        path.chmod(0o755 if number % 20 == 0 else 0o644)
    content = Content(origin="tree", destination="/opt/bench", kind=ContentKind.TREE)
    spec = PackageSpec(
        name="bench", maintainer="Bench Team <bench@example.com>", contents=(content,)
    )
    return Tree(name=name, spec=spec, checkout=checkout)


def _place(number: int) -> str:
    """Return a path: directories hold files beside other directories, as apps have them."""
    part, module = number // 200, number // 20
    if number % 20 < 5:
        return f"part{part:02d}/file{number:04d}.py"
    return f"part{part:02d}/module{module:03d}/file{number:04d}.py"
