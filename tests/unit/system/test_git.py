from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest, NotFound
from ovenbird.system.commands import run
from ovenbird.system.git import checkout, checkout_work_tree, commits_between, is_dirty, resolve

PERSON = {
    f"GIT_{role}_{key}": text
    for role in ("AUTHOR", "COMMITTER")
    for key, text in (("NAME", "T"), ("EMAIL", "t@example.com"), ("DATE", "1000000000 +0000"))
}


def git(repository: Path, *words: str) -> str:
    return run(["git", "-C", repository, *words], timeout_s=20, env=PERSON).strip()


def commit(repository: Path, name: str) -> str:
    (repository / name).parent.mkdir(parents=True, exist_ok=True)
    (repository / name).write_text(name)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", name)
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    path = tmp_path / "remote"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    commit(path, "app/one")
    git(path, "tag", "v1.0.0")
    return path


def test_branches_tags_commits_and_head_are_resolved(tmp_path: Path, remote: Path) -> None:
    first = git(remote, "rev-parse", "HEAD")
    second = commit(remote, "two")
    mirror = tmp_path / "mirror"

    found = {
        ref: resolve(str(remote), ref, mirror=mirror).commit
        for ref in ("v1.0.0", "main", "HEAD", first, first[:8])
    }

    assert found == {
        "v1.0.0": first, "main": second, "HEAD": second, first: first, first[:8]: first,
    }  # fmt: skip


def test_a_source_knows_the_time_of_its_commit(tmp_path: Path, remote: Path) -> None:
    source = resolve(str(remote), "main", mirror=tmp_path / "mirror")

    assert source.committed_at_epoch_s == 1_000_000_000


def test_head_follows_the_remote(tmp_path: Path, remote: Path) -> None:
    mirror = tmp_path / "mirror"
    resolve(str(remote), "HEAD", mirror=mirror)
    git(remote, "checkout", "--quiet", "-b", "other")
    newest = commit(remote, "three")

    assert resolve(str(remote), "HEAD", mirror=mirror).commit == newest


def test_a_tag_that_moved_means_its_new_commit(tmp_path: Path, remote: Path) -> None:
    mirror = tmp_path / "mirror"
    resolve(str(remote), "v1.0.0", mirror=mirror)
    moved = commit(remote, "four")
    git(remote, "tag", "--force", "v1.0.0")

    assert resolve(str(remote), "v1.0.0", mirror=mirror).commit == moved


@pytest.mark.parametrize("ref", ["nope", "0" * 40, "--help", "-n1", "", "main:app", "a b"])
def test_a_commit_that_does_not_exist_is_said_not_to_exist(
    tmp_path: Path, remote: Path, ref: str
) -> None:
    with pytest.raises(NotFound, match="has no branch, tag or commit") as caught:
        resolve(str(remote), ref, mirror=tmp_path / "mirror")

    assert "git ls-remote" in caught.value.hint


@pytest.mark.parametrize("url", ["/no/such/directory", "--upload-pack=touch /tmp/x", ""])
def test_a_remote_that_cannot_be_read_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(NotFound, match="cannot be read") as caught:
        resolve(url, "main", mirror=tmp_path / "mirror")

    assert caught.value.hint


def test_a_repository_without_commits_is_named(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "empty")

    with pytest.raises(NotFound) as caught:
        resolve(str(tmp_path / "empty"), "main", mirror=tmp_path / "mirror")
    assert caught.value.hint == "It has no commit yet: commit something"


def test_a_checkout_is_clean_and_knows_its_tags(tmp_path: Path, remote: Path) -> None:
    mirror = tmp_path / "mirror"
    (remote / "not-committed").touch()
    source = resolve(str(remote), "v1.0.0", mirror=mirror, directory="app")

    app = checkout(source, mirror=mirror, into=tmp_path / "tree")

    assert app == tmp_path / "tree/app"
    assert sorted(path.name for path in (tmp_path / "tree").iterdir()) == [".git", "app"]
    assert git(app, "describe", "--tags") == "v1.0.0"


def test_a_checkout_can_be_made_again(tmp_path: Path, remote: Path) -> None:
    mirror, tree = tmp_path / "mirror", tmp_path / "tree"
    source = resolve(str(remote), "main", mirror=mirror)
    checkout(source, mirror=mirror, into=tree)
    (tree / "left-over").touch()

    checkout(source, mirror=mirror, into=tree)

    assert not (tree / "left-over").exists()


def test_a_missing_directory_of_the_app_is_named(tmp_path: Path, remote: Path) -> None:
    mirror = tmp_path / "mirror"
    source = resolve(str(remote), "main", mirror=mirror, directory="nowhere")

    with pytest.raises(NotFound, match="has no directory `nowhere`"):
        checkout(source, mirror=mirror, into=tmp_path / "tree")


def test_a_url_with_a_password_is_refused_without_repeating_it(tmp_path: Path) -> None:
    url = "https://ann:s3cret@git.example/apps/hello.git"

    with pytest.raises(InvalidRequest) as caught:
        resolve(url, "HEAD", mirror=tmp_path / "mirror")

    assert "`git.example/apps/hello.git`" in str(caught.value)
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
    assert not (tmp_path / "mirror").exists()


def test_a_tree_is_dirty_by_what_changed_came_or_went(remote: Path) -> None:
    commit(remote, "app/two")
    (remote / ".gitignore").write_text("*.log\n")
    commit(remote, "other/three")
    assert is_dirty(remote) == ()

    (remote / "app/one").write_text("changed")
    (remote / "app/two").unlink()
    (remote / "app/new ünd odd").touch()
    (remote / "app/ignored.log").touch()
    (remote / "other/new").touch()

    assert is_dirty(remote / "app") == ("new ünd odd", "one", "two")
    assert is_dirty(remote) == ("app/new ünd odd", "app/one", "app/two", "other/new")


def test_what_is_no_work_tree_is_not_dirty(tmp_path: Path, remote: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(remote), "bare")
    (tmp_path / "plain").mkdir()

    assert is_dirty(tmp_path / "bare") == is_dirty(tmp_path / "plain") == ()


def test_a_work_tree_is_copied_as_it_is(tmp_path: Path, remote: Path) -> None:
    for name in ("app/gone", "app/directory/file", "app/file"):
        commit(remote, name)
    (remote / ".gitignore").write_text("*.log\n")
    (remote / "app/gone").unlink()
    (remote / "app/directory/file").unlink()
    (remote / "app/directory").rmdir()
    (remote / "app/directory").write_text("a file now")
    (remote / "app/file").unlink()
    (remote / "app/file").mkdir()
    (remote / "app/file/below").write_text("a directory now")
    (remote / "app/link").symlink_to("one")
    (remote / "app/one").chmod(0o755)
    (remote / "app/ignored.log").touch()

    app = checkout_work_tree(remote / "app", tmp_path / "tree")

    assert app == tmp_path / "tree/app"
    names = sorted(str(p.relative_to(app)) for p in app.rglob("*"))
    assert names == ["directory", "file", "file/below", "link", "one"]
    assert (app / "link").readlink() == Path("one")
    assert (app / "one").stat().st_mode & 0o111
    assert is_dirty(app) == is_dirty(remote / "app")
    assert git(app, "describe", "--tags").startswith("v1.0.0-3-g")


def test_a_directory_without_history_cannot_be_copied(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "empty")
    (tmp_path / "plain").mkdir()

    with pytest.raises(NotFound, match="is not in a git work tree"):
        checkout_work_tree(tmp_path / "plain", tmp_path / "tree")
    with pytest.raises(NotFound, match="cannot be read"):
        checkout_work_tree(tmp_path / "empty", tmp_path / "tree")


def test_the_commits_between_two_are_told_for_one_directory(tmp_path: Path, remote: Path) -> None:
    mirror = tmp_path / "mirror"
    old = commit(remote, "app/two")
    commit(remote, "elsewhere")
    new = commit(remote, "app/three")

    def subjects(old: str, new: str, directory: str = "") -> list[str]:
        found = commits_between(old, new, url=str(remote), mirror=mirror, directory=directory)
        return [one.subject for one in found]

    assert subjects(old, new) == ["app/three", "elsewhere"]
    assert subjects(old, new, "app") == ["app/three"]
    assert subjects(new, old) == []
    with pytest.raises(NotFound, match="has no commit"):
        subjects("0" * 40, new)
