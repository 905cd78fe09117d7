"""What is installed: each path once, plain modes, nothing from outside of the checkout."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import Content, Override, PackageFormat
from ovenbird.packaging.writing.contents import Entry, entries
from tests.unit.packaging.writing import checkout, content, spec

DEB, RPM = PackageFormat.DEB, PackageFormat.RPM


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return checkout(tmp_path / "checkout")


def modes(found: tuple[Entry, ...]) -> dict[str, str]:
    return {entry.path: f"{entry.mode:o}" for entry in found}


def at(number: int, origin: str, destination: str, kind: str = "file") -> Content:
    return content(origin, destination, kind, place=f"package.contents[{number}]")


def test_a_tree_is_all_that_is_in_it(top: Path) -> None:
    found = entries(spec(contents=(at(0, "dist", "/opt/hello"),)), DEB, top)

    assert [(entry.path, entry.kind) for entry in found] == [
        ("/opt/hello", "dir"),
        ("/opt/hello/bin", "dir"),
        ("/opt/hello/bin/again", "symlink"),
        ("/opt/hello/bin/hello", ""),
        ("/opt/hello/share", "dir"),
        ("/opt/hello/share/$HOME é.txt", ""),
        ("/opt/hello/share/empty", "dir"),
    ]


@pytest.mark.parametrize(
    ("umask", "expected"), [(0o022, ("755", "755", "644")), (0o027, ("750", "750", "640"))]
)
def test_modes_are_plain_but_for_the_umask(
    top: Path, umask: int, expected: tuple[str, str, str]
) -> None:
    (top / "dist/bin/hello").chmod(0o4711)  # only whether it runs counts
    (top / "README.md").chmod(0o606)
    asked = spec(contents=(at(0, "dist", "/a"), at(1, "README.md", "/b")), umask=umask)
    found = modes(entries(asked, DEB, top))

    assert (found["/a"], found["/a/bin/hello"], found["/b"]) == expected


def test_a_format_has_a_umask_of_its_own(top: Path) -> None:
    asked = spec(contents=(at(0, "README.md", "/b"),), overrides={RPM: Override(umask=0o077)})

    assert modes(entries(asked, DEB, top)) == {"/b": "644"}
    assert modes(entries(asked, RPM, top)) == {"/b": "600"}


def test_a_mode_for_a_tree_is_one_for_its_files(top: Path) -> None:
    tree = content("dist/share", "/etc/hello", "tree", mode=0o640)
    found = modes(entries(spec(contents=(tree,)), DEB, top))

    assert found == {
        "/etc/hello": "750", "/etc/hello/$HOME é.txt": "640", "/etc/hello/empty": "750",
    }  # fmt: skip


def test_directories_of_the_system_stay_the_systems(top: Path) -> None:
    (top / "root/usr/share/doc/hello").mkdir(parents=True)
    (top / "root/usr/share/doc/hello/x").write_text("x")
    found = entries(spec(contents=(at(0, "root", "/"),)), DEB, top)

    assert [entry.path for entry in found] == ["/usr/share/doc/hello", "/usr/share/doc/hello/x"]


def test_trees_share_directories_and_one_that_is_named_says_its_mode(top: Path) -> None:
    (top / "more/bin").mkdir(parents=True)
    (top / "more/bin/other").write_text("x")
    named = content("", "/opt/hello/bin", "dir", mode=0o700, owner="hello")
    parts = (at(0, "dist", "/opt/hello"), named, at(2, "more", "/opt/hello"))

    for order in (parts, parts[::-1]):
        found = {e.path: e for e in entries(spec(contents=order), DEB, top)}
        assert (found["/opt/hello/bin"].mode, found["/opt/hello/bin"].owner) == (0o700, "hello")
        assert {"/opt/hello/bin/hello", "/opt/hello/bin/other"} <= set(found)


def test_a_content_may_be_for_some_formats_only(top: Path) -> None:
    ours = (
        content("README.md", "/usr/share/x", formats=(DEB,)),
        content("hello.toml", "/usr/share/x", formats=(RPM,)),
    )

    for format_, name in ((DEB, "README.md"), (RPM, "hello.toml")):
        (entry,) = entries(spec(contents=ours), format_, top)
        assert Path(entry.source).name == name


def refused(top: Path, *contents: Content) -> str:
    with pytest.raises(InvalidRequest) as caught:
        entries(spec(contents=contents), DEB, top)
    assert caught.value.facts["place"] == contents[-1].place
    return str(caught.value)


def test_two_contents_for_one_path_are_refused(top: Path) -> None:
    for second in ("/opt/x", "/opt//x", "/opt/./x"):
        assert refused(top, at(0, "README.md", "/opt/x"), at(1, "hello.toml", second)) == (
            "package.contents[1]: `/opt/x` is there already, by package.contents[0]"
        )
    assert "is there already, by package.contents[0]" in refused(
        top, at(0, "dist", "/opt/hello"), at(1, "README.md", "/opt/hello/bin/hello")
    )
    assert "is there already" in refused(top, at(0, "", "/a", "dir"), at(1, "", "/a", "dir"))


def test_nothing_lies_below_a_file_or_a_link(top: Path) -> None:
    for first in (at(0, "README.md", "/opt/x"), at(0, "/srv", "/opt/x", "symlink")):
        assert refused(top, first, at(1, "hello.toml", "/opt/x/y")) == (
            "package.contents[1]: `/opt/x/y` lies below `/opt/x`, which is no directory"
            " (package.contents[0])"
        )


@pytest.mark.parametrize("kind", ["config", "config_replaced", "config_missing_ok"])
def test_a_directory_is_no_configuration(top: Path, kind: str) -> None:
    assert refused(top, at(4, "dist", "/etc/hello", kind)) == (
        "package.contents[4]: `dist` is a directory: configuration is kept by file"
    )


def test_what_leaves_the_checkout_is_refused(top: Path) -> None:
    (top / "link").symlink_to("/etc")
    (top / "dist/out").symlink_to("../../..")
    (top.parent / "secret").write_text("x")

    for origin in ("../secret", "/etc/passwd", "link/passwd", "link", "dist/out/secret"):
        said = refused(top, at(2, origin, "/opt/x"))
        assert said == f"package.contents[2]: `{origin}` is outside of the checkout"


def test_a_link_inside_of_the_checkout_is_followed(top: Path) -> None:
    (top / "link").symlink_to("dist")
    (entry,) = entries(spec(contents=(at(0, "link/bin/hello", "/x"),)), DEB, top)

    assert entry.source == str(top / "dist/bin/hello")


def test_what_is_not_there_is_refused(top: Path) -> None:
    assert refused(top, at(1, "nothing", "/x")) == (
        "package.contents[1]: `nothing` does not exist after the build"
    )
    assert "is no directory" in refused(top, at(1, "README.md", "/x", "tree"))


@pytest.mark.parametrize("destination", ["opt/x", "/opt/../etc/x", "", "/opt/a\nb"])
def test_destinations_are_absolute_and_plain(top: Path, destination: str) -> None:
    assert refused(top, at(0, "README.md", destination)).startswith("package.contents[0]: ")


def test_names_that_package_managers_cannot_carry_are_refused(top: Path) -> None:
    (top / "odd").mkdir()
    for name in (b"a\nb", b"\xff"):
        path = os.fsencode(top / "odd") + b"/" + name
        Path(os.fsdecode(path)).write_text("x")
        assert "control character" in refused(top, at(0, "odd", "/opt/odd"))
        Path(os.fsdecode(path)).unlink()


def test_a_socket_is_no_content(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(top / "dist")  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert "no file, directory or link" in refused(top, at(0, "dist", "/opt/hello"))


def test_a_mode_of_nothing_is_refused(top: Path) -> None:
    assert "mode 0" in refused(top, content("README.md", "/x", mode=0))
