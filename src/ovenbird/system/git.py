"""Git: what a ref means, and a clean tree of one commit."""

from __future__ import annotations

import re
from pathlib import Path

from ovenbird.domain.errors import CommandFailed, NotFound
from ovenbird.domain.sources import Source
from ovenbird.system.commands import run

TIMEOUT_S = 300.0
# Never ask for a password, read no one's configuration, trust the directory that was named.
ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "advice.detachedHead",
    "GIT_CONFIG_VALUE_1": "false",
}
_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve(url: str, ref: str, *, mirror: Path, directory: str = "") -> Source:
    """Find the commit that *ref* means now.

    Args:
        url: What ``git clone`` takes.
        ref: Branch, tag, or commit; ``HEAD`` for the remote's default branch.
        mirror: Directory that keeps a bare copy of the remote between calls.
        directory: The app's directory in the repository; empty for its root.

    Raises:
        NotFound: The remote cannot be read, or has no such ref.
    """
    _update_mirror(url, mirror)
    for candidate in (f"refs/tags/{ref}", f"refs/heads/{ref}", ref):
        commit = _git(
            mirror, "rev-parse", "--verify", "--quiet", f"{candidate}^{{commit}}", missing_ok=True
        )
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


def checkout(source: Source, *, mirror: Path, into: Path) -> Path:
    """Make a clean tree of the source's commit, with its tags, and return the app's directory.

    Args:
        source: The commit.
        mirror: As given to :func:`resolve`; fetched again when it does not have the commit.
        into: A directory that does not exist yet.

    Raises:
        NotFound: The remote or the commit is gone, or the app's directory is not in it.
    """
    if not _has(mirror, source.commit):
        _update_mirror(source.url, mirror)
    if not _has(mirror, source.commit):
        raise NotFound(f"`{source.url}` has no commit `{source.commit}`", commit=source.commit)
    into.parent.mkdir(parents=True, exist_ok=True)
    clone = ["git", "clone", "--quiet", "--no-checkout", "--no-hardlinks"]
    run([*clone, mirror, into], timeout_s=TIMEOUT_S, env=ENVIRONMENT)
    _git(into, "checkout", "--quiet", "--detach", source.commit)
    app = into / source.directory
    if not app.is_dir():
        raise NotFound(f"`{source.url}` has no directory `{source.directory}`")
    return app


def _update_mirror(url: str, mirror: Path) -> None:
    try:
        if (mirror / "HEAD").exists():
            _git(mirror, "fetch", "--quiet", "--prune", "--force", url, *_ALL_REFS)
            return
        mirror.parent.mkdir(parents=True, exist_ok=True)
        clone = ["git", "clone", "--quiet", "--mirror"]
        run([*clone, url, mirror], timeout_s=TIMEOUT_S, env=ENVIRONMENT)
    except CommandFailed as error:
        raise NotFound(
            f"`{url}` cannot be read: {str(error.facts.get('stderr', error)).strip()}",
            hint="Give a git URL or a directory that is a git repository",
        ) from error


_ALL_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


def _has(mirror: Path, commit: str) -> bool:
    if not (mirror / "HEAD").exists():
        return False
    kind = _git(mirror, "cat-file", "-t", commit, missing_ok=True)
    return kind == "commit"


def _git(where: Path, *words: str, missing_ok: bool = False) -> str:
    ok = frozenset({0, 1, 128}) if missing_ok else frozenset({0})  # 1, 128: there is none
    return run(["git", "-C", where, *words], timeout_s=TIMEOUT_S, env=ENVIRONMENT, ok=ok).strip()
