"""A package's version from git: what package managers sort as git's history goes.

    v1.2.0                    1.2.0
    v1.2.0 + 3 commits        1.2.0+3.g1a2b3c4
    v1.3.0-rc1                1.3.0~rc1
    no tag, 5 commits         0.0.0+5.g1a2b3c4
    uncommitted changes       1.2.0+3.g1a2b3c4.dirty

Source: deb-version(7): a tilde sorts before everything, even before the end of a part.
"""

from __future__ import annotations

import re
from pathlib import Path

from dunamai import Pattern, Vcs, Version

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import VersionSpec
from ovenbird.domain.versions import DIRTY

_ALLOWED = re.compile(r"[0-9][A-Za-z0-9.+~]*")
_POST = {"post", "rev", "r"}  # Source: PEP 440, "Post-releases" and their spellings


def version_of(checkout: Path, spec: VersionSpec, *, is_dirty: bool = False) -> str:
    """Return the version of what is checked out, as dpkg takes it.

    Args:
        checkout: A tree of the commit, with its tags.
        spec: What the manifest says about versions.
        is_dirty: Whether the tree has changes that no commit has.

    Raises:
        InvalidRequest: The tags give a version that no package manager would take, or none.
    """
    upstream = spec.explicit or _from_tags(checkout, spec)
    if is_dirty:
        upstream += DIRTY if "+" in upstream else "+" + DIRTY.removeprefix(".")
    if not _ALLOWED.fullmatch(upstream):
        raise InvalidRequest(
            f"`{upstream}` is not a version that dpkg takes",
            hint="Use digits, letters and `.+~` in `package.version`"
            if spec.explicit
            else _tag_hint(spec),
        )
    epoch = f"{spec.epoch}:" if spec.epoch else ""
    return f"{epoch}{upstream}" + (f"-{spec.revision}" if spec.revision else "")


def debian_version(base: str, *, stage: str, distance: int, commit: str) -> str:
    """Put the parts together.

    Args:
        base: As ``1.2.0``.
        stage: As ``rc1``; empty for a release.
        distance: Commits since the tag.
        commit: Short commit id; used when there are commits since the tag.
    """
    text = f"{base}~{stage}" if stage else base
    return f"{text}+{distance}.g{commit[:7]}" if distance else text


def _from_tags(checkout: Path, spec: VersionSpec) -> str:
    pattern = Pattern.Default.regex().replace("^v", f"^{re.escape(spec.tag_prefix)}", 1)
    try:
        version = Version.from_vcs(Vcs.Git, pattern=pattern, path=checkout, full_commit=False)
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise InvalidRequest(
            f"The commit's tags make no version: {first}", hint=_tag_hint(spec)
        ) from error
    stage = (version.stage or "").lower()  # dpkg sorts `RC2` before `rc1`
    if stage in _POST:
        raise InvalidRequest(
            f"The tag of `{version.base}` says `{stage}`, a release after it, which no package"
            " manager knows: it would come before",
            hint=f"{_tag_hint(spec)}, or raise `package.revision`",
        )
    return debian_version(
        version.base,
        stage=f"{stage}{version.revision if version.revision is not None else ''}",
        distance=version.distance,
        commit=version.commit or "",
    )


def _tag_hint(spec: VersionSpec) -> str:
    return f"Tag releases as `{spec.tag_prefix}1.2.3`"
