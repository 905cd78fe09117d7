"""Build helpers: what a build of each kind runs, in order, in the app's directory.

    command   the line itself
    make      make TARGET
    python    a virtual environment, settled for the directory in which it will stand
    node      production modules and the app beside them
    binary    what the line made, put into its place

python, node and binary leave their result in ``dist`` + the final path.

Source: pip install --help; npm's documentation, "npm ci"; install(1), tar(1).
"""

from __future__ import annotations

import importlib.util
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ovenbird.domain.errors import InvalidRequest, OvenbirdError
from ovenbird.domain.packages import BuildKind, BuildSpec
from ovenbird.packaging.building import relocation

DIST = "dist"
RELOCATION, PIP = "relocation.py", "pip.pyz"  # in the build's home
LOCKS = ("package-lock.json", "npm-shrinkwrap.json")
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_RUNS_PIP = 'import runpy\n\nrunpy.run_module("pip", run_name="__main__", alter_sys=True)\n'
# What is no part of a node app: history, secrets, what a build made for itself. `tar` goes by
# way of a file: a shell says nothing of the first program of a pipe.
_ASSEMBLE = """
mkdir -p node_modules
rm -rf "$1" node_modules/.package-lock.json node_modules/.cache
find node_modules -type d -path '*/build/Release/*' \\( -name obj.target -o -name .deps \\) \
  -prune -exec rm -rf {} +
find node_modules -type f -path '*/build/*' \
  \\( -name Makefile -o -name '*.mk' -o -name config.gypi \\) -exec rm -f {} +
tar --create --file "$HOME/app.tar" --anchored --no-wildcards --exclude="./$2" \
  --exclude=./.npmrc --exclude=./ovenbird.yaml --wildcards --exclude='./.git*' --exclude='./.env*' .
mkdir -p "$1"
tar --extract --file "$HOME/app.tar" --directory "$1" --no-same-owner
rm -f "$HOME/app.tar"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStep:
    """One program of a build.

    Args:
        said: The step as a person would type it; shown and repeated.
    """

    argv: tuple[str, ...]
    said: str


def steps(spec: BuildSpec, app: Path, *, checkout: str, home: str) -> tuple[BuildStep, ...]:
    """Return what a build runs.

    Args:
        spec: What the manifest says.
        app: The app's directory on this host, not built yet.
        checkout: The same, as the build sees it.
        home: The build's home, as it sees it; holds what :func:`furnish` wrote.

    Raises:
        InvalidRequest: The helper needs something that the manifest or the checkout lacks.
    """
    own = (_shell(spec.command),) if spec.command else ()
    match spec.kind:
        case BuildKind.COMMAND:
            return own
        case BuildKind.MAKE:
            return (*own, _plain("make", *([spec.target] if spec.target else [])))
        case BuildKind.PYTHON:
            return (*own, *_python(spec, app, checkout=checkout, home=home))
        case BuildKind.NODE:
            return (*own, *_node(spec, app))
        case BuildKind.BINARY:
            return (*own, _binary(spec))


def furnish(spec: BuildSpec, home: Path) -> None:
    """Write the programs that a build helper runs into the build's home.

    Raises:
        OvenbirdError: The product's environment has no pip.
    """
    if spec.kind is not BuildKind.PYTHON:
        return
    (home / RELOCATION).write_bytes(Path(relocation.__file__).read_bytes())
    _write_pip(home / PIP)
    for name in (RELOCATION, PIP):
        (home / name).chmod(0o644)


def result(spec: BuildSpec) -> str:
    """Return where a helper leaves its result, relative to the app's directory; or nothing."""
    made = {BuildKind.PYTHON, BuildKind.NODE, BuildKind.BINARY}
    return DIST + spec.into if spec.kind in made else ""


def _python(spec: BuildSpec, app: Path, *, checkout: str, home: str) -> Iterator[BuildStep]:
    tree = f"{checkout}/{_into(spec)}"
    relocate = (spec.interpreter, f"{home}/{RELOCATION}")
    yield BuildStep(
        argv=(*relocate, "prepare", tree, spec.into, spec.interpreter),
        said=f"{spec.interpreter} -m venv {spec.into}",
    )
    pip = (f"{tree}/bin/python3", f"{home}/{PIP}", "install")
    quiet = ("--no-compile", "--no-cache-dir", "--no-input", "--disable-pip-version-check")
    for words in _wanted(spec, app):
        yield BuildStep(argv=(*pip, *quiet, *words), said=f"pip install {' '.join(words)}")
    yield BuildStep(
        argv=(*relocate, "settle", tree, spec.into, checkout),
        said=f"settle {spec.into}",
    )


def _wanted(spec: BuildSpec, app: Path) -> Iterator[tuple[str, ...]]:
    """Yield what pip is to install: the pinned requirements, and the project itself.

    The two apart: with hashes pip takes nothing that has none, and a checkout has none.
    """
    if spec.requirements:
        if not (app / spec.requirements).is_file():
            raise InvalidRequest(
                f"`package.build.requirements`: `{spec.requirements}` is not in the checkout",
                hint="Give the file's path in the app's directory",
            )
        yield ("--requirement", spec.requirements)
    if is_python_project(app):
        yield ("--no-deps", ".") if spec.requirements else (".",)
    elif not spec.requirements:
        raise InvalidRequest(
            "`package.build` of kind `python` has nothing to install",
            hint="Name `requirements`, or add a pyproject.toml with `[project]`",
        )


def is_python_project(app: Path) -> bool:
    """Tell whether pip can install a directory: tools keep their words in pyproject.toml, too."""
    if (app / "setup.py").is_file():
        return True
    try:
        with (app / "pyproject.toml").open("rb") as file:
            found = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False
    return "project" in found or "build-system" in found or "poetry" in found.get("tool", {})


def _node(spec: BuildSpec, app: Path) -> Iterator[BuildStep]:
    if not (app / "package.json").is_file():
        raise InvalidRequest("`package.build` of kind `node` needs a package.json")
    locked = any((app / name).is_file() for name in LOCKS)
    verb = "ci" if locked else "install"
    more = () if locked else ("--no-package-lock",)
    yield _plain("npm", verb, "--omit=dev", *more)
    place = _into(spec)
    first = f"{DIST}/{PurePosixPath(spec.into).parts[1]}"
    yield BuildStep(
        argv=("sh", "-e", "-c", _ASSEMBLE, "sh", place, first),
        said=f"copy the app and node_modules to {place}",
    )


def _binary(spec: BuildSpec) -> BuildStep:
    if not spec.target:
        raise InvalidRequest(
            "`package.build` of kind `binary` needs `target`, the program that is built"
        )
    return _plain("install", "-D", "--mode=755", "--", spec.target, _into(spec))


def _into(spec: BuildSpec) -> str:
    parts = PurePosixPath(spec.into).parts
    if len(parts) < 2 or not spec.into.startswith("/") or ".." in parts:
        raise InvalidRequest(
            f"`package.build` of kind `{spec.kind.value}` needs `into`, an absolute path",
            hint="As `into: /opt/hello`; contents take it from `dist/opt/hello`",
        )
    return f"{DIST}{spec.into.rstrip('/')}"


def _shell(line: str) -> BuildStep:
    return BuildStep(argv=("sh", "-e", "-c", line), said=line)


def _plain(*words: str) -> BuildStep:
    return BuildStep(argv=words, said=" ".join(words))


def _write_pip(target: Path) -> None:
    """Put our own pip into one file that any Python runs, as pip's zipapp is.

    Source: pip's documentation, "Standalone zip application".
    """
    found = importlib.util.find_spec("pip")
    if found is None or not found.submodule_search_locations:
        raise OvenbirdError(
            "pip is missing beside this program",
            hint="Install pip into the environment that `ovenbird` runs in",
        )
    top = Path(found.submodule_search_locations[0])
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", _ZIP_EPOCH), _RUNS_PIP)
        for path in sorted(top.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                name = str(PurePosixPath("pip") / path.relative_to(top))
                archive.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), path.read_bytes())
