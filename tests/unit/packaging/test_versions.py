from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import VersionSpec
from ovenbird.packaging.versions import debian_version, version_of
from ovenbird.system.commands import run

SPEC = VersionSpec()
PERSON = {
    f"GIT_{role}_{key}": text
    for role in ("AUTHOR", "COMMITTER")
    for key, text in (("NAME", "T"), ("EMAIL", "t@example.com"))
}

# As git's history goes.
HISTORY = (
    "0.0.0+5.gabcdef0", "0.9.0", "1.0.0~a1", "1.0.0~b1", "1.0.0~rc1", "1.0.0~rc1+2.gabcdef0",
    "1.0.0~rc2", "1.0.0~rc10", "1.0.0", "1.0.0+1.gfffffff", "1.0.0+2.g0000000",
    "1.0.0+10.gabcdef0", "1.0.1", "1.1.0", "1.1.0.1", "1.10.0", "2.0.0",
)  # fmt: skip


def older(first: str, second: str) -> bool:
    ok = frozenset({0, 1})
    script = 'dpkg --compare-versions "$1" lt "$2" && echo yes'
    return run(["sh", "-c", script, "sh", first, second], timeout_s=10, ok=ok) == "yes\n"


def git(repository: Path, *words: str) -> None:
    run(["git", "-C", repository, *words], timeout_s=20, env=PERSON)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def commit(repository: Path) -> None:
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "x")


@pytest.mark.parametrize(("first", "second"), [*itertools.pairwise(HISTORY)])
def test_dpkg_sorts_versions_as_history_goes(first: str, second: str) -> None:
    assert older(first, second)
    assert not older(second, first)


@pytest.mark.parametrize(
    ("base", "stage", "distance", "expected"),
    [
        ("1.1.0", "", 0, "1.1.0"),
        ("1.1.0", "", 3, "1.1.0+3.gabcdef0"),
        ("1.2.0", "rc1", 0, "1.2.0~rc1"),
        ("1.2.0", "rc1", 2, "1.2.0~rc1+2.gabcdef0"),
    ],
)
def test_the_parts_are_put_together(base: str, stage: str, distance: int, expected: str) -> None:
    actual = debian_version(base, stage=stage, distance=distance, commit="abcdef0123")

    assert actual == expected


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("v1.1.0", "1.1.0"),
        ("v1.2", "1.2"),
        ("v1.3.0-rc1", "1.3.0~rc1"),
        ("v1.3.0-rc.1", "1.3.0~rc1"),
        ("v2.0.0-alpha2", "2.0.0~alpha2"),
        ("v2.0.0-RC2", "2.0.0~rc2"),
    ],
)
def test_a_tag_is_a_version(repository: Path, tag: str, expected: str) -> None:
    git(repository, "tag", tag)

    assert version_of(repository, SPEC) == expected


@pytest.mark.parametrize("tag", ["v1.1.0.post1", "v1.1.0-post", "v1.1.0-r2"])
def test_a_release_after_a_release_would_sort_before_it(repository: Path, tag: str) -> None:
    git(repository, "tag", tag)
    commit(repository)

    with pytest.raises(InvalidRequest, match=r"The tag of `1\.1\.0` says `(post|r)`") as caught:
        version_of(repository, SPEC)
    assert "raise `package.revision`" in str(caught.value.hint)


def test_commits_after_a_tag_sort_after_it(repository: Path) -> None:
    git(repository, "tag", "v1.1.0")
    commit(repository)
    commit(repository)

    version = version_of(repository, SPEC)

    assert version.startswith("1.1.0+2.g")
    assert older("1.1.0", version)
    assert older(version, "1.1.1")


def test_without_a_tag_the_version_is_nought(repository: Path) -> None:
    assert version_of(repository, SPEC).startswith("0.0.0+1.g")


def test_tags_of_another_prefix_do_not_count(repository: Path) -> None:
    git(repository, "tag", "other-3.0.0")
    git(repository, "tag", "hello-1.0.0")
    spec = VersionSpec(tag_prefix="hello-")

    assert version_of(repository, spec) == "1.0.0"


def test_an_empty_prefix_takes_bare_numbers(repository: Path) -> None:
    git(repository, "tag", "1.4.0")
    spec = VersionSpec(tag_prefix="")

    assert version_of(repository, spec) == "1.4.0"


def test_a_directory_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no version"):
        version_of(tmp_path, SPEC)


def test_what_the_manifest_says_goes_before_tags(repository: Path) -> None:
    git(repository, "tag", "v1.0.0")

    assert version_of(repository, VersionSpec(explicit="3.1", epoch=2, revision="4")) == "2:3.1-4"


@pytest.mark.parametrize("explicit", ["1.0-1", "2:1.0", "one", "1_0", "1 0"])
def test_an_explicit_version_that_no_package_manager_takes_is_refused(explicit: str) -> None:
    with pytest.raises(InvalidRequest, match="not a version"):
        version_of(Path(), VersionSpec(explicit=explicit))


def test_uncommitted_changes_show_in_the_version(repository: Path) -> None:
    git(repository, "tag", "v1.0.0")

    dirty = version_of(repository, SPEC, is_dirty=True)

    assert (dirty, older("1.0.0", dirty), older(dirty, "1.0.1")) == ("1.0.0+dirty", True, True)


def test_tags_of_an_app_in_a_repository_of_many(repository: Path) -> None:
    git(repository, "tag", "web/v9.0.0")
    commit(repository)
    git(repository, "tag", "api/v2.0.0")

    assert version_of(repository, VersionSpec(tag_prefix="web/v")).startswith("9.0.0+1.g")
    assert version_of(repository, VersionSpec(tag_prefix="api/v")) == "2.0.0"
