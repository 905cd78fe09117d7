"""From a checkout to packages.

checkout -> build (unprivileged, minimal environment, streamed, logged) -> nfpm -> sign -> digest

One build makes all packages of an app, in all their formats, at one version.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ovenbird.domain.apps import AppSpec
from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.domain.packages import (
    BuildKind,
    BuildSite,
    BuildSpec,
    Isolation,
    Package,
    PackageFormat,
    PackageSpec,
)
from ovenbird.domain.ports import BuildRoom, BuildRooms, Progress
from ovenbird.domain.sources import Source
from ovenbird.packaging.building import builders, programs
from ovenbird.packaging.versions import version_of
from ovenbird.packaging.writing import nfpm
from ovenbird.system import mirrors
from ovenbird.system.commands import how_it_ended
from ovenbird.system.rooms.build_rooms import SCRATCH, HostRoom, opened_site

TAIL_LINES = 15
LOG = "build.log"


Sign = Callable[[Path, PackageFormat, int], str]
"""Signs a package file; takes it, its format and the commit's time (seconds since 1970), and
returns the key's fingerprint, or nothing where the format has no signatures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a build can be given beside its source.

    Args:
        sign: Signs a package file; takes it, its format and the commit's time (seconds since
            1970), returns the key's fingerprint. None for unsigned packages.
        rooms: Opens base images for builds with ``isolation: chroot``.
        version: The packages' version, in the place of the one that the tags say.
    """

    sign: Sign | None = None
    rooms: BuildRooms | None = None
    version: str = ""


NOTHING_GIVEN = Means()


def build(
    source: Source,
    spec: AppSpec,
    *,
    checkout: Path,
    outbox: Path,
    progress: Progress,
    means: Means = NOTHING_GIVEN,
) -> tuple[Package, ...]:
    """Build the app and make all its packages.

    Args:
        source: The commit that *checkout* holds.
        spec: The app's manifest.
        checkout: The app's directory in a clean tree of the commit; builds happen in it, and it
            is spent afterwards.
        outbox: Directory that receives the packages and the build's log, ``build.log``.
        progress: Told what happens, line by line.
        means: What signs, where builds in a base image happen, another version.

    Raises:
        CommandFailed: The build or the packaging failed; carries the last lines.
        InvalidRequest: Contents are missing, or the version is not one.
    """
    outbox.mkdir(parents=True, exist_ok=True)
    version = means.version or version_of(checkout, spec.version)
    _build(spec, source, checkout, log=outbox / LOG, progress=progress, rooms=means.rooms)
    _check_programs(spec, checkout, progress)
    made = []
    for package, format_ in ((p, f) for p in spec.packages for f in p.formats):
        machine = "" if package.architecture == "all" else f" for {package.architecture}"
        progress(f"Packaging `{package.name}` {version} as {format_.value}{machine}")
        target = outbox / nfpm.file_name(package, version, format_)
        signed_by = _write(package, source, version, checkout, target, sign=means.sign)
        made.append(_described(spec, source, package, version, target, signed_by))
    return tuple(made)


def _build(
    spec: AppSpec,
    source: Source,
    checkout: Path,
    *,
    log: Path,
    progress: Progress,
    rooms: BuildRooms | None,
) -> None:
    """Run the build's programs, each line shown and kept."""
    found = mirrors.mirrors_of(os.environ)
    site = opened_site(checkout, source.directory, seen=found.directories)
    with log.open("w", encoding="utf-8") as file, site as there:
        keep = _keeping(file, progress)
        for setting in found.left_out:
            keep(f"{setting} holds a password: the build does without it")
        with _room(spec, there, rooms, keep) as room:
            home = Path(there.home)
            told = mirrors.hand_over(found, home, seen_at=room.home)
            environment = _environment(spec.build, source, room.home, told)
            builders.furnish(spec.build, home)
            end = time.monotonic() + spec.build.timeout_s
            for step in builders.steps(
                spec.build, checkout, checkout=room.checkout, home=room.home
            ):
                progress(f"Building with `{_brief(step.said)}`")
                file.write(f"$ {step.said}\n")
                try:
                    room.run(
                        step.argv,
                        environment=environment,
                        timeout_s=max(0.1, end - time.monotonic()),
                        on_line=keep,
                    )
                except CommandFailed as error:
                    raise _failure(error, spec, source, step.said, log) from error


def _keeping(file: IO[str], progress: Progress) -> Progress:
    def keep(line: str) -> None:
        file.write(f"{line}\n")
        file.flush()
        progress(line)

    return keep


def _room(
    spec: AppSpec, site: BuildSite, rooms: BuildRooms | None, progress: Progress
) -> AbstractContextManager[BuildRoom]:
    if spec.build.isolation is Isolation.HOST:
        return nullcontext(HostRoom(site))
    if rooms is None:
        raise InvalidRequest(
            "`package.build.isolation: chroot` needs a base image, and none can be opened here",
            hint="Give `--settings`, or start the sandbox; or say `isolation: host`",
        )
    return rooms.open(spec.image.base, site, depends=spec.build.depends, progress=progress)


def _environment(
    how: BuildSpec, source: Source, home: str, told: Mapping[str, str]
) -> dict[str, str]:
    """Return what a build is told; the manifest's own words come last."""
    return {
        **told,
        "HOME": home,
        "TMPDIR": f"{home}/{SCRATCH}",
        "SOURCE_DATE_EPOCH": str(source.committed_at_epoch_s),
        "TZ": "UTC",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",  # else compiled modules differ between two builds
        "AWS_EC2_METADATA_DISABLED": "true",
        **how.environment,
    }


def _failure(
    error: CommandFailed, spec: AppSpec, source: Source, said: str, log: Path
) -> CommandFailed:
    late = "within_s" in error.facts
    ended = f"ran past {spec.build.timeout_s:g} s" if late else how_it_ended(error)
    return CommandFailed(
        f"The build of `{spec.app}` failed: `{_brief(said)}` {ended}",
        hint=f"Read `{log}`; to repeat it: `{repeating(source, spec.build, said)}`",
        log=str(log),
        stderr="\n".join(str(error.facts.get("stderr", "")).splitlines()[-TAIL_LINES:]),
    )


def _brief(said: str) -> str:
    first, *more = said.strip().splitlines()
    return f"{first} …" if more else first


def repeating(source: Source, how: BuildSpec, said: str) -> str:
    """Return one line that repeats a build by hand.

    Args:
        source: The commit.
        how: What the manifest says.
        said: The step that failed.
    """
    place = shlex.quote(f"repeat/{source.directory}".rstrip("/"))
    clone = f"git clone -q {shlex.quote(source.url)} repeat"
    there = f"{clone} && git -C repeat checkout -q {source.commit} && cd {place}"
    typed = how.kind in {BuildKind.COMMAND, BuildKind.MAKE} or said == how.command
    if typed and "\n" not in said:
        own = "".join(f"{name}={shlex.quote(value)} " for name, value in how.environment.items())
        return f"{there} && {own}sh -e -c {shlex.quote(said)}"
    return f"{there} && ovenbird package build"


def _check_programs(spec: AppSpec, checkout: Path, progress: Progress) -> None:
    """Refuse compiled code for a machine that its package is not for.

    Raises:
        InvalidRequest: The build left nothing, or code for other machines.
    """
    place = builders.result(spec.build).rstrip("/")
    if not place:
        return
    made = checkout / place
    if not made.exists() or not made.resolve().is_relative_to(checkout.resolve()):
        raise InvalidRequest(f"The build left nothing at `{place}`")
    if spec.build.kind is BuildKind.BINARY:
        _tell(programs.program_of(made), spec.build.into, progress)
        compiled = [made]
    else:
        compiled = list(programs.programs_below(made))
    found = {programs.program_of(path).architecture for path in compiled}
    for package in spec.packages:
        if found and _takes(package, place) and package.architecture not in found:
            raise InvalidRequest(
                f"Package `{package.name}` is for `{package.architecture}`, but "
                f"`{place}` holds programs for {', '.join(sorted(found))}, "
                f"as `{compiled[0].relative_to(checkout)}`",
                hint=f"Say `architecture: {min(found)}` in `package`",
            )


def _tell(program: programs.Program, into: str, progress: Progress) -> None:
    if not program.executable:
        raise InvalidRequest(f"`{into}` is a compiled library, not a program")
    if program.needed:
        names = ", ".join(program.needed)
        progress(f"`{into}` needs {names}: name the packages that have them in `depends`")
    else:
        progress(f"`{into}` is statically linked")


def _takes(package: PackageSpec, place: str) -> bool:
    """Tell whether a package's contents have something of the build's result."""
    origins = [c.origin.strip("/") for f in package.formats for c in package.contents_of(f)]
    return any(
        origin and (f"{place}/".startswith(f"{origin}/") or origin.startswith(f"{place}/"))
        for origin in origins
    )


def _write(
    package: PackageSpec,
    source: Source,
    version: str,
    checkout: Path,
    target: Path,
    *,
    sign: Callable[[Path, PackageFormat, int], str] | None,
) -> str:
    """Write one package file, whole or not at all; return the signing key's fingerprint."""
    epoch_s = source.committed_at_epoch_s
    made = target.with_name(f".{target.name}")
    with _staging(target.with_name(f"{target.name}.staging")) as staging:
        nfpm.package(
            package,
            version=version,
            checkout=checkout,
            staging=staging,
            epoch_s=epoch_s,
            target=made,
        )
        signed_by = sign(made, nfpm.format_of(target), epoch_s) if sign else ""
        made.replace(target)
    return signed_by


def _described(
    spec: AppSpec,
    source: Source,
    package: PackageSpec,
    version: str,
    target: Path,
    signed_by: str,
) -> Package:
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Package(
        name=package.name,
        version=version,
        architecture=package.architecture,
        format=nfpm.format_of(target),
        path=str(target),
        digest_sha256=digest,
        size_bytes=target.stat().st_size,
        app=spec.app,
        commit=source.commit,
        signed_by=signed_by,
    )


@contextmanager
def _staging(path: Path) -> Iterator[Path]:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        path.with_suffix(".nfpm.yaml").unlink(missing_ok=True)
        path.with_name(f".{path.stem}").unlink(missing_ok=True)
