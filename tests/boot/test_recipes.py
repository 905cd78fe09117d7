"""Real recipe steps in a real room: what they do to the image, and what they leave there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ovenbird.config.settings import cache_home
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.recipes import (
    Ansible,
    BroughtFile,
    FromDistribution,
    Puppet,
    RecipeStep,
    Shell,
    Work,
)
from ovenbird.packaging.keys.signing import SigningKey
from ovenbird.packaging.repositories.repository import PackageRepository
from ovenbird.sandbox import base_images
from ovenbird.system.directory_storage import DirectoryStorage
from ovenbird.system.rooms.workshop import Room, Workshop
from tests.boot.conftest import until
from tests.unit.packaging.repositories import built

pytestmark = pytest.mark.boot
AT = datetime(2026, 1, 1, tzinfo=UTC)
NOT_KEPT = ("dev", "proc", "run", "sys", "tmp", "var/cache/apt", "var/lib/apt/lists")


class Opened:
    """A room with an app's directory beside it, and what was said in it."""

    def __init__(self, room: Room, root: Path, app: Path, said: list[str]) -> None:
        self.room, self.root, self.app, self.said = room, root, app, said

    def do(self, work: Work, **more: object) -> list[str]:
        """Do a step; return what it said."""
        before = len(self.said)
        self.room.perform(RecipeStep(work=work, **more), directory=self.app)  # type: ignore[arg-type]
        return self.said[before:]

    def write(self, name: str, text: str) -> None:
        path = self.app / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def of_package(self, name: str) -> set[str]:
        """Return the paths that a package brings, and what dpkg and apt write when it comes."""
        database = self.root / "var/lib/dpkg"
        return {
            "var/lib/apt/extended_states", "var/log/apt/history.log", "var/log/apt/term.log",
            "var/log/apt/eipp.log.xz", "var/log/dpkg.log", "var/log/alternatives.log",
            *(str(path.relative_to(self.root)) for path in database.glob("status*")),
            *(str(path.relative_to(self.root)) for path in database.glob(f"info/{name}.*")),
            *(line[1:] for line in (database / f"info/{name}.list").read_text().splitlines()),
        }  # fmt: skip

    def files(self) -> dict[str, str]:
        """Return path → kind, mode, owner and bytes of all that an image would keep."""
        return {
            str(path.relative_to(self.root)): _fingerprint(path)
            for top in sorted(self.root.iterdir())
            for path in _below(top, self.root)
        }


def _below(top: Path, root: Path) -> Iterator[Path]:
    if str(top.relative_to(root)) in NOT_KEPT:
        return
    yield top
    if top.is_dir() and not top.is_symlink():
        for path in sorted(top.iterdir()):
            yield from _below(path, root)


def changed(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """Return path → what it is now, of all that is new, other or gone."""
    return {
        path: after.get(path, "gone")
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    }


def _fingerprint(path: Path) -> str:
    found = path.lstat()
    held = ""
    if path.is_symlink():
        held = str(path.readlink())
    elif path.is_file():
        held = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{found.st_mode:o} {found.st_uid}:{found.st_gid} {held}"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Rooms of the base image, one after the other."""

    home: Path
    repository: RepositoryState

    @contextmanager
    def room(self, name: str) -> Iterator[Opened]:
        """Open one; its name is one hex digit."""
        said: list[str] = []
        disk = base_images.ensure_base_disk(cache_home(), print)
        workshop = Workshop(self.home / "bakes", cache=cache_home() / "apt")
        app = self.home / f"app-{name}"
        app.mkdir()
        with workshop.open(
            disk, key=name * 64, repository=self.repository, progress=said.append
        ) as room:
            yield Opened(room, self.home / "bakes" / (name * 16) / "root", app, said)
        assert f"{self.home}/bakes/{name * 16}/" not in Path("/proc/self/mounts").read_text()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    home = tmp_path_factory.mktemp("recipes")
    storage, key = DirectoryStorage(home / "repository"), SigningKey(home / "keys")
    repository = PackageRepository(storage, name="main", signer=key)
    state = repository.publish([built(home / "hello", "hello")], channel="candidate", at=AT)
    return Bench(home=home, repository=state)


@pytest.fixture(scope="module")
def opened(bench: Bench) -> Iterator[Opened]:
    """One room for all of them; each step stands on what those before it left."""
    with bench.room("f") as opened:
        yield opened


def test_files_packages_and_shell_change_the_image_and_nothing_else(opened: Opened) -> None:
    before = opened.files()
    opened.write("plain/t", "${WHO}")

    opened.do(
        BroughtFile(source="plain/t", target="/var/run/../opt/t", is_template=True),
        variables={"WHO": "me"},
    )
    opened.do(Shell(lines=("useradd --system hello", "echo $A > /opt/shell")), variables={"A": "1"})
    opened.do(BroughtFile(source="plain/", target="/opt/tree", owner="hello", mode="0640"))
    opened.do(FromDistribution(names=("bc",)))

    after = opened.files()
    changed = {path for path in after if after[path] != before.get(path)}
    known = ("usr/", "var/lib/dpkg", "var/log", "var/cache", "etc/", "var/lib/apt")
    assert {path for path in changed if not path.startswith(known)} == {
        "opt/shell", "opt/t", "opt/tree", "opt/tree/t",
    }  # fmt: skip
    assert "usr/bin/bc" in changed
    assert (opened.root / "opt/t").read_text() == "me"


def test_nothing_that_a_step_starts_outlives_it(opened: Opened) -> None:
    opened.do(Shell(lines=("(setsid sleep 7391 &) ; sleep 0.1",)))

    with pytest.raises(CommandFailed, match=r"`sleep 7392.*` ran past 0\.5 s"):
        opened.do(Shell(lines=("sleep 7392 & setsid sleep 7393",)), timeout_s=0.5)

    until(lambda: not [line for line in processes() if " 739" in line], within_s=10)


def processes() -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(place.read_text().replace("\0", " "))
        except OSError:  # it has ended
            continue
    return found


def test_a_full_image_is_said_to_be_full(opened: Opened) -> None:
    """The base image's root has less than 4 GiB; the host has more memory than that."""
    with pytest.raises(CommandFailed, match=r"^The image's root file system is full: ") as caught:
        opened.do(Shell(lines=("fallocate --length 5G /srv/big",)))

    log = Path(str(caught.value.facts["log"]))
    assert "No space left on device" in log.read_text()
    assert str(log) in caught.value.hint
    opened.do(Shell(lines=("rm -f /srv/big",)))


SITE = """\
- hosts: all
  vars: {the_port: 8080}
  tasks:
    - name: a package
      ansible.builtin.apt: {name: dc, state: present, install_recommends: false}
    - name: a template
      ansible.builtin.template: {src: site.conf.j2, dest: /etc/site.conf, mode: "0640"}
      notify: reload
    - name: a copy
      ansible.builtin.copy: {src: files/motd, dest: /etc/motd2, owner: daemon}
    - import_role: {name: web}
    - name: an account
      ansible.builtin.user: {name: deploy, system: true, create_home: false}
  handlers:
    - name: reload
      ansible.builtin.shell: echo reloaded >> /opt/reloaded
"""


def playbook(opened: Opened) -> None:
    opened.write("ops/site.yml", SITE)
    opened.write("ops/templates/site.conf.j2", "port={{ the_port }} who={{ WHO }}\n")
    opened.write("ops/files/motd", "hello\n")
    opened.write("ops/roles/web/tasks/main.yml", "- copy: {content: role, dest: /opt/role}\n")


ACCOUNTS = {
    f"etc/{name}{end}"
    for name in ("group", "gshadow", "passwd", "shadow", "subgid", "subuid")
    for end in ("", "-")
}


def test_a_playbook_runs_and_leaves_nothing_of_ansible(opened: Opened) -> None:
    playbook(opened)
    before = opened.files()

    said = opened.do(Ansible(playbook="ops/site.yml"), variables={"WHO": "me"})
    after = opened.files()
    again = opened.do(Ansible(playbook="ops/site.yml"), variables={"WHO": "me"})

    assert changed(before, after).keys() - ACCOUNTS - opened.of_package("dc") == {
        "etc/motd2", "etc/site.conf", "opt/reloaded", "opt/role",
    }  # fmt: skip
    assert (opened.root / "etc/site.conf").read_text() == "port=8080 who=me\n"
    assert "changed=6 " in said[-2]
    assert "changed=0 " in again[-2]
    assert changed(after, opened.files()) == {}


def test_a_task_that_fails_is_named(opened: Opened) -> None:
    opened.write(
        "bad/site.yml",
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        "    - {name: well, command: 'true'}\n    - {name: not well, command: 'ls /no/where'}\n",
    )

    with pytest.raises(CommandFailed, match=r"`ansible-playbook bad/site.yml` .*, in task `not w"):
        opened.do(Ansible(playbook="bad/site.yml"))


def test_a_playbook_for_other_hosts_is_no_success(opened: Opened) -> None:
    opened.write("other/site.yml", "- hosts: web\n  tasks: []\n")

    with pytest.raises(CommandFailed, match="did nothing: no task of it ran"):
        opened.do(Ansible(playbook="other/site.yml"))


MANIFEST = """\
package { 'time': ensure => installed }
file { '/etc/site.pp.conf':
  content => "who=${facts['who']} on ${facts['os']['name']}\\n",
  mode    => '0640',
}
user { 'operator': ensure => present, system => true, managehome => false }
include web
"""


def test_a_manifest_of_puppets_is_applied_and_leaves_nothing_of_puppet(opened: Opened) -> None:
    opened.write("ops/site.pp", MANIFEST)
    opened.write("ops/modules/web/manifests/init.pp", "class web { notice('hello') }")
    work = Puppet(manifest="ops/site.pp", modules="ops/modules")
    before = opened.files()

    opened.do(work, variables={"who": "me"})
    after = opened.files()
    again = opened.do(work, variables={"who": "me"})

    assert changed(before, after).keys() - ACCOUNTS - opened.of_package("time") == {
        "etc/site.pp.conf"
    }
    assert (opened.root / "etc/site.pp.conf").read_text() == "who=me on Debian\n"
    assert changed(after, opened.files()) == {}
    assert [line for line in again if "Stage[main]" in line] == []


def test_a_resource_that_fails_is_named(opened: Opened) -> None:
    opened.write("bad.pp", "file { '/no/where/x': content => 'x' }\n")

    with pytest.raises(CommandFailed, match=r"status 4, in `/Stage\[main\]/Main/File\[/no/where/x"):
        opened.do(Puppet(manifest="bad.pp"))
    opened.write("worse.pp", "file {\n")
    with pytest.raises(CommandFailed, match=r"`puppet apply worse.pp` exited with status 1"):
        opened.do(Puppet(manifest="worse.pp"))


SHORT = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.copy: {content: "{{ who }}", dest: /etc/who}
    - ansible.builtin.user: {name: deploy, system: true}
"""


def test_the_same_recipe_gives_the_same_blocks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name, zone in (("a", "UTC"), ("b", "Asia/Kathmandu")):
        monkeypatch.setenv("TZ", zone)
        with bench.room(name) as opened:
            opened.write("site.yml", SHORT)
            opened.write("site.pp", MANIFEST.replace("'time'", "'tar'").replace("include web", ""))
            opened.do(Ansible(playbook="site.yml"), variables={"who": "me"})
            opened.do(Puppet(manifest="site.pp"), variables={"who": "me"})
            opened.room.clean()
            found.append(opened.room.changed_blocks())

    assert 0 < len(found[0]) < 40
    assert [index for index in found[0] if found[0][index] != found[1].get(index)] == []
    assert found[0].keys() == found[1].keys()
