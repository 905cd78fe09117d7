"""A Python virtual environment made in one directory to stand in another.

A program of its own, run inside the build by the interpreter that the environment is for:

    relocation.py prepare TREE INTO INTERPRETER     an empty environment in TREE
    ... pip installs into it ...
    relocation.py settle TREE INTO CHECKOUT         as if it had been made in INTO

Settled, nothing says where it was made: scripts, ``.pth`` files and ``pyvenv.cfg`` say INTO,
``direct_url.json`` of local directories is gone, ``RECORD`` has the new digests, modules are
compiled with their digest in the place of their time, and the same input gives the same bytes.

It uses nothing but the standard library, as far back as Python 3.8.

Source: PEP 405 (pyvenv.cfg), PEP 376 and the packaging guide's "Recording installed
projects" (RECORD), PEP 610 (direct_url.json), PEP 552 (modules checked by digest), pip's
vendored distlib, ``scripts.py`` (the first lines of scripts).
"""

from __future__ import annotations

import base64
import compileall
import csv
import hashlib
import io
import json
import os
import py_compile
import re
import shutil
import sys
from pathlib import Path

NOTES = 5  # how many places that still say the checkout's path are told
ACTIVATION = ("activate", "activate.csh", "activate.fish", "Activate.ps1")


def prepare(tree: Path, into: str, interpreter: str) -> None:
    """Make an empty environment.

    Args:
        tree: The directory to make; what is in it is removed.
        into: Where it will stand, absolute.
        interpreter: Absolute path of the machine's Python.
    """
    if tree.exists():
        shutil.rmtree(str(tree))
    _library(tree).mkdir(parents=True)
    (tree / "bin").mkdir()
    (tree / "lib64").symlink_to("lib")  # as venv does; some interpreters install there
    (tree / "bin/python3").symlink_to(interpreter)
    (tree / "bin/python").symlink_to("python3")
    number = ".".join(str(part) for part in sys.version_info[:3])
    home = os.path.dirname(interpreter)  # noqa: PTH120 - a path of the machine, never looked at
    lines = [f"home = {home}", "include-system-site-packages = false", f"version = {number}"]
    (tree / "pyvenv.cfg").write_text(
        "\n".join([*lines, f"command = {interpreter} -m venv {into}", ""])
    )


def settle(tree: Path, into: str, checkout: str) -> list[str]:
    """Let everything say that it is in *into*.

    Args:
        tree: The environment.
        into: Where it will stand, absolute.
        checkout: The directory whose path nothing may hold afterwards.

    Returns:
        Files that hold it nevertheless, relative; compiled modules do, for example.

    Raises:
        ValueError: Something is installed in editable mode, and would stay in the checkout.
    """
    gone = {path for path in _files(tree) if _is_of_the_build(tree, path)}
    for path in gone:
        path.unlink()
    _refuse_editable(tree, checkout)
    changed = {path for path in _texts(tree) if _rewritten(path, str(tree), into)}
    for record in sorted(_library(tree).glob("*.dist-info/RECORD")):
        _record(record, changed, gone)
    _compile(tree, into)
    return _remains(tree, checkout)


def _library(tree: Path) -> Path:
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return tree / "lib" / name / "site-packages"


def _files(tree: Path) -> list[Path]:
    found = []
    for directory, _, names in os.walk(str(tree)):
        found += [Path(directory) / name for name in names]
    return sorted(path for path in found if not path.is_symlink())


def _is_of_the_build(tree: Path, path: Path) -> bool:
    if path.name == "direct_url.json" and path.parent.name.endswith(".dist-info"):
        return str(json.loads(path.read_text()).get("url", "")).startswith("file:")
    activates = path.parent == tree / "bin" and path.name in ACTIVATION
    return activates or path.suffix == ".pyc"


def _texts(tree: Path) -> list[Path]:
    return [*_files(tree / "bin"), *sorted(_library(tree).glob("*.pth"))]


def _refuse_editable(tree: Path, checkout: str) -> None:
    for path in sorted(_library(tree).glob("*.pth")):
        lines = path.read_text(errors="replace").splitlines()
        if any(line.startswith(checkout) and not line.startswith(str(tree)) for line in lines):
            raise ValueError(f"`{path.name}` is installed in editable mode: drop `-e`")
    for path in sorted(_library(tree).glob("__editable__*")):
        raise ValueError(f"`{path.name}` is installed in editable mode: drop `-e`")


def _rewritten(path: Path, tree: str, into: str) -> bool:
    was = path.read_bytes()
    if b"\0" in was:
        return False
    # Where the path is too long for a kernel's first line, pip lets a shell start Python.
    long = b"#!/bin/sh\n'''exec' \"?" + re.escape(tree.encode()) + b'/bin/(python3?)"? '
    long += b"\"\\$0\" \"\\$@\"\n' '''\n"
    now = re.sub(long, b"#!" + into.encode() + b"/bin/\\1\n", was)
    now = now.replace(tree.encode(), into.encode())
    if now != was:
        path.write_bytes(now)
    return now != was


def _record(record: Path, changed: set[Path], gone: set[Path]) -> None:
    """Write the list of installed files again, sorted, for what is there now."""
    site = record.parent.parent
    rows = []
    with record.open(newline="") as file:
        for name, digest, size in csv.reader(file):
            path = Path(os.path.normpath(str(site / name)))
            if path in gone or path.suffix == ".pyc":
                continue
            rows.append(_row(name, path) if path in changed else [name, digest, size])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    record.write_text(text.getvalue())


def _row(name: str, path: Path) -> list[str]:
    data = path.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return [name, f"sha256={digest}", str(len(data))]


def _compile(tree: Path, into: str) -> None:
    library = _library(tree)
    place = str(library.relative_to(tree))
    compileall.compile_dir(
        str(library),
        maxlevels=50,
        ddir=f"{into}/{place}",
        force=True,
        quiet=2,  # what does not compile, as templates, is left as it is
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def _remains(tree: Path, checkout: str) -> list[str]:
    word = checkout.encode()
    return [str(path.relative_to(tree)) for path in _files(tree) if word in path.read_bytes()]


def main(words: list[str]) -> int:
    """Do what the command line asks; see the module."""
    if words[:1] == ["prepare"] and len(words) == 4:
        prepare(Path(words[1]), words[2], words[3])
        return 0
    try:
        remains = settle(Path(words[1]), words[2], words[3])
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for name in remains[:NOTES]:
        sys.stdout.write(f"note: `{name}` says where it was built\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
