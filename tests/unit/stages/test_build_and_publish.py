from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ovenbird.config.manifest import load_manifest
from ovenbird.domain.apps import AppSpec
from ovenbird.domain.errors import CommandFailed, Conflict
from ovenbird.domain.packages import Package
from ovenbird.domain.sources import Source
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.stages.build import build
from ovenbird.system import git
from ovenbird.system.commands import run
from ovenbird.system.directory_storage import DirectoryStorage

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="session")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hello")
    script = ROOT / "examples/hello/make_repository.py"
    run(["python3", script, path], timeout_s=60)
    return path


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey(tmp_path_factory.mktemp("key") / "gpg")


def checked_out(hello: Path, work: Path) -> tuple[Source, AppSpec, Path]:
    source = git.resolve(str(hello), "v1.1.0", mirror=work / "mirror")
    app = git.checkout(source, mirror=work / "mirror", into=work / "tree")
    return source, load_manifest(app), app


def built(hello: Path, work: Path) -> Package:
    source, spec, app = checked_out(hello, work)
    packages = build(source, spec, checkout=app, outbox=work / "out", progress=lambda _: None)
    return packages[0]


def test_the_same_commit_gives_the_same_bytes(
    hello: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = built(hello, tmp_path / "a")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    before = os.umask(0o077)
    try:
        second = built(hello, tmp_path / "another")
    finally:
        os.umask(before)

    assert (first.version, first.digest_sha256) == ("1.1.0", second.digest_sha256)


def test_a_build_that_fails_shows_its_last_lines_and_its_log(hello: Path, tmp_path: Path) -> None:
    source, spec, app = checked_out(hello, tmp_path)
    failing = dataclasses.replace(spec.build, command="id -u; echo because; exit 3")
    broken = dataclasses.replace(spec, build=failing)

    with pytest.raises(CommandFailed, match="exited with status 3") as caught:
        build(source, broken, checkout=app, outbox=tmp_path / "out", progress=lambda _: None)

    uid, because = str(caught.value.facts["stderr"]).splitlines()
    assert (uid != "0", because) == (True, "because")
    assert Path(str(caught.value.facts["log"])).read_text().endswith("because\n")
    assert list((tmp_path / "out").glob("*.deb")) == []


def apt_update(root: Path, *, repository: Path, key_path: str, suite: str) -> str:
    """Run the real apt in a root of its own; return what it wrote."""
    for name in ("state/lists/partial", "cache/archives/partial", "etc/apt/preferences.d"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "state/status").touch()
    line = f"deb [signed-by={key_path}] file:{repository} {suite} main\n"
    (root / "sources.list").write_text(line)
    options = {
        "Dir": root, "Dir::State": root / "state", "Dir::State::status": root / "state/status",
        "Dir::Cache": root / "cache", "Dir::Etc::sourcelist": root / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null", "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
    }  # fmt: skip
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return run(["apt-get", *words, "update"], timeout_s=60)


def test_apt_takes_what_is_signed_and_refuses_what_was_tampered_with(
    hello: Path, tmp_path: Path, key: SigningKey
) -> None:
    repository = PackageRepository(DirectoryStorage(tmp_path / "r"), name="main", signer=key)
    state = repository.publish([built(hello, tmp_path / "w")], channel="candidate", at=NOW)
    apt, where = (
        Path(state.url.removeprefix("file:")),
        {"key_path": state.key_path, "suite": state.suite},
    )
    assert "candidate-1" in apt_update(tmp_path / "good", repository=apt, **where)

    for path in (apt / "dists/candidate-1/main").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes() + b"\n")

    with pytest.raises(CommandFailed):
        apt_update(tmp_path / "bad", repository=apt, **where)


def test_publishing_twice_is_publishing_once_and_other_bytes_are_a_conflict(
    hello: Path, tmp_path: Path, key: SigningKey
) -> None:
    package = built(hello, tmp_path / "w")
    repository = PackageRepository(DirectoryStorage(tmp_path / "r"), name="main", signer=key)
    first = repository.publish([package], channel="candidate", at=NOW)

    assert repository.publish([package], channel="candidate", at=NOW) == first
    other = dataclasses.replace(package, digest_sha256="0" * 64)
    with pytest.raises(Conflict, match="with other bytes"):
        repository.publish([other], channel="candidate", at=NOW)
