"""`ovenbird catalog` as a person uses it, on a world with a long past."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import pytest

from ovenbird.domain.catalog import CatalogEntry, PackageFacts, PackageFile, Publication
from ovenbird.domain.clusters import Capacity, Cluster, ServerGroup
from ovenbird.domain.errors import CloudError
from ovenbird.domain.images import APP_TAG, COMMIT_TAG, PACKAGES_TAG, VERSION_TAG, ImageId
from ovenbird.domain.names import ServerGroupName
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.releases import Phase, Release
from ovenbird.domain.sources import Source
from ovenbird.operations import retention
from ovenbird.pipeline.ports import Ports
from ovenbird.system import git
from ovenbird.system.clock import SystemClock
from tests.pipeline.installation import WorldInstallation, here
from tests.pipeline.worlds import BASE, Groups, World
from tests.unit.domain.catalog_values import FACTS

now = SystemClock().now
VERSIONS = ("1.0.0", "1.1.0", "1.2.0")
OLD_DAYS = 400


class Past:
    """A world in which three versions were published and the second one runs.

    Args:
        app: Git repository with a tag for each version.
    """

    def __init__(self, world: World, app: Path) -> None:
        self.world, self.app = world, app
        ports = world.ports()
        self.store, self.repository = ports.store, ports.repository
        (world.directory / "outbox").mkdir()
        for number, version in enumerate(VERSIONS):
            self.publish(version, days_ago=OLD_DAYS - number)

    def publish(
        self,
        version: str,
        *,
        days_ago: float = 0,
        channel: str = "candidate",
        format_: PackageFormat = PackageFormat.DEB,
    ) -> CatalogEntry:
        at = now() - timedelta(days=days_ago)
        entry = self.entry(version, at=at, format_=format_)
        state = self.repository.publish([entry.package], channel=channel, at=at)
        self.store.put_catalog_entry(replace(entry, state_number=state.number))
        self.store.put_publication(
            Publication(
                key=entry.key, repository="main", channel=channel, state_number=state.number,
                published_at=at, published_by="ann",
            )
        )  # fmt: skip
        return entry

    def entry(self, version: str, *, at: datetime, format_: PackageFormat) -> CatalogEntry:
        mirror = self.world.directory / "mirror"
        source = git.resolve(str(self.app), f"v{version}", mirror=mirror)
        data = f"hello {version} {format_}".encode()
        path = self.world.directory / "outbox" / f"hello_{version}_all.{format_.value}"
        path.write_bytes(data)
        package = Package(
            name="hello", version=version, architecture="all", format=format_, path=str(path),
            digest_sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), app="hello",
            commit=source.commit, signed_by="ABCD",
        )  # fmt: skip
        return CatalogEntry(
            package=package, source=source, channel="candidate", state_number=1, published_at=at,
            published_by="ann", facts=self.facts(version),
        )  # fmt: skip

    def facts(self, version: str) -> PackageFacts:
        log = self.world.directory / "build.log"
        log.write_text("make: done\n")
        files = (*FACTS.files, PackageFile(path=f"/opt/hello/{version}", mode=0o100644))
        depends = {"Depends": ("nginx", f"hello-data (= {version})")}
        return replace(FACTS, files=files, relations=depends, log_path=str(log))

    def run(self, version: str, *, number: int, weight: int = 100) -> None:
        """Have a server group run a version."""
        entry = next(e for e in self.store.list_catalog() if e.package.version == version)
        image = replace(
            BASE, image_id=ImageId(f"ami-{number}"), name=f"hello-{version}",
            tags={
                APP_TAG: "hello", VERSION_TAG: version, COMMIT_TAG: entry.source.commit,
                PACKAGES_TAG: f"hello={entry.package.digest_sha256}",
            },
        )  # fmt: skip
        name = ServerGroupName.parse(f"hello-prod-v{number:03d}")
        group = ServerGroup(
            name=name, image_id=image.image_id, version=version, instances=(), weight=weight,
            capacity=Capacity(min=1, desired=1, max=1), target_group="arn",
            created_at=entry.published_at,
        )  # fmt: skip
        with self.world.state() as state:
            state.images.append(image)
            state.groups[str(name)] = group

    def begin_release(self, version: str) -> None:
        """Have a release of a version be under way."""
        entry = next(e for e in self.store.list_catalog() if e.package.version == version)
        self.store.put_release(
            Release(
                release_id="hello-1", app="hello", version=version, ref="main",
                commit=entry.source.commit, phase=Phase.WAITING, actor="ann",
                started_at=now(),
            )
        )  # fmt: skip

    def versions(self, channel: str = "candidate") -> list[str]:
        """Return the versions that the newest state has."""
        found = self.world.ports().repository
        return sorted({package.version for package in found.list_packages(channel)})


@pytest.fixture
def past(tmp_path: Path, apps: dict[str, Path]) -> Past:
    return Past(World(tmp_path / "state"), apps["hello"])


def tell(past: Past, *words: str) -> str:
    said = here(past.world, "catalog", *words)
    assert said.status == 0, said.err
    return said.out


# Questions


def test_a_list_can_be_of_one_channel_and_be_short(past: Past) -> None:
    past.publish("1.0.0", channel="release")

    assert [line.split()[1] for line in tell(past, "list").splitlines()[1:]] == [*VERSIONS][::-1]
    assert tell(past, "list", "hello", "--channel", "release").splitlines()[1].split()[-1] == (
        "release-1"
    )
    assert len(json.loads(tell(past, "list", "--limit", "2", "--json"))) == 2


def test_show_says_all_that_is_known_of_the_newest(past: Past) -> None:
    past.run("1.2.0", number=1)

    text = tell(past, "show", "hello")

    assert text.startswith("Package hello 1.2.0 (deb, all) of app hello\n")
    for words in (
        "  signed   by ABCD",
        ", branch main\n  builder  ovenbird 1 on box\n",
        "  contents 4 paths, 1 configuration file, 3 components\n",
        "  needs    Depends: nginx, hello-data (= 1.2.0)\n",
        "  checks   1 error\n           error missing-command, ovenbird: no `x` (/opt)\n",
        "  channel  candidate-3 of main, published ",
        "  image    ami-1 hello-1.2.0\n",
        "hello-prod-v001 in prod: 100 % of the traffic",
    ):
        assert words in text, text


def test_show_prints_files_bill_of_materials_and_log_alone(past: Past) -> None:
    assert "-rwxr-xr-x  root:root                  3  /opt/hello/bin/hello\n" in tell(
        past, "show", "hello", "1.0.0", "--files"
    )
    assert "/opt/hello/now -> bin\n" in tell(past, "show", "hello", "--files")
    assert tell(past, "show", "hello", "--sbom") == FACTS.sbom + "\n"
    assert tell(past, "show", "hello", "--log") == "make: done\n"
    assert json.loads(tell(past, "show", "hello", "--log", "--json"))["text"] == "make: done\n"


def test_what_was_built_elsewhere_has_no_log_here(past: Past) -> None:
    (past.world.directory / "build.log").unlink()

    said = here(past.world, "catalog", "show", "hello", "--log")

    assert said.status == 3
    assert "built by ovenbird 1 on box" in said.err


def test_of_two_formats_one_can_be_chosen(past: Past) -> None:
    past.publish("1.2.0", format_=PackageFormat.RPM)

    both = tell(past, "show", "hello")
    unclear = here(past.world, "catalog", "show", "hello", "--sbom")

    assert both.index("(deb, all)") < both.index("(rpm, all)")
    assert unclear.status == 2
    assert "(rpm, all)" not in tell(past, "show", "hello", "--format", "deb")
    assert here(past.world, "catalog", "show", "hello", "--format", "apk").status == 3


class Unreachable(WorldInstallation):
    """An installation whose AWS refuses to say what runs."""

    @cached_property
    def ports(self) -> Ports:
        found = super().ports
        broken = {
            name: replace(environment, groups=Refusing(self.world))
            for name, environment in found.environments.items()
        }
        return replace(found, environments=broken)


class Refusing(Groups):
    """Server groups that cannot be listed."""

    def list_clusters(self, environment: str) -> tuple[Cluster, ...]:
        raise CloudError("AWS is away")


def test_the_records_speak_when_aws_does_not(past: Past) -> None:
    from ovenbird.operations import catalog  # noqa: PLC0415

    [found] = catalog.trace(Unreachable(past.world), "hello", "1.1.0")

    assert (found.unasked, found.images) == ("AWS is away", ())
    assert found.entry.facts.files


def test_a_search_says_what_matched(past: Past) -> None:
    found = json.loads(tell(past, "search", "/opt/hello/1.1*", "--json"))

    assert [one["entry"]["package"]["version"] for one in found] == ["1.1.0"]
    assert found[0]["matches"] == [{"kind": "file", "detail": "/opt/hello/1.1.0", "count": 1}]
    assert "component Flask 3.0.0" in tell(past, "search", "flask")
    said = here(past.world, "catalog", "search", "hello", "--limit", "1")
    assert "1 of 3 packages" in said.err


def test_a_diff_names_files_relations_and_commits(past: Past) -> None:
    text = tell(past, "diff", "hello", "1.0.0", "1.2.0")
    back = json.loads(tell(past, "diff", "hello", "1.2.0", "1.0.0", "--json"))

    assert "Package hello 1.0.0 -> 1.2.0 (deb)\n" in text
    assert "\nFiles\n  - /opt/hello/1.0.0\n  + /opt/hello/1.2.0\n" in text
    assert "  ~ Depends: hello-data (= 1.0.0) -> hello-data (= 1.2.0)\n" in text
    assert [line[12:] for line in text.partition("\nCommits\n")[2].splitlines()] == [
        "v1.2.0", "v1.1.0",
    ]  # fmt: skip
    assert [one["subject"] for one in back["taken_back"]] == ["v1.2.0", "v1.1.0"]
    assert here(past.world, "catalog", "diff", "hello", "1.0.0", "9").status == 3


def test_a_diff_works_without_the_git_remote(past: Past) -> None:
    entry = past.entry("1.0.0", at=now(), format_=PackageFormat.DEB)
    for version in ("2.0", "2.1"):
        package = replace(entry.package, version=version, commit=version.ljust(40, "0"))
        source = Source(url="/nowhere", ref="x", commit=package.commit, committed_at_epoch_s=1)
        past.store.put_catalog_entry(replace(entry, package=package, source=source))

    text = tell(past, "diff", "hello", "2.0", "2.1")

    assert "  contents are the same\n" in text
    assert "Commits\n  not known: `/nowhere` cannot be read" in text


# Verification


def test_verify_is_content_with_a_whole_repository(past: Past) -> None:
    said = here(past.world, "catalog", "verify")

    assert (said.status, said.out) == (0, "")
    assert "All is as it was recorded" in said.err
    assert here(past.world, "catalog", "verify", "nothing").status == 3


@pytest.mark.parametrize("words", [(), ("hello",), ("hello", "1.1.0")])
def test_verify_names_what_is_not_as_recorded(past: Past, words: Sequence[str]) -> None:
    with past.world.state() as state:
        state.rotten, state.forged = ["1.1.0"], ["1.1.0"]

    said = here(past.world, "catalog", "verify", *words, "--json")

    codes = {(one["code"], one["place"]) for one in said.data}
    assert said.status == 1
    assert {
        ("other-digest", "hello 1.1.0 (all deb)"),
        ("bad-signature", "hello 1.1.0 (all deb)"),
    } <= (codes)
    assert (("other-digest", "") in codes) == (not words)
    assert not [place for _, place in codes if "1.0.0" in place]


def test_verify_finds_what_only_one_side_knows(past: Past) -> None:
    extra = past.entry("1.0.0", at=now(), format_=PackageFormat.RPM).package
    past.repository.publish([extra], channel="candidate", at=now())
    with past.world.state() as state:
        *before, newest = state.channels["candidate"]
        state.channels["candidate"] = [*before, [p for p in newest or () if p.version != "1.2.0"]]

    said = here(past.world, "catalog", "verify")

    assert said.status == 1
    assert "hello 1.2.0 (all deb): `candidate` lacks `hello 1.2.0 (all deb)`" in said.out
    assert "hello 1.0.0 (all rpm): `candidate` has it, and the records do not say so" in said.out


# Retention


def test_a_dry_run_says_what_would_go_and_why_and_changes_nothing(past: Past) -> None:
    past.run("1.1.0", number=7)
    before = past.world.look()

    text = tell(past, "prune", "--keep-last", "1", "--keep-days", "9", "--dry-run")

    assert text.startswith(
        "Goes (1 package, 15 bytes)\n  candidate   hello 1.0.0 (all deb): 2 newer"
    )
    assert "hello 1.1.0 (all deb): hello-prod-v007 in prod serves it\n" in text
    assert "hello 1.2.0 (all deb): it is the newest\n" in text
    assert past.world.look() == before


def test_what_goes_is_withdrawn_and_stays_in_the_records(past: Past) -> None:
    past.run("1.1.0", number=7)

    tell(past, "prune", "--keep-last", "1", "--keep-days", "9", "--yes")
    again = json.loads(
        tell(past, "prune", "--keep-last", "1", "--keep-days", "9", "--yes", "--json")
    )

    assert past.versions() == ["1.1.0", "1.2.0"]
    assert past.world.look().log[-2:] == ["withdraw 1.0.0 from candidate", "prune candidate from 3"]
    assert (again["goes"], again["states"]) == ([], [])
    assert "withdrawn" in tell(past, "list").splitlines()[-1]
    text = tell(past, "show", "hello", "1.0.0")
    assert "; withdrawn in candidate-4 " in text
    assert ": 2 newer versions in `candidate`, 400 days old, runs nowhere\n" in text
    assert here(past.world, "catalog", "verify").status == 0


def test_the_policy_of_the_settings_is_generous(past: Past) -> None:
    found = json.loads(tell(past, "prune", "--dry-run", "--json"))

    assert found["goes"] == []
    assert {one["reason"] for one in found["stays"]} == {
        "it is the newest", "it is among the 20 newest",
    }  # fmt: skip


def test_the_channel_of_releases_keeps_more(past: Past) -> None:
    for version in VERSIONS:
        past.publish(version, days_ago=300, channel="release")

    tell(past, "prune", "--keep-last", "1", "--keep-days", "9", "--yes")

    assert past.versions() == ["1.2.0"]
    assert past.versions("release") == [*VERSIONS]
    assert "withdrawn" not in tell(past, "list")


def test_a_release_under_way_keeps_its_package_and_its_states(past: Past) -> None:
    past.begin_release("1.0.0")

    found = json.loads(
        tell(past, "prune", "--keep-last", "1", "--keep-days", "9", "--yes", "--json")
    )

    assert [one["publication"]["key"]["version"] for one in found["goes"]] == ["1.1.0"]
    assert past.versions() == ["1.0.0", "1.2.0"]


def test_nothing_is_removed_when_aws_does_not_say_what_runs(past: Past) -> None:
    installation = Unreachable(past.world)
    policy = retention.policy_of(installation.settings, keep_last=1, keep_days=9)
    pruning = retention.plan_pruning(WorldInstallation(past.world), policy)
    before = past.world.look()

    with pytest.raises(CloudError):
        retention.plan_pruning(installation, policy)
    with pytest.raises(CloudError):
        retention.prune(installation, pruning, policy, progress=print)

    assert len(pruning.plan.goes) == 2
    assert past.world.look() == before


def test_what_began_to_run_while_a_person_thought_stays(past: Past) -> None:
    installation = WorldInstallation(past.world)
    policy = retention.policy_of(installation.settings, keep_last=1, keep_days=9)
    pruning = retention.plan_pruning(installation, policy)
    past.run("1.0.0", number=8)

    done = retention.prune(installation, pruning, policy, progress=print)

    assert [choice.publication.key.version for choice in done.plan.goes] == ["1.1.0"]
    assert past.versions() == ["1.0.0", "1.2.0"]


def test_killed_after_a_withdrawal_the_next_run_records_it(past: Past) -> None:
    words = ("prune", "--keep-last", "1", "--keep-days", "9", "--yes")
    with past.world.state() as state:
        state.breaks_on = "withdraw 1.0.0 1.1.0 from candidate"

    broken = here(past.world, "catalog", *words)
    left = tell(past, "list", "--channel", "candidate")
    with past.world.state() as state:
        state.breaks_on = ""
    tell(past, *words)

    assert broken.status == 5
    assert len(left.splitlines()) == 4
    assert len(tell(past, "list", "--channel", "candidate").splitlines()) == 2
    assert past.versions() == ["1.2.0"]
    [stay] = past.store.publications_of(past.store.list_catalog("hello")[2].package)
    assert stay.withdrawn_in == 4
    assert len(past.world.look().channels["candidate"]) == 4


def test_a_refusal_changes_nothing(past: Past) -> None:
    said = here(past.world, "catalog", "prune", "--keep-last", "1", "--keep-days", "9")

    assert said.status == 2
    assert "--yes" in said.err
    assert past.versions() == [*VERSIONS]
