"""Verification: the store of packages is read again and compared with the records.

    the repository's own look at itself     every state, index and pool file, by digest
    each channel's newest state             has what the records say, and nothing else
    each package file                       bytes and signature are those of the record

Nothing is mended; each difference is a finding that names its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ovenbird.domain.catalog import CatalogEntry, Finding, PackageKey
from ovenbird.domain.errors import NotFound, OvenbirdError
from ovenbird.domain.packages import Package
from ovenbird.domain.ports import Progress, Repository, SignerOf
from ovenbird.operations.catalog import find_entries, list_catalog
from ovenbird.operations.opening import Installation

TOOL = "ovenbird"


def verify(
    installation: Installation,
    name: str = "",
    version: str = "",
    *,
    progress: Progress,
) -> tuple[Finding, ...]:
    """Return all that is wrong; nothing when all is well.

    Args:
        installation: Whose catalog and repository.
        name: Only this package, or the packages of this app; empty for all, and then the
            repository looks at all of itself, too.
        version: Only this version, or the one of this commit.
        progress: Told what is read.

    Raises:
        NotFound: The catalog has no such package, or the sandbox is not running.
        InvalidRequest: The repository cannot be read back.
    """
    repository = installation.repository
    entries = _entries(installation, name, version)
    findings: list[Finding] = []
    if not name:
        progress("The repository looks at its states, indexes and files")
        findings += repository.verify()
    look = _Look(repository=repository, entries={entry.key: entry for entry in entries})
    for channel, keys in sorted(_channels(installation, repository).items()):
        if not name or keys & look.entries.keys():
            progress(f"Comparing channel `{channel}` with the records")
            findings += look.at_channel(channel, keys, whole=not name)
    # All files were compared with the indexes already when the repository looked at itself.
    there = [entry for entry in entries if entry.key in look.listed]
    unread = [entry for entry in there if name or entry.package.signed_by]
    progress(f"Reading {len(unread)} package files")
    if unread:
        with repository.signers() as signer_of:
            for entry in unread:
                findings += look.at_file(entry, signer_of)
    return tuple(findings)


@dataclass(kw_only=True)
class _Look:
    """One look at the repository.

    Args:
        entries: What is looked at.
        listed: What was found in the channels.
    """

    repository: Repository
    entries: Mapping[PackageKey, CatalogEntry]
    listed: dict[PackageKey, Package] = field(default_factory=dict)

    def at_channel(
        self, channel: str, keys: Collection[PackageKey], *, whole: bool
    ) -> Iterator[Finding]:
        """Compare the newest state of a channel with the records.

        Args:
            channel: Its name.
            keys: What it has by the records.
            whole: Whether the entries are all there are.
        """
        try:
            packages = self.repository.list_packages(channel)
        except OvenbirdError as error:
            yield _finding("unreadable-channel", str(error), place=channel)
            return
        found = {PackageKey.of(package): package for package in packages}
        self.listed |= found
        for key in sorted(set(keys) & self.entries.keys()):
            if key not in found:
                yield _finding("missing-package", f"`{channel}` lacks `{key}`", place=str(key))
            elif found[key].digest_sha256 != self.entries[key].package.digest_sha256:
                text = f"the index of `{channel}` has another digest than the record"
                yield _finding("other-digest", text, place=str(key))
        if whole:
            for key in sorted(found.keys() - set(keys)):
                text = (
                    f"`{channel}` has it, and the records do not say so; `ovenbird catalog sync`"
                    " takes in what other machines published"
                )
                yield _finding("unrecorded-package", text, place=str(key))

    def at_file(self, entry: CatalogEntry, signer_of: SignerOf) -> Iterator[Finding]:
        """Compare the file of a listed package with its record."""
        key, place = entry.key, str(entry.key)
        try:
            with self.repository.fetched(self.listed[key]) as path:
                yield from _of_bytes(path, entry, place)
                yield from _of_signature(path, entry, place, signer_of)
        except OvenbirdError as error:
            yield _finding("unreadable-file", str(error), place=place)


def _of_bytes(path: Path, entry: CatalogEntry, place: str) -> Iterator[Finding]:
    package = entry.package
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != package.digest_sha256:
        text = f"the file has the digest {digest}, the record {package.digest_sha256}"
        yield _finding("other-digest", text, place=place)
    if path.stat().st_size != package.size_bytes:
        text = f"the file has {path.stat().st_size} bytes, the record {package.size_bytes}"
        yield _finding("other-size", text, place=place)


def _of_signature(
    path: Path, entry: CatalogEntry, place: str, signer_of: SignerOf
) -> Iterator[Finding]:
    wanted = entry.package.signed_by
    try:
        found = signer_of(path, entry.package)
    except OvenbirdError as error:
        yield _finding("bad-signature", str(error), place=place)
        return
    if found != wanted:
        text = f"signed by {found or 'nobody'}, by the record by {wanted or 'nobody'}"
        yield _finding("other-signature", text, place=place)


def _entries(installation: Installation, name: str, version: str) -> tuple[CatalogEntry, ...]:
    if version:
        return find_entries(installation, name, version)
    found = list_catalog(installation, name or None)
    if name and not found:
        raise NotFound(
            f"The catalog has no `{name}`", hint="`ovenbird catalog list` shows what it has"
        )
    return found


def _channels(installation: Installation, repository: Repository) -> dict[str, set[PackageKey]]:
    """Return channel → what it has by the records; also channels that only the store knows."""
    settings = installation.settings.repository
    known = {settings.channel, settings.release_channel} & set(repository.channels())
    found: dict[str, set[PackageKey]] = {channel: set() for channel in known}
    for one in installation.store.list_publications():
        if one.repository == settings.name:
            found.setdefault(one.channel, set()).add(one.key)
    return found


def _finding(code: str, text: str, *, place: str) -> Finding:
    return Finding(tool=TOOL, code=code, level="error", text=text, place=place)
