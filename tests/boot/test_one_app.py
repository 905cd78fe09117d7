"""One app as people have it: a bundled environment, a worker with a timer, formats, machines.

Built, checked, signed, published, and looked up through the command line; built again by
somebody else, elsewhere and otherwise, it is the same to the byte.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ovenbird.cli.app import invoke, program
from ovenbird.operations.opening import Installation
from ovenbird.operations.packages import Wanted, build_unchecked
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.system.commands import run
from tests.boot.test_builds import committed
from tests.repositories import PYTHON_PROJECT

pytestmark = pytest.mark.boot

MANIFEST = """\
app: hello
maintainer: Hello Team <hello@example.com>
description: Says hello
license: MIT
package:
  name: hello-web
  formats: [deb, rpm]
  build: {kind: python, into: /opt/hello-web/venv}
  contents: [{from: dist/opt/hello-web/venv/, to: /opt/hello-web/venv}]
  depends: [python3]
  services:
    hello-web: {command: /opt/hello-web/venv/bin/hello-web, user: hello-web}
packages:
  hello-worker:
    formats: [deb, apk, archlinux]
    architecture: [amd64, arm64]
    description: Works for hello
    contents:
      - {from: worker.sh, to: /opt/hello-worker/bin/work, mode: "0755"}
      - {from: "{architecture}.toml", to: /etc/hello-worker/worker.toml, kind: config}
    depends: [hello-web]
    services:
      tidy: {command: /opt/hello-worker/bin/work tidy, user: worker, oneshot: true, schedule: daily}
image: {base: debian-12}
deploy:
  port: 80
  dev: {capacity: {min: 1, desired: 1, max: 1}, strategy: all_at_once}
"""
FILES: Mapping[str, str] = {
    **PYTHON_PROJECT,
    "ovenbird.yaml": MANIFEST,
    "worker.sh": "#!/bin/sh\necho works\n",
    "amd64.toml": "lanes = 4\n",
    "arm64.toml": "lanes = 8\n",
}
SETTINGS = """\
state_directory: {home}/state
repository: {{directory: {home}/repository, signing_key: {home}/keys}}
bake_environment: dev
environments:
  dev: {{account_id: "111111111111", region: eu-west-1, vpc_id: vpc-1, subnet_ids: [subnet-1]}}
"""
MADE = {
    "hello-web_1.0.0_all.deb", "hello-web-1.0.0-1.noarch.rpm",
    "hello-worker_1.0.0_amd64.deb", "hello-worker_1.0.0_arm64.deb",
    "hello-worker_1.0.0_x86_64.apk", "hello-worker_1.0.0_aarch64.apk",
    "hello-worker-1.0.0-1-x86_64.pkg.tar.zst", "hello-worker-1.0.0-1-aarch64.pkg.tar.zst",
}  # fmt: skip
Ask = Callable[..., str]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(SETTINGS.format(home=tmp_path))
    SigningKey(tmp_path / "keys", algorithm="ed25519").ensure()
    return path


@pytest.fixture
def ask(settings: Path, capfd: pytest.CaptureFixture[str]) -> Ask:
    """Run `ovenbird`, which must end well; return what it printed as data."""

    def run_it(*words: str) -> str:
        status = invoke(program, ["--settings", str(settings), *words])
        said = capfd.readouterr()
        assert status == 0, said.err
        return said.out

    return run_it


def test_an_app_of_two_packages_from_the_commit_to_the_catalog(
    ask: Ask, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = committed(tmp_path / "app", FILES, begin=False)
    into = tmp_path / "packages"

    words = ("package", "build", "--publish", "--app", str(app), "--into", str(into))
    built = json.loads(ask(*words, "--json"))["packages"]
    listed = ask("catalog", "list", "hello")
    shown = ask("catalog", "show", "hello-worker", "--format", "deb")
    found = ask("catalog", "search", "*/hello-worker-tidy.timer")
    repository = ask("repository", "show", "--channel", "candidate")
    inspected = ask("package", "inspect", str(into / "hello-web_1.0.0_all.deb"))
    ask("catalog", "verify")
    again = _built_by_somebody_else(app, settings, tmp_path, monkeypatch)

    assert {Path(one["path"]).name for one in built} == MADE
    assert {one["format"] for one in built if one["signed_by"]} == {"deb", "rpm"}
    assert {Path(one["path"]).name: one["digest_sha256"] for one in built} == again
    assert re.search(r"^hello-worker +1\.0\.0 +deb +arm64 +\w{7} +v1\.0\.0 ", listed, re.MULTILINE)
    assert "needs    Depends: hello-web" in shown
    assert ", 1 configuration file, " in shown
    assert found.count("file /lib/systemd/system/hello-worker-tidy.timer") == 2
    assert re.search(r"candidate +1 +2 apk, 2 archlinux, 3 deb, 1 rpm", repository)
    assert re.search(r"signed +yes", inspected)


def _built_by_somebody_else(
    app: Path, settings: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Build in another clone, directory, umask, time zone and locale; return the digests."""
    clone = home / "a clone"
    run(["git", "clone", "--quiet", app, clone], timeout_s=20)
    for name, value in {"TZ": "Asia/Kathmandu", "LC_ALL": "POSIX", "LANG": "de_DE"}.items():
        monkeypatch.setenv(name, value)
    before = os.umask(0o077)
    try:
        with Installation(settings) as installation:
            made = build_unchecked(
                installation, Wanted(app=str(clone)), into=home / "other", sign=True,
                progress=lambda _line: None,
            )  # fmt: skip
    finally:
        os.umask(before)
    return {Path(one.path).name: one.digest_sha256 for one in made.packages}
