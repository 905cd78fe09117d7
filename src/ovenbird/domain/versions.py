"""One version, said in the words of each package format; each sorts as git's history goes.

    deb         1.2.0~rc1      1.2.0+3.g1a2b3c4     1:1.2.0-2
    rpm         1.2.0~rc1-1    1.2.0+3.g1a2b3c4-1   epoch 1, 1.2.0-2
    apk         1.2.0_rc1      1.2.0_git3           1.2.0-r2 (apk knows no epoch)
    archlinux   1.2.0rc1-1     1.2.0.r3.g1a2b3c4-1  1:1.2.0-2

Source: deb-version(7); rpm-version(7); apk-package(5), "pkgver"; vercmp(8).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import PackageFormat
from ovenbird.domain.version_order import split_debian

DIRTY = ".dirty"  # ends the version of what was built from uncommitted changes
_PARTS = re.compile(
    r"(?P<base>[0-9]+(?:\.[0-9]+)*)(?:~(?P<stage>[a-z]+)\.?(?P<number>[0-9]*))?"
    r"(?:\+(?P<distance>[0-9]+)\.(?P<commit>g[0-9a-f]+))?(?:\.dirty|\+dirty)?"
)
_APK_STAGES = {
    "a": "alpha", "alpha": "alpha", "b": "beta", "beta": "beta",
    "c": "rc", "rc": "rc", "pre": "pre", "preview": "pre",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A version as a package's fields take it.

    Args:
        epoch: A number, or empty.
        release: Of the packaging: deb's revision, rpm's release; empty for none.
    """

    epoch: str
    version: str
    release: str


def render(version: str, format_: PackageFormat) -> Rendered:
    """Say a version in the words of a format.

    Args:
        version: As dpkg takes it: ``[epoch:]upstream[-revision]``.
        format_: The format.

    Raises:
        InvalidRequest: It is not a version, or the format cannot say it.
    """
    number, upstream, revision = split_debian(version)
    epoch = str(number) if number else ""
    match format_:
        case PackageFormat.DEB:
            return Rendered(epoch=epoch, version=upstream, release=revision)
        case PackageFormat.RPM:
            return Rendered(epoch=epoch, version=_rpm(upstream), release=revision or "1")
        case PackageFormat.APK:
            return _apk(version, epoch, upstream, revision)
        case PackageFormat.ARCHLINUX:
            return Rendered(epoch=epoch, version=_arch(upstream), release=revision or "1")


def _rpm(upstream: str) -> str:
    """Source: rpm-version(7): a version has no hyphen; nfpm puts an underscore there, too."""
    return upstream.replace("-", "_").replace(":", "_")


def _apk(version: str, epoch: str, upstream: str, revision: str) -> Rendered:
    parts = _PARTS.fullmatch(upstream)
    stage = _APK_STAGES.get(parts["stage"] or "", "") if parts else ""
    if parts is None or (parts["stage"] and not stage) or not (revision or "0").isdecimal():
        raise InvalidRequest(
            f"apk cannot say version `{version}`",
            hint="Use stages `alpha`, `beta`, `pre` or `rc` and a revision that is a number",
        )
    if epoch:
        raise InvalidRequest(
            f"package.epoch: apk cannot say version `{version}`: it knows no epoch",
            hint="Leave it out, or apk",
        )
    text = parts["base"]
    text += f"_{stage}{parts['number']}" if stage else ""
    text += f"_git{parts['distance']}" if parts["distance"] else ""
    return Rendered(epoch="", version=text, release=revision)


def _arch(upstream: str) -> str:
    """Source: PKGBUILD(5), pkgver: letters, numbers, periods, underscores, and no hyphens."""
    text = re.sub(r"\+(\d+\.g)", r".r\1", upstream).replace("~", "")
    return re.sub(r"[^A-Za-z0-9._+]", "_", text)
