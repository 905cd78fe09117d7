"""A repository in a bucket, read by the real apt and the real dnf."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ovenbird.aws.buckets import BucketStorage
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.sandbox.endpoint import Endpoint
from tests.unit.packaging.repositories import NOW, Apt, Dnf, built

pytestmark = pytest.mark.sandbox


@pytest.fixture
def storage(endpoint: Endpoint) -> BucketStorage:
    storage = BucketStorage(endpoint.development, f"packages-{uuid.uuid4()}", "team/main")
    assert storage.ensure()
    return storage


def test_apt_and_dnf_read_each_state_of_a_repository_in_a_bucket(
    storage: BucketStorage, tmp_path: Path
) -> None:
    key = SigningKey(tmp_path / "gpg", algorithm="ed25519")
    repository = PackageRepository(storage, name="main", signer=key)
    work = tmp_path / "work"
    for name in ("hello", "world"):
        packages = [built(work, name, "1.0+git~1", kind=kind) for kind in ("deb", "rpm")]
        repository.publish(packages, channel="candidate", at=NOW)
    apts, dnfs = {}, {}
    for state in repository.states("candidate"):
        with repository.reachable(state) as reached:
            apt = Apt(
                tmp_path / f"apt-{state.number}",
                url=reached.url,
                suite=state.suite,
                key=state.key_path,
                component=state.component,
            )
            apt.update()
            apts[state.number] = apt.packages()
            assert apt.download("hello") == Path(work / "hello_1.0+git~1_all.deb").read_bytes()
            source = f"baseurl={reached.url}/yum/{state.suite}/x86_64/"
            dnf = Dnf(tmp_path / f"dnf-{state.number}", source=source, key=state.key_path)
            dnfs[state.number] = dnf.packages()
            dnf.install("hello")

    assert apts == {
        1: {"hello 1.0+git~1 all"},
        2: {"hello 1.0+git~1 all", "world 1.0+git~1 all"},
    }
    assert dnfs == {
        1: {"hello 1.0+git~1 noarch"},
        2: {"hello 1.0+git~1 noarch", "world 1.0+git~1 noarch"},
    }
    assert repository.verify() == ()


def test_publishers_to_one_bucket_at_the_same_time_lose_nothing(
    storage: BucketStorage, tmp_path: Path
) -> None:
    key = SigningKey(tmp_path / "gpg", algorithm="ed25519")
    packages = [built(tmp_path / "work", f"p{number}") for number in range(4)]

    def publish(number: int) -> None:
        repository = PackageRepository(storage, name="main", signer=key)
        repository.publish([packages[number]], channel="candidate", at=NOW)

    with ThreadPoolExecutor(4) as publishers:
        list(publishers.map(publish, range(4)))
    repository = PackageRepository(storage, name="main", signer=key)

    found = [package.name for package in repository.list_packages("candidate")]
    assert found == [f"p{number}" for number in range(4)]
    assert len(repository.states("candidate")) == 4
    assert repository.verify() == ()
    repository.prune_before({"candidate": 4})
    assert [state.number for state in repository.states("candidate")] == [4]
    assert repository.verify() == ()
