"""`ovenbird repository` on a directory; what it says is what the real apt and dnf are given."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ovenbird.cli.app import invoke, program
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.system.directory_storage import DirectoryStorage
from tests.unit.packaging.repositories import NOW, Apt, Dnf, built

SETTINGS = """\
state_directory: {home}/state
repository: {{directory: {home}/repository, signing_key: {home}/keys{more}}}
bake_environment: dev
environments:
  dev: {{account_id: "111111111111", region: eu-west-1, vpc_id: vpc-1, subnet_ids: [subnet-1]}}
"""
Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Ask:
    """Run `ovenbird repository ...`; return status, stdout and stderr."""
    file = tmp_path / "settings.yaml"

    def run(*words: str, more: str = "") -> tuple[int, str, str]:
        file.write_text(SETTINGS.format(home=tmp_path, more=more))
        status = invoke(program, ["--settings", str(file), "repository", *words])
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def repository(tmp_path: Path) -> PackageRepository:
    key = SigningKey(tmp_path / "keys", algorithm="ed25519")
    return PackageRepository(
        DirectoryStorage(tmp_path / "repository"), name="main", signer=key, component="main"
    )


def published(repository: PackageRepository, tmp_path: Path) -> None:
    packages = [built(tmp_path / "work", "hello", kind=kind) for kind in ("deb", "rpm")]
    repository.publish(packages, channel="candidate", at=NOW)
    repository.publish(packages[:1], channel="release", at=NOW)


def test_a_directory_is_made_once(ask: Ask, tmp_path: Path) -> None:
    place = f"file:{tmp_path}/repository\n"
    words = f"- Make the directory `{tmp_path}/repository`\n"

    assert ask("create", "--dry-run") == (0, words, "")
    assert not (tmp_path / "repository").exists()
    assert ask("create", "--yes") == (0, place, words)
    assert (tmp_path / "repository").is_dir()
    assert ask("create") == (0, place, "It is there already\n")


def test_a_directory_that_cannot_be_made_is_named(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "repository").write_text("a file")

    assert ask("create", "--yes")[0::2] == (
        2,
        (
            f"- Make the directory `{tmp_path}/repository`\n"
            f"error: `{tmp_path}/repository` cannot be made: File exists\n"
            "hint: Look at the settings\n"
        ),
    )


def test_an_empty_repository_says_how_it_is_filled(ask: Ask) -> None:
    status, out, _ = ask("show")

    assert (status, "Nothing is published yet: `ovenbird package build --publish`" in out) == (
        0, True,
    )  # fmt: skip
    assert ask("show", "--channel", "release")[0::2] == (
        3,
        (
            "error: The repository has no channel `release`\n"
            "hint: Nothing is published yet: `ovenbird package build --publish`\n"
        ),
    )


def test_show_has_channels_keys_and_lines_that_apt_and_dnf_take(
    ask: Ask, repository: PackageRepository, tmp_path: Path
) -> None:
    published(repository, tmp_path)

    status, out, err = ask("show")
    found = json.loads(ask("show", "--json")[1])
    candidate, release = found["channels"]
    source = re.fullmatch(r"deb \[signed-by=(\S+)\] (\S+) (\S+) (\S+)", candidate["apt"])
    assert source is not None
    apt = Apt(tmp_path / "apt", url=source[2], suite=source[3], key=source[1], component=source[4])
    apt.update()
    dnf = Dnf(tmp_path / "dnf", source="", key="")
    conf = (tmp_path / "dnf/dnf.conf").read_text().partition("[ours]")[0]
    (tmp_path / "dnf/dnf.conf").write_text(f"{conf}{candidate['yum']}\n")

    assert (status, err) == (0, "")
    assert re.search(r"candidate +1 +1 deb, 1 rpm", out)
    assert found["keys"][0] in out
    assert candidate["apt"] in out
    assert (release["packages"], release["yum"]) == ({"deb": 1}, "")
    assert apt.packages() == {"hello 1.0.0 all"}
    assert dnf.packages() == {"hello 1.0.0 noarch"}


def test_machines_elsewhere_are_told_where_the_keys_go(
    ask: Ask, repository: PackageRepository, tmp_path: Path
) -> None:
    published(repository, tmp_path)
    more = ", base_url: https://packages.example.com/"

    status, out, _ = ask("show", "--channel", "candidate", more=more)

    assert status == 0
    assert out.partition("On each machine")[2].splitlines()[1:] == [
        "  apt  /usr/share/keyrings/ovenbird-main.gpg, from `ovenbird key export`",
        "  dnf  /etc/pki/rpm-gpg/RPM-GPG-KEY-ovenbird-main, from `ovenbird key export --armor`",
        "",
        "/etc/apt/sources.list.d/ovenbird-main-candidate.list",
        (
            "  deb [signed-by=/usr/share/keyrings/ovenbird-main.gpg] https://packages.example.com"
            " candidate main"
        ),
        "",
        "/etc/yum.repos.d/ovenbird-main-candidate.repo",
        "  [main-candidate]",
        "  name=main, channel candidate",
        "  mirrorlist=https://packages.example.com/yum/candidate/$basearch/mirrorlist",
        "  gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-ovenbird-main",
        "  gpgcheck=1",
        "  repo_gpgcheck=1",
    ]


def test_what_a_killed_publisher_left_is_shown_and_repaired(
    ask: Ask, repository: PackageRepository, tmp_path: Path
) -> None:
    published(repository, tmp_path)
    (tmp_path / "repository/channels/candidate.json").unlink()  # as if killed before it

    assert "not served yet: 1; `ovenbird repository repair`" in ask("show")[1]
    assert ask("repair", "--dry-run") == (
        0,
        (
            "- Serve what a killed publisher left of channel `candidate`: 1\n"
            "- Look whether all files of the newest state of `release` are there\n"
        ),
        "",
    )
    assert ask("repair", "--yes")[:2] == (0, "candidate-1\nrelease-1\n")
    assert "not served" not in ask("show")[1]
    assert ask("repair", "--channel", "none", "--yes")[0] == 3


def test_channels_are_rebuilt_for_a_new_key_without_a_new_package(
    ask: Ask, repository: PackageRepository, tmp_path: Path
) -> None:
    published(repository, tmp_path)

    assert ask("rebuild", "--channel", "release", "--dry-run") == (
        0,
        (
            "- Make a new state of `release` with the same packages, signed by the keys that"
            " sign now\n"
        ),
        "",
    )
    assert ask("rebuild", "--yes")[:2] == (0, "candidate-2\nrelease-2\n")
    assert repository.list_packages("release", 2) == repository.list_packages("release", 1)
