"""Git: what a ref means, and a clean tree of one commit."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from ovenbird.domain.errors import CommandFailed, InvalidRequest, NotFound
from ovenbird.domain.sources import Commit, Source
from ovenbird.system.commands import run

TIMEOUT_S = 300.0
HEAD_REF = "refs/ovenbird/HEAD"  # where a mirror keeps what the remote's HEAD is
# Never ask for a password, and read no one's configuration.
ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "advice.detachedHead",
    "GIT_CONFIG_VALUE_1": "false",
}
_GIVE = "Give a git URL or a directory that is a git repository"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve(url: str, ref: str, *, mirror: Path, directory: str = "") -> Source:
    """Find the commit that *ref* means now.

    Args:
        url: What ``git clone`` takes.
        ref: Branch, tag, or commit; ``HEAD`` for the remote's default branch.
        mirror: Directory that keeps a bare copy of the remote between calls.
        directory: The app's directory in the repository; empty for its root.

    Raises:
        InvalidRequest: The URL holds a password.
        NotFound: The remote cannot be read, or has no such ref.
    """
    _refuse_password(url)
    _update_mirror(url, mirror)
    names = [HEAD_REF] if ref == "HEAD" else [f"refs/tags/{ref}", f"refs/heads/{ref}", ref]
    for name in names:
        commit = _commit(mirror, name)
        if _COMMIT.fullmatch(commit):
            stamp = _git(mirror, "show", "--no-patch", "--format=%ct", commit)
            return Source(
                url=url,
                ref=ref,
                commit=commit,
                committed_at_epoch_s=int(stamp),
                directory=directory,
            )
    raise NotFound(
        f"`{url}` has no branch, tag or commit `{ref}`",
        hint=f"Look at `git ls-remote {url}`",
        ref=ref,
    )


def branch_of(source: Source, *, mirror: Path) -> str:
    """Return the branch that a commit is on: the one asked for, else the default one, else any.

    Args:
        source: As :func:`resolve` found it.
        mirror: As given to it.

    Returns:
        The branch's name; empty when no branch has the commit any more.
    """
    listed = _git(
        mirror, "for-each-ref", "--format=%(refname:lstrip=2)", "--contains", source.commit,
        "refs/heads",
    ).split()  # fmt: skip
    default = _git(mirror, "for-each-ref", "--format=%(refname:lstrip=2)", "--points-at",
                   HEAD_REF, "refs/heads", missing_ok=True).split()  # fmt: skip
    preferred = (source.ref, *default, "main", "master")
    return next((name for name in preferred if name in listed), listed[0] if listed else "")


def tag_of(source: Source, *, mirror: Path) -> str:
    """Return the newest tag of a commit; empty when it has none.

    Args:
        source: As :func:`resolve` found it.
        mirror: As given to it.
    """
    listed = _git(
        mirror, "for-each-ref", "--format=%(refname:lstrip=2)", "--sort=-creatordate",
        "--points-at", source.commit, "refs/tags",
    ).split()  # fmt: skip
    return listed[0] if listed else ""


def checkout(source: Source, *, mirror: Path, into: Path) -> Path:
    """Make a clean tree of the source's commit, with its tags, and return the app's directory.

    Args:
        source: The commit.
        mirror: As given to :func:`resolve`; fetched again when it does not have the commit.
        into: Directory for the tree; what an interrupted run left in it is removed.

    Raises:
        NotFound: The remote or the commit is gone, or the app's directory is not in it.
    """
    if not _has(mirror, source.commit):
        _update_mirror(source.url, mirror)
    if not _has(mirror, source.commit):
        raise NotFound(f"`{source.url}` has no commit `{source.commit}`", commit=source.commit)
    _clone(mirror, into)
    _git(into, "checkout", "--quiet", "--detach", source.commit)
    app = into / source.directory
    if not app.is_dir():
        raise NotFound(f"`{source.url}` has no directory `{source.directory}`")
    return app


def is_dirty(directory: Path) -> tuple[str, ...]:
    """Return what in a directory no commit has: changed, removed and new files, not ignored ones.

    Args:
        directory: A directory in a work tree, or one that is in none.

    Returns:
        Paths relative to *directory*, sorted; nothing for a bare repository.
    """
    listed = _tree_files(directory, "status", "--porcelain", "--no-renames", "-u", "-z", "--", ".")
    below = _tree_files(directory, "rev-parse", "--show-prefix")
    prefix = below[0].strip() if below else ""
    return tuple(sorted(entry[3:].removeprefix(prefix) for entry in listed))


def checkout_work_tree(directory: Path, into: Path) -> Path:
    """Copy a work tree as it is, with its history, and return the app's directory.

    Tracked files as they stand, new ones that are not ignored, none that was removed.

    Args:
        directory: The app's directory in a work tree.
        into: Directory for the tree; what an interrupted run left in it is removed.

    Raises:
        NotFound: *directory* is not in a work tree, or there is no commit yet.
    """
    found = _tree_files(directory, "rev-parse", "--show-toplevel")
    if not found:
        raise NotFound(f"`{directory}` is not in a git work tree", hint=_GIVE)
    top = Path(found[0].rstrip("\n"))
    _clone(top, into)
    try:
        _git(into, "checkout", "--quiet", "--detach", "HEAD")
    except CommandFailed as error:
        raise _unreadable(str(directory), str(error.facts.get("stderr", error))) from error
    for name in _tree_files(into, "ls-files", "-z"):
        if not os.path.lexists(top / name):
            (into / name).unlink()
    for name in _tree_files(top, "ls-files", "-z", "--cached", "--others", "--exclude-standard"):
        _copy_entry(top, into, name)
    return into / directory.resolve().relative_to(top.resolve())


def author(directory: Path) -> str:
    """Return who made the newest commit of a work tree, as ``Ann <ann@example.com>``."""
    found = _tree_files(directory, "log", "-1", "--format=%aN <%aE>")
    return found[0].strip() if found else ""


def _clone(origin: Path, into: Path) -> None:
    shutil.rmtree(into, ignore_errors=True)
    into.parent.mkdir(parents=True, exist_ok=True)
    clone = ["git", "clone", "--quiet", "--no-checkout", "--no-hardlinks", "--"]
    run([*clone, origin, into], timeout_s=TIMEOUT_S, env=_environment())


def _tree_files(directory: Path, *words: str) -> list[str]:
    """Return what git says of a work tree, part by part; nothing where there is none."""
    said = run(
        ["git", "-C", directory, "--no-optional-locks", *words],
        timeout_s=TIMEOUT_S,
        env=_environment(),
        ok=frozenset({0, 128}),  # 128: no repository, or no work tree
    )
    return [part for part in said.split("\0") if part]


def _copy_entry(top: Path, into: Path, name: str) -> None:
    origin, target = top / name, into / name
    if not os.path.lexists(origin) or (origin.is_dir() and not origin.is_symlink()):
        return  # removed, or a submodule: its files are another repository's
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)  # a file now
    for above in (into / parent for parent in list(Path(name).parents)[:-1]):
        if above.is_file() or above.is_symlink():
            above.unlink()  # a directory now
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copy2(origin, target, follow_symlinks=False)


def commits_between(
    old: str, new: str, *, url: str, mirror: Path, directory: str = ""
) -> tuple[Commit, ...]:
    """Return the commits that are in the history of one commit and not in that of another.

    Args:
        old: 40 hex digits.
        new: 40 hex digits.
        url: What ``git clone`` takes.
        mirror: As given to :func:`resolve`; fetched when it does not have the commits.
        directory: Only commits that touch this directory; empty for all.

    Returns:
        The newest first.

    Raises:
        NotFound: The remote cannot be read, or a commit is gone from it.
    """
    if not (_has(mirror, old) and _has(mirror, new)):
        _update_mirror(url, mirror)
    for commit in (old, new):
        if not _has(mirror, commit):
            raise NotFound(f"`{url}` has no commit `{commit}`", commit=commit)
    paths = ["--", directory] if directory else []
    said = _git(mirror, "log", "--format=%H %s", f"{old}..{new}", *paths)
    found = (line.partition(" ") for line in said.splitlines())
    return tuple(Commit(commit=commit, subject=subject) for commit, _, subject in found)


def _refuse_password(url: str) -> None:
    """Refuse what would be kept in our records and shown by the catalog."""
    parts = urlsplit(url)
    if parts.password:
        raise InvalidRequest(
            f"The git URL of `{parts.hostname}{parts.path}` holds a password",
            hint="Records and logs keep URLs: use an SSH key, as `git@HOST:PATH`",
        )


def _update_mirror(url: str, mirror: Path) -> None:
    try:
        mirror.mkdir(parents=True, exist_ok=True)
        _git(mirror, "init", "--quiet", "--bare")  # harmless when it is one already
        _git(mirror, "fetch", "--quiet", "--prune", "--force", "--", url, *_ALL_REFS)
    except CommandFailed as error:
        raise _unreadable(url, str(error.facts.get("stderr", error))) from error


def _unreadable(url: str, said: str) -> NotFound:
    """Say why a remote cannot be read, in git's first words."""
    hint = _GIVE
    if "dubious ownership" in said:
        hint = "It belongs to another user: give a clone of your own"
    if "find remote ref HEAD" in said:
        hint = "It has no commit yet: commit something"
    words = said.strip().splitlines() or ["git said nothing"]
    return NotFound(f"`{url}` cannot be read: {words[0].removeprefix('fatal: ')}", hint=hint)


_ALL_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", f"+HEAD:{HEAD_REF}")


def _environment() -> dict[str, str]:
    # With this git lets root, by sudo, read what belongs to the person who called sudo.
    person = {"SUDO_UID": os.environ["SUDO_UID"]} if "SUDO_UID" in os.environ else {}
    return ENVIRONMENT | person


def _commit(mirror: Path, name: str) -> str:
    """Return the commit that a name means, or something that is none."""
    asked = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
    return _git(mirror, *asked, missing_ok=True).removeprefix("--end-of-options").strip()


def _has(mirror: Path, commit: str) -> bool:
    if not (mirror / "HEAD").exists():
        return False
    kind = _git(mirror, "cat-file", "-t", commit, missing_ok=True)
    return kind == "commit"


def _git(where: Path, *words: str, missing_ok: bool = False) -> str:
    ok = frozenset({0, 1, 128}) if missing_ok else frozenset({0})  # 1, 128: there is none
    return run(["git", "-C", where, *words], timeout_s=TIMEOUT_S, env=_environment(), ok=ok).strip()
