"""`ovenbird catalog` on a real repository: signed debs, pruned and read again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import pytest

from ovenbird.domain.apps import AppSpec, Health
from ovenbird.domain.catalog import CatalogEntry, Publication
from ovenbird.domain.errors import Conflict
from ovenbird.domain.images import ImageSpec
from ovenbird.domain.packages import PackageFormat, PackageSpec
from ovenbird.domain.ports import Repository
from ovenbird.domain.sources import Source
from ovenbird.operations import catalog_verification, retention
from ovenbird.packaging.keys.package_signatures import sign_package
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.cataloged import CatalogedRepository
from ovenbird.stages.publish import Shop, publish, published_before
from ovenbird.system.clock import SystemClock
from ovenbird.system.directory_storage import DirectoryStorage
from tests.pipeline.installation import WorldInstallation
from tests.pipeline.worlds import World
from tests.unit.packaging.repositories import built, package_of

NOW = SystemClock().now()


class Real(WorldInstallation):
    """A world whose repository is a real one."""

    @cached_property
    def key(self) -> SigningKey:
        return SigningKey(self.world.directory / "key", algorithm="ed25519")

    @cached_property
    def repository(self) -> Repository:
        storage = DirectoryStorage(self.world.directory / "repository")
        return CatalogedRepository(storage, name="main", key=self.key)

    def publish(self, version: str, *, days_ago: float) -> CatalogEntry:
        unsigned = built(self.world.directory / f"built-{version}", "hello", version)
        path = Path(unsigned.path)
        signer = sign_package(path, PackageFormat.DEB, self.key, epoch_s=1_767_312_000)
        package = replace(package_of(path, "hello", version), signed_by=signer)
        at = NOW - timedelta(days=days_ago)
        state = self.repository.publish([package], channel="candidate", at=at)
        entry = CatalogEntry(
            package=package, channel="candidate", state_number=state.number, published_at=at,
            published_by="ann",
            source=Source(url="/apps", ref="main", commit=package.commit, committed_at_epoch_s=1),
        )  # fmt: skip
        self.store.put_catalog_entry(entry)
        self.store.put_publication(
            Publication(
                key=entry.key, repository="main", channel="candidate", published_at=at,
                state_number=state.number, published_by="ann",
            )
        )  # fmt: skip
        return entry

    def codes(self, *words: str) -> set[str]:
        """Return what a verification finds."""
        found = catalog_verification.verify(self, *words, progress=lambda _line: None)
        return {one.code for one in found}

    def files(self) -> list[str]:
        """Return the versions whose files are in the pool."""
        pool = self.world.directory / "repository/pool"
        return sorted(path.name.split("_")[1] for path in pool.rglob("*.deb"))


@pytest.fixture
def real(tmp_path: Path) -> Real:
    return Real(World(tmp_path / "state"))


def test_a_repository_is_pruned_and_stays_whole(real: Real) -> None:
    for days_ago, version in ((400, "1.0.0"), (300, "1.1.0"), (200, "1.2.0")):
        real.publish(version, days_ago=days_ago)
    policy = retention.policy_of(real.settings, keep_last=1, keep_days=9)

    pruning = retention.plan_pruning(real, policy)
    retention.prune(real, pruning, policy, progress=print)
    whole = real.codes()
    newest = real.repository.states("candidate")[-1].number
    file = next((real.world.directory / "repository/pool").rglob("*_1.2.0_all.deb"))
    data = bytearray(file.read_bytes())
    data[200] ^= 1
    file.write_bytes(data)

    assert pruning.states == ("candidate-1", "candidate-2")
    assert [choice.publication.key.version for choice in pruning.plan.goes] == ["1.1.0", "1.0.0"]
    assert whole == set()
    assert [package.version for package in real.repository.list_packages("candidate")] == ["1.2.0"]
    assert newest == 4
    assert real.files() == ["1.0.0", "1.1.0", "1.2.0"]  # state 3 can be read for a week more
    assert real.codes() == {"changed-file", "other-digest", "bad-signature"}
    assert real.codes("hello", "1.2.0") == {"other-digest", "bad-signature"}


def test_files_go_when_no_state_that_can_be_read_has_them(real: Real) -> None:
    old = real.publish("1.0.0", days_ago=400)
    real.publish("1.1.0", days_ago=300)
    at = NOW - timedelta(days=200)
    state = real.repository.withdraw([old.package], channel="candidate", at=at)
    real.store.put_withdrawals({old.key: "old"}, state=state, at=at, by="ann")
    policy = retention.policy_of(real.settings)

    pruning = retention.plan_pruning(real, policy)
    retention.prune(real, pruning, policy, progress=print)

    assert pruning.plan.goes == ()
    assert pruning.states == ("candidate-1", "candidate-2")
    assert real.files() == ["1.1.0"]
    assert real.codes() == set()
    assert retention.plan_pruning(real, policy).nothing


def test_what_was_pruned_is_built_again_but_never_with_other_bytes(
    real: Real, tmp_path: Path
) -> None:
    old = real.publish("1.0.0", days_ago=400)
    real.publish("1.1.0", days_ago=300)
    real.repository.put_record(old)
    at = NOW - timedelta(days=200)
    state = real.repository.withdraw([old.package], channel="candidate", at=at)
    real.store.put_withdrawals({old.key: "old"}, state=state, at=at, by="ann")
    policy = retention.policy_of(real.settings)
    retention.prune(real, retention.plan_pruning(real, policy), policy, progress=print)
    Path(old.package.path).unlink()
    shop = Shop(
        repository=real.repository, records=real.store, clock=SystemClock(), progress=print,
        actor="ann",
    )  # fmt: skip
    package = PackageSpec(name="hello", maintainer="T <t@example.com>")
    spec = AppSpec(
        app="hello", packages=(package,), image=ImageSpec(base="debian-12"), environments=(),
        port=80, health=Health(),
    )  # fmt: skip

    found = published_before(old.source, spec, "1.0.0", shop, outbox=tmp_path / "outbox")
    again = real.publish("1.0.0", days_ago=0)
    with pytest.raises(Conflict, match="other bytes"):
        publish([replace(old.package, digest_sha256="0" * 64)], shop, channel="candidate")

    assert found == ()
    assert again.package.digest_sha256 == old.package.digest_sha256
    assert real.files() == ["1.0.0", "1.1.0"]
    assert real.store.get_catalog_entry(old.key).withdrawn_at is None
    assert real.codes() == set()
