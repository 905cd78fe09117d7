"""Our own check of packages: what would break on the machine is refused before it gets there.

    check_relations(packages)       before anything is built
    check(spec, format, facts)      each package that was built
    check_alone(identity, facts)    a package file of which nothing else is known
    refuse(findings)                errors stop the build; warnings are shown

A manifest accepts a finding by its code, or by `CODE:PATH` with `*` and `?`:
`allow: [set-uid:/opt/hello/bin/ping]`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from types import MappingProxyType

from ovenbird.domain.catalog import Finding, PackageFacts
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import PackageFormat, PackageSpec
from ovenbird.packaging.checking import path_checks, program_checks
from ovenbird.packaging.checking.relation_checks import impossible_relations
from ovenbird.packaging.reading.examined import TOOL, Examined, examined, is_below
from ovenbird.packaging.reading.inspection import Identity

# Code → what it says, for the manual.
CODES: Mapping[str, str] = MappingProxyType(
    {
        "missing-command": "a service's program is neither in the package nor in a dependency",
        "not-executable": "a service's program is in the package, without the right to run it",
        "missing-interpreter": "nothing brings what a script's `#!` names",
        "wrong-architecture": "a program for another machine than the package's",
        "foreign-path": "outside of the package's own directories",
        "world-writable": "everyone may write to it, and no content asks for that mode",
        "set-uid": "runs as its owner, and no content asks for that mode",
        "set-gid": "runs with its group, and no content asks for that mode",
        "not-a-config": "below /etc, but not configuration: an upgrade overwrites it",
        "empty-package": "it installs nothing and needs nothing",
        "dangling-symlink": "a link to what is not there",
        "unknown-owner": "an owner or a group that nothing makes",
        "depends-on-itself": "a package needs itself",
        "circular-relation": "packages of one manifest need each other in a circle",
        "contradictory-relation": "what a package needs it also refuses to be with",
        "unsatisfiable-relation": "no version satisfies all that is asked of it",
        "shared-path": "two packages of one manifest have it, and do not conflict",
        "unknown-code": "the manifest accepts a finding that there is not",
    }
)
_CHECKS = (
    program_checks.commands,
    program_checks.interpreters,
    program_checks.machines,
    path_checks.places,
    path_checks.modes,
    path_checks.configurations,
    path_checks.emptiness,
    path_checks.links,
    path_checks.owners,
)
# What a content may have asked for is no error where contents are not known.
_NOT_SURE_ALONE = {"set-uid", "set-gid", "unknown-owner"}


def check(spec: PackageSpec, format_: PackageFormat, facts: PackageFacts) -> tuple[Finding, ...]:
    """Check a package that was built against what was asked for; errors first.

    Args:
        spec: What the manifest says; its ``allowed`` leaves findings out.
        format_: The format of this file.
        facts: What is in it.
    """
    package = examined(spec.name, spec.architecture, format_, facts, spec)
    found = [one for one in _found(package) if not is_allowed(one, spec.allowed)]
    return _in_order(_placed(one, spec, format_) for one in _collapsed(found))


def check_alone(identity: Identity, facts: PackageFacts) -> tuple[Finding, ...]:
    """Check a package file without its manifest: what needs one is left out; errors first."""
    package = examined(identity.name, identity.architecture, identity.format, facts)
    found = (
        replace(one, level="warning") if one.code in _NOT_SURE_ALONE else one
        for one in _found(package)
    )
    return _in_order(_collapsed(found))


def check_relations(packages: Sequence[PackageSpec]) -> tuple[Finding, ...]:
    """Check the relations of a manifest's packages, and what it accepts, before any is built."""
    allowed = {package.name: package.allowed for package in packages}
    found = (
        one
        for one in impossible_relations(packages)
        if not is_allowed(one, allowed.get(one.place.partition(":")[0], ()))
    )
    return tuple(dict.fromkeys((*found, *_unknown(packages))))


def _unknown(packages: Sequence[PackageSpec]) -> Iterator[Finding]:
    for package in packages:
        for code in (entry.partition(":")[0] for entry in package.allowed):
            if code not in CODES:
                near = difflib.get_close_matches(code, CODES, n=1)
                hint = f"did you mean `{near[0]}`?" if near else "see docs/reference/checks.md"
                yield Finding(
                    tool=TOOL,
                    code="unknown-code",
                    level="error",
                    text=f"`{code}` is no finding; {hint}",
                    place=f"{package.name}: allow",
                )


def refuse(findings: Iterable[Finding]) -> None:
    """Stop at errors, and name all of them.

    Raises:
        InvalidRequest: There are errors.
    """
    errors = [one for one in findings if one.level == "error"]
    if not errors:
        return
    count = "" if len(errors) == 1 else f"{len(errors)} mistakes in the package:\n"
    codes = ", ".join(dict.fromkeys(one.code for one in errors))
    raise InvalidRequest(
        count + "\n".join(said(one) for one in errors),
        hint=f"Mend it, or accept it in ovenbird.yaml: `allow: [{codes}]`",
        mistakes=len(errors),
    )


def said(finding: Finding) -> str:
    """Return a finding as one line for people."""
    place = f"`{finding.place}`: " if finding.place else ""
    return f"{place}{finding.text} ({finding.code})"


def is_allowed(finding: Finding, allowed: Iterable[str]) -> bool:
    """Tell whether a manifest accepts a finding."""
    for entry in allowed:
        code, _, pattern = entry.partition(":")
        if code == finding.code and (not pattern or fnmatchcase(finding.place, pattern)):
            return True
    return False


def _found(package: Examined) -> Iterator[Finding]:
    for one in _CHECKS:
        yield from one(package)


def _collapsed(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Make one finding of those that differ in nothing but their place."""
    alike: dict[tuple[str, str, str], list[Finding]] = {}
    for one in findings:
        alike.setdefault((one.code, one.level, one.text), []).append(one)
    for first, *more in alike.values():
        count = f" (and {len(more)} more)" if more else ""
        yield replace(first, text=first.text + count)


def _placed(finding: Finding, spec: PackageSpec, format_: PackageFormat) -> Finding:
    """Say where the manifest asks for what a finding is about."""
    around = [
        content
        for content in spec.contents_of(format_)
        if content.place and is_below(finding.place, (content.destination.rstrip("/"),))
    ]
    nearest = max(around, key=lambda content: len(content.destination), default=None)
    if nearest is None:
        return finding
    return replace(finding, text=f"{finding.text}; see `{nearest.place}`")


def _in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda one: (one.level != "error", one.code, one.place)))
