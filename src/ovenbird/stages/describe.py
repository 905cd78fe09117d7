"""What is in packages, and what the checks say: kept beside each package file.

packages/hello_1.1.0_all.deb
packages/hello_1.1.0_all.deb.facts.json
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import pydantic
from pydantic import TypeAdapter

from ovenbird.domain.apps import AppSpec
from ovenbird.domain.catalog import PackageFacts
from ovenbird.domain.packages import Package
from ovenbird.domain.ports import Progress
from ovenbird.packaging.checking import checks, linters
from ovenbird.packaging.reading.examined import TOOL
from ovenbird.packaging.reading.facts import facts_of
from ovenbird.stages.build import LOG


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Facts of one package file, and whose they are."""

    digest_sha256: str
    facts: PackageFacts


_KEPT = TypeAdapter(Description)


def describe(
    packages: Sequence[Package],
    spec: AppSpec,
    *,
    epoch_s: int,
    branch: str,
    progress: Progress,
    lint: bool = False,
) -> tuple[PackageFacts, ...]:
    """Look into packages that were built, and refuse those that would not work.

    Args:
        packages: Their files are in the build's outbox.
        spec: What they were made from.
        epoch_s: The commit's time, seconds since 1970.
        branch: What was built, when it is known.
        progress: Told each warning.
        lint: Ask lintian and rpmlint, too, where they are installed; they take seconds.

    Raises:
        InvalidRequest: A package would not work on the machine; all errors are named.
    """
    found = []
    for package in packages:
        facts = kept(package)
        if facts is None:
            facts = _described(package, spec, epoch_s=epoch_s, branch=branch)
            if lint:
                found_by_tool = linters.lint(Path(package.path), package.format).findings
                facts = replace(facts, findings=facts.findings + found_by_tool)
            for finding in facts.findings:
                progress(f"{finding.level}: {finding.tool}: {checks.said(finding)}")
            checks.refuse(f for f in facts.findings if f.tool == TOOL)
            keep(package, facts)
        found.append(facts)
    return tuple(found)


def kept(package: Package) -> PackageFacts | None:
    """Return what was written beside a package file, if it is about this very file."""
    try:
        found = _KEPT.validate_json(_place(package).read_bytes())
    except (OSError, pydantic.ValidationError):
        return None
    return found.facts if found.digest_sha256 == package.digest_sha256 else None


def _described(package: Package, spec: AppSpec, *, epoch_s: int, branch: str) -> PackageFacts:
    path = Path(package.path)
    log = path.with_name(LOG)
    builder = f"ovenbird {version('ovenbird')} on {platform.node()}"
    facts = facts_of(
        package, log_path=str(log) if log.exists() else "", builder=builder, epoch_s=epoch_s
    )
    own = spec.package_of(package.name, package.architecture)
    findings = checks.check(own, package.format, facts)
    return replace(facts, findings=findings, build_branch=branch)


def keep(package: Package, facts: PackageFacts) -> None:
    """Write what is known of a package file beside it."""
    place = _place(package)
    part = place.with_name(f"{place.name}.part")
    found = Description(digest_sha256=package.digest_sha256, facts=facts)
    part.write_bytes(_KEPT.dump_json(found))
    part.replace(place)


def _place(package: Package) -> Path:
    return Path(f"{package.path}.facts.json")
