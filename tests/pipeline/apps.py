"""A git repository of a tiny app, with versions."""

from __future__ import annotations

from pathlib import Path

from ovenbird.domain.releases import ReleaseRequest
from ovenbird.system import git
from ovenbird.system.commands import run

MANIFEST = """\
app: hello
maintainer: Hello Team <hello@example.com>
package:
  contents:
    - {from: hello.txt, to: /opt/hello/hello.txt}
image: {base: debian-12}
deploy:
  port: 80
  dev: {capacity: {min: 1, desired: 1, max: 1}, strategy: all_at_once}
  prod:
    capacity: {min: 2, desired: 2, max: 4}
    strategy: {canary: {steps_percent: [10, 50], observe_s: 0.2}}
"""
APPROVAL = "    approval: required\n"
PATIENT = (  # time to do something meanwhile
    MANIFEST.replace("observe_s: 0.2", "observe_s: 2") + "    judge: {min_periods: 40}\n"
)
MANUAL = MANIFEST.replace("observe_s: 0.2", "observe_s: 0.2, manual_steps: [10]")
VERSIONS = ("v1.0.0", "v1.1.0", "v1.2.0")
_AS = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "tag.gpgsign=false")


def make_app(directory: Path, manifest: str = MANIFEST) -> Path:
    """Make a repository with a commit and a tag for each version."""
    directory.mkdir(parents=True)
    _git(directory, "init", "--quiet")
    (directory / "ovenbird.yaml").write_text(manifest)
    for version in VERSIONS:
        (directory / "hello.txt").write_text(version)
        _git(directory, "add", ".")
        _git(directory, *_AS, "commit", "--quiet", "--message", version)
        _git(directory, *_AS, "tag", version)
    return directory


def request_for(app: Path, ref: str, *, mirror: Path, attempt: int = 1) -> ReleaseRequest:
    """Return what `release start` would ask the pipeline for."""
    source = git.resolve(str(app), ref, mirror=mirror)
    return ReleaseRequest(
        release_id=f"hello-{source.short_commit}-{attempt}",
        app="hello",
        url=str(app),
        ref=ref,
        commit=source.commit,
        directory="",
        actor="ann",
    )


def _git(directory: Path, *words: str) -> None:
    run(["git", "-C", directory, *words], timeout_s=30)
