"""Real builds: pip, npm and a base image's root file system; what was built is started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ovenbird.config.manifest import load_manifest
from ovenbird.config.settings import cache_home
from ovenbird.domain.apps import AppSpec
from ovenbird.domain.errors import CommandFailed, NotFound
from ovenbird.domain.packages import BuildKind, Content, Isolation, Package
from ovenbird.operations.starting import first_manifest, write_manifest
from ovenbird.sandbox import base_images
from ovenbird.stages.build import Means, build
from ovenbird.system import git
from ovenbird.system.commands import run
from ovenbird.system.rooms.build_rooms import BaseRooms
from tests import repositories
from tests.boot.conftest import until

pytestmark = pytest.mark.boot
PERSON = {
    f"GIT_{role}_{key}": text
    for role in ("AUTHOR", "COMMITTER")
    for key, text in (("NAME", "T"), ("EMAIL", "t@example.com"), ("DATE", "1000000000 +0000"))
}
OUT = Content(origin="out", destination="/opt/hello/out")


def committed(top: Path, files: Mapping[str, str], *, begin: bool = True) -> Path:
    """Make a repository, with the manifest that `ovenbird init` writes for it."""
    repositories.write(top, files)
    if begin:
        write_manifest(first_manifest(top), replacing=False)
    words = (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "x"],
        ["tag", "v1.0.0"],
    )
    for line in words:
        run(["git", "-C", top, *line], timeout_s=20, env=PERSON)
    return top


def built(
    top: Path,
    work: Path,
    *,
    how: Mapping[str, object] | None = None,
    spec: AppSpec | None = None,
    means: Means | None = None,
) -> tuple[Package, list[str]]:
    """Build an app's first package and return it with what was said."""
    said: list[str] = []
    source = git.resolve(str(top), "main", mirror=work / "mirror")
    checkout = git.checkout(source, mirror=work / "mirror", into=work / "tree")
    found = spec or load_manifest(checkout)
    found = replace(found, build=replace(found.build, **(how or {})))  # type: ignore[arg-type]
    packages = build(
        source,
        found,
        checkout=checkout,
        outbox=work / "outbox",
        progress=said.append,
        means=means or Means(),
    )
    return packages[0], said


def started(package: Package, work: Path, place: str, *argv: str) -> str:
    """Run a program of a package at its final path, as nobody, on nothing but the host."""
    run(["dpkg-deb", "-x", package.path, work / "unpacked"], timeout_s=60)
    line = (
        'mount -t tmpfs tmpfs /opt; mkdir -p "$1"; mount --bind "$0$1" "$1"; shift; cd /; '
        'exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"'
    )
    unpacked = work / "unpacked"
    words: list[str | Path] = ["unshare", "--mount", "sh", "-e", "-c", line, unpacked, place, *argv]
    return run(words, timeout_s=60)


def wheel(directory: Path) -> Path:
    """Write a wheel with a script whose first line names the interpreter."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "greet-1.0-py3-none-any.whl"
    info = "greet-1.0.dist-info"
    files = {
        "greet.py": "def greet(name):\n    return f'hello {name}'\n",
        "greet-1.0.data/scripts/greet": "#!python\nimport greet\nprint(greet.greet('script'))\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100755 << 16  # a file that can be run
            archive.writestr(entry, text)
    return path


def test_a_python_project_runs_from_its_final_place(tmp_path: Path) -> None:
    top = committed(tmp_path / "hello", repositories.PYTHON_PROJECT)

    package, said = built(top, tmp_path / "one", how={"environment": {"PIP_NO_INDEX": "1"}})

    printed = started(package, tmp_path, "/opt/hello-web", "/opt/hello-web/venv/bin/hello-web")
    assert printed.split()[:2] == ["hello", "/opt/hello-web/venv"]
    assert "/opt/hello-web/venv/lib/python3." in printed
    assert not [line for line in said if line.startswith("note:")]
    tree = tmp_path / "unpacked/opt/hello-web/venv"
    assert (tree / "bin/python3").readlink() == Path("/usr/bin/python3")
    texts = [path.read_bytes() for path in tree.rglob("*") if path.is_file()]
    assert not [text for text in texts if b"/mnt/" in text or str(tmp_path).encode() in text]


def test_hashes_are_checked_and_the_same_commit_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = run(["sha256sum", wheel(tmp_path / "vendor")], timeout_s=20).split()[0]
    files = {
        "requirements.txt": f"greet==1.0 --hash=sha256:{digest}\n",
        "app.py": "import greet\nprint(greet.greet('app'))\n",
    }
    top = tmp_path / "hello"
    wheel(top / "vendor")
    committed(top, files)
    offline = {"environment": {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "vendor"}}

    first, _ = built(top, tmp_path / "one", how=offline)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("LC_ALL", "C")
    before = os.umask(0o077)
    try:
        second, _ = built(top, tmp_path / "another/directory", how=offline)
    finally:
        os.umask(before)

    assert second.digest_sha256 == first.digest_sha256
    started_at = ("/opt/hello/venv/bin/python3", "/opt/hello/app/app.py")
    assert started(first, tmp_path, "/opt/hello", *started_at) == "hello app\n"
    greet = started(first, tmp_path, "/opt/hello", "/opt/hello/venv/bin/greet")
    assert greet == "hello script\n"

    wrong = {"requirements.txt": f"greet==1.0 --hash=sha256:{'0' * 64}\n"}
    wheel(tmp_path / "wrong/vendor")
    other = committed(tmp_path / "wrong", {**files, **wrong})
    with pytest.raises(CommandFailed, match="`pip install --requirement") as caught:
        built(other, tmp_path / "third", how=offline)
    assert "hash" in str(caught.value.facts["stderr"]).lower()


def test_a_node_app_has_its_production_modules_alone(tmp_path: Path) -> None:
    top = committed(tmp_path / "hello", repositories.NODE_APP)

    first, _ = built(top, tmp_path / "one", how={"environment": {"npm_config_offline": "true"}})
    second, _ = built(top, tmp_path / "two", how={"environment": {"npm_config_offline": "true"}})

    assert second.digest_sha256 == first.digest_sha256
    node = run(["sh", "-c", "command -v node"], timeout_s=20).strip()
    printed = started(first, tmp_path, "/opt/hello-node", node, "/opt/hello-node/server.js", "a")
    assert printed == "hello node /opt/hello-node [ 'a' ]\n"
    tree = tmp_path / "unpacked/opt/hello-node"
    names = {str(path.relative_to(tree)) for path in tree.rglob("*")}
    assert "node_modules/greet" in names
    gone = {"node_modules/never", "node_modules/.package-lock.json", ".npmrc", ".env", "dist"}
    gone |= {"ovenbird.yaml", ".git"}
    assert not names & gone


def test_nothing_that_a_build_starts_outlives_it(tmp_path: Path) -> None:
    top = committed(tmp_path / "hello", {"Makefile": "dist:\n\tmkdir -p dist/bin\n"})
    mark = f"4{os.getpid()}"
    line = f"setsid sleep {mark} & make dist; touch dist/bin/hello"

    built(top, tmp_path / "one", how={"command": line, "target": "dist"})

    assert sleeping(mark) == ""


def sleeping(mark: str) -> str:
    return run(["pgrep", "-f", f"sleep {mark}"], timeout_s=20, ok=frozenset({0, 1}))


class Base:
    """The sandbox's base image, for builds."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.disk = base_images.ensure_base_disk(cache_home(), print)
        self.rooms = BaseRooms(home / "rooms", cache=home / "apt", disk=self._find)

    def _find(self, name: str) -> Path:
        if name != "debian-12":
            raise NotFound(f"Base image `{name}` is missing")
        return self.disk

    def left(self) -> list[str]:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        return [line for line in mounts if str(self.home) in line]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return committed(tmp_path / "hello", {"Makefile": "out:\n\techo made > out\n"})


def inside(command: str, **more: object) -> dict[str, object]:
    """Return what a build's words become for one in the base image."""
    kind, isolation = BuildKind.COMMAND, Isolation.CHROOT
    words = {"kind": kind, "isolation": isolation, "depends": ("make",), "command": command}
    return {**words, **more}


def with_out(top: Path) -> AppSpec:
    spec = load_manifest(top)
    return replace(spec, packages=(replace(spec.package, contents=(OUT,), services=()),))


def test_a_build_in_the_base_image_has_its_packages_and_leaves_nothing(
    base: Base, top: Path, tmp_path: Path
) -> None:
    look = "id -u; make --version; ls /root || true"

    package, said = built(
        top,
        tmp_path / "work",
        how=inside(f"{look}; make out"),
        spec=with_out(top),
        means=Means(rooms=base.rooms),
    )

    assert package.size_bytes > 0
    assert "65534" in said
    assert any(line.startswith("GNU Make 4.3") for line in said)
    assert any("Setting up make" in line for line in said)
    assert any("Permission denied" in line for line in said)
    assert base.left() == []


def test_python_in_the_base_image_gives_what_the_same_python_gives_here(
    base: Base, tmp_path: Path
) -> None:
    top = committed(tmp_path / "hello", repositories.PYTHON_PROJECT)
    offline = {"environment": {"PIP_NO_INDEX": "1"}}

    package, _ = built(
        top,
        tmp_path / "work",
        how={**offline, "isolation": Isolation.CHROOT},
        means=Means(rooms=base.rooms),
    )

    line = "/opt/hello-web/venv/bin/hello-web"
    assert "hello /opt/hello-web/venv" in started(package, tmp_path, "/opt/hello-web", line)
    assert base.left() == []


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (inside("exit 7"), "`exit 7` exited with status 7"),
        (inside("true", depends=("no-such-package",)), "could not be installed"),
        (inside("sleep 60", timeout_s=0.5, depends=()), "ran past 0.5 s"),
    ],
)
def test_a_build_that_fails_in_the_base_image_leaves_nothing(
    base: Base, top: Path, tmp_path: Path, how: dict[str, object], words: str
) -> None:
    with pytest.raises(CommandFailed, match=words):
        built(top, tmp_path / "work", how=how, spec=with_out(top), means=Means(rooms=base.rooms))

    assert base.left() == []


KILLED = """
import sys
from pathlib import Path
from ovenbird.domain.packages import BuildSite
from ovenbird.system.rooms.build_rooms import BaseRooms

disk, home, tree, mark = sys.argv[1:]
rooms = BaseRooms(Path(home, "rooms"), cache=Path(home, "apt"), disk=lambda name: Path(disk))
site = BuildSite(tree=tree, directory="", home=f"{tree}.home")
with rooms.open("debian-12", site, depends=(), progress=print) as room:
    room.run(["sleep", mark], environment={}, timeout_s=300, on_line=print)
"""


def test_what_a_killed_build_leaves_goes_with_the_next_one(
    base: Base, top: Path, tmp_path: Path
) -> None:
    mark = f"5{os.getpid()}"
    for name in ("tree", "tree.home"):
        (tmp_path / name).mkdir()
    words = [sys.executable, "-c", KILLED, str(base.disk), str(base.home)]
    process = subprocess.Popen([*words, str(tmp_path / "tree"), mark])  # noqa: S603 - our own
    try:
        until(lambda: sleeping(mark) != "")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: sleeping(mark) == "" and base.left() == [])
    places = [path for path in (base.home / "rooms").iterdir() if path.is_dir()]
    assert places != []  # without anything mounted in them

    built(
        top,
        tmp_path / "work",
        how=inside("make out"),
        spec=with_out(top),
        means=Means(rooms=base.rooms),
    )

    assert base.left() == []
    assert not any(path.exists() for path in places)


def test_a_base_image_that_is_missing_is_named(base: Base, top: Path, tmp_path: Path) -> None:
    spec = with_out(top)
    spec = replace(spec, image=replace(spec.image, base="debian-99"))

    with pytest.raises(NotFound, match="`debian-99` is missing"):
        built(
            top,
            tmp_path / "work",
            how=inside("true"),
            spec=spec,
            means=Means(rooms=base.rooms),
        )
    assert base.left() == []
