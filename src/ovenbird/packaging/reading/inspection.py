"""What a package file is and holds, read from the file alone, whatever its format.

Source: deb(5), deb-control(5), deb-conffiles(5); rpm(8), queryformat; Alpine wiki, "Apk
spec"; PKGBUILD(5) and makepkg's `.PKGINFO`.
"""

from __future__ import annotations

import hashlib
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

from ovenbird.domain.catalog import PackageFacts, PackageFile
from ovenbird.domain.packages import PackageFormat
from ovenbird.packaging import ar_files
from ovenbird.packaging.reading import payloads
from ovenbird.packaging.reading.rpm_headers import RpmHeader, read_header
from ovenbird.system.commands import piped

DEB_RELATIONS = (
    "Pre-Depends", "Depends", "Recommends", "Suggests", "Enhances", "Breaks", "Conflicts",
    "Replaces", "Provides",
)  # fmt: skip
DEB_SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config")
PKGINFO_RELATIONS = ("depend", "optdepend", "conflict", "replaces", "provides", "install_if")
TIMEOUT_S = 60.0
CHUNK_BYTES = 1 << 20
# What Debian calls an architecture → what the formats do.
_ARCHITECTURES = {
    "noarch": "all", "any": "all", "x86_64": "amd64", "aarch64": "arm64", "i686": "i386",
    "x86": "i386", "armv7hl": "armhf", "armv7": "armhf", "armv7h": "armhf", "ppc64le": "ppc64el",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a package file says it is.

    Args:
        version: In the words of its format: ``1:1.2.0~rc1-2``, apk ``1.2.0_rc1-r2``.
        architecture: As Debian calls it: ``all``, ``amd64``, ``arm64``, …
        description: The first line is the summary.
        installed_bytes: As the package says, about; deb counts in KiB.
        is_signed: Whether it carries a signature (archlinux: whether ``FILE.sig`` is beside
            it). Nothing is said of whose it is, or whether it is right.
        digest_sha256: Of the package file, lowercase hex.
        size_bytes: Of the package file.
    """

    format: PackageFormat
    name: str
    version: str
    architecture: str
    description: str = ""
    maintainer: str = ""
    homepage: str = ""
    license: str = ""
    installed_bytes: int = 0
    is_signed: bool = False
    digest_sha256: str = ""
    size_bytes: int = 0


def inspect(path: Path) -> tuple[Identity, PackageFacts]:
    """Read a package file: what it is, and its files, relations, scripts and configuration.

    Raises:
        NotFound: There is no such file.
        InvalidRequest: It is no package of a known format, or a damaged one.
        CommandFailed: A program that reads the format is not installed.
    """
    format_ = payloads.format_of(path)
    with payloads.reading(path):
        identity, facts = _read(path, format_)
        if not identity.name or not identity.version:
            raise tarfile.ReadError("it does not say its name and version")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return (
        replace(identity, digest_sha256=digest, size_bytes=path.stat().st_size),
        replace(facts, files=tuple(sorted(facts.files, key=lambda file: file.path))),
    )


def _read(path: Path, format_: PackageFormat) -> tuple[Identity, PackageFacts]:
    match format_:
        case PackageFormat.DEB:
            return _deb(path)
        case PackageFormat.RPM:
            return _rpm(path)
        case PackageFormat.APK | PackageFormat.ARCHLINUX:
            return _pkginfo(path, format_)
        case _:
            assert_never(format_)


def _deb(path: Path) -> tuple[Identity, PackageFacts]:
    control = _deb_control(path)
    fields = _paragraph(control.pop("control", ""))
    identity = Identity(
        format=PackageFormat.DEB,
        name=fields.get("Package", ""),
        version=fields.get("Version", ""),
        architecture=fields.get("Architecture", ""),
        description=fields.get("Description", ""),
        maintainer=fields.get("Maintainer", ""),
        homepage=fields.get("Homepage", ""),
        installed_bytes=int(fields.get("Installed-Size", "0")) * 1024,
        is_signed=any(member.name.startswith("_gpg") for member in ar_files.members(path)),
    )
    with payloads.archive(path, PackageFormat.DEB) as tar:
        files = tuple(_files(tar))
    return identity, PackageFacts(
        files=files,
        relations={name: _split(fields[name]) for name in DEB_RELATIONS if name in fields},
        scripts={name: control[name] for name in DEB_SCRIPTS if name in control},
        configs=tuple(_conffiles(control.get("conffiles", ""))),
    )


def _deb_control(path: Path) -> dict[str, str]:
    """Return name → text of the files that describe a deb."""
    argv = ["dpkg-deb", "--ctrl-tarfile", str(path)]
    with piped(argv, timeout_s=TIMEOUT_S) as pipe, tarfile.open(fileobj=pipe, mode="r|") as tar:
        return {m.name.removeprefix("./"): _text(tar, m) for m in tar if m.isfile()}


def _paragraph(text: str) -> dict[str, str]:
    """Read the fields of a control file. Source: deb822(5)."""
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1] in {" ", "\t"} and name:
            rest = line.strip()
            fields[name] += "\n" + ("" if rest == "." else rest)
        elif ":" in line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields


def _split(relations: str) -> tuple[str, ...]:
    return tuple(" ".join(one.split()) for one in relations.split(",") if one.strip())


def _conffiles(text: str) -> Iterator[str]:
    for line in text.splitlines():
        # Since dpkg 1.20.6 a flag may stand before the path. Source: deb-conffiles(5).
        if path := line.removeprefix("remove-on-upgrade ").strip():
            yield path


def _rpm(path: Path) -> tuple[Identity, PackageFacts]:
    header = read_header(path)
    with payloads.archive(path, PackageFormat.RPM) as tar:
        files = {file.path: file for file in _files(tar)}
    identity = Identity(
        format=PackageFormat.RPM,
        name=header.name,
        version=header.version,
        architecture=_ARCHITECTURES.get(header.architecture, header.architecture),
        description=header.description,
        maintainer=header.maintainer,
        homepage=header.homepage,
        license=header.license,
        installed_bytes=header.installed_bytes,
        is_signed=header.is_signed,
    )
    return identity, PackageFacts(
        files=tuple(_with_ghosts(header, files)),
        relations=header.relations,
        scripts=header.scripts,
        configs=header.configs,
    )


def _with_ghosts(header: RpmHeader, files: Mapping[str, PackageFile]) -> Iterator[PackageFile]:
    """Yield what an rpm brings, and what it only owns: the latter has no content to digest."""
    for owned in header.files:
        held = files.get(owned.path)
        yield held or owned


def _pkginfo(path: Path, format_: PackageFormat) -> tuple[Identity, PackageFacts]:
    control: dict[str, str] = {}
    with payloads.archive(path, format_) as tar:
        files = tuple(_files(tar, control))
    fields = _pairs(control.get(".PKGINFO", ""))

    def first(name: str) -> str:
        return fields.get(name, ("",))[0]

    identity = Identity(
        format=format_,
        name=first("pkgname"),
        version=first("pkgver"),
        architecture=_ARCHITECTURES.get(first("arch"), first("arch")),
        description=first("pkgdesc"),
        maintainer=first("maintainer") or first("packager"),
        homepage=first("url"),
        license=first("license"),
        installed_bytes=int(first("size") or "0"),
        is_signed=any(name.startswith(".SIGN.") for name in control)
        or path.with_name(path.name + ".sig").exists(),
    )
    return identity, PackageFacts(
        files=files,
        relations={name: fields[name] for name in PKGINFO_RELATIONS if name in fields},
        scripts=dict(_scripts(control)),
        configs=tuple(f"/{name}" for name in fields.get("backup", ())),
    )


def _pairs(text: str) -> dict[str, tuple[str, ...]]:
    """Return field → its values; a line without a field goes on with the value before."""
    fields: dict[str, tuple[str, ...]] = {}
    name = ""
    for line in text.splitlines():
        key, sign, value = line.partition(" = ")
        if line.startswith("#"):
            continue
        if sign:
            name = key
            fields[name] = (*fields.get(name, ()), value.strip())
        elif name and line.strip():
            *before, last = fields[name]
            fields[name] = (*before, f"{last}\n{line.strip()}")
    return fields


def _scripts(control: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the scripts: Alpine has a file for each moment, Arch Linux one of functions."""
    for name, text in sorted(control.items()):
        if name == ".INSTALL":
            yield "install", text
        elif name.startswith((".pre-", ".post-", ".trigger")):
            yield name.removeprefix("."), text


def _files(tar: tarfile.TarFile, control: dict[str, str] | None = None) -> Iterator[PackageFile]:
    """Yield what an archive installs; *control* takes the texts of what describes it."""
    seen: dict[str, PackageFile] = {}
    for member in tar:
        if control is not None and payloads.is_control(member.name):
            control[member.name] = _text(tar, member)
            continue
        path = payloads.installed_path(member.name)
        if path == "/":
            continue
        file = _file(tar, member, path)
        if member.islnk() and (twin := seen.get(payloads.installed_path(member.linkname))):
            file = replace(twin, path=path)
        seen[path] = file
        yield file


def _file(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> PackageFile:
    mode = payloads.mode_of(member)
    owned = PackageFile(
        path=path,
        mode=mode,
        owner=member.uname or _account(member.uid),
        group=member.gname or _account(member.gid),
        target=member.linkname if stat.S_ISLNK(mode) else "",
    )
    if not member.isfile():
        return owned
    digest, head = _content(tar, member)
    return replace(
        owned,
        size_bytes=member.size,
        digest_sha256=digest,
        interpreter=payloads.interpreter_of(head),
        machine=payloads.machine_of(head),
    )


def _account(number: int) -> str:
    return "root" if number == 0 else str(number)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[str, bytes]:
    """Return a file's SHA-256 and its first bytes."""
    digest, head = hashlib.sha256(), b""
    source = tar.extractfile(member)
    while source is not None and (chunk := source.read(CHUNK_BYTES)):
        head = head or chunk[: payloads.HEAD_BYTES]
        digest.update(chunk)
    return digest.hexdigest(), head


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    source = tar.extractfile(member) if member.isfile() else None
    return source.read().decode(errors="replace") if source is not None else ""
