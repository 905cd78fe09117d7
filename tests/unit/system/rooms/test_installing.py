"""apt or dnf by what the image has: what they are told, and what is said when they refuse."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.domain.images import PackagePin
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.system import apt, dnf
from ovenbird.system.rooms import installing


class Told:
    """Hands that write down what they are told.

    Args:
        status: What the question for a package manager is answered with.
        says: What a package manager prints before it fails; empty for success.
    """

    def __init__(self, *, status: int = 10, says: str = "") -> None:
        self._status, self._says = status, says
        self.ran: list[list[str]] = []
        self.files: dict[str, bytes] = {}
        self.lent: list[Path] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout_s: float,
        said: str,
        hint: str,
    ) -> None:
        self.ran.append(list(argv))
        if self._says:
            raise CommandFailed(f"`{said}` exited with status 1", hint=hint, stderr=self._says)

    def status(
        self, argv: Sequence[str], *, environment: Mapping[str, str], timeout_s: float
    ) -> int:
        return self._status

    @contextmanager
    def lend(self, source: Path) -> Iterator[str]:
        self.lent.append(source)
        yield f"/run/lent/{source.name}"

    def put(self, data: bytes, target: str, *, owner: str, group: str, mode: int) -> None:
        assert (owner, group, mode) == ("root", "root", 0o644)
        self.files[target] = data


def pin(name: str = "hello", version: str = "1.0.0", architecture: str = "all") -> PackagePin:
    return PackagePin(name=name, version=version, architecture=architecture, digest_sha256="0")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SigningKey(tmp_path_factory.mktemp("keys")).ensure()


def state(key: Path, url: str = "file:/srv/my%20repository") -> RepositoryState:
    return RepositoryState(
        repository="main",
        channel="candidate",
        number=7,
        url=url,
        suite="candidate-7",
        component="main",
        key_path=str(key),
    )


def test_apt_installs_exact_versions_from_one_signed_state(key: Path) -> None:
    hands = Told()

    with installing.connected(hands, state(key)) as installer:
        installer.update(only_ours=True)
        installer.install((pin(), pin("a", "2:1.0-1")))

    assert hands.lent == [Path("/srv/my repository")]
    assert hands.files == {
        installing.KEY: key.read_bytes(),
        apt.OURS: f"deb [signed-by={installing.KEY}] "
        "file:/run/lent/my repository candidate-7 main\n".encode(),
    }
    assert hands.ran == [apt.update(only_ours=True), apt.install(["hello=1.0.0", "a=2:1.0-1"])]


def test_apt_leaves_the_distribution_alone_when_ours_has_all(key: Path) -> None:
    class Sufficient(Told):
        def status(
            self, argv: Sequence[str], *, environment: Mapping[str, str], timeout_s: float
        ) -> int:
            return 0 if list(argv) == apt.suffices(["hello=1.0.0"]) else 10

    hands = Sufficient()

    with installing.connected(hands, state(key)) as installer:
        installer.install((pin(),))

    assert hands.ran == [apt.install(["hello=1.0.0"], only_ours=True)]
    assert "--no-remove" in hands.ran[0]


def test_dnf_installs_exact_versions_with_both_signatures_checked(key: Path) -> None:
    hands = Told(status=11)

    with installing.connected(hands, state(key, "http://127.0.0.1:1/")) as installer:
        installer.install((pin(), pin("b", "1.0-2", "amd64")))

    repository = hands.files[dnf.OURS].decode().splitlines()
    assert "baseurl=http://127.0.0.1:1/yum/candidate-7/$basearch/" in repository
    assert {"gpgcheck=1", "repo_gpgcheck=1", f"gpgkey=file://{installing.KEY}"} < set(repository)
    first, last = hands.ran
    assert first[:3] == ["dnf", "install", "--assumeyes"]
    assert first[-2:] == ["b-1.0-2.x86_64", "hello-1.0.0-1.noarch"]
    assert last[:2] == ["sh", "-c"]


def test_an_image_without_a_package_manager_is_refused(key: Path) -> None:
    with (
        pytest.raises(InvalidRequest, match="neither apt-get nor dnf"),
        installing.connected(Told(status=12), state(key)),
    ):
        pass


APT_SAYS = """\
The following packages have unmet dependencies:
 hello : Depends: nothing-such (>= 1) but it is not installable
E: Unable to correct problems, you have held broken packages.
"""
DNF_SAYS = """\
Error:
 Problem: conflicting requests
  - nothing provides nothing-such >= 1 needed by hello-1.0.0-1.noarch from ovenbird
"""


@pytest.mark.parametrize(
    ("status", "says", "words"),
    [
        (10, APT_SAYS, "`hello` needs `nothing-such (>= 1)`, which no repository"),
        (11, DNF_SAYS, "`hello-1.0.0-1.noarch` needs `nothing-such >= 1`, which no repository"),
        (10, "E: something else", "`apt-get install hello=1.0.0` exited with status 1"),
    ],
)
def test_a_missing_dependency_is_named(key: Path, status: int, says: str, words: str) -> None:
    with (
        installing.connected(Told(status=status, says=says), state(key)) as installer,
        pytest.raises(CommandFailed) as caught,
    ):
        installer.install((pin(),))

    assert words in str(caught.value)
    assert caught.value.facts["stderr"] == says


def test_a_key_is_told_as_text_that_gpg_reads_back(key: Path, tmp_path: Path) -> None:
    text = dnf.armored(key.read_bytes())
    shown = subprocess.run(  # noqa: S603 - our own words
        ["gpg", "--homedir", str(tmp_path), "--show-keys", "--with-colons"],  # noqa: S607
        input=text,
        capture_output=True,
        check=True,
    ).stdout.decode()

    assert dnf.armored(text) == text
    fingerprint = next(line.split(":")[9] for line in shown.splitlines() if line[:4] == "fpr:")
    assert dnf.fingerprints(key.read_bytes()) == (fingerprint.lower(),)
    assert f"gpg-pubkey-({fingerprint.lower()[-8:]}-" in dnf.forget(key.read_bytes())[-1]


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\x01x"])
def test_what_is_no_key_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="key file"):
        dnf.fingerprints(data)
