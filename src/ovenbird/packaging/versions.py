"""A package's version from git: what dpkg sorts as git's history goes.

    v1.2.0                    1.2.0
    v1.2.0 + 3 commits        1.2.0+3.g1a2b3c4
    v1.3.0-rc1                1.3.0~rc1
    no tag, 5 commits         0.0.0+5.g1a2b3c4

Source: deb-version(7): a tilde sorts before everything, even before the end of a part.
"""

from __future__ import annotations

import re
from pathlib import Path

from dunamai import Pattern, Vcs, Version

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import VersionSpec

_ALLOWED = re.compile(r"[0-9][A-Za-z0-9.+~]*")


def version_of(checkout: Path, spec: VersionSpec) -> str:
    """Return the version of what is checked out.

    Raises:
        InvalidRequest: The tags give a version that Debian does not allow, or none.
    """
    hint = f"Tag releases as `{spec.tag_prefix}1.2.3`"
    pattern = Pattern.Default.regex().replace("^v", f"^{re.escape(spec.tag_prefix)}", 1)
    try:
        version = Version.from_vcs(Vcs.Git, pattern=pattern, path=checkout, full_commit=False)
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise InvalidRequest(f"The commit's tags make no version: {first}", hint=hint) from error
    text = debian_version(
        version.base,
        stage=f"{version.stage or ''}{version.revision if version.revision is not None else ''}",
        distance=version.distance,
        commit=version.commit or "",
    )
    if not _ALLOWED.fullmatch(text):
        raise InvalidRequest(
            f"`{text}` is not a version that dpkg takes",
            hint=hint,
        )
    return text


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
