"""From a checkout to packages.

checkout -> build (unprivileged, minimal environment, streamed, logged) -> nfpm -> digest
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovenbird.domain.apps import AppSpec
from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.ports import Progress
from ovenbird.domain.sources import Source
from ovenbird.packaging import nfpm
from ovenbird.packaging.versions import version_of
from ovenbird.system.commands import how_it_ended, run, stream

NOBODY = 65534  # Source: Debian's base-passwd, users `nobody` and group `nogroup`
PLACE = "/mnt"  # where a build that root asks for sees its checkout; every system has it
TAIL_LINES = 15


def build(
    source: Source, spec: AppSpec, *, checkout: Path, outbox: Path, progress: Progress
) -> tuple[Package, ...]:
    """Build the app and package it.

    Args:
        source: The commit that *checkout* holds.
        spec: The app's manifest.
        checkout: A clean tree of the commit; builds happen in it, and it is spent afterwards.
        outbox: Directory that receives the packages and the build's log.
        progress: Told what happens, line by line.

    Raises:
        CommandFailed: The build or the packaging failed; carries the last lines.
        InvalidRequest: Contents are missing, or the version is not one.
    """
    outbox.mkdir(parents=True, exist_ok=True)
    version = version_of(checkout, spec.version)
    _build(spec, source, checkout, log=outbox / "build.log", progress=progress)
    packages = []
    for format_ in spec.package.formats:
        progress(f"Packaging `{spec.package.name}` {version} as {format_.value}")
        packages.append(_package(spec, source, version, format_, checkout, outbox))
    return tuple(packages)


def _build(spec: AppSpec, source: Source, checkout: Path, *, log: Path, progress: Progress) -> None:
    command = spec.build.command
    if not command:
        return
    progress(f"Building with `{command}`")
    with log.open("w") as file:

        def keep(line: str) -> None:
            file.write(f"{line}\n")
            file.flush()
            progress(line)

        try:
            stream(
                _confined(["sh", "-e", "-c", command], checkout),
                timeout_s=spec.build.timeout_s,
                on_line=keep,
                cwd=checkout,
                env=_environment(source, PLACE if _is_root() else str(checkout)),
            )
        except CommandFailed as error:
            tail = "\n".join(str(error.facts.get("stderr", "")).splitlines()[-TAIL_LINES:])
            raise CommandFailed(
                f"The build of `{spec.app}` failed: `{command}` {how_it_ended(error)}",
                hint=f"Read `{log}`, or run `{command}` in a clone at {source.short_commit}",
                log=str(log),
                stderr=tail,
            ) from error


def _environment(source: Source, home: str) -> dict[str, str]:
    return {
        "HOME": home,
        "SOURCE_DATE_EPOCH": str(source.committed_at_epoch_s),
        "TZ": "UTC",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _is_root() -> bool:
    return os.geteuid() == 0


def _confined(argv: list[str], checkout: Path) -> list[str]:
    """Give the checkout to nobody and run as nobody; builds never run as root.

    The checkout may lie in a directory that nobody cannot enter, as below /root: in a mount
    namespace of its own the build sees it at one and the same place. The namespace of
    processes ends what a build leaves running.

    Source: unshare(1), setpriv(1).
    """
    if not _is_root():
        return argv
    run(["chown", "--recursive", "--no-dereference", f"{NOBODY}:{NOBODY}", checkout], timeout_s=60)
    ids = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    inside = f'umask 022; mount --bind "$0" {PLACE}; cd {PLACE}; exec setpriv "$@"'
    return [
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
        "sh", "-e", "-c", inside, str(checkout), *ids, "--", *argv,
    ]  # fmt: skip


def _package(
    spec: AppSpec,
    source: Source,
    version: str,
    format_: PackageFormat,
    checkout: Path,
    outbox: Path,
) -> Package:
    package = spec.package
    name = f"{package.name}_{version}_{package.architecture}.{format_.value}"
    target = outbox / name
    with _staging(outbox / f"{name}.staging") as staging:
        nfpm.package(
            package,
            version=version,
            checkout=checkout,
            staging=staging,
            epoch_s=source.committed_at_epoch_s,
            target=target,
        )
    data = target.read_bytes()
    return Package(
        name=package.name,
        version=version,
        architecture=package.architecture,
        format=format_,
        path=str(target),
        digest_sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        app=spec.app,
        commit=source.commit,
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
