"""Real bakes: apt installs from a signed repository, debugfs applies, blocks are uploaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ovenbird.aws.buckets import BucketStorage
from ovenbird.aws.images import Ec2Images
from ovenbird.aws.sharing import Ec2Sharing
from ovenbird.aws.snapshots import EbsSnapshots
from ovenbird.config.manifest import load_manifest
from ovenbird.config.settings import cache_home
from ovenbird.domain.boot_checks import Probe
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.images import (
    BOOT_CHECK_TAG,
    PROVENANCE_TAG,
    Baked,
    BakeRequest,
    BootCheck,
    Image,
    ImageId,
    PackagePin,
)
from ovenbird.domain.provenance import FILES, SBOM, Origin, has_passed
from ovenbird.domain.recipes import RecipeStep, Shell
from ovenbird.domain.sharing import ShareRequest, ShareTarget
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.image_evidence import ImageEvidence
from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.sandbox import base_images
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.places import PRODUCTION, REGION
from ovenbird.stages.bake import bake
from ovenbird.stages.boot_check import Proving, boot_check
from ovenbird.stages.build import build
from ovenbird.stages.kitchen import Kitchen
from ovenbird.stages.share import Doors, share
from ovenbird.system import git
from ovenbird.system.boots.boot_containers import ContainerBoots
from ovenbird.system.clock import SystemClock
from ovenbird.system.directory_storage import DirectoryStorage
from ovenbird.system.disks.root_file_systems import mounted_root
from ovenbird.system.rooms import image_contents
from ovenbird.system.rooms.workshop import Workshop

pytestmark = pytest.mark.boot
ROOT = Path(__file__).resolve().parents[2]
AT = datetime(2026, 1, 1, tzinfo=UTC)


class Bakery:
    """Everything that a bake of the example app needs, made once."""

    def __init__(self, endpoint: Endpoint, home: Path) -> None:
        self.home, self.endpoint = home, endpoint
        self.said: list[str] = []
        self.images = Ec2Images(endpoint.development)
        self.snapshots = EbsSnapshots(
            endpoint.development, cache=home / "disks", clock=SystemClock()
        )
        self.workshop = Workshop(home / "bakes", cache=cache_home() / "apt")
        disk = base_images.ensure_base_disk(cache_home(), print)
        self.base = base_images.register(
            disk, account=endpoint.development, snapshots=self.snapshots
        )
        self.request = self._request(self._published())
        self.evidence = ImageEvidence(
            DirectoryStorage(home / "repository"), SigningKey(home / "keys")
        )

    def _published(self) -> tuple[PackagePin, RepositoryState]:
        app = self.home / "hello"
        script = ROOT / "examples/hello/make_repository.py"
        subprocess.run([sys.executable, script, app], check=True, capture_output=True)  # noqa: S603 - our own script
        mirror = self.home / "mirror"
        source = git.resolve(str(app), "v1.0.0", mirror=mirror)
        checkout = git.checkout(source, mirror=mirror, into=self.home / "checkout")
        spec = load_manifest(checkout)
        self.recipe = spec.image.recipe
        packages = build(
            source, spec, checkout=checkout, outbox=self.home / "outbox", progress=self.said.append
        )
        self.packages = packages
        key = SigningKey(self.home / "keys")
        storage = DirectoryStorage(self.home / "repository")
        repository = PackageRepository(storage, name="main", signer=key)
        pin = PackagePin(
            name=packages[0].name,
            version=packages[0].version,
            architecture=packages[0].architecture,
            digest_sha256=packages[0].digest_sha256,
        )
        return pin, repository.publish(packages, channel="candidate", at=AT)

    def _request(self, published: tuple[PackagePin, RepositoryState]) -> BakeRequest:
        pin, state = published
        return BakeRequest(
            app="hello",
            version=pin.version,
            commit="0" * 40,
            release_id="hello-0000000-1",
            base_image_id=ImageId(self.base),
            recipe=self.recipe,
            packages=(pin,),
            repository=state,
        )

    def bake(self, request: BakeRequest) -> Baked:
        return bake(
            request,
            kitchen=Kitchen(
                images=self.images,
                snapshots=self.snapshots,
                workshop=self.workshop,
                evidence=self.evidence,
            ),
            progress=self.said.append,
        )

    def left(self) -> list[str]:
        mounts = Path("/proc/self/mounts").read_text()
        return [line for line in mounts.splitlines() if str(self.home) in line]


@pytest.fixture(scope="module")
def bakery(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Bakery:
    return Bakery(endpoint, tmp_path_factory.mktemp("bakery"))


@pytest.fixture(scope="module")
def baked(bakery: Bakery) -> Baked:
    return bakery.bake(bakery.request)


def test_a_bake_uploads_few_blocks_and_leaves_nothing_mounted(bakery: Bakery, baked: Baked) -> None:
    assert 0 < baked.blocks_uploaded < 80
    assert baked.blocks_total > 500
    assert bakery.left() == []


def test_the_image_holds_the_app_and_nothing_of_the_bake(
    bakery: Bakery, baked: Baked, tmp_path: Path
) -> None:
    disk = bakery.snapshots.download(baked.image.root_snapshot_id)

    with mounted_root(disk, tmp_path / "root") as root:
        wants = root / "etc/systemd/system/multi-user.target.wants"
        found = {
            "unit": (root / "lib/systemd/system/hello.service").exists(),
            "enabled": (wants / "hello.service").is_symlink(),
            "nginx": (root / "usr/sbin/nginx").exists(),
            "default site": (root / "etc/nginx/sites-enabled/default").is_symlink(),
            "policy": (root / "usr/sbin/policy-rc.d").exists(),
            "source": (root / "etc/apt/sources.list.d/ovenbird.list").exists(),
            "machine-id": (root / "etc/machine-id").read_text(),
            "archives": sorted(p.name for p in (root / "var/cache/apt/archives").glob("*.deb")),
            "lists": sorted(p.name for p in (root / "var/lib/apt/lists").glob("*Packages*")),
        }

    assert found == {
        "unit": True, "enabled": True, "nginx": True, "default site": False, "policy": False,
        "source": False, "machine-id": "", "archives": [], "lists": [],
    }  # fmt: skip


def test_the_evidence_of_an_image_is_what_reading_its_disk_again_gives(
    bakery: Bakery, baked: Baked, tmp_path: Path
) -> None:
    place = baked.image.bake_key, baked.image.tags[PROVENANCE_TAG]
    disk = bakery.snapshots.download(baked.image.root_snapshot_id)

    with mounted_root(disk, tmp_path / "root") as root:
        found = image_contents.read(root)

    origin = Origin.parse(bakery.evidence.statement(*place).statement)
    bill = json.loads(bakery.evidence.part(*place, SBOM))
    listed = {(one["name"], one["version"]) for one in bill["components"]}
    assert image_contents.unpacked(bakery.evidence.part(*place, FILES)) == found.files
    assert {(one.name, one.version) for one in found.packages} | {("debian", "12")} == listed
    assert origin.disk_sha256 == baked.digest_sha256


def test_the_image_boots_and_says_so_in_its_tags(bakery: Bakery, baked: Baked) -> None:
    proving = Proving(
        images=bakery.images,
        tags=Ec2Sharing(bakery.endpoint.development),
        snapshots=bakery.snapshots,
        boots=ContainerBoots(bakery.home / "boots"),
        evidence=bakery.evidence,
    )

    def check() -> Image:
        image = bakery.images.get(baked.image.image_id)
        return boot_check(
            image,
            policy=BootCheck.FIRST,
            probe=Probe(port=80, path="/healthz"),
            proving=proving,
            progress=bakery.said.append,
        )

    assert check().tags[BOOT_CHECK_TAG] == "passed"
    assert "`/healthz` answers" in bakery.said[-1]
    assert check() == bakery.images.get(baked.image.image_id)
    assert bakery.said[-1] == "An image of this base has booted before: not booted again"
    assert has_passed(bakery.evidence.boot_result(baked.image).statement, baked.image)
    assert bakery.left() == []


def test_the_same_request_is_baked_once(bakery: Bakery, baked: Baked) -> None:
    again = bakery.bake(bakery.request)

    assert again.reused
    assert again.image.bake_key == baked.image.bake_key
    assert again.digest_sha256 == baked.digest_sha256


def test_two_bakes_from_scratch_are_bit_identical(
    bakery: Bakery, baked: Baked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    before = os.umask(0o077)
    try:
        again = bakery.bake(replace(bakery.request, fresh=True, release_id="hello-0000000-2"))
    finally:
        os.umask(before)

    assert again.image.image_id != baked.image.image_id
    assert again.digest_sha256 == baked.digest_sha256


def test_a_repository_in_a_bucket_gives_the_same_image(
    bakery: Bakery, baked: Baked, endpoint: Endpoint
) -> None:
    storage = BucketStorage(endpoint.development, f"packages-{uuid.uuid4()}", "main")
    storage.ensure()
    key = SigningKey(bakery.home / "keys")
    repository = PackageRepository(storage, name="main", signer=key)
    state = repository.publish(bakery.packages, channel="candidate", at=AT)

    with repository.reachable(state) as there:
        again = bakery.bake(
            replace(bakery.request, repository=there, fresh=True, release_id="hello-0000000-3")
        )

    assert (state.url, there.url[:17]) == (storage.url, "http://127.0.0.1:")
    assert again.digest_sha256 == baked.digest_sha256
    assert bakery.left() == []


def test_a_failing_recipe_step_leaves_nothing(bakery: Bakery) -> None:
    request = replace(
        bakery.request, recipe=(RecipeStep(work=Shell(lines=("echo because; exit 7",))),)
    )

    with pytest.raises(
        CommandFailed, match="`echo because; exit 7` exited with status 7"
    ) as caught:
        bakery.bake(request)

    assert "image.recipe" in caught.value.hint
    assert caught.value.facts["stderr"] == "because"
    assert bakery.left() == []


def test_a_package_of_another_key_is_refused_by_apt(bakery: Bakery, tmp_path: Path) -> None:
    stranger = SigningKey(tmp_path / "stranger").ensure()
    state = replace(bakery.request.repository, key_path=str(stranger))

    with pytest.raises(CommandFailed) as caught:
        bakery.bake(replace(bakery.request, repository=state, fresh=True))

    assert str(caught.value) == "The bake failed: `apt-get update` exited with status 100"
    assert "NO_PUBKEY" in str(caught.value.facts["stderr"])
    assert bakery.left() == []


def test_a_package_that_was_changed_after_its_publication_is_refused(bakery: Bakery) -> None:
    (deb,) = Path(bakery.request.repository.url.removeprefix("file:")).rglob("hello_*.deb")
    was = deb.read_bytes()
    deb.write_bytes(was[:-1] + bytes([was[-1] ^ 1]))
    try:
        with pytest.raises(CommandFailed, match="`apt-get install hello=") as caught:
            bakery.bake(replace(bakery.request, fresh=True))
    finally:
        deb.write_bytes(was)

    assert "Hash Sum mismatch" in str(caught.value.facts["stderr"])
    assert "verified" in caught.value.hint
    assert bakery.left() == []


def test_production_sees_a_shared_image_with_its_tags(
    bakery: Bakery, baked: Baked, endpoint: Endpoint
) -> None:
    target = ShareTarget(environment="prod", account_id=PRODUCTION, region=REGION)
    request = ShareRequest(image=baked.image, region=REGION, targets=(target,))
    doors = Doors(
        owner=lambda _: Ec2Sharing(endpoint.development),
        there={"prod": Ec2Sharing(endpoint.production)},
    )

    def shared() -> Image:
        return share(request, doors=doors, progress=bakery.said.append)["prod"]

    seen = shared()

    assert shared() == seen
    assert (seen.image_id, seen.version) == (baked.image.image_id, "1.0.0")
    assert seen.tags["ovenbird:source-account"] == "111111111111"
