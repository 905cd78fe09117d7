"""All that the catalog keeps of a package, in one call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ovenbird.domain.catalog import PackageFacts
from ovenbird.domain.packages import Package
from ovenbird.packaging.reading.bundled import is_wanted
from ovenbird.packaging.reading.inspection import inspect
from ovenbird.packaging.reading.payloads import unpacked
from ovenbird.packaging.reading.sbom import sbom


def facts_of(package: Package, *, log_path: str, builder: str, epoch_s: int) -> PackageFacts:
    """Read a package file again: what is in it, and its bill of materials.

    A payload is unpacked only when something is bundled in it, and then only what tells of it.

    Args:
        package: The package; its file is read.
        log_path: The build's log on the building host.
        builder: Program and version, and the host's name.
        epoch_s: The commit's time, in seconds since 1970.

    Raises:
        NotFound: The file is gone.
        InvalidRequest: It is damaged.
        CommandFailed: A program that reads the format is not installed.
    """
    path = Path(package.path)
    _, facts = inspect(path)
    if any(is_wanted(file.path) for file in facts.files):
        with unpacked(path, package.format, wanted=is_wanted) as tree:
            text = sbom(package, facts, tree, at_epoch_s=epoch_s)
    else:
        text = sbom(package, facts, None, at_epoch_s=epoch_s)
    return replace(facts, sbom=text, log_path=log_path, builder=builder)
