"""Package files on their own: what is in them, and what checks and linters say of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovenbird.domain.catalog import Finding, PackageFacts
from ovenbird.domain.packages import PackageFormat, PackageSpec
from ovenbird.domain.ports import Progress
from ovenbird.operations.opening import Installation
from ovenbird.operations.packages import Wanted, build_unchecked
from ovenbird.packaging.checking import checks, linters
from ovenbird.packaging.reading import inspection
from ovenbird.packaging.reading.inspection import Identity

Lint = Callable[[Path, PackageFormat], linters.Linted]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is said of one package file.

    Args:
        findings: Of our own checks first, each tool's errors first.
        missing_tool: The linter that would have more to say, if it were installed; or empty.
    """

    path: str
    identity: Identity
    findings: tuple[Finding, ...]
    missing_tool: str = ""

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(one.level == "error" for one in self.findings)


def inspect_package(path: Path) -> tuple[Identity, PackageFacts]:
    """Return what a package file is and holds.

    Raises:
        NotFound: There is no such file.
        InvalidRequest: It is no package of a known format, or a damaged one.
        CommandFailed: A program that reads the format is not installed.
    """
    return inspection.inspect(path)


def lint_files(paths: Sequence[Path], *, lint: Lint = linters.lint) -> tuple[Report, ...]:
    """Check package files of which nothing else is known, and run their linters.

    Args:
        paths: Package files.
        lint: Runs a format's linter on a file.

    Raises:
        NotFound: There is no such file.
        InvalidRequest: One is no package, or a damaged one.
        CommandFailed: A program failed.
    """
    return tuple(_report(path, None, lint) for path in paths)


def lint_app(
    installation: Installation, wanted: Wanted, *, progress: Progress, lint: Lint = linters.lint
) -> tuple[Report, ...]:
    """Build an app's packages, check them against its manifest, and run their linters.

    Args:
        installation: Has base images for builds in them.
        wanted: The app and the commit.
        progress: Told what happens, line by line.
        lint: Runs a format's linter on a file.

    Raises:
        NotFound: The remote, the ref or the manifest does not exist.
        InvalidRequest: The manifest is wrong.
        CommandFailed: The build failed, or a linter.
    """
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as directory:
        built = build_unchecked(installation, wanted, into=Path(directory), progress=progress)
        reports = []
        for package in built.packages:
            progress(f"Checking `{Path(package.path).name}`")
            spec = built.spec.package_of(package.name, package.architecture)
            reports.append(_report(Path(package.path), spec, lint))
        return tuple(reports)


def _report(path: Path, spec: PackageSpec | None, lint: Lint) -> Report:
    identity, facts = inspection.inspect(path)
    if spec is None:
        own = checks.check_alone(identity, facts)
    else:
        own = checks.check(spec, identity.format, facts)
    linted = lint(path, identity.format)
    theirs = sorted(linted.findings, key=lambda one: one.level != "error")
    return Report(
        path=str(path),
        identity=identity,
        findings=(*own, *theirs),
        missing_tool="" if linted.is_installed else linted.tool,
    )
