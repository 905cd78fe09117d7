"""The distributions' own linters, lintian and rpmlint, where they are installed.

They judge a package as one that a distribution would ship. What an app's package does on
purpose is left out, by the table below; the rest is told in their words.

Source: lintian(1), exit statuses and output; rpmlint(1) and its `rpmlint/pkg.py`; both
measured on 2026-11-25: lintian 2.116.3 takes 1.8 s for a small deb, rpmlint 2.4.0 0.3 s.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ovenbird.domain.catalog import Finding
from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.packages import PackageFormat
from ovenbird.system.commands import run

TIMEOUT_S = 300.0
LINTERS: Mapping[PackageFormat, str] = MappingProxyType(
    {PackageFormat.DEB: "lintian", PackageFormat.RPM: "rpmlint"}
)
# What is not told of packages that are built outside of a distribution → why.
LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {
        # Both, or the one's word for what the other calls differently
        "dir-or-file-in-opt": "/opt is the place of what no distribution ships (FHS 3.0, 3.13)",
        "unstripped-binary-or-object": "what others built comes as they built it",
        "statically-linked-binary": "programs of Go and Rust are so by design",
        "dangling-symlink": "a check of our own, which knows what dependencies bring",
        "non-standard-file-perm": "the manifest asks for it; a check of our own sees wide ones",
        # lintian
        "copyright-without-copyright-notice": "the manifest names a license, and no holder",
        "misplaced-extra-member-in-deb": "the signature: debsigs puts it there, too",
        "no-copyright-file": "the license is the owner's own affair (Debian policy 12.5)",
        "no-changelog": "history is in git, and the commit in the catalog",
        "changelog-file-missing-in-native-package": "as above",
        "debian-changelog-file-missing": "as above, in older versions",
        "unknown-key": "rpm's database knows no key of ours; `catalog verify` looks at signatures",
        "no-manual-page": "a service has no reader of manual pages",
        "extended-description-is-empty": "one sentence may be enough",
        "embedded-javascript-library": "bundling is what the package is for",
        "embedded-library": "bundling is what the package is for",
        "extra-license-file": "bundled modules bring theirs",
        "package-contains-documentation-outside-usr-share-doc": "bundled modules bring theirs",
        "missing-systemd-timer-for-cron-script": "an app may use cron",
        "malformed-deb-archive": "lintian 2.116 reads zstd, but says it should not be there;"
        " a deb that is damaged is refused before",
        "package-installs-python-pycache-dir": "compiled at the build, the same bytes each time",
        "wrong-path-for-interpreter": "a check of our own, which knows bundled interpreters",
        "package-installs-deprecated-upstart-configuration": "the manifest asks for it",
        # rpmlint
        "no-changelogname-tag": "history is in git, and the commit in the catalog",
        "no-documentation": "a service needs none in its package",
        "no-group-tag": "rpm ignores groups since 4.x (Fedora packaging guidelines)",
        "no-signature": "packages are signed when they are published, if at all",
        "no-manual-page-for-binary": "a service has no reader of manual pages",
        "invalid-license": "rpmlint of Debian has no list of licenses and refuses each",
        "non-coherent-filename": "the catalog's names are the same for all formats",
        "non-standard-uid": "a check of our own, which knows the accounts that services make",
        "non-standard-gid": "as above",
        "non-readable": "a configuration with a secret is not for everyone",
        "env-script-interpreter": "Python and Node scripts begin so everywhere",
        "wrong-script-interpreter": "a check of our own, which knows bundled interpreters",
        "no-binary": "an app may be meant for one architecture whatever it consists of",
        "executable-marked-as-config-file": "init scripts are both",
        "dangerous-command-in-%pre": "scripts remove what they made",
        "dangerous-command-in-%post": "as above",
        "dangerous-command-in-%preun": "as above",
        "dangerous-command-in-%postun": "as above",
        "name-repeated-in-summary": "taste",
        "spelling-error": "taste",
        "only-non-binary-in-usr-lib": "interpreted apps live there",
        "symlink-should-be-relative": "the package does not move",
        "hidden-file-or-dir": "modules bring theirs, as node_modules/.bin",
        "zero-length": "Python packages have empty __init__.py",
        "non-executable-script": "a check of our own looks at what is run",
        "script-without-shebang": "modules have files that could be run, and are not",
        "devel-file-in-non-devel-package": "modules bring theirs",
        "files-duplicate": "modules have the same small files",
        "files-duplicated-waste": "as above",
        "binary-or-shlib-defines-rpath": "wheels find their libraries so, by $ORIGIN",
        "custom-library-search-path": "as above, in lintian's words",
        "python-bytecode-inconsistent-mtime": "Python compiles again what is older",
    }
)
_LEVELS = {"E": "error", "W": "warning"}
_LINTIAN = re.compile(r"([EW]): [^:]+: (\S+)(?: (.*))?")
_LINTIAN_PLACE = re.compile(r"(.*?)\s*\[([^\]]+)\]")
_RPMLINT = re.compile(r"\S+: ([EW]): (\S+)(?: (.*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Linted:
    """What a linter said of one package file.

    Args:
        tool: Its name; empty when there is none for the format.
        is_installed: Whether it was run.
    """

    tool: str = ""
    is_installed: bool = False
    findings: tuple[Finding, ...] = ()


def find(program: str) -> str | None:
    """Return where a program is installed, if it is."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/bin")


def lint(path: Path, format_: PackageFormat, *, find: Callable[[str], str | None] = find) -> Linted:
    """Run the format's linter on a package file, if there is one and it is installed.

    Args:
        path: The package file.
        format_: Its format.
        find: Tells where a program is installed, or nothing.

    Raises:
        CommandFailed: The linter itself failed.
    """
    tool = LINTERS.get(format_, "")
    program = find(tool) if tool else None
    if program is None:
        return Linted(tool=tool)
    return Linted(tool=tool, is_installed=True, findings=_findings(tool, path))


def argv_of(tool: str, path: Path) -> list[str]:
    """Return the command line of a linter."""
    if tool == "lintian":
        return [
            "lintian",
            "--no-cfg",
            "--color", "never",
            "--tag-display-limit", "0",
            "--", str(path),
        ]  # fmt: skip
    return ["rpmlint", "--ignore-unused-rpmlintrc", str(path)]


def _findings(tool: str, path: Path) -> tuple[Finding, ...]:
    # lintian: 2 when it has errors to tell; rpmlint: 64, or 66 for many.
    ok = frozenset({0, 2} if tool == "lintian" else {0, 64, 66})
    try:
        said = run(argv_of(tool, path.absolute()), timeout_s=TIMEOUT_S, ok=ok)
    except CommandFailed as error:
        if "within_s" not in error.facts:
            raise
        text = f"did not end within {TIMEOUT_S:g} s; nothing is known from it"
        return (Finding(tool=tool, code="not-finished", level="warning", text=text),)
    return tuple(parse(tool, said))


def parse(tool: str, said: str) -> Iterator[Finding]:
    """Read what a linter wrote; what is left out by the table does not come.

    Args:
        tool: ``lintian`` or ``rpmlint``.
        said: Its standard output.
    """
    read = _lintian if tool == "lintian" else _rpmlint
    for line in said.splitlines():
        found = read(line.strip())
        if found is not None and found.code not in LEFT_OUT:
            yield found


def _lintian(line: str) -> Finding | None:
    """Read ``E: hello: file-in-etc-not-marked-as-conffile [etc/x]``."""
    match = _LINTIAN.fullmatch(line)
    if match is None:
        return None
    level, code, rest = match.groups(default="")
    pointed = _LINTIAN_PLACE.fullmatch(rest)
    text, place = pointed.groups() if pointed else (rest, "")
    is_path = "/" in place and not place.startswith("/")
    return Finding(
        tool="lintian",
        code=code,
        level=_LEVELS[level],
        text=text or code.replace("-", " "),
        place=f"/{place.rstrip('/')}" if is_path else place,
    )


def _rpmlint(line: str) -> Finding | None:
    """Read ``hello.x86_64: E: zero-perms /opt/hello/x 0``."""
    match = _RPMLINT.fullmatch(line)
    if match is None:
        return None
    level, code, rest = match.groups(default="")
    first, _, text = rest.partition(" ")
    place = first if first.startswith("/") else ""
    text = text if place else rest
    return Finding(
        tool="rpmlint",
        code=code,
        level=_LEVELS[level],
        text=text or code.replace("-", " "),
        place=place,
    )
