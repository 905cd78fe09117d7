"""The copyright file of a deb, from what the manifest says, unless the app brings its own.

Source: Debian policy 12.5 (each package has one); "Machine-readable debian/copyright file" 1.0;
/usr/share/common-licenses of Debian's base-files.
"""

from __future__ import annotations

from ovenbird.domain.packages import PackageSpec

_HEAD = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"
_COMMON = {
    "Apache-2.0": "Apache-2.0",
    "Artistic-1.0": "Artistic",
    "GPL-2.0-only": "GPL-2", "GPL-2.0-or-later": "GPL-2",
    "GPL-3.0-only": "GPL-3", "GPL-3.0-or-later": "GPL-3",
    "LGPL-2.1-only": "LGPL-2.1", "LGPL-2.1-or-later": "LGPL-2.1",
    "LGPL-3.0-only": "LGPL-3", "LGPL-3.0-or-later": "LGPL-3",
    "MPL-1.1": "MPL-1.1", "MPL-2.0": "MPL-2.0",
    "CC0-1.0": "CC0-1.0",
}  # fmt: skip


def path(package: str) -> str:
    """Return where the file is installed."""
    return f"/usr/share/doc/{package}/copyright"


def text(spec: PackageSpec, license_text: str) -> str:
    """Return the file's text; empty when the manifest says no license.

    Args:
        spec: What the manifest says.
        license_text: The text of the app's own license file; empty for none.
    """
    if not spec.license:
        return ""
    lines = [
        _HEAD,
        f"Upstream-Name: {spec.name}",
        f"Upstream-Contact: {spec.maintainer}",
        *([f"Source: {spec.homepage}"] if spec.homepage else []),
        "",
        "Files: *",
        f"Copyright: {spec.vendor or spec.maintainer}",
        f"License: {spec.license}",
        *_indented(license_text or _where(spec.license)),
    ]
    return "\n".join([*lines, ""])


def _where(license_: str) -> str:
    name = _COMMON.get(license_)
    return f"The text is in /usr/share/common-licenses/{name} on Debian systems." if name else ""


def _indented(text: str) -> list[str]:
    """Source: deb822(5): a line of a field begins with a space, an empty one is a period."""
    return [f" {line.rstrip()}" if line.strip() else " ." for line in text.strip().splitlines()]
