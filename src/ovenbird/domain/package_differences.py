"""What is different between two packages: files, relations, scripts, what is bundled."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ovenbird.domain.catalog import PackageFacts, PackageFile
from ovenbird.domain.package_terms import components_of

TYPE_AND_BITS = 0o177777  # of a mode, as stat has it


class Change(StrEnum):
    """What became of a thing."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One path that is not the same.

    Args:
        aspects: For a changed one, each aspect that differs with the values before and
            after, as ``mode`` → ``("0644", "0755")``; empty otherwise.
    """

    path: str
    change: Change
    aspects: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChange:
    """A relation field, a script or a component that is not the same.

    Args:
        before: Lines or values; empty for what was added.
        after: Lines or values; empty for what was removed.
    """

    name: str
    change: Change
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def unified(self) -> tuple[str, ...]:
        """The lines that differ with two lines around them, as ``diff -u`` shows them."""
        lines = difflib.unified_diff(self.before, self.after, n=2, lineterm="")
        return tuple(line for line in lines if not line.startswith(("---", "+++")))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageDifferences:
    """All that is not the same in two packages; each by path or name."""

    files: tuple[FileChange, ...]
    relations: tuple[TextChange, ...]
    scripts: tuple[TextChange, ...]
    components: tuple[TextChange, ...]

    @property
    def none(self) -> bool:
        """Whether the two are the same in all that is compared."""
        return not (self.files or self.relations or self.scripts or self.components)


def differences(before: PackageFacts, after: PackageFacts) -> PackageDifferences:
    """Compare what is inside two packages."""
    return PackageDifferences(
        files=_files(before.files, after.files),
        relations=_texts(before.relations, after.relations),
        scripts=_texts(_lines(before.scripts), _lines(after.scripts)),
        components=_texts(_versions(before.sbom), _versions(after.sbom)),
    )


def _files(before: Iterable[PackageFile], after: Iterable[PackageFile]) -> tuple[FileChange, ...]:
    old, new = ({file.path: file for file in files} for files in (before, after))
    found = []
    for path in sorted(old.keys() | new.keys()):
        if path not in old:
            found.append(FileChange(path=path, change=Change.ADDED, aspects={}))
        elif path not in new:
            found.append(FileChange(path=path, change=Change.REMOVED, aspects={}))
        elif aspects := _aspects(old[path], new[path]):
            found.append(FileChange(path=path, change=Change.CHANGED, aspects=aspects))
    return tuple(found)


def _aspects(before: PackageFile, after: PackageFile) -> dict[str, tuple[str, str]]:
    pairs = {
        "mode": (_mode(before), _mode(after)),
        "owner": (f"{before.owner}:{before.group}", f"{after.owner}:{after.group}"),
        "target": (before.target, after.target),
        "size": (str(before.size_bytes), str(after.size_bytes)),
        "digest": (before.digest_sha256, after.digest_sha256),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _mode(file: PackageFile) -> str:
    return f"{file.mode & TYPE_AND_BITS:04o}"


def _lines(scripts: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(text.splitlines()) for name, text in scripts.items()}


def _versions(sbom: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for component in components_of(sbom):
        found[component.name] = (*found.get(component.name, ()), component.version)
    return found


def _texts(
    before: Mapping[str, tuple[str, ...]], after: Mapping[str, tuple[str, ...]]
) -> tuple[TextChange, ...]:
    return tuple(
        TextChange(
            name=name,
            change=_change(name in before, name in after),
            before=before.get(name, ()),
            after=after.get(name, ()),
        )
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _change(was: bool, is_: bool) -> Change:  # noqa: FBT001 - two sides of one question
    if was and is_:
        return Change.CHANGED
    return Change.ADDED if is_ else Change.REMOVED
