"""Two versions of a package side by side: what is inside, and the commits between."""

from __future__ import annotations

from dataclasses import dataclass

from ovenbird.domain.catalog import CatalogEntry
from ovenbird.domain.errors import NotFound, OvenbirdError
from ovenbird.domain.package_differences import PackageDifferences, differences
from ovenbird.domain.packages import PackageFormat
from ovenbird.domain.sources import Commit
from ovenbird.operations.catalog import find_entries
from ovenbird.operations.opening import Installation
from ovenbird.pipeline.ports import mirror_of
from ovenbird.system import git


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs between two versions.

    Args:
        recorded: Whether the contents of both are in the catalog.
        commits: In the newer one's history only, newest first.
        taken_back: In the older one's history only, newest first.
        unread: Why the commits could not be listed; empty when they were.
    """

    before: CatalogEntry
    after: CatalogEntry
    recorded: bool
    differences: PackageDifferences
    commits: tuple[Commit, ...]
    taken_back: tuple[Commit, ...]
    unread: str = ""


def compare(
    installation: Installation,
    name: str,
    old: str,
    new: str,
    *,
    format_: PackageFormat | None = None,
) -> Comparison:
    """Compare two versions of one package in the format that both have, deb before others.

    Args:
        installation: Whose catalog.
        name: A package.
        old: A version, or a commit's first digits.
        new: A version, or a commit's first digits.
        format_: The format to look at.

    Raises:
        NotFound: The catalog lacks one of them, or has them in no common format.
    """
    olds = find_entries(installation, name, old, format_=format_)
    afters = find_entries(installation, name, new, format_=format_)
    for before in olds:
        for after in afters:
            if _side(before) == _side(after):
                return _compared(installation, before, after)
    raise NotFound(
        f"`{name}` {old} and {new} have no format and architecture in common",
        hint=f"`ovenbird catalog list {name}` shows what there is",
    )


def _side(entry: CatalogEntry) -> tuple[str, PackageFormat, str]:
    return entry.package.name, entry.package.format, entry.package.architecture


def _compared(installation: Installation, before: CatalogEntry, after: CatalogEntry) -> Comparison:
    commits: tuple[Commit, ...] = ()
    taken_back: tuple[Commit, ...] = ()
    unread = ""
    try:
        commits = _commits(installation, before, after)
        taken_back = _commits(installation, after, before)
    except OvenbirdError as error:  # the contents can be compared all the same
        unread = str(error)
    return Comparison(
        before=before,
        after=after,
        recorded=bool(before.facts.files and after.facts.files),
        differences=differences(before.facts, after.facts),
        commits=commits,
        taken_back=taken_back,
        unread=unread,
    )


def _commits(
    installation: Installation, old: CatalogEntry, new: CatalogEntry
) -> tuple[Commit, ...]:
    if old.source.commit == new.source.commit:
        return ()
    if old.source.url != new.source.url:
        raise NotFound(
            f"they come from two repositories, `{old.source.url}` and `{new.source.url}`"
        )
    return git.commits_between(
        old.source.commit,
        new.source.commit,
        url=new.source.url,
        mirror=mirror_of(installation.state, new.source.url),
        directory=new.source.directory,
    )
