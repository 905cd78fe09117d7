"""`ovenbird package inspect | lint`: look into package files, and judge them."""

from __future__ import annotations

import functools
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from ovenbird.cli import output
from ovenbird.cli.options import json_option, opened, query
from ovenbird.domain.catalog import Finding, PackageFacts, PackageFile
from ovenbird.domain.errors import OvenbirdError
from ovenbird.operations.inspecting import Report, inspect_package, lint_app, lint_files
from ovenbird.operations.packages import Wanted
from ovenbird.packaging.reading.inspection import Identity

FILE = click.Path(path_type=Path)
SHOWN = 3  # findings of one kind that people see; all of them stand in the JSON


def wanted_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--app``, ``--ref`` and ``--allow-dirty``; it takes them as ``wanted``."""

    @functools.wraps(function)
    def collecting(*args: Any, app: str, ref: str, allow_dirty: bool, **kwargs: Any) -> Any:
        wanted = Wanted(app=app, ref=ref, allow_dirty=allow_dirty)
        return function(*args, wanted=wanted, **kwargs)

    options = (
        click.option(
            "--app", default=".", help="Git URL or directory; the current one by default."
        ),
        click.option("--ref", default="HEAD", help="Branch, tag or commit."),
        click.option("--allow-dirty", is_flag=True, help="Build a directory as it stands."),
    )
    for option in reversed(options):
        collecting = option(collecting)
    return collecting


@click.command()
@click.argument("file", type=FILE)
@click.option("--files", is_flag=True, help="List what it installs.")
@click.option("--scripts", is_flag=True, help="Print its maintainer scripts.")
@json_option
def inspect(*, file: Path, files: bool, scripts: bool, as_json: bool) -> None:
    """Show what a deb, rpm, apk or Arch Linux package is, needs and holds.

    The format is told by the file's content. With --json everything is printed.

    Example: `ovenbird package inspect packages/hello_1.0.0_all.deb --files`
    """
    identity, facts = inspect_package(file)
    if as_json:
        output.answer({**output.to_data(identity), **_held(facts)})
        return
    click.echo("\n".join(_lines(identity, facts)))
    if files:
        click.echo()
        output.table(("mode", "owner", "group", "size", "path"), map(_row, facts.files))
    for name, text in facts.scripts.items() if scripts else ():
        click.echo(f"\n{name}:\n" + "".join(f"  {line}\n" for line in text.splitlines()), nl=False)


@click.command()
@click.argument("files", nargs=-1, type=FILE, metavar="[FILE]...")
@wanted_options
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@query
def lint(*, files: tuple[Path, ...], wanted: Wanted, strict: bool, as_json: bool) -> None:
    """Judge package files: what would break on a machine, and what linters say.

    Without FILE the app's packages are built, in a directory that is gone afterwards, and
    checked against its manifest; a file alone is checked for what needs no manifest. lintian
    and rpmlint have their say when they are installed. The exit status is 1 when there are
    errors.

    Example: `ovenbird package lint --app ~/hello --ref v1.0.0`
    """
    with opened() as installation:
        reports = (
            lint_files(files) if files else lint_app(installation, wanted, progress=output.words)
        )
    if as_json:
        output.answer([_report_data(report) for report in reports])
    else:
        for report in reports:
            click.echo("\n".join(_report_lines(report)))
    for tool in sorted({report.missing_tool for report in reports} - {""}):
        output.words(f"`{tool}` is not installed; it may have more to say")
    _refuse(reports, strict=strict)


def _refuse(reports: tuple[Report, ...], *, strict: bool) -> None:
    """End with status 1 when there are errors.

    Raises:
        OvenbirdError: There are.
    """
    number = sum(len(report.findings) if strict else report.errors for report in reports)
    if number:
        what = "finding" if strict else "error"
        raise OvenbirdError(
            f"{_counted(number, what)} in {_counted(len(reports), 'package')}",
            hint="Mend it; our own checks accept what ovenbird.yaml allows: `allow: [CODE]`",
            count=number,
        )


def _held(facts: PackageFacts) -> dict[str, object]:
    names = ("files", "relations", "scripts", "configs")
    return {name: output.to_data(getattr(facts, name)) for name in names}


def _lines(identity: Identity, facts: PackageFacts) -> Iterator[str]:
    about = f"{identity.format.value}, {identity.architecture}"
    yield f"Package {identity.name} {identity.version} ({about})"
    said = {
        "about": identity.description.partition("\n")[0],
        "by": identity.maintainer,
        "home": identity.homepage,
        "license": identity.license,
        "installed": f"{identity.installed_bytes} bytes",
        "sha256": f"{identity.digest_sha256} ({identity.size_bytes} bytes)",
        "signed": "yes" if identity.is_signed else "no",
        **{field: ", ".join(relations) for field, relations in facts.relations.items()},
        "scripts": ", ".join(facts.scripts),
        "configs": ", ".join(facts.configs),
        "files": f"{sum(not stat.S_ISDIR(file.mode) for file in facts.files)}",
    }
    width = max(map(len, said))
    for word, value in said.items():
        if value:
            yield f"  {word:<{width}}  {value}"


def _row(file: PackageFile) -> tuple[object, ...]:
    path = f"{file.path} -> {file.target}" if file.target else file.path
    return stat.filemode(file.mode), file.owner, file.group, file.size_bytes, path


def _report_data(report: Report) -> dict[str, object]:
    return {
        "path": report.path,
        "name": report.identity.name,
        "version": report.identity.version,
        "architecture": report.identity.architecture,
        "format": report.identity.format.value,
        "errors": report.errors,
        "findings": output.to_data(report.findings),
        "missing_tool": report.missing_tool,
    }


def _report_lines(report: Report) -> Iterator[str]:
    warnings = len(report.findings) - report.errors
    counts = [_counted(report.errors, "error"), _counted(warnings, "warning")]
    said = ", ".join(one for one in counts if one) or "nothing to say"
    yield f"{Path(report.path).name}: {said}"
    alike: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in report.findings:
        alike.setdefault((finding.tool, finding.level, finding.code), []).append(finding)
    for found in alike.values():
        yield from map(_line, found[:SHOWN])
        if len(found) > SHOWN:
            more = len(found) - SHOWN
            yield f"  {found[0].level:<7}  and {more} more like these ({_code(found[0])})"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}" if number else ""


def _line(finding: Finding) -> str:
    place = f"{finding.place}: " if finding.place else ""
    return f"  {finding.level:<7}  {place}{finding.text} ({_code(finding)})"


def _code(finding: Finding) -> str:
    return finding.code if finding.tool == "ovenbird" else f"{finding.tool} {finding.code}"
