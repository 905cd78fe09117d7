"""A repository in a bucket, through the command line: from the end of a CI run to apt and dnf."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ovenbird.aws.buckets import BucketStorage
from ovenbird.cli.app import invoke, program
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.places import DEVELOPMENT, REGION
from ovenbird.sandbox.settings_file import PROFILE
from ovenbird.system.http_files import serving
from tests.pipeline.apps import make_app
from tests.unit.packaging.repositories import Apt, Dnf

pytestmark = pytest.mark.sandbox

MANIFEST = """\
app: shop
maintainer: Shop Team <shop@example.com>
package:
  formats: [deb, rpm]
  contents: [{from: hello.txt, to: /opt/shop/hello.txt}]
packages:
  shop-worker:
    formats: [rpm]
    contents: [{from: hello.txt, to: /opt/shop-worker/hello.txt}]
    depends: [shop]
image: {base: debian-12, packages: [shop]}
deploy:
  port: 80
  dev: {capacity: {min: 1, desired: 1, max: 1}, strategy: all_at_once}
"""
Said = tuple[int, str, str]


@dataclass(frozen=True, kw_only=True)
class Site:
    """A bucket's name, a key, and machines with directories of their own."""

    home: Path
    bucket: str
    endpoint: Endpoint
    said: Callable[[], tuple[str, str]]

    def settings(self, machine: str, base_url: str) -> Path:
        path = self.home / f"{machine}.yaml"
        environment = {
            "account_id": DEVELOPMENT,
            "region": REGION,
            "vpc_id": "vpc-1",
            "subnet_ids": ["subnet-1"],
            "endpoint_url": self.endpoint.url,
            "credentials_file": str(self.endpoint.credentials_file),
            "profile": PROFILE,
        }
        content = {
            "state_directory": str(self.home / machine),
            "repository": {
                "bucket": {"name": self.bucket, "prefix": "main", "environment": "dev"},
                "base_url": base_url,
                "signing_key": str(self.home / "keys"),
            },
            "bake_environment": "dev",
            "environments": {"dev": environment},
        }
        path.write_text(json.dumps(content))  # which YAML has, too
        return path

    def __call__(self, machine: str, *words: str, base_url: str = "") -> Said:
        """Run `ovenbird` on a machine; return status, stdout and stderr."""
        status = invoke(program, ["--settings", str(self.settings(machine, base_url)), *words])
        return status, *self.said()

    def publish(self, machine: str, *, base_url: str = "") -> Said:
        words = ("package", "build", "--publish", "--app", str(self.home / "shop"))
        into = str(self.home / machine / "packages")
        return self(machine, *words, "--ref", "v1.0.0", "--into", into, base_url=base_url)

    def ask(self, machine: str, *words: str, base_url: str = "") -> Any:
        status, out, err = self(machine, *words, "--json", base_url=base_url)
        assert status == 0, err
        return json.loads(out)


@pytest.fixture
def site(endpoint: Endpoint, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Site:
    make_app(tmp_path / "shop", MANIFEST)
    SigningKey(tmp_path / "keys", algorithm="ed25519").ensure()
    bucket = f"packages-{uuid.uuid4()}"
    return Site(home=tmp_path, bucket=bucket, endpoint=endpoint, said=capfd.readouterr)


def test_what_ci_published_is_found_elsewhere_and_taken_by_apt_and_dnf(site: Site) -> None:
    missing = site.publish("ci")
    made = site("ci", "repository", "create", "--yes")
    storage = BucketStorage(site.endpoint.development, site.bucket, "main")
    with serving(storage) as url:
        published = site.publish("ci", base_url=url)
        again = site.publish("other", base_url=url)
        found = site.ask("other", "repository", "show", base_url=url)
        shown = site("other", "catalog", "show", "shop", "--format", "deb")
        nameless = site("other", "package", "build", "--publish", "--channel", "candidate-1")
        whole = site("other", "catalog", "verify")
        debs, files = _installed(site.home, url, found["channels"][0])
    alone = site("other", "repository", "show")

    assert missing[0] == 3
    assert missing[2].endswith("hint: `ovenbird repository create` makes it; is its name right?\n")
    assert "Packaging" not in missing[2]  # said before anything is built
    assert made[:2] == (0, f"s3://{site.bucket}/main\n")
    assert (published[0], again[0]) == (0, 0), published[2] + again[2]
    assert published[2].endswith("state 1 of channel `candidate`\n")
    assert "Found `shop` 1.0.0, published before from this commit\n" in again[2]
    assert "Packaging" not in again[2]
    assert _digests(again[1]) == _digests(published[1])
    assert found["channels"][0]["packages"] == {"deb": 1, "rpm": 2}
    assert "(v1.0.0)" in shown[1]
    assert "contents 3 paths" in shown[1]  # facts came from the bucket
    assert (nameless[0], "Building" in nameless[2]) == (2, False)
    assert "set `repository.base_url`" in alone[1]
    assert whole[0] == 0, whole[1]
    assert debs == {"shop 1.0.0 all"}
    assert files == ["shop-worker/hello.txt", "shop/hello.txt"]


def test_another_accounts_bucket_is_refused_and_said(site: Site) -> None:
    BucketStorage(site.endpoint.production, site.bucket).ensure()

    said = [site.publish("ci"), site("ci", "repository", "create", "--yes")]
    said += [site("ci", "repository", "show")]

    assert [(status, out) for status, out, _ in said] == [(1, "")] * 3
    for _, _, err in said:
        assert f"s3://{site.bucket}/main" in err
        assert f"bucket `{site.bucket}`" in err.partition("hint: ")[2]


def _digests(out: str) -> list[str]:
    return [line.partition("sha256 ")[2] for line in out.splitlines()]


def _installed(home: Path, url: str, channel: dict[str, str]) -> tuple[set[str], list[str]]:
    """Let apt list and dnf install; both have signatures checked, dnf those of packages, too."""
    key = str(home / "keys/public.gpg")
    apt = Apt(home / "apt", url=url, suite="candidate", key=key, component="main")
    apt.update()
    assert apt.download("shop")
    dnf = Dnf(home / "dnf", source="", key="")
    head = (home / "dnf/dnf.conf").read_text().partition("[ours]")[0]
    lines = [
        f"gpgkey=file://{key}" if line.startswith("gpgkey=") else line
        for line in channel["yum"].splitlines()
    ]
    (home / "dnf/dnf.conf").write_text(head + "\n".join(lines) + "\n")
    dnf.install("shop-worker")
    top = home / "dnf/r/opt"
    return apt.packages(), sorted(str(p.relative_to(top)) for p in top.rglob("*") if p.is_file())
