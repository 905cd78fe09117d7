"""What happens inside of a bake's room, with real package managers and real packages."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ovenbird.config.settings import cache_home
from ovenbird.domain.blocks import checksum, disk_digest
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.images import PackagePin
from ovenbird.domain.packages import Package, PackageFormat, RelationKind
from ovenbird.domain.recipes import RecipeStep, Shell
from ovenbird.domain.relations import parse
from ovenbird.packaging.keys.package_signatures import sign_package
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.sandbox import base_images
from ovenbird.system.directory_storage import DirectoryStorage
from ovenbird.system.disks import overlays
from ovenbird.system.disks.root_file_systems import uuid_of
from ovenbird.system.rooms import hands, installing
from ovenbird.system.rooms.workshop import Room, Workshop
from tests.unit.packaging.repositories import package_of
from tests.unit.packaging.writing import content, service, spec, written

pytestmark = pytest.mark.boot
AT = datetime(2026, 1, 1, tzinfo=UTC)
FAKE_TIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
DEB, RPM = PackageFormat.DEB, PackageFormat.RPM
INSTALL = "apt-get install -y --no-install-recommends"
NEEDS = {RelationKind.DEPENDS: (parse("nothing-such (>= 1)"),)}
PROGRAM = "#!/bin/sh\nexec sleep 1000\n"


@dataclass
class Place:
    """A repository of small packages, and a workshop."""

    home: Path
    disk: Path
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = SigningKey(self.home / "keys")
        self.key.ensure()
        self.storage = DirectoryStorage(self.home / "repository")
        self.packages = [
            self._package("hello", DEB),
            self._package("hello", RPM),
            self._package("needy", DEB, relations=NEEDS),
            self._package("plain", RPM, services=()),
            self._package("broken", DEB, command="/opt/broken/bin/gone"),
        ]
        self.state = self._published(self.packages)

    def _package(self, name: str, format_: PackageFormat, **more: object) -> Package:
        top = self.home / name / format_.value
        top.mkdir(parents=True)
        (top / "program").write_text(PROGRAM)
        command = str(more.pop("command", f"/opt/{name}/bin/program"))
        words = {"services": (service(command=command, user=name),), **more}
        files = (content("program", f"/opt/{name}/bin/program", mode=0o755),)
        asked = spec(name=name, contents=files, **words)
        path = written(asked, format_, top, top / "out")
        sign_package(path, format_, self.key, epoch_s=1_767_323_045)
        return package_of(path, name, "1.2.0", kind=format_.value, architecture="all")

    def _published(self, packages: Sequence[Package]) -> RepositoryState:
        repository = PackageRepository(self.storage, name="main", signer=self.key)
        return repository.publish(packages, channel="candidate", at=AT)

    @contextmanager
    def room(self, key: str, *, state: RepositoryState | None = None) -> Iterator[Room]:
        workshop = Workshop(self.home / "bakes", cache=cache_home() / "apt")
        with workshop.open(
            self.disk, key=key * 16, repository=state or self.state, progress=self.said.append
        ) as room:
            yield room

    def left(self) -> list[str]:
        mounts = Path("/proc/self/mounts").read_text()
        return [line for line in mounts.splitlines() if str(self.home) in line]


def pin(name: str = "hello") -> PackagePin:
    return PackagePin(name=name, version="1.2.0", architecture="all", digest_sha256="")


def shell(room: Room, *lines: str, **variables: str) -> None:
    room.perform(RecipeStep(work=Shell(lines=lines), variables=variables), directory=None)


def digest(room: Room) -> str:
    blocks = room.changed_blocks()
    return disk_digest({index: checksum(block) for index, block in blocks.items()})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    disk = base_images.ensure_base_disk(cache_home(), print)
    return Place(home=tmp_path_factory.mktemp("rooms"), disk=disk)


def changed(room: Room) -> dict[str, str]:
    """Return path → what was done to it, for all that is no directory."""
    base = room._base
    found = {}
    for change in overlays.changes(base.upper, base.lower):
        path = base.upper / change.path
        if isinstance(change, overlays.Removed):
            found[change.path] = "removed"
        elif not path.is_dir() or path.is_symlink():
            found[change.path] = "written"
    return found


OF_HELLO = {
    "opt/hello/bin/program", "usr/lib/systemd/system/hello.service",
    "etc/systemd/system/multi-user.target.wants/hello.service",
    "etc/group", "etc/gshadow", "etc/passwd", "etc/shadow",  # its account
    "var/lib/dpkg/status",
    *(f"var/lib/dpkg/info/hello.{name}" for name in (
        "list", "md5sums", "preinst", "postinst", "prerm", "postrm",
    )),
    "var/lib/systemd/deb-systemd-helper-enabled/hello.service.dsh-also",
    "var/lib/systemd/deb-systemd-helper-enabled/multi-user.target.wants/hello.service",
}  # fmt: skip
EMPTY_LOGS = {"var/log/apt/history.log", "var/log/apt/term.log", "var/log/dpkg.log"}


def test_nothing_of_the_bake_stays_in_the_image(place: Place) -> None:
    with place.room("a") as room:
        shell(
            room,
            "echo secret >/tmp/x; echo secret >/var/tmp/x; echo secret >/run/x",
            "mkdir -p /root/.ssh /home/admin/.ssh; echo key >/root/.ssh/authorized_keys",
            "echo ls >/root/.bash_history; echo 0123456789abcdef0123456789abcdef >/etc/machine-id",
            "hostname >/opt/name; test -s /etc/resolv.conf",
            "! { cat /proc/sys/vm/swappiness >/proc/sys/vm/swappiness; } 2>/dev/null",
        )
        room.install((pin(),))
        room.clean()
        room.check()
        found = changed(room)
        name = (room._base.root / "opt/name").read_text()
        sizes = {log: (room._base.upper / log).stat().st_size for log in EMPTY_LOGS}
        notes = room.notes()

    assert found == dict.fromkeys(OF_HELLO | EMPTY_LOGS | {"opt/name"}, "written") | {
        "etc/.pwd.lock": "removed"
    }
    assert sizes == dict.fromkeys(EMPTY_LOGS, 0)
    assert name == "localhost\n"
    assert notes == ()
    assert place.left() == []


def test_a_missing_dependency_and_a_service_that_would_not_start_are_named(place: Place) -> None:
    with place.room("b") as room:
        with pytest.raises(CommandFailed) as needy:
            room.install((pin("needy"),))
        room.install((pin("broken"),))
        with pytest.raises(CommandFailed) as broken:
            room.check()

    assert str(needy.value) == (
        "The bake failed: `needy` needs `nothing-such (>= 1)`, which no repository of the image has"
    )
    assert str(broken.value) == (
        "`broken.service` would not start at boot: its program `/opt/broken/bin/gone` is not there"
    )
    assert place.left() == []


def test_dnf_installs_from_the_same_repository_with_signatures_checked(place: Place) -> None:
    stranger = SigningKey(place.home / "stranger")
    foreign = replace(place.state, key_path=str(stranger.ensure()))
    (rpm,) = Path(place.storage.url.removeprefix("file:")).rglob("plain-*.rpm")
    was = rpm.read_bytes()
    with place.room("c") as room:
        shell(room, f"{INSTALL} dnf rpm", "mv /usr/bin/apt-get /usr/bin/apt-get.away")
        rpm.write_bytes(was[:-1] + bytes([was[-1] ^ 1]))
        try:
            tampered = refused(room, place.state, "plain")
        finally:
            rpm.write_bytes(was)
        wrong_key = refused(room, foreign, "plain")
        needy = refused(room, place.state, "hello")  # its account is made by what rpm has not
        with installing.connected(room._installer.hands, place.state) as installer:
            installer.install((pin("plain"),))
        shell(room, "rpm -q plain >/opt/said; rpm -q gpg-pubkey >>/opt/said || :")
        room.clean()
        said = (room._base.root / "opt/said").read_text()
        left = {path for path in changed(room) if path.startswith(("var/cache/dnf", "etc/yum"))}

    assert said == "plain-1.2.0-1.noarch\npackage gpg-pubkey is not installed\n"
    assert left == set()
    assert "checksum" in str(tampered.facts["stderr"]).lower()
    assert "repomd.xml GPG signature verification error" in str(wrong_key.facts["stderr"])
    assert "`hello-1.2.0-1.noarch` needs `/usr/sbin/useradd`, which no" in str(needy)
    assert place.left() == []


def refused(room: Room, state: RepositoryState, name: str) -> CommandFailed:
    """Let dnf install a package, and return what it says when it does not."""
    with (
        installing.connected(room._installer.hands, state) as installer,
        pytest.raises(CommandFailed) as caught,
    ):
        installer.install((pin(name),))
    return caught.value


def baked(place: Place, key: str) -> str:
    with place.room(key) as room:
        room.install((pin(),))
        room.clean()
        return digest(room)


def test_four_bakes_at_once_give_the_same_image_and_leave_nothing(place: Place) -> None:
    with ThreadPoolExecutor(4) as pool:  # two of them have one key and wait for each other
        found = set(pool.map(lambda key: baked(place, key), ("d", "e", "f", "f")))

    assert len(found) == 1
    assert place.left() == []


OTHER_KERNEL = r"""apt-cache search --names-only '^linux-image-6[.0-9-]*-cloud-amd64$' |
cut -d' ' -f1 | sort -V | head -n 1"""
REAL = (
    f"{INSTALL} nginx",
    f"{INSTALL} python3-venv python3-flask && python3 -m venv /opt/own",
    "/opt/own/bin/python -c 'import email.message, http.server, pip'",
    f"mkdir -p /usr/share/man/man1 && {INSTALL} default-jre-headless ca-certificates-java",
    f"{INSTALL} $({OTHER_KERNEL}) && test $(ls /boot/initrd.img-* | wc -l) = 2",
    f"{INSTALL} grub2-common grub-pc-bin && mkdir -p /boot/grub && update-grub",
    "useradd --create-home somebody && date +'today: %F'",
)


def test_bakes_of_real_packages_are_bit_identical_on_another_day_and_elsewhere(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with place.room("h") as room:
        shell(room, *REAL)
        room.install((pin(),))
        room.clean()
        room.check()
        first, notes = digest(room), room.notes()
        menu = (room._base.root / "boot/grub/grub.cfg").read_text()
        uuid = uuid_of(room._base.file_system)

    elsewhere = replace_home(place, tmp_path / "another directory")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    before = os.umask(0o077)
    try:
        with elsewhere.room("i") as room, room._installer.hands.lend(FAKE_TIME) as lent:
            on = {"LD_PRELOAD": lent, "FAKETIME": "+3d", "NO_FAKE_STAT": "1"}
            usual = hands.common_environment
            monkeypatch.setattr(hands, "common_environment", lambda: usual() | on)
            shell(room, *REAL)
            room.install((pin(),))
            room.clean()
            second = digest(room)
    finally:
        os.umask(before)

    assert second == first
    assert menu.count(f"root=UUID={uuid} ") >= 2  # one for each kernel
    assert "root=/dev" not in menu
    assert len({line for line in place.said if line.startswith("today: ")}) == 2
    assert notes == ()
    assert place.left() == elsewhere.left() == []


def replace_home(place: Place, home: Path) -> Place:
    """Return the same repository with a workshop elsewhere."""
    other = copy.copy(place)
    other.home = home
    return other
