from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ovenbird.domain.apps import AppSpec, Health
from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.domain.images import ImageSpec
from ovenbird.domain.packages import (
    BuildKind,
    BuildSite,
    BuildSpec,
    Content,
    ContentKind,
    Isolation,
    Package,
    PackageFormat,
    PackageSpec,
)
from ovenbird.domain.ports import BuildRoom, Progress
from ovenbird.domain.sources import Source
from ovenbird.stages.build import Means, build
from ovenbird.system import git
from ovenbird.system.commands import run
from ovenbird.system.rooms.build_rooms import HostRoom
from tests import repositories

OUT = Content(origin="out", destination="/opt/hello/out")
FILES = {"Makefile": "out:\n\techo made > out\n", "app/ovenbird.yaml": "x", "hello.c": "x"}
PERSON = {
    f"GIT_{role}_{key}": text
    for role in ("AUTHOR", "COMMITTER")
    for key, text in (("NAME", "T"), ("EMAIL", "t@example.com"), ("DATE", "1000000000 +0000"))
}


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = repositories.write(tmp_path_factory.mktemp("origin"), FILES)
    for words in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "x"],
        ["tag", "v1.0.0"],
    ):
        run(["git", "-C", top, *words], timeout_s=20, env=PERSON)
    return top


def app(how: BuildSpec, *packages: PackageSpec) -> AppSpec:
    own = PackageSpec(name="hello", maintainer="T <t@example.com>", contents=(OUT,))
    return AppSpec(
        app="hello",
        packages=packages or (own,),
        image=ImageSpec(base="debian-12"),
        port=80,
        health=Health(),
        environments=(),
        build=how,
    )


@dataclass(kw_only=True)
class Work:
    """A checkout of the origin, and what a build of it said."""

    origin: Path
    home: Path
    directory: str = ""
    said: list[str] = field(default_factory=list)

    def source(self) -> Source:
        mirror = self.home / "mirror"
        return git.resolve(str(self.origin), "main", mirror=mirror, directory=self.directory)

    def build(self, spec: AppSpec, means: Means | None = None) -> tuple[Package, ...]:
        source = self.source()
        checkout = git.checkout(source, mirror=self.home / "mirror", into=self.home / "tree")
        return build(
            source,
            spec,
            checkout=checkout,
            outbox=self.outbox,
            progress=self.said.append,
            means=means or Means(),
        )

    @property
    def outbox(self) -> Path:
        return self.home / "outbox"


@pytest.fixture
def work(origin: Path, tmp_path: Path) -> Work:
    return Work(origin=origin, home=tmp_path)


def test_one_build_makes_all_packages_in_all_their_formats(work: Work) -> None:
    own, worker = (
        PackageSpec(
            name=name, maintainer="T <t@example.com>", contents=(OUT,), formats=formats
        )
        for name, formats in (
            ("hello", (PackageFormat.DEB, PackageFormat.RPM)),
            ("hello-worker", (PackageFormat.DEB,)),
        )
    )  # fmt: skip

    made = work.build(app(BuildSpec(command="echo once; make out"), own, worker))

    assert [(one.name, one.format.value, one.version) for one in made] == [
        ("hello", "deb", "1.0.0"), ("hello", "rpm", "1.0.0"), ("hello-worker", "deb", "1.0.0"),
    ]  # fmt: skip
    assert work.said.count("once") == 1
    names = {Path(one.path).name for one in made}
    assert {path.name for path in work.outbox.iterdir()} == {*names, "build.log"}


def test_a_signature_is_in_the_digest_and_its_key_in_the_record(work: Work) -> None:
    asked = []

    def sign(path: Path, format_: PackageFormat, epoch_s: int) -> str:
        asked.append((path.suffix, format_, epoch_s))
        path.write_bytes(path.read_bytes() + b"signed")
        return "F1"

    (made,) = work.build(app(BuildSpec(command="make out")), Means(sign=sign))

    data = Path(made.path).read_bytes()
    assert data.endswith(b"signed")
    assert (made.signed_by, made.size_bytes) == ("F1", len(data))
    assert made.digest_sha256 == run(["sha256sum", made.path], timeout_s=20).split()[0]
    assert asked == [(".deb", PackageFormat.DEB, 1_000_000_000)]


def test_a_package_that_cannot_be_signed_is_not_there(work: Work) -> None:
    def sign(path: Path, format_: PackageFormat, epoch_s: int) -> str:
        raise InvalidRequest("The key has expired")

    with pytest.raises(InvalidRequest, match="expired"):
        work.build(app(BuildSpec(command="make out")), Means(sign=sign))

    assert [path.name for path in work.outbox.iterdir()] == ["build.log"]


def test_a_given_version_takes_the_place_of_the_tags(work: Work) -> None:
    (made,) = work.build(app(BuildSpec(command="make out")), Means(version="1:2.0+dirty"))

    assert made.version == "1:2.0+dirty"
    assert Path(made.path).name == "hello_2.0+dirty_all.deb"


def test_a_build_sees_little_and_can_say_more(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never")
    monkeypatch.setenv("HOME", "/never")
    before = os.umask(0o077)
    try:
        work.build(app(BuildSpec(command="env; umask; make out", environment={"LEVEL": "info"})))
    finally:
        os.umask(before)

    told = dict(line.split("=", 1) for line in work.said if "=" in line and " " not in line)
    assert told["LEVEL"] == "info"
    assert (told["SOURCE_DATE_EPOCH"], told["TZ"]) == ("1000000000", "UTC")
    assert "never" not in " ".join(told.values())
    assert "0022" in work.said
    assert not Path(f"{work.home}/tree.home").exists()


def test_the_log_keeps_each_step_and_line(work: Work) -> None:
    work.build(app(BuildSpec(kind=BuildKind.MAKE, target="out", command="echo first")))

    lines = (work.outbox / "build.log").read_text().splitlines()
    assert lines == ["$ echo first", "first", "$ make out", "echo made > out"]


def test_a_failure_says_the_line_that_repeats_it(work: Work, tmp_path: Path) -> None:
    with pytest.raises(
        CommandFailed, match='`echo "it is \\$A"; exit 3` exited with status 3'
    ) as caught:
        work.build(app(BuildSpec(command='echo "it is $A"; exit 3', environment={"A": "o'clock"})))

    assert caught.value.facts["stderr"] == "it is o'clock"
    line = caught.value.hint.partition("to repeat it: `")[2].removesuffix("`")
    done = subprocess.run(  # noqa: S602 - what a person would paste
        line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, "it is o'clock\n")


def test_several_lines_are_shown_by_their_first(work: Work) -> None:
    with pytest.raises(CommandFailed, match="`echo one …` exited with status 3") as caught:
        work.build(app(BuildSpec(command="echo one\nexit 3\n")))

    assert "Building with `echo one …`" in work.said
    assert caught.value.hint.endswith("&& cd repeat && ovenbird package build`")


def test_a_build_that_takes_too_long_is_stopped(work: Work) -> None:
    with pytest.raises(CommandFailed, match=r"`sleep 60` ran past 0\.5 s"):
        work.build(app(BuildSpec(command="sleep 60", timeout_s=0.5)))


def test_an_app_in_a_directory_sees_its_whole_repository(work: Work) -> None:
    work.directory = "app"

    work.build(app(BuildSpec(command="git describe --tags; ls; make -C .. out; mv ../out .")))

    assert {"v1.0.0", "ovenbird.yaml"} <= set(work.said)


def test_a_build_that_leaves_nothing_is_named(work: Work) -> None:
    how = BuildSpec(kind=BuildKind.BINARY, command="true", target="hello.c", into="/usr/bin/x")

    with pytest.raises(InvalidRequest, match=r"`x` is not a compiled program"):
        work.build(app(how))
    assert not list(work.outbox.glob("*.deb"))


@pytest.mark.parametrize("architecture", ["all", "arm64"])
def test_a_program_for_another_machine_is_refused(architecture: str, work: Work) -> None:
    content = Content(origin="dist/usr", destination="/usr", kind=ContentKind.TREE)
    spec = PackageSpec(
        name="hello", maintainer="T <t@example.com>", contents=(content,), architecture=architecture
    )
    how = BuildSpec(
        kind=BuildKind.BINARY, command="cp /bin/true mine", target="mine", into="/usr/bin/mine"
    )

    with pytest.raises(InvalidRequest, match=f"is for `{architecture}`, but") as caught:
        work.build(app(how, spec))
    assert caught.value.hint.startswith("Say `architecture: ")
    assert any("`/usr/bin/mine` needs libc.so.6" in line for line in work.said)


class Rooms:
    """Opens this host for whatever base image is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    @contextmanager
    def open(
        self, base: str, site: BuildSite, *, depends: Sequence[str], progress: Progress
    ) -> Iterator[BuildRoom]:
        self.asked.append((base, tuple(depends)))
        yield Recorded(HostRoom(site), self)


class Recorded:
    """A room that is this host, and tells its rooms what ran in it."""

    def __init__(self, room: HostRoom, rooms: Rooms) -> None:
        self._room, self._rooms = room, rooms
        self.checkout, self.home = room.checkout, room.home

    def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout_s: float,
        on_line: Progress,
    ) -> None:
        self._rooms.asked.append(("ran", tuple(argv[-1:])))
        self._room.run(argv, environment=environment, timeout_s=timeout_s, on_line=on_line)


def test_a_build_with_isolation_happens_in_the_base_image(work: Work) -> None:
    rooms = Rooms()
    how = BuildSpec(command="make out", isolation=Isolation.CHROOT, depends=("make",))

    work.build(app(how), Means(rooms=rooms))

    assert rooms.asked == [("debian-12", ("make",)), ("ran", ("make out",))]


def test_isolation_without_base_images_is_refused(work: Work) -> None:
    how = BuildSpec(command="make out", isolation=Isolation.CHROOT)

    with pytest.raises(InvalidRequest, match="needs a base image") as caught:
        work.build(app(how))
    assert "isolation: host" in caught.value.hint


def test_packages_need_no_build_at_all(work: Work) -> None:
    spec = replace(app(BuildSpec()).package, contents=(replace(OUT, origin="Makefile"),))

    (made,) = work.build(app(BuildSpec(), spec))

    assert made.size_bytes > 0
    assert (work.outbox / "build.log").read_text() == ""
