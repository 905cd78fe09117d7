"""Packages on their own: built from a commit or a work tree, looked at, published.

app, ref ─▶ checkout ─▶ build ─▶ check ─▶ packages in a directory [─▶ channel, catalog]
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ovenbird.config.manifest import load_committed
from ovenbird.config.places import Places
from ovenbird.domain.apps import AppSpec
from ovenbird.domain.catalog import PackageFacts, RepositoryState
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import Isolation, Package
from ovenbird.domain.ports import Progress
from ovenbird.domain.sources import Source
from ovenbird.operations.locating import located
from ovenbird.operations.opening import Installation
from ovenbird.packaging.checking import checks
from ovenbird.packaging.repositories.repository_states import checked_channel
from ovenbird.packaging.versions import version_of
from ovenbird.stages import describe as describe_stage
from ovenbird.stages.build import Means, build
from ovenbird.stages.publish import Shop, publish_new, published_before
from ovenbird.system import git
from ovenbird.system.clock import SystemClock

SHOWN_PATHS = 5  # of uncommitted changes
Find = Callable[[Source, AppSpec, str], tuple[Package, ...]]
WORK_TREE = "work tree"  # stands for the ref of what no commit has


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be built.

    Args:
        app: Git URL, or a directory in a git repository.
        ref: Branch, tag or commit.
        allow_dirty: Build a directory as it is, with what no commit has.
        lint: Ask lintian and rpmlint about the packages, where they are installed.
    """

    app: str
    ref: str = "HEAD"
    allow_dirty: bool = False
    lint: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Packages of one commit.

    Args:
        branch: What they were built from, when it is known.
        places: The lines of their manifest.
        facts: What is in each, and what the checks say; in the order of the packages.
    """

    source: Source
    branch: str
    spec: AppSpec
    packages: tuple[Package, ...]
    places: Places = field(compare=False)
    facts: tuple[PackageFacts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    source: Source
    checkout: Path
    branch: str
    is_dirty: bool = False


def build_packages(
    installation: Installation,
    wanted: Wanted,
    *,
    into: Path,
    progress: Progress,
    sign: bool = False,
    find: Find | None = None,
) -> Built:
    """Build the packages of one commit, and check them.

    Args:
        installation: Has the key, and base images for builds in them; asked only if needed.
        wanted: The app and the commit.
        into: Directory that receives the packages.
        progress: Told what happens, line by line.
        sign: Sign the packages with the repository's key.
        find: Returns packages of the commit that were published before, to be used instead.

    Raises:
        NotFound: The remote, the ref or the manifest does not exist.
        InvalidRequest: The manifest is wrong; there are uncommitted changes; or a package
            would not work on the machine.
        CommandFailed: The build failed.
    """
    built = build_unchecked(
        installation, wanted, into=into, progress=progress, sign=sign, find=find
    )
    with built.places.named():
        facts = describe_stage.describe(
            built.packages,
            built.spec,
            epoch_s=built.source.committed_at_epoch_s,
            branch=built.branch,
            progress=progress,
            lint=wanted.lint,
        )
    return replace(built, facts=facts)


def build_unchecked(
    installation: Installation,
    wanted: Wanted,
    *,
    into: Path,
    progress: Progress,
    sign: bool = False,
    find: Find | None = None,
) -> Built:
    """Build the packages of one commit, without looking into them; see :func:`build_packages`."""
    _open_outbox(into)
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as directory:
        tree = _tree(wanted, Path(directory), progress)
        spec = load_committed(tree.source, tree.checkout)
        places = Places(tree.source, tree.checkout)
        with places.named():
            version = version_of(tree.checkout, spec.version, is_dirty=tree.is_dirty)
            packages = find(tree.source, spec, version) if find else ()
            checks.refuse(checks.check_relations(spec.packages))
            packages = packages or build(
                tree.source,
                spec,
                checkout=tree.checkout,
                outbox=into,
                progress=progress,
                means=_means(installation, spec, version, sign=sign),
            )
    return Built(
        source=tree.source, branch=tree.branch, spec=spec, packages=packages, places=places
    )


def build_and_publish(
    installation: Installation,
    wanted: Wanted,
    *,
    into: Path,
    channel: str,
    actor: str,
    progress: Progress,
) -> tuple[Built, RepositoryState]:
    """Build the packages of one commit and publish them; a second time changes nothing.

    Packages that were published from this very commit before are taken as they are.

    Args:
        installation: Whose repository and key.
        wanted: The app and the commit.
        into: Directory that receives the packages.
        channel: Which packages they join; empty for the one of what is built.
        actor: Who publishes.
        progress: Told what happens, line by line.

    Raises:
        InvalidRequest: The packages would hold what no commit has; the channel has no name.
        Conflict: Other packages of the same name and version are published.
    """
    if wanted.allow_dirty:
        raise InvalidRequest(
            "What no commit has cannot be published", hint="Commit it, or build without `--publish`"
        )
    channel = checked_channel(channel or installation.settings.repository.channel)
    shop = Shop(
        repository=installation.repository,
        records=installation.store,
        clock=SystemClock(),
        progress=progress,
        actor=actor,
    )

    def find(source: Source, spec: AppSpec, version: str) -> tuple[Package, ...]:
        return published_before(source, spec, version, shop, outbox=into)

    built = build_packages(installation, wanted, into=into, progress=progress, sign=True, find=find)
    state = publish_new(
        built.packages,
        built.facts,
        shop,
        source=built.source,
        channel=channel,
    )
    return built, state


def _open_outbox(into: Path) -> None:
    """Make the directory of packages; git does not take it for a part of the app's tree."""
    if not into.exists():
        into.mkdir(parents=True)
        (into / ".gitignore").write_text("*\n")


def _tree(wanted: Wanted, place: Path, progress: Progress) -> _Tree:
    """Make a tree of what is to be built."""
    url, directory = located(wanted.app)
    mirror, into = place / "mirror", place / "checkout"
    source = git.resolve(url, wanted.ref, mirror=mirror, directory=directory)
    branch = git.branch_of(source, mirror=mirror)
    if wanted.ref == "HEAD":  # which says nothing to those who read it later
        source = replace(source, ref=git.tag_of(source, mirror=mirror) or branch or wanted.ref)
    changed = _uncommitted(wanted, Path(url) / directory)
    if changed and not wanted.allow_dirty:
        raise _dirty(changed)
    if changed:
        progress(f"Building `{url}` as it is, with what no commit has")
        checkout = git.checkout_work_tree(Path(url) / directory, into)
        source = replace(source, ref=WORK_TREE)
        return _Tree(source=source, checkout=checkout, branch=branch, is_dirty=True)
    progress(f"Building `{wanted.ref}`, commit {source.short_commit}")
    checkout = git.checkout(source, mirror=mirror, into=into)
    return _Tree(source=source, checkout=checkout, branch=branch)


def _uncommitted(wanted: Wanted, directory: Path) -> tuple[str, ...]:
    """Return what a directory has and its newest commit has not, if that is what was asked for."""
    return git.is_dirty(directory) if wanted.ref == "HEAD" and directory.is_dir() else ()


def _dirty(changed: Sequence[str]) -> InvalidRequest:
    shown = ", ".join(f"`{path}`" for path in changed[:SHOWN_PATHS])
    more = f" and {len(changed) - SHOWN_PATHS} more" if len(changed) > SHOWN_PATHS else ""
    return InvalidRequest(
        f"Not committed, so no package would have it: {shown}{more}",
        hint="Commit it; name what to build with `--ref`; or build it as it is: `--allow-dirty`",
    )


def _means(installation: Installation, spec: AppSpec, version: str, *, sign: bool) -> Means:
    """Return what the build is given: a key and base images only where they are needed."""
    in_base = spec.build.isolation is Isolation.CHROOT
    return Means(
        version=version,
        sign=installation.sign if sign else None,
        rooms=installation.ports.rooms if in_base else None,
    )
