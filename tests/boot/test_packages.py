"""Packages on machines, by their own managers: a deb in a booted one, an rpm in an install root."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovenbird.config.settings import cache_home
from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.packages import PackageFormat, PackageSpec, ScriptMoment
from ovenbird.sandbox import base_images
from ovenbird.system.commands import run
from ovenbird.system.rooms import base_roots
from tests.boot.conftest import Cloud, until
from tests.unit.packaging.writing import content, queried, service, spec, written

pytestmark = pytest.mark.boot
DEB, RPM = PackageFormat.DEB, PackageFormat.RPM
# Debian's rpm keeps its database in the caller's home otherwise.
RPM_IN = ("rpm", "--dbpath", "/var/lib/rpm", "--root")
PROGRAM = """#!/bin/sh
echo "$1 VERSION $(id -un)" >>/var/lib/hello/started
touch /etc/hello/written 2>>/var/lib/hello/refused
[ "$1" = once ] || exec sleep 1000
"""
OWN = '#!/bin/sh\necho "MOMENT $1" >>/var/own\n'
SERVICES = (
    service(command="/opt/hello/bin/hello web"),
    service(name="kept", command="/opt/hello/bin/hello kept", restarted=False),
    service(name="setup", command="/opt/hello/bin/hello once", oneshot=True),
    service(name="nightly", command="/opt/hello/bin/hello once", oneshot=True, schedule="daily"),
    service(name="off", command="/opt/hello/bin/hello off", enabled=False),
)
SPEC = spec(
    contents=(
        content("hello", "/opt/hello/bin/hello", mode=0o755),
        content("hello.toml", "/etc/hello/hello.toml", "config", owner="hello", mode=0o640),
    ),
    services=SERVICES,
    scripts={moment: f"{moment.value}.sh" for moment in ScriptMoment},
)


def package(work: Path, format_: PackageFormat, version: str, asked: PackageSpec = SPEC) -> Path:
    """Write one version of the app, whose files say the version."""
    top = work / f"checkout-{version}"
    top.mkdir()
    (top / "hello").write_text(PROGRAM.replace("VERSION", version))
    (top / "hello.toml").write_text(f"version = '{version}'\n")
    for moment in ScriptMoment:
        (top / f"{moment.value}.sh").write_text(OWN.replace("MOMENT", moment.value))
    (top / "fails.sh").write_text("#!/bin/sh\nexit 3\n")
    return written(asked, format_, top, work / version, version)


FAILS = dataclasses.replace(SPEC, scripts={ScriptMoment.PREINSTALL: "fails.sh"})
FAILS_LATE = dataclasses.replace(SPEC, scripts={ScriptMoment.POSTINSTALL: "fails.sh"})


class Machine:
    """A booted machine that debs are brought to."""

    def __init__(self, cloud: Cloud, instance_id: str) -> None:
        self._cloud, self._id = cloud, instance_id

    def __call__(self, *words: str, ok: bool = True) -> str:
        return self._cloud.inside(self._id, *words, ok=ok).strip()

    def bring(self, file: Path) -> str:
        """Put a file into the machine; return its path there."""
        root = Path(f"/proc/{self._cloud.room.pid(self._id)}/root")
        (root / "root" / file.name).write_bytes(file.read_bytes())
        return f"/root/{file.name}"

    def dpkg(self, *words: str | Path, ok: bool = True) -> str:
        """Run dpkg; files are put into the machine first."""
        there = [self.bring(word) if isinstance(word, Path) else word for word in words]
        return self("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", *there, ok=ok)

    def unpack(self, package: Path) -> None:
        """Put an rpm's files into the machine."""
        run(["rpm2archive", package], timeout_s=30, env={"HOME": str(package.parent)})
        archive = self.bring(package.with_name(f"{package.name}.tgz"))
        self("tar", "--extract", "--file", archive, "--directory", "/")

    def scriptlet(self, package: Path, moment: str, count: int) -> None:
        """Run one of an rpm's scripts in the machine, as rpm does."""
        said = queried(package, "--queryformat", f"%{{{moment}}}")
        self("sh", "-c", said, "sh", str(count))

    def states(self, verb: str, *units: str) -> list[str]:
        return self("systemctl", verb, *units, ok=False).split()

    def pid(self, unit: str) -> str:
        return self("systemctl", "show", "--property=MainPID", "--value", unit)

    def has(self, path: str) -> bool:
        return self("sh", "-c", f"[ -e {path} ] && echo yes || true") == "yes"


@pytest.fixture(scope="module")
def machine(cloud: Cloud) -> Iterator[Machine]:
    account = cloud.development
    instance_id = cloud.launch(account)["InstanceId"]
    try:
        cloud.await_state(account, instance_id, "running")
        until(lambda: cloud.room.is_ready(instance_id))
        yield Machine(cloud, instance_id)
    finally:
        account.ec2.terminate_instances(InstanceIds=[instance_id])
        cloud.await_state(account, instance_id, "terminated")


DAEMONS = ("hello.service", "hello-kept.service")
UNITS = (*DAEMONS, "hello-setup.service", "hello-nightly.timer", "hello-off.service")


def test_an_upgrade_of_a_deb_lets_go_of_services(machine: Machine, tmp_path: Path) -> None:
    fewer = dataclasses.replace(SPEC, services=(SERVICES[0], SERVICES[2]))
    gone = ("hello-kept.service", "hello-nightly.timer")

    machine.dpkg("--install", package(tmp_path, DEB, "1.0"))
    assert machine.states("is-active", *gone) == ["active", "active"]
    machine.dpkg("--install", package(tmp_path, DEB, "1.1", fewer))
    assert machine.states("is-active", "hello.service", *gone) == ["active", "inactive", "inactive"]
    left = ("find", "/etc/systemd", "/var/lib/systemd", "-name", "hello-kept*")
    assert machine(*left, "-o", "-name", "hello-nightly*") == ""

    machine.dpkg("--purge", "hello")
    machine("rm", "/var/own")


def test_a_deb_is_installed_upgraded_removed_and_purged(machine: Machine, tmp_path: Path) -> None:
    old, new = (package(tmp_path, DEB, version) for version in ("1.0", "1.1"))

    machine.dpkg("--install", old)
    assert machine.states("is-active", *UNITS) == [*["active"] * 4, "inactive"]
    assert machine.states("is-enabled", *UNITS) == [*["enabled"] * 4, "disabled"]
    assert machine("stat", "-c", "%U:%G %a", "/etc/hello/hello.toml") == "hello:root 640"
    assert machine("getent", "passwd", "hello").endswith(":/nonexistent:/usr/sbin/nologin")
    until(lambda: len(machine("cat", "/var/lib/hello/started").splitlines()) == 3)
    assert sorted(machine("cat", "/var/lib/hello/started").splitlines()) == [
        "kept 1.0 hello", "once 1.0 hello", "web 1.0 hello",
    ]  # fmt: skip
    assert "Read-only file system" in machine("cat", "/var/lib/hello/refused")

    machine("sh", "-c", "echo mine >/etc/hello/hello.toml")
    before = [machine.pid(unit) for unit in DAEMONS]
    machine.dpkg("--force-confold", "--install", new)
    after = [machine.pid(unit) for unit in DAEMONS]
    assert [one != other for one, other in zip(before, after, strict=True)] == [True, False]
    assert machine.states("is-active", *UNITS) == [*["active"] * 4, "inactive"]
    assert machine("cat", "/etc/hello/hello.toml") == "mine"
    until(lambda: "web 1.1 hello" in machine("cat", "/var/lib/hello/started"))
    assert "once 1.1 hello" in machine("cat", "/var/lib/hello/started")
    assert "kept 1.1" not in machine("cat", "/var/lib/hello/started")

    machine.dpkg("--remove", "hello")
    assert machine.states("is-active", *UNITS) == ["inactive"] * 5
    assert machine.states("is-enabled", *UNITS) == ["masked"] * 5
    assert (machine.has("/etc/hello/hello.toml"), machine.has("/var/lib/hello/started")) == (
        True, True,
    )  # fmt: skip

    machine.dpkg("--purge", "hello")
    assert [machine.has(path) for path in ("/etc/hello", "/var/lib/hello", "/var/log/hello")] == [
        False, False, False,
    ]  # fmt: skip
    assert machine("find", "/etc/systemd", "/var/lib/systemd", "-name", "hello*") == ""
    assert machine("getent", "passwd", "hello") != ""  # files may belong to it

    assert machine("cat", "/var/own").splitlines() == [
        "preinstall install", "postinstall configure",
        "preremove upgrade", "preinstall upgrade", "postremove upgrade", "postinstall configure",
        "preremove remove", "postremove remove", "postremove purge",
    ]  # fmt: skip
    _a_failure_of_the_apps_own_script_is_one_of_the_installation(machine, tmp_path)


def _a_failure_of_the_apps_own_script_is_one_of_the_installation(
    machine: Machine, tmp_path: Path
) -> None:
    machine.dpkg("--install", package(tmp_path, DEB, "1.2", FAILS), ok=False)
    assert machine("dpkg-query", "-W", "-f", "${db:Status-Status}", "hello", ok=False) in {
        "", "not-installed",
    }  # fmt: skip
    machine.dpkg("--install", package(tmp_path, DEB, "1.3", FAILS_LATE), ok=False)
    status = machine("dpkg-query", "-W", "-f", "${db:Status-Status}", "hello")
    assert (status, machine.pid("hello.service")) == ("half-configured", "0")


def test_an_rpm_does_the_same_where_systemd_runs(machine: Machine, tmp_path: Path) -> None:
    """The machine has no rpm: files are unpacked there, and scripts run in rpm's order."""

    def other(text: str) -> str:  # than the deb's; the machine is the module's
        return text.replace("hello", "other")

    services = tuple(
        dataclasses.replace(one, command=other(one.command), user="other") for one in SERVICES
    )
    contents = tuple(
        dataclasses.replace(one, destination=other(one.destination), owner=other(one.owner))
        for one in SPEC.contents
    )
    asked = spec(name="other", services=services, contents=contents)
    old, new = (package(tmp_path, RPM, version, asked) for version in ("2.0", "2.1"))
    units = [other(unit) for unit in UNITS]

    machine.scriptlet(old, "PREIN", 1)
    machine.unpack(old)
    machine.scriptlet(old, "POSTIN", 1)
    assert machine.states("is-active", *units) == [*["active"] * 4, "inactive"]
    assert machine.states("is-enabled", *units) == [*["enabled"] * 4, "disabled"]

    before = [machine.pid(unit) for unit in units[:2]]
    machine.scriptlet(new, "PREIN", 2)
    machine.unpack(new)
    machine.scriptlet(new, "POSTIN", 2)
    machine.scriptlet(old, "PREUN", 1)
    machine.scriptlet(old, "POSTUN", 1)
    after = [machine.pid(unit) for unit in units[:2]]
    assert [one != other for one, other in zip(before, after, strict=True)] == [True, False]
    assert machine.states("is-active", *units) == [*["active"] * 4, "inactive"]

    machine.scriptlet(new, "PREUN", 0)
    assert machine.states("is-active", *units) == ["inactive"] * 5
    assert machine.states("is-enabled", *units) == ["disabled"] * 5


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """An install root: a base image's files that can be changed, with no package of rpm's."""
    disk = base_images.ensure_base_disk(cache_home(), print)
    with base_roots.opened(disk, tmp_path / "place") as opened:
        yield opened.root


def rpm(root: Path, *words: str | Path) -> str:
    # The root's packages are Debian's: rpm knows none that it could depend on.
    return run([*RPM_IN, root, "--nodeps", *words], timeout_s=60)


def wanted(root: Path) -> list[str]:
    """Return the names of units that are enabled."""
    return sorted(path.name for path in (root / "etc/systemd/system").glob("*.wants/hello*"))


def test_an_rpm_is_installed_upgraded_and_erased(root: Path, tmp_path: Path) -> None:
    first = dataclasses.replace(SPEC, services=SERVICES[1:])
    old, new = package(tmp_path, RPM, "1.0", first), package(tmp_path, RPM, "1.1")

    rpm(root, "--install", old)
    assert wanted(root) == ["hello-kept.service", "hello-nightly.timer", "hello-setup.service"]
    account = run(["chroot", root, "getent", "passwd", "hello"], timeout_s=10).split(":")
    assert account[5:] == ["/nonexistent", "/sbin/nologin\n"]
    config = root / "etc/hello/hello.toml"
    assert (str(config.stat().st_uid), config.stat().st_mode & 0o7777) == (account[2], 0o640)

    config.write_text("mine\n")
    (root / "etc/systemd/system/multi-user.target.wants/hello-setup.service").unlink()
    rpm(root, "--upgrade", new)
    # What is new is enabled; what the operator has disabled stays so.
    assert wanted(root) == ["hello-kept.service", "hello-nightly.timer", "hello.service"]
    assert config.read_text() == "mine\n"
    assert config.with_suffix(".toml.rpmnew").read_text() == "version = '1.1'\n"
    assert not (root / "var/lib/rpm-state/hello").exists()

    without = dataclasses.replace(SPEC, services=(*SERVICES[:1], *SERVICES[2:]), scripts={})
    rpm(root, "--upgrade", package(tmp_path, RPM, "1.2", without))
    assert wanted(root) == ["hello-nightly.timer", "hello.service"]

    rpm(root, "--erase", "hello")
    assert wanted(root) == []
    assert config.with_suffix(".toml.rpmsave").read_text() == "mine\n"
    assert not (root / "opt/hello").exists()
    assert (root / "var/own").read_text().splitlines() == [
        "preinstall 1", "postinstall 1",
        "preinstall 2", "postinstall 2", "preremove 1", "postremove 1",
        "preremove 1", "postremove 1",
    ]  # fmt: skip


def test_a_failure_of_the_apps_own_script_is_one_of_rpms(root: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        rpm(root, "--install", package(tmp_path, RPM, "1.0", FAILS))
    assert "%prein(hello-1.0-1.noarch) scriptlet failed" in str(caught.value.facts["stderr"])
    assert not (root / "opt/hello").exists()

    # rpm goes on after a failing %post; then nothing of the package is enabled.
    late = package(tmp_path, RPM, "1.1", FAILS_LATE)
    script = '"$@" --nodeps --install 2>&1'
    said = run(["sh", "-c", script, "sh", *RPM_IN, root, late], timeout_s=60)
    assert "%post(hello-1.1-1.noarch) scriptlet failed, exit status 3" in said
    assert ((root / "opt/hello").exists(), wanted(root)) == (True, [])
