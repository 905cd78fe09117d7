"""What others wrote that a package brings along: Python distributions, Node modules, jars.

    */NAME-VERSION.dist-info/METADATA     PyPI
    */node_modules/[@SCOPE/]NAME/package.json    npm
    *.jar, *.war, *.ear                   Maven, by pom.properties; else by the manifest

Source: PyPA, "Recording installed projects"; npm, package.json; Maven Archiver; JAR file
specification, "JAR manifest".
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import IO, Any

NESTED_MAX_BYTES = 256 << 20  # a jar in a jar is read into memory
_PYTHON = re.compile(r".*/[^/]+(\.dist-info/METADATA|\.egg-info/PKG-INFO)")
_NODE = re.compile(r".*/node_modules/(@[^/]+/)?[^/@][^/]*/package\.json")
_JAR = re.compile(r".*\.(jar|war|ear)")
_JAR_NAME = re.compile(r"(?P<name>.+?)-(?P<version>\d[\w.+-]*)\.\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundled:
    """One thing that others wrote.

    Args:
        kind: Type of a package URL: ``pypi``, ``npm``, ``maven``, ``generic``.
        namespace: npm: the scope with its ``@``; maven: the group.
        license: In its author's words.
        path: Absolute, as installed; ``JAR!/JAR`` for a jar in a jar.
    """

    kind: str
    name: str
    path: str
    namespace: str = ""
    version: str = ""
    license: str = ""


def is_wanted(path: str) -> bool:
    """Tell whether a file says something of what is bundled."""
    return any(pattern.fullmatch(path) for pattern in (_PYTHON, _NODE, _JAR))


def bundled(top: Path) -> Iterator[Bundled]:
    """Yield what is bundled in an unpacked tree, by path.

    What cannot be read is left out, but a jar, which is named by its file.

    Args:
        top: The tree; files that :func:`is_wanted` refuses are not read.
    """
    for file in sorted(top.rglob("*")):
        path = f"/{file.relative_to(top)}"
        if not file.is_file() or file.is_symlink():
            continue
        if _PYTHON.fullmatch(path):
            yield from _python(file, path)
        elif _NODE.fullmatch(path):
            yield from _node(file, path)
        elif _JAR.fullmatch(path):
            with file.open("rb") as data:
                yield from _jar(data, path)


def _python(file: Path, path: str) -> Iterator[Bundled]:
    said = HeaderParser().parsestr(file.read_text(errors="replace"))
    if name := str(said.get("Name", "")):
        yield Bundled(
            kind="pypi",
            name=re.sub(r"[-_.]+", "-", name).lower(),  # Source: PyPA, "Names and normalization"
            version=str(said.get("Version", "")),
            license=str(said.get("License-Expression") or said.get("License") or ""),
            path=path,
        )


def _node(file: Path, path: str) -> Iterator[Bundled]:
    try:
        said = json.loads(file.read_text(errors="replace"))
    except ValueError:
        return
    name = said.get("name") if isinstance(said, dict) else None
    if not isinstance(name, str) or not name:
        return
    scope, slash, rest = name.rpartition("/")
    yield Bundled(
        kind="npm",
        namespace=scope if slash else "",
        name=rest,
        version=_text(said.get("version")),
        license=_node_license(said),
        path=path,
    )


def _node_license(said: Mapping[str, Any]) -> str:
    value = said.get("license")
    return _text(value.get("type")) if isinstance(value, dict) else _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _jar(data: IO[bytes], path: str, *, depth: int = 0) -> Iterator[Bundled]:
    try:
        with zipfile.ZipFile(data) as jar:
            yield from _poms(jar, path) or [_by_manifest(jar, path)]
            yield from _nested(jar, path, depth)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):
        yield _by_name(path)  # damaged, or packed in a way that Python does not know


def _poms(jar: zipfile.ZipFile, path: str) -> list[Bundled]:
    """Return what was built by Maven; a jar that others were merged into names them all."""
    found = []
    for name in sorted(jar.namelist()):
        if re.fullmatch(r"META-INF/maven/.*/pom\.properties", name):
            said = _pairs(jar.read(name).decode(errors="replace"), "=")
            if said.get("artifactId"):
                found.append(
                    Bundled(
                        kind="maven",
                        namespace=said.get("groupId", ""),
                        name=said["artifactId"],
                        version=said.get("version", ""),
                        path=path,
                    )
                )
    return found


def _by_manifest(jar: zipfile.ZipFile, path: str) -> Bundled:
    by_name = _by_name(path)
    if "META-INF/MANIFEST.MF" not in jar.namelist():
        return by_name
    text = jar.read("META-INF/MANIFEST.MF").decode(errors="replace")
    said = _pairs(re.sub(r"\r?\n ", "", text), ":")  # long lines go on after a space
    name = said.get("Bundle-SymbolicName", "").partition(";")[0] or said.get("Implementation-Title")
    version = said.get("Implementation-Version") or said.get("Bundle-Version")
    return Bundled(
        kind="generic",
        name=name or by_name.name,
        version=version or by_name.version,
        license=said.get("Bundle-License", ""),
        path=path,
    )


def _by_name(path: str) -> Bundled:
    file = path.rpartition("/")[2]
    match = _JAR_NAME.fullmatch(file)
    if match is None:
        return Bundled(kind="generic", name=file.rpartition(".")[0], path=path)
    return Bundled(kind="generic", name=match["name"], version=match["version"], path=path)


def _nested(jar: zipfile.ZipFile, path: str, depth: int) -> Iterator[Bundled]:
    """Yield what is in the jars of a jar, as Spring Boot and web archives have them."""
    for info in sorted(jar.infolist(), key=lambda one: one.filename):
        small = info.file_size <= NESTED_MAX_BYTES
        if depth == 0 and small and _JAR.fullmatch(f"/{info.filename}"):
            inner = io.BytesIO(jar.read(info))
            yield from _jar(inner, f"{path}!/{info.filename}", depth=depth + 1)


def _pairs(text: str, sign: str) -> dict[str, str]:
    lines = (line.partition(sign) for line in text.splitlines() if not line.startswith("#"))
    return {key.strip(): value.strip() for key, found, value in lines if found}
