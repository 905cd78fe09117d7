"""A package of the catalog, and a comparison of two, as pages for people."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from ovenbird.cli import output
from ovenbird.cli.image import uses_lines
from ovenbird.domain.catalog import CatalogEntry, Finding, PackageFacts, PackageFile, Publication
from ovenbird.domain.package_differences import Change, FileChange, TextChange
from ovenbird.domain.package_terms import components_of
from ovenbird.operations.catalog import Provenance
from ovenbird.operations.package_comparison import Comparison

SIGNS = {Change.ADDED: "+", Change.REMOVED: "-", Change.CHANGED: "~"}
DIGEST_CHARS = 12  # of a digest, where two are compared


def package_lines(found: Provenance) -> Iterator[str]:
    """Say everything of one package."""
    yield from _identity(found.entry)
    yield from _contents(found.entry.facts)
    yield from map(_publication, found.publications or [])
    if not found.publications:
        entry = found.entry
        yield (
            f"  channel  {entry.channel}-{entry.state_number}, published"
            f" {output.at(entry.published_at)} by {entry.published_by}"
        )
    if found.entry.withdrawn_at:
        yield f"  state    withdrawn from every channel {output.at(found.entry.withdrawn_at)}"
    yield from _images(found)


def file_line(file: PackageFile) -> str:
    """Say one path as ``ls -l`` does."""
    mode = stat.filemode(file.mode).replace("?", "-", 1)
    target = f" -> {file.target}" if file.target else ""
    owners = f"{file.owner}:{file.group}"
    return f"{mode}  {owners:<16}  {file.size_bytes:>10}  {file.path}{target}"


def comparison_lines(found: Comparison) -> Iterator[str]:
    """Say what differs between two packages."""
    before, after = found.before.package, found.after.package
    yield f"Package {after.name} {before.version} -> {after.version} ({after.format.value})"
    yield f"  size     {before.size_bytes} -> {after.size_bytes} bytes"
    yield f"  source   {found.before.source.short_commit} -> {found.after.source.short_commit}"
    if not found.recorded:
        yield "  contents of one of them, or of both, were not recorded"
    elif found.differences.none:
        yield "  contents are the same"
    yield from _part("Files", map(_file_change, found.differences.files))
    yield from _part("Relations", _value_lines(found.differences.relations))
    yield from _part("Scripts", _script_lines(found.differences.scripts))
    yield from _part("Components", _value_lines(found.differences.components))
    yield from _commit_lines(found)


def _identity(entry: CatalogEntry) -> Iterator[str]:
    package, source, facts = entry.package, entry.source, entry.facts
    kind = f"{package.format.value}, {package.architecture}"
    yield f"Package {package.name} {package.version} ({kind}) of app {package.app}"
    yield f"  file     {PurePosixPath(package.path).name}, {package.size_bytes} bytes"
    yield f"  sha256   {package.digest_sha256}"
    yield f"  signed   {f'by {package.signed_by}' if package.signed_by else 'not itself'}"
    branch = f", branch {facts.build_branch}" if facts.build_branch else ""
    yield f"  source   {source.url} at {source.commit} ({source.ref}){branch}"
    if facts.builder:
        yield f"  builder  {facts.builder}"
    if facts.log_path:
        yield f"  log      {facts.log_path}"


def _contents(facts: PackageFacts) -> Iterator[str]:
    if facts == PackageFacts():
        yield "  contents not recorded"
        return
    yield (
        f"  contents {several(len(facts.files), 'path')},"
        f" {several(len(facts.configs), 'configuration file')},"
        f" {several(len(components_of(facts.sbom)), 'component')}"
    )
    for field, relations in facts.relations.items():
        yield f"  needs    {field}: {', '.join(relations)}"
    if facts.scripts:
        yield f"  scripts  {', '.join(facts.scripts)}"
    yield from _findings(facts.findings)


def _findings(findings: tuple[Finding, ...]) -> Iterator[str]:
    levels = Counter(finding.level for finding in findings)
    yield f"  checks   {', '.join(several(n, level) for level, n in levels.items()) or 'passed'}"
    for one in findings:
        place = f" ({one.place})" if one.place else ""
        yield f"           {one.level} {one.code}, {one.tool}: {one.text}{place}"


def _publication(one: Publication) -> str:
    text = (
        f"  channel  {one.channel}-{one.state_number} of {one.repository}, published"
        f" {output.at(one.published_at)} by {one.published_by}"
    )
    if one.current:
        return text
    return (
        f"{text}; withdrawn in {one.channel}-{one.withdrawn_in} {output.at(one.withdrawn_at)}"
        f" by {one.withdrawn_by}: {one.withdrawn_because}"
    )


def _images(found: Provenance) -> Iterator[str]:
    if found.unasked:
        yield f"  image    not known: {found.unasked}"
    elif not found.images:
        yield "  image    none"
    for one in found.images:
        yield f"  image    {one.image.image_id} {one.image.name}"
        yield from uses_lines(one.runs)


def _part(title: str, lines: Iterable[str]) -> Iterator[str]:
    if found := list(lines):
        yield from ["", title, *(f"  {line}" for line in found)]


def _file_change(one: FileChange) -> str:
    aspects = (
        f"{name} {old[:DIGEST_CHARS] or 'none'} -> {new[:DIGEST_CHARS] or 'none'}"
        if name == "digest"
        else f"{name} {old or 'none'} -> {new or 'none'}"
        for name, (old, new) in one.aspects.items()
    )
    return f"{SIGNS[one.change]} {one.path}  {', '.join(aspects)}".rstrip()


def _value_lines(changes: tuple[TextChange, ...]) -> Iterator[str]:
    for one in changes:
        gone = [value for value in one.before if value not in one.after]
        new = [value for value in one.after if value not in one.before]
        if one.change is Change.CHANGED and len(gone) == len(new) == 1:
            yield f"~ {one.name}: {gone[0]} -> {new[0]}"
            continue
        yield from (f"- {one.name}: {value}".rstrip(": ") for value in gone)
        yield from (f"+ {one.name}: {value}".rstrip(": ") for value in new)


def _script_lines(changes: tuple[TextChange, ...]) -> Iterator[str]:
    for one in changes:
        yield f"{SIGNS[one.change]} {one.name}"
        yield from (f"    {line}" for line in one.unified)


def _commit_lines(found: Comparison) -> Iterator[str]:
    if found.unread:
        yield from ["", "Commits", f"  not known: {found.unread}"]
    yield from _part("Commits", (f"+ {c.commit[:7]} {c.subject}" for c in found.commits))
    yield from _part("Taken back", (f"- {c.commit[:7]} {c.subject}" for c in found.taken_back))


def several(count: int, word: str) -> str:
    """Return a number of things in words."""
    return f"{count} {word}{'' if count == 1 else 's'}"
