"""What is different between two images: what they were made from, packages, files, texts."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ovenbird.domain.contents import ImageFile, InstalledPackage
from ovenbird.domain.images import (
    BASE_IMAGE_TAG,
    BLOCKS_TOTAL_TAG,
    BLOCKS_UPLOADED_TAG,
    BUILDER_TAG,
    COMMIT_TAG,
    STRATEGY_TAG,
    Image,
)
from ovenbird.domain.package_differences import Change, FileChange, TextChange
from ovenbird.domain.version_order import compare_deb, compare_rpm

TEXT_BYTES = 65_536  # a longer file of /etc is no text that a person compares
TEXTS = 50  # so many are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageChange:
    """A package that is not the same in two images.

    Args:
        name: With the architecture where an image has it for several, as ``libc6:i386``.
        before: Version; empty for one that was added.
        after: Version; empty for one that was removed.
        direction: ``newer`` or ``older`` for another version.
    """

    name: str
    change: Change
    before: str
    after: str
    direction: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChange:
    """A fact of the image itself, or of what it was made from, that is not the same."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDifferences:
    """All that is not the same in two images; each by name or path.

    Args:
        texts: Of configuration files, when the disks were read for them.
        blocks: How many of 512 KiB differ; None when it is not known.
    """

    settings: tuple[SettingChange, ...] = ()
    packages: tuple[PackageChange, ...] = ()
    files: tuple[FileChange, ...] = ()
    texts: tuple[TextChange, ...] = ()
    blocks: int | None = None


def package_changes(
    before: Iterable[InstalledPackage], after: Iterable[InstalledPackage]
) -> tuple[PackageChange, ...]:
    """Compare the packages of two images."""
    old, new = _versions(before), _versions(after)
    return tuple(
        _package_change(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def file_changes(before: Iterable[ImageFile], after: Iterable[ImageFile]) -> tuple[FileChange, ...]:
    """Compare the files of two images."""
    old, new = ({file.path: file for file in files} for files in (before, after))
    changed = {file.path for file in set(old.values()) ^ set(new.values())}
    found = []
    for path in sorted(changed):
        was, is_ = old.get(path), new.get(path)
        if was and is_:
            found.append(FileChange(path=path, change=Change.CHANGED, aspects=_aspects(was, is_)))
        else:
            change = Change.ADDED if is_ else Change.REMOVED
            found.append(FileChange(path=path, change=change, aspects={}))
    return tuple(found)


def setting_changes(before: Image, after: Image) -> tuple[SettingChange, ...]:
    """Compare two images' facts and what they were made from."""
    old, new = _settings(before), _settings(after)
    return tuple(
        SettingChange(name=name, before=old[name], after=new[name])
        for name in old
        if old[name] != new[name]
    )


def texts_to_read(
    changes: Iterable[FileChange],
    before: Iterable[ImageFile],
    after: Iterable[ImageFile],
    below: str = "/etc/",
) -> tuple[str, ...]:
    """Return the paths of configuration files whose text is worth a look.

    Args:
        changes: Of files.
        before: Files of the first image.
        after: Files of the second one.
        below: Only there.
    """
    sizes: dict[str, int] = {}
    for file in (*before, *after):
        is_text = stat.S_ISREG(file.mode) and file.path.startswith(below)
        sizes[file.path] = max(sizes.get(file.path, 0), file.size_bytes if is_text else TEXT_BYTES)
    found = [
        one.path
        for one in changes
        if one.path.startswith(below)
        and sizes.get(one.path, TEXT_BYTES) < TEXT_BYTES
        and (one.change is not Change.CHANGED or "digest" in one.aspects)
    ]
    return tuple(found[:TEXTS])


def text_changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[TextChange, ...]:
    """Compare texts: path → text, in both images."""
    found = []
    for path in sorted(before.keys() | after.keys()):
        was, is_ = (texts.get(path) for texts in (before, after))
        if was == is_:
            continue
        change = Change.CHANGED if None not in {was, is_} else Change.ADDED
        found.append(
            TextChange(
                name=path,
                change=Change.REMOVED if is_ is None else change,
                before=tuple((was or "").splitlines()),
                after=tuple((is_ or "").splitlines()),
            )
        )
    return tuple(found)


def by_directory(changes: Sequence[FileChange]) -> tuple[tuple[str, int, int, int], ...]:
    """Return how many files were added, removed and changed in each directory, for people.

    Directories are named to the second level, as ``/usr/share``.
    """
    found: dict[str, list[int]] = {}
    order = (Change.ADDED, Change.REMOVED, Change.CHANGED)
    for one in changes:
        parts = posixpath.dirname(one.path).split("/")[:3]
        counts = found.setdefault("/".join(parts) or "/", [0, 0, 0])
        counts[order.index(one.change)] += 1
    return tuple((name, *found[name]) for name in sorted(found))  # type: ignore[misc]


def _versions(packages: Iterable[InstalledPackage]) -> dict[str, tuple[str, str]]:
    """Return name → (version, manager); with the architecture where a name comes twice."""
    listed = list(packages)
    names = [one.name for one in listed]
    several = {name for name in names if names.count(name) > 1}
    return {
        f"{one.name}:{one.architecture}" if one.name in several else one.name: (
            one.version,
            one.manager,
        )
        for one in listed
    }


def _package_change(
    name: str, was: tuple[str, str] | None, is_: tuple[str, str] | None
) -> PackageChange:
    before, after = was[0] if was else "", is_[0] if is_ else ""
    if was is None or is_ is None:
        change = Change.REMOVED if is_ is None else Change.ADDED
        return PackageChange(name=name, change=change, before=before, after=after)
    compare = compare_rpm if is_[1] == "rpm" else compare_deb
    direction = {-1: "newer", 0: "", 1: "older"}[compare(before, after)]
    return PackageChange(
        name=name, change=Change.CHANGED, before=before, after=after, direction=direction
    )


def _aspects(before: ImageFile, after: ImageFile) -> dict[str, tuple[str, str]]:
    pairs = {
        "mode": (f"{before.mode:04o}", f"{after.mode:04o}"),
        "owner": (f"{before.uid}:{before.gid}", f"{after.uid}:{after.gid}"),
        "target": (before.target, after.target),
        "size": (str(before.size_bytes), str(after.size_bytes)),
        "digest": (before.digest_sha256, after.digest_sha256),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _settings(image: Image) -> dict[str, str]:
    return {
        "name": image.name,
        "app": image.app,
        "version": image.version,
        "commit": image.tags.get(COMMIT_TAG, ""),
        "base image": image.tags.get(BASE_IMAGE_TAG, ""),
        "strategy": image.tags.get(STRATEGY_TAG, ""),
        "builder": image.tags.get(BUILDER_TAG, ""),
        "architecture": image.architecture,
        "boot mode": image.boot_mode,
        "tpm": image.tpm,
        "imds v2 required": str(image.imds_v2).lower(),
        "ena": str(image.ena).lower(),
        "key": image.kms_key,
        "size": f"{image.size_gib} GiB",
        "blocks uploaded": image.tags.get(BLOCKS_UPLOADED_TAG, ""),
        "blocks in all": image.tags.get(BLOCKS_TOTAL_TAG, ""),
    }
