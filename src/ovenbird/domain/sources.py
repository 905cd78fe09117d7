"""Where software comes from: a git remote and one commit of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One commit of one git remote.

    Args:
        url: What ``git clone`` takes: a URL or an absolute directory.
        ref: What was asked for: a branch, a tag or a commit.
        commit: The 40 hex digits that *ref* meant when it was resolved.
        committed_at_epoch_s: The commit's time, seconds since 1970: the clock of its builds.
        directory: The app's directory inside the repository; empty for its root.
    """

    url: str
    ref: str
    commit: str
    committed_at_epoch_s: int
    directory: str = ""

    @property
    def short_commit(self) -> str:
        """The first seven digits, for people."""
        return self.commit[:7]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit in a history.

    Args:
        subject: The first line of its message.
    """

    commit: str
    subject: str
