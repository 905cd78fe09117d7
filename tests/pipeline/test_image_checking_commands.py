"""`ovenbird image verify | diff | boot-check` as a person uses them, on a world."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ovenbird.cli.app import program
from ovenbird.domain.boot_checks import BootReport
from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.images import NO_EVIDENCE_TAG, PROVENANCE_TAG
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.image_evidence import TOP, ImageEvidence
from ovenbird.pipeline.ports import Ports
from ovenbird.system.directory_storage import DirectoryStorage
from tests.pipeline.conftest import Line
from tests.pipeline.installation import WorldInstallation
from tests.pipeline.worlds import World
from tests.unit.stages.test_boot_check import BAD, GOOD, Guests


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    found = SigningKey(tmp_path_factory.mktemp("keys") / "home", algorithm="ed25519")
    found.ensure()
    return found


class Evidenced(WorldInstallation):
    """An installation that keeps evidence and boots images."""

    def __init__(self, world: World, key: SigningKey, report: BootReport) -> None:
        super().__init__(world)
        self.key, self.report = key, report

    @cached_property
    def ports(self) -> Ports:
        evidence = ImageEvidence(DirectoryStorage(self.world.directory / "evidence"), self.key)
        return replace(super().ports, evidence=evidence, boots=Guests(report=self.report))


@dataclass
class Desk:
    """A person at a terminal."""

    line: Line
    key: SigningKey
    report: BootReport = GOOD
    said: list[str] = field(default_factory=list)

    @property
    def evidence(self) -> Path:
        return self.line.world.directory / "evidence" / TOP

    def __call__(self, *words: str, status: int = 0) -> str:
        def made(_: object) -> Evidenced:
            return Evidenced(self.line.world, self.key, self.report)

        result = CliRunner().invoke(program, ("image", *words), obj=made)
        found = result.exit_code
        if isinstance(result.exception, OvenbirdError):
            found = result.exception.exit_status
            self.said.append(str(result.exception))
        assert found == status, result.output
        return result.stdout

    def bake(self, ref: str, *, status: int = 0) -> None:
        self("bake", "--app", str(self.line.app), "--ref", ref, "--yes", status=status)

    def links(self, *words: str, status: int = 0) -> dict[str, str]:
        found: dict[str, Any] = json.loads(self("verify", *words, "--json", status=status))
        return {link["name"]: link["standing"] for link in found["links"]}


@pytest.fixture
def desk(line: Line, key: SigningKey) -> Desk:
    found = Desk(line, key)
    found.bake("v1.0.0")
    return found


def test_an_image_is_traced_to_its_commit(desk: Desk) -> None:
    links = desk.links("hello@1.0.0")

    assert links == dict.fromkeys(
        ["statement", "signature", "tags", "parts", "boot check", "package hello", "commit"], "ok"
    )
    assert "statement" in desk("verify", "ami-0")


def test_a_tag_that_somebody_changed_breaks_the_chain(desk: Desk) -> None:
    with desk.line.world.state() as state:
        image = state.images[0]
        state.images[0] = replace(image, tags={**image.tags, "ovenbird:commit": "e" * 40})

    assert desk.links("ami-0", status=1)["tags"] == "failed"
    assert desk.said == ["The chain of `ami-0` is broken at `tags`"]


def test_evidence_that_somebody_changed_breaks_the_chain(desk: Desk) -> None:
    (sbom,) = desk.evidence.rglob("sbom.cdx.json")
    (boot,) = desk.evidence.rglob("boot/*.json")
    sbom.write_bytes(b"{}")
    boot.write_bytes(boot.read_bytes().replace(b'"payload": "', b'"payload": "AAAA'))
    links = desk.links("ami-0", status=1)

    assert (links["parts"], links["boot check"]) == ("failed", "failed")


def test_an_image_without_evidence_has_no_chain(desk: Desk) -> None:
    (statement,) = desk.evidence.rglob("provenance.json")
    statement.unlink()

    assert desk.links("ami-0", status=1) == {"statement": "missing", "boot check": "ok"}


def test_an_image_says_itself_why_it_has_no_evidence(desk: Desk) -> None:
    with desk.line.world.state() as state:
        image = state.images[0]
        tags = {tag: text for tag, text in image.tags.items() if tag != PROVENANCE_TAG}
        state.images[0] = replace(image, tags={**tags, NO_EVIDENCE_TAG: "AWS refused"})

    assert "none was made by the bake: AWS refused" in desk("verify", "ami-0", status=1)


def test_two_images_are_compared_from_what_is_kept_of_them(desk: Desk) -> None:
    desk.bake("v1.1.0")

    found = json.loads(desk("diff", "hello@1.0.0", "hello@1.1.0", "--json"))
    told = desk("diff", "ami-0", "ami-1")

    facts = {one["name"]: (one["before"], one["after"]) for one in found["differences"]["settings"]}
    assert facts["version"] == ("1.0.0", "1.1.0")
    assert (found["differences"]["blocks"], found["read"]) == (2, [])
    assert "2 blocks of 512 KiB differ, 0 files, 0 packages" in told
    assert "~ version: 1.0.0 -> 1.1.0" in told


def test_one_image_needs_another_or_its_base(desk: Desk) -> None:
    desk("diff", "ami-0", status=2)
    desk("diff", "ami-0", "ami-0", "--base", status=2)


def test_an_image_is_booted_by_hand_and_then_not_offered(desk: Desk) -> None:
    assert desk("boot-check", "ami-0", "--port", "80") == "ami-0 has booted: hello-1.0.0-" + (
        desk.line.world.look().images[0].bake_key[:12] + "\n"
    )

    desk.report = BAD
    desk("boot-check", "ami-0", status=6)

    assert desk.line.world.look().images[0].is_unfit
    assert desk.links("ami-0", status=1)["boot check"] == "failed"


def test_a_bake_whose_image_does_not_boot_fails(line: Line, key: SigningKey) -> None:
    desk = Desk(line, key, report=BAD)

    desk.bake("v1.0.0", status=6)

    assert "`web.service` failed" in desk.said[0]
