"""Files and trees of the app's directory, brought into the image, as they are or filled in.

    source ─(template: filled in)─▶ lent ─▶ a script of install(1) and ln(1), run inside

Programs inside write them, since only there the image's links and accounts mean what they say.
Source: install(1) of coreutils: what is at the target goes first, directories above are made.
"""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.recipes import BroughtFile, filled
from ovenbird.system.recipes.doing import Doing

IN_THE_WAY = "What is in the way stands above; owner and group must exist in the image by then"


def bring(work: BroughtFile, doing: Doing) -> None:
    """Put a file or a tree into the image; what was there goes, what is beside it stays.

    Raises:
        CommandFailed: Its owner or group does not exist, or it could not be written.
        InvalidRequest: It is missing, or a template that cannot be filled in.
    """
    source = doing.file(work.source)
    said = f"file {work.source} to {work.target}"
    doing.log(f"$ {said}")
    with (
        _filled(work, doing, source) as ready,
        _scripted(script(ready, work)) as place,
        doing.hands.lend(ready) as lent,
        doing.hands.lend(place) as steps,
    ):
        doing.hands.run(["sh", "-e", steps, lent], said=said, hint=IN_THE_WAY)


def script(source: Path, work: BroughtFile) -> str:
    """Return shell lines that put a source, lent as ``$1``, to its target."""
    owners = f"-o {shlex.quote(work.owner)} -g {shlex.quote(work.group)}"
    head = [
        "umask 022",
        f'd() {{ [ -d "$1" ] || install -d {owners} -m {_of_directories(work)} -- "$1"; }}',
        f'f() {{ install -D -T {owners} -m "$1" -- "$2" "$3"; }}',
        f'l() {{ ln -s -f -n -T -- "$1" "$2"; chown -h {work.owner}:{work.group} -- "$2"; }}',
    ]
    if not source.is_dir():
        return "\n".join([*head, f'f {_mode(source, work)} "$1" {shlex.quote(work.target)}', ""])
    return "\n".join([*head, *_tree(source, work), ""])


def _tree(source: Path, work: BroughtFile) -> Iterator[str]:
    target = work.target.rstrip("/")
    yield f"d {shlex.quote(target or '/')}"
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        there = shlex.quote(f"{target}/{inside}")
        if path.is_symlink():
            yield f"l {shlex.quote(str(path.readlink()))} {there}"
        elif path.is_dir():
            yield f"d {there}"
        elif path.is_file():
            yield f'f {_mode(path, work)} "$1"/{shlex.quote(str(inside))} {there}'


def _mode(path: Path, work: BroughtFile) -> str:
    if work.mode:
        return work.mode
    return "0755" if path.stat().st_mode & stat.S_IXUSR else "0644"


def _of_directories(work: BroughtFile) -> str:
    """Return the mode of directories that are made: who reads files may look into them."""
    if not work.mode:
        return "0755"
    mode = int(work.mode, base=8)
    return f"{mode | (mode & 0o444) >> 2:04o}"


@contextmanager
def _filled(work: BroughtFile, doing: Doing, source: Path) -> Iterator[Path]:
    """Yield the source, or for templates a copy with its variables filled in."""
    if not work.is_template:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as name:
        ready = Path(name) / source.name
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            _fill(path, ready / path.relative_to(source), doing)
        yield ready


def _fill(path: Path, ready: Path, doing: Doing) -> None:
    ready.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        ready.symlink_to(path.readlink())
    elif path.is_dir():
        ready.mkdir(exist_ok=True)
    else:
        shown = str(path.relative_to((doing.directory or path.parent).resolve()))
        text = filled(_text(path, shown), doing.step.variables, shown=shown)
        ready.write_bytes(text.encode())  # in UTF-8, whatever this process's locale is
        ready.chmod(path.stat().st_mode)


def _text(path: Path, shown: str) -> str:
    try:
        return path.read_bytes().decode()  # its ends of lines stay what they are
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"`{shown}` is a template and not text in UTF-8", hint="Take `template` out"
        ) from error


@contextmanager
def _scripted(text: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as name:
        path = Path(name) / "place"
        path.write_bytes(os.fsencode(text))  # names of files need not be UTF-8
        yield path
