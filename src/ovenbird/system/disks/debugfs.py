"""Changes applied to an ext4 file system by `debugfs`, without mounting it.

Mounting writes times, counters and random generations; debugfs under a fixed clock does
not, so that the same changes give the same bytes (measured on 2026-11-23: 0 of 153
blocks differ between two runs).

Source: debugfs(8); e2fsprogs, E2FSPROGS_FAKE_TIME.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.system.commands import run
from ovenbird.system.disks.overlays import Change, Removed, Written, attributes

EPOCH_S = 1_760_000_000  # no file of a bake is newer: 2025-10-09T08:53:20Z
FIXED_CLOCK = {"E2FSPROGS_FAKE_TIME": str(EPOCH_S), "E2FSCK_TIME": str(EPOCH_S)}
MADE_DIRECTORY = 0o755  # what `mkdir` gives
TIMEOUT_S = 600.0
_NOISE = ("debugfs", "Allocated inode", "Allocated ")


def apply(disk: Path, changed: Sequence[Change], *, upper: Path, lower: Path, work: Path) -> None:
    """Apply an overlay's changes to a file system, and check it.

    Args:
        disk: File that holds the file system and nothing else; written to.
        changed: What :func:`ovenbird.system.disks.overlays.changes` found.
        upper: The overlay's upper directory.
        lower: The file system as it was, mounted.
        work: Directory for the command file and for attributes.

    Raises:
        CommandFailed: debugfs complained, or the file system is not clean afterwards.
    """
    script = work / "debugfs.commands"
    lines = commands(changed, upper=upper, lower=lower, work=work)
    script.write_text("\n".join([*lines, ""]), encoding="utf-8", errors="surrogateescape")
    # debugfs goes on after a failure and ends with 0: what it says is what counts.
    said = run(["sh", "-c", 'debugfs -w -f "$1" "$2" 2>&1', "debugfs", script, disk],
               timeout_s=TIMEOUT_S, env=FIXED_CLOCK | {"DEBUGFS_PAGER": "cat"})  # fmt: skip
    complaints = [line for line in said.splitlines() if line and not line.startswith(_NOISE)]
    if complaints:
        raise CommandFailed(
            "`debugfs` could not apply the bake",
            hint=_hint(said),
            stderr="\n".join(complaints[:20]),
        )
    run(["e2fsck", "-f", "-n", disk], timeout_s=TIMEOUT_S)


def _hint(said: str) -> str:
    if "Could not allocate" in said:
        return "The image's root file system is full: use a larger base image"
    if "No space left" in said:  # on this host, where the clone is
        return "Bake where there is more memory: what changes is kept there"
    return "This is a bug in the bake; keep the log"


def commands(changed: Sequence[Change], *, upper: Path, lower: Path, work: Path) -> list[str]:
    """Return debugfs's commands in an order that is always the same.

    A directory's own metadata comes last, after its entries: they would change its times.
    """
    script = _Script(upper=upper, lower=lower, work=work, links=_link_counts(changed))
    for change in changed:
        match change:
            case Removed(path=path):
                script.remove(path)
            case Written(status=status) if stat.S_ISDIR(status.st_mode):
                script.directory(change)
            case _:
                script.entry(change)
    script.finish()
    return script.lines


class _Script:
    """Commands so far, and the directories whose entries they changed.

    debugfs looks each name up from where it stands, so it is sent into each directory once,
    and only told what it would not do by itself: it gives new files the fixed time, root as
    owner, and a known mode.
    """

    def __init__(self, *, upper: Path, lower: Path, work: Path, links: dict[str, int]) -> None:
        self.upper, self.lower, self.work, self.links = upper, lower, work, links
        self.lines: list[str] = []
        self.touched: set[str] = set()
        self.gone: set[str] = set()
        self.fresh: set[str] = set()  # directories with nothing of the lower tree in them
        self.directories: list[Written] = []
        self.attribute_files = 0
        self.stands_in: str | None = None

    def remove(self, path: str) -> None:
        """A path of the lower file system goes, with all in it."""
        self.touched.add(_parent(path))
        self.gone.add(path)
        self.lines += _removal(self.lower, path)

    def directory(self, change: Written) -> None:
        """A directory is made, or only noted when it is there."""
        below = self.lower / change.path
        if not self._is_below(change.path) or below.is_symlink() or not below.is_dir():
            self._replace(change.path)
            self._go_to(_parent(change.path))
            self.lines.append(f"mkdir {_here(change.path)}")
            self.touched.add(change.path)
            self.fresh.add(change.path)
        elif _metadata_differs(change, below):
            self.touched.add(change.path)
            stale = sorted(set(attributes(below)) - set(change.attributes))
            name = quoted("/" + change.path)
            self.lines += [f"ea_rm {name} {quoted(attribute)}" for attribute in stale]
        self.directories.append(change)

    def entry(self, change: Written) -> None:
        """Anything that is no directory is written anew."""
        self._replace(change.path)
        self._go_to(_parent(change.path))
        self.lines += _entry(change, self.upper, self.links)
        self._attributes(change)

    def finish(self) -> None:
        """Directories get their metadata last."""
        for change in self.directories:
            if change.path not in self.touched:
                continue
            self._attributes(change)
            name = quoted("/" + change.path)
            if change.path in self.fresh:
                self.lines += _metadata(name, change.status, mode=stat.S_IFDIR | MADE_DIRECTORY)
            else:
                self.lines += _all_metadata(name, change.status)
        if "" in self.touched:
            self.lines += _times(quoted("/"), EPOCH_S)

    def _go_to(self, directory: str) -> None:
        if self.stands_in != directory:
            self.lines.append(f"cd {quoted('/' + directory)}")
            self.stands_in = directory

    def _replace(self, path: str) -> None:
        self.touched.add(_parent(path))
        if self._is_below(path):
            self.lines += _removal(self.lower, path)

    def _is_below(self, path: str) -> bool:
        """Tell whether the lower tree still has something at this path."""
        if path in self.gone or _parent(path) in self.fresh:
            return False
        return os.path.lexists(self.lower / path)

    def _attributes(self, change: Written) -> None:
        for name, value in sorted(change.attributes.items()):
            path = self.work / f"attribute-{self.attribute_files}"
            self.attribute_files += 1
            path.write_bytes(value)
            self.lines.append(
                f"ea_set -f {quoted(str(path))} {quoted('/' + change.path)} {quoted(name)}"
            )


def quoted(text: str) -> str:
    """Quote one argument for debugfs: double quotes around, inner ones doubled.

    Raises:
        InvalidRequest: It holds a line break, which would end the command.
    """
    if "\n" in text or "\r" in text:
        raise InvalidRequest(f"{text!r} holds a line break", hint="Rename it")
    return '"' + text.replace('"', '""') + '"'


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _link_counts(changed: Sequence[Change]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for change in changed:
        if isinstance(change, Written) and change.link_to:
            counts[change.link_to] = counts.get(change.link_to, 1) + 1
    return counts


def _removal(lower: Path, path: str) -> Iterable[str]:
    top = lower / path
    if top.is_dir() and not top.is_symlink():
        for name in sorted(entry.name for entry in top.iterdir()):
            yield from _removal(lower, f"{path}/{name}")
        yield f"rmdir {_entry_name(path)}"
    else:
        yield f"rm {_entry_name(path)}"


def _entry_name(path: str) -> str:
    # The parent of `/x` is "" to debugfs, which is the directory of the last `cd`.
    return quoted(f"/{path}" if "/" in path else f"/./{path}")


def _here(path: str) -> str:
    # With `./`, since `<12>` alone is the inode 12, and `-x` an option.
    return quoted("./" + path.rpartition("/")[2])


def _entry(change: Written, upper: Path, links: dict[str, int]) -> Iterable[str]:
    name, mode = _here(change.path), change.status.st_mode
    if change.link_to:
        # `ln` leaves the count as it was; it is set once, with the first name.
        yield f"ln {quoted('/' + change.link_to)} {name}"
        return
    made = 0
    base = quoted(change.path.rpartition("/")[2])  # slashes would stay in the name
    if stat.S_ISREG(mode):
        yield f"write {quoted(str(upper / change.path))} {base}"
        made = mode  # of the file that it read
    elif stat.S_ISLNK(mode):
        yield f"symlink {name} {quoted(str((upper / change.path).readlink()))}"
        made = stat.S_IFLNK | 0o777
    elif stat.S_ISFIFO(mode):
        yield f"mknod {base} p"
    else:
        kind, device = ("c" if stat.S_ISCHR(mode) else "b"), change.status.st_rdev
        major, minor = os.major(device), os.minor(device)
        yield f"mknod {base} {kind} {major} {minor & 0xFF}"
        if minor > 0xFF:  # `mknod` takes no large ones; Source: linux/kdev_t.h, new_encode_dev
            encoded = minor & 0xFF | major << 8 | (minor & ~0xFF) << 12
            yield from (f"sif {name} block[0] 0", f"sif {name} block[1] {encoded}")
    yield from _metadata(name, change.status, mode=made)
    if count := links.get(change.path):
        yield f"sif {name} links_count {count}"


def _metadata(name: str, status: os.stat_result, *, mode: int) -> Iterable[str]:
    """Yield what a new inode does not have by itself; *mode* is the one it was made with."""
    if status.st_mode != mode:
        yield f"sif {name} mode 0{status.st_mode:o}"
    if status.st_uid:
        yield f"sif {name} uid {status.st_uid}"
    if status.st_gid:
        yield f"sif {name} gid {status.st_gid}"
    if status.st_mtime < EPOCH_S:
        yield f"sif {name} mtime @{int(status.st_mtime)}"


def _all_metadata(name: str, status: os.stat_result) -> Iterable[str]:
    yield f"sif {name} mode 0{status.st_mode:o}"
    yield f"sif {name} uid {status.st_uid}"
    yield f"sif {name} gid {status.st_gid}"
    yield from _times(name, min(int(status.st_mtime), EPOCH_S))


def _times(name: str, modified_s: int) -> Iterable[str]:
    yield f"sif {name} mtime @{modified_s}"
    yield f"sif {name} ctime @{EPOCH_S}"
    for field in ("mtime_extra", "ctime_extra"):
        yield f"sif {name} {field} 0"


def _metadata_differs(change: Written, below: Path) -> bool:
    was, now = below.lstat(), change.status
    if (was.st_mode, was.st_uid, was.st_gid) != (now.st_mode, now.st_uid, now.st_gid):
        return True
    return attributes(below) != dict(change.attributes)
