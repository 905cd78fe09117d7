"""A signed apt repository in a directory, whose states are numbered and never change.

    DIRECTORY/apt/pool/h/hello/hello_1.0.0_all.deb
    DIRECTORY/apt/dists/candidate-7/...            state 7 of the channel, for ever
    DIRECTORY/apt/dists/candidate -> candidate-7   the newest; switched by one rename

A publish writes a new state beside the others and then moves the pointer: a reader, or a
publisher that is killed, sees the old state or the new one.

Source: Debian wiki, DebianRepository/Format; apt-get(8), by-hash.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import Conflict, NotFound
from ovenbird.domain.packages import Package
from ovenbird.packaging.signing import SigningKey
from ovenbird.system.commands import run
from ovenbird.system.locks import file_lock

COMPONENT = "main"
ARCHITECTURES = ("amd64", "arm64")
TIMEOUT_S = 60.0


class AptRepository:
    """One repository, one channel.

    Args:
        directory: Where it lives; made when missing.
        name: The repository's name.
        channel: The channel that is published to.
        key: Signs each state.
    """

    def __init__(self, directory: Path, *, name: str, channel: str, key: SigningKey) -> None:
        self._root = directory / "apt"
        self._name, self._channel, self._key = name, channel, key

    def publish(
        self, packages: Sequence[Package], *, channel: str, at: datetime
    ) -> RepositoryState:
        """Add packages and return the state that has them all.

        Publishing what is there already returns the newest state and changes nothing.

        Args:
            packages: Built packages.
            channel: Which set of packages they join.
            at: The time that the signed release file carries.

        Raises:
            Conflict: Another package of the same name, version and architecture is there.
            NotFound: A package's file is gone.
        """
        self._channel = channel
        key_path = self._key.ensure()
        with file_lock(self._root / "publish.lock"):
            added = [self._add(package) for package in packages]
            number = self._newest()
            if any(added) or number == 0:
                number += 1
                self._write_state(number, at=at)
            return self._state(number, key_path)

    @contextmanager
    def reachable(self, state: RepositoryState) -> Iterator[RepositoryState]:
        """Give the state under an address that package managers on this host can read."""
        yield state

    def _state(self, number: int, key_path: Path) -> RepositoryState:
        return RepositoryState(
            repository=self._name,
            channel=self._channel,
            number=number,
            url=f"file:{self._root}",
            suite=f"{self._channel}-{number}",
            component=COMPONENT,
            key_path=str(key_path),
        )

    def _newest(self) -> int:
        """Return the number of the newest state that is whole; 0 when there is none."""
        pointer = self._root / "dists" / self._channel
        return int(pointer.readlink().name.rsplit("-", 1)[1]) if pointer.is_symlink() else 0

    def _add(self, package: Package) -> bool:
        """Put one file into the pool; tell whether the newest state lacks it."""
        name = f"{package.name}_{package.version}_{package.architecture}.{package.format.value}"
        target = self._root / "pool" / package.name[0] / package.name / name
        if not target.exists():
            self._copy(Path(package.path), target)
        elif _digest(target) != package.digest_sha256:
            raise Conflict(
                f"`{name}` is published already, with other bytes",
                hint="Tag a new version: what is published never changes",
                published_sha256=_digest(target),
                built_sha256=package.digest_sha256,
            )
        stanza = _stanza_path(target)
        if not stanza.exists():
            _write(stanza, _stanza(target, self._root).encode())
        listed = self._index(self._newest())
        return f"Filename: {target.relative_to(self._root)}\n" not in listed

    def _copy(self, source: Path, target: Path) -> None:
        if not source.exists():
            raise NotFound(f"The package `{source}` is gone", hint="Start the release again")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        shutil.copyfile(source, part)
        part.replace(target)

    def _index(self, number: int) -> str:
        path = self._dist(number) / COMPONENT / "binary-amd64" / "Packages"
        return path.read_text() if path.exists() else ""

    def _dist(self, number: int) -> Path:
        return self._root / "dists" / f"{self._channel}-{number}"

    def _write_state(self, number: int, *, at: datetime) -> None:
        """Write a whole state aside, then move it and the pointer into place."""
        final = self._dist(number)
        part = final.with_name(f".{final.name}.part")
        for left_over in (part, final):  # of a publisher that was killed before the pointer moved
            shutil.rmtree(left_over, ignore_errors=True)
        files: dict[str, bytes] = {}
        for architecture in ARCHITECTURES:
            text = self._packages(architecture)
            base = f"{COMPONENT}/binary-{architecture}/Packages"
            files |= {
                base: text,
                f"{base}.gz": gzip.compress(text, 6, mtime=0),
                f"{base}.xz": lzma.compress(text, preset=2),
            }
        for name, data in files.items():
            _write(part / name, data)
            _write(part / Path(name).parent / "by-hash/SHA256" / _sha256(data), data)
        self._sign(part, _release(files, suite=final.name, name=self._name, at=at))
        part.replace(final)
        pointer = self._root / "dists" / f".{self._channel}.part"
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(final.name)
        pointer.replace(self._root / "dists" / self._channel)

    def _packages(self, architecture: str) -> bytes:
        endings = (f"_{architecture}.deb.stanza", "_all.deb.stanza")
        paths = sorted((self._root / "pool").rglob("*.stanza"))
        return "\n".join(p.read_text() for p in paths if p.name.endswith(endings)).encode()

    def _sign(self, directory: Path, release: str) -> None:
        data = release.encode()
        _write(directory / "Release", data)
        with self._key.session():
            _write(directory / "InRelease", self._key.clear_sign(data))
            _write(directory / "Release.gpg", self._key.detach_sign(data))


def _stanza_path(deb: Path) -> Path:
    return deb.with_name(f"{deb.name}.stanza")


def _stanza(deb: Path, root: Path) -> str:
    """Return what the index says of one package."""
    control = run(["dpkg-deb", "--field", deb], timeout_s=TIMEOUT_S).rstrip("\n")
    return (
        f"{control}\nFilename: {deb.relative_to(root)}\n"
        f"Size: {deb.stat().st_size}\nSHA256: {_digest(deb)}\n"
    )


def _release(files: dict[str, bytes], *, suite: str, name: str, at: datetime) -> str:
    """Return the text that is signed: names, sizes and digests of all index files."""
    sums = [f" {_sha256(data)} {len(data):>9} {path}" for path, data in sorted(files.items())]
    head = {
        "Origin": f"ovenbird {name}",
        "Label": f"ovenbird {name}",
        "Suite": suite,
        "Codename": suite,
        "Date": at.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S UTC"),
        "Acquire-By-Hash": "yes",
        "Architectures": " ".join(ARCHITECTURES),
        "Components": COMPONENT,
    }
    lines = [f"{key}: {value}" for key, value in head.items()]
    return "\n".join([*lines, "SHA256:", *sums, ""])


def _write(path: Path, data: bytes) -> None:
    """Write a file in one step: a process that is killed leaves none or all of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
