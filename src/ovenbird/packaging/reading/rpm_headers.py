"""What an rpm's header says, asked of rpm itself.

Source: rpm(8), "Package query options" and `rpm --querytags`; rpm, include/rpm/rpmfiles.h
(bits of FILEFLAGS); measured on 2026-11-25 with rpm 4.18.0: a query looks at the header
alone, so that only `--checksig` notices a payload that breaks off.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ovenbird.domain.catalog import PackageFile
from ovenbird.system.commands import run

TIMEOUT_S = 60.0
CONFIG, GHOST = 1 << 0, 1 << 6
# Field, as a spec file says it → tag with names, operators and versions.
RELATIONS = {
    "Requires": "REQUIRENEVRS",
    "Recommends": "RECOMMENDNEVRS",
    "Suggests": "SUGGESTNEVRS",
    "Supplements": "SUPPLEMENTNEVRS",
    "Enhances": "ENHANCENEVRS",
    "Conflicts": "CONFLICTNEVRS",
    "Obsoletes": "OBSOLETENEVRS",
    "Provides": "PROVIDENEVRS",
}
# Name in a spec file → tag.
SCRIPTS = {
    "pretrans": "PRETRANS", "pre": "PREIN", "post": "POSTIN", "preun": "PREUN",
    "postun": "POSTUN", "posttrans": "POSTTRANS",
}  # fmt: skip
_SCALARS = (
    "NAME", "EPOCH", "VERSION", "RELEASE", "ARCH", "SUMMARY", "DESCRIPTION", "PACKAGER", "URL",
    "LICENSE", "LONGSIZE",
)  # fmt: skip
_SIGNATURES = ("RSAHEADER", "DSAHEADER", "SIGPGP", "SIGGPG")
_FILES = (
    "FILENAMES", "FILEMODES", "FILEUSERNAME", "FILEGROUPNAME", "LONGFILESIZES", "FILELINKTOS",
    "FILEFLAGS",
)  # fmt: skip
_SECTION, _ITEM, _PART = "\x1d", "\x1e", "\x1f"  # no text of a package has these
_NONE = "(none)"


@dataclass(frozen=True, slots=True, kw_only=True)
class RpmHeader:
    """What a header says.

    Args:
        version: ``[EPOCH:]VERSION-RELEASE``.
        files: All that it owns; without digests, which the payload has.
    """

    name: str
    version: str
    architecture: str
    description: str
    maintainer: str
    homepage: str
    license: str
    installed_bytes: int
    is_signed: bool
    files: tuple[PackageFile, ...]
    configs: tuple[str, ...]
    relations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)


def read_header(path: Path) -> RpmHeader:
    """Ask for a header, after its digests and the payload's were found right.

    Raises:
        CommandFailed: It is no rpm or a damaged one, or rpm is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as directory:
        # Even a query makes a database where there is none: one of its own, gone afterwards.
        apart = ["--dbpath", directory]
        run(["rpmkeys", *apart, "--checksig", "--nosignature", path], timeout_s=TIMEOUT_S)
        argv = ["rpm", *apart, "--query", "--package", "--nosignature", "--queryformat", _format()]
        said = run([*argv, path], timeout_s=TIMEOUT_S)
    return _header(said.split(_SECTION))


def _format() -> str:
    scalars = _ITEM.join(f"%{{{tag}}}" for tag in (*_SCALARS, *_SIGNATURES))
    scripts = _ITEM.join(f"%{{{tag}}}" for tag in SCRIPTS.values())
    files = _PART.join(f"%{{{tag}}}" for tag in _FILES)
    lists = [f"[%{{{tag}}}{_ITEM}]" for tag in RELATIONS.values()]
    return _SECTION.join([scalars, scripts, f"[{files}{_ITEM}]", *lists])


def _header(sections: list[str]) -> RpmHeader:
    scalars, scripts, files, *lists = sections
    values = [_said(value) for value in scalars.split(_ITEM)]
    said = dict(zip((*_SCALARS, *_SIGNATURES), values, strict=True))
    epoch = f"{said['EPOCH']}:" if said["EPOCH"] else ""
    owned = [line.split(_PART) for line in _items(files)]
    return RpmHeader(
        name=said["NAME"],
        version=f"{epoch}{said['VERSION']}-{said['RELEASE']}",
        architecture=said["ARCH"],
        description=_described(said["SUMMARY"], said["DESCRIPTION"]),
        maintainer=said["PACKAGER"],
        homepage=said["URL"],
        license=said["LICENSE"],
        installed_bytes=int(said["LONGSIZE"] or "0"),
        is_signed=any(said[tag] for tag in _SIGNATURES),
        files=tuple(_file(parts) for parts in owned),
        configs=tuple(parts[0] for parts in owned if int(parts[-1]) & CONFIG),
        relations=dict(_relations(lists)),
        scripts=dict(_scripts(scripts)),
    )


def _said(value: str) -> str:
    return "" if value == _NONE else value


def _items(section: str) -> Iterator[str]:
    for item in section.split(_ITEM):
        if _said(item.partition(_PART)[0]):
            yield item


def _described(summary: str, description: str) -> str:
    rest = description.strip()
    return rest if rest.startswith(summary) else f"{summary}\n{rest}".strip()


def _file(parts: list[str]) -> PackageFile:
    path, mode, owner, group, size, target, _ = parts
    return PackageFile(
        path=path,
        mode=int(mode) & 0xFFFF,  # a signed number of 16 bits in old rpms
        owner=owner,
        group=group,
        size_bytes=int(size),
        target=target,
    )


def _relations(lists: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, section in zip(RELATIONS, lists, strict=True):
        # What it needs of rpm itself is no relation to a package.
        found = tuple(one.strip() for one in _items(section) if not one.startswith("rpmlib("))
        if found:
            yield name, found


def _scripts(section: str) -> Iterator[tuple[str, str]]:
    for name, text in zip(SCRIPTS, section.split(_ITEM), strict=True):
        if _said(text):
            yield name, text
