"""What a package installs, in nfpm's words; many files of one directory in one pattern.

nfpm needs 20 µs of a processor for each content that is listed, and a quarter of it for one of
a pattern; a package of 4,000 files and 60 MB takes it 0.4 s to 0.9 s of processor time in all
(measured on 2026-11-25 with nfpm 2.48; the bytes are the same). A pattern names each file, so
what else lies in the directory stays out.

Source: nfpm's configuration reference, ``contents``, ``disable_globbing``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ovenbird.packaging.writing.contents import Entry

MOST = 200  # files in one pattern: nfpm compares each file with each name
_PLAIN = re.compile(r"[A-Za-z0-9_.+@=~/-]+")  # no sign of a pattern; the rest is listed

_Group = tuple[str, str, int, str, str]  # directories of source and path, mode, owner, group


def contents(found: Iterable[Entry]) -> dict[str, Any]:
    """Return the keys of nfpm's configuration that say what a package installs."""
    entries = list(found)
    sources = [entry.source for entry in entries if entry.kind != "symlink" and entry.source]
    if not all(map(_PLAIN.fullmatch, sources)):  # then names are taken as they are
        return {"disable_globbing": True, "contents": [_content(entry) for entry in entries]}
    return {"contents": list(_grouped(entries))}


def _grouped(entries: list[Entry]) -> Iterator[dict[str, Any]]:
    groups: dict[_Group, list[Entry]] = {}
    for entry in entries:
        group = None if entry.kind else _group(entry)
        if group is None:
            yield _content(entry)
        else:
            groups.setdefault(group, []).append(entry)
    for files in groups.values():
        for at in range(0, len(files), MOST):
            yield _pattern(files[at : at + MOST])


def _group(entry: Entry) -> _Group | None:
    """Return what files of one pattern have alike; nothing when a file gets another name."""
    origin, _, name = entry.source.rpartition("/")
    above, _, path_name = entry.path.rpartition("/")
    return (origin, above, entry.mode, entry.owner, entry.group) if name == path_name else None


def _pattern(files: list[Entry]) -> dict[str, Any]:
    if len(files) == 1:
        return _content(files[0])
    names = [entry.source.rpartition("/")[2] for entry in files]
    origin, above = (text.rpartition("/")[0] for text in (files[0].source, files[0].path))
    found = _content(files[0])
    return found | {"src": f"{origin}/{{{','.join(names)}}}", "dst": f"{above}/"}


def _content(entry: Entry) -> dict[str, Any]:
    """Return an entry in nfpm's words.

    A link has a mode, too: without one nfpm takes it from what lies at the link's end on this
    host, and writes a directory into a deb where that is one (measured on 2026-11-25, nfpm 2.48).
    """
    info: dict[str, Any] = {"mode": entry.mode or 0o777}
    owners = {"owner": entry.owner, "group": entry.group}
    info |= {key: value for key, value in owners.items() if value != "root"}
    found: dict[str, Any] = {"dst": entry.path, "file_info": info}
    found |= {"type": entry.kind} if entry.kind else {}
    return found | ({"src": entry.source} if entry.source else {})
