"""The maintainer scripts, run by a real shell with programs that only write down their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.packages import Init, PackageFormat, PackageSpec, ScriptMoment
from ovenbird.packaging.writing.contents import Entry
from ovenbird.packaging.writing.scripts import joined, scripts
from ovenbird.system.commands import run
from tests.unit.packaging.writing import content, service, spec

DEB, RPM, APK, ARCH = PackageFormat
SPEC = spec(
    services=(
        service(),
        service(name="worker", command="/opt/hello/worker", user="www-data"),
        service(name="setup", oneshot=True, restarted=False),
        service(name="nightly", oneshot=True, schedule="daily"),
        service(name="off", enabled=False),
    ),
    contents=(content("", "/var/log/it's", "ghost"), content("", "/srv", "dir", group="staff")),
)
UNITS = [
    "hello.service", "hello-worker.service", "hello-setup.service", "hello-nightly.timer",
    "hello-off.service", "hello-nightly.service",
]  # fmt: skip
STUB = '#!/bin/sh\necho "${0##*/} $*" >>"$LOG"\n%s\n'
# Accounts that are there: www-data. Units were enabled before: none of the worker's.
STUBS = {
    "getent": '[ "$2" = www-data ]',
    "dpkg-query": "",
    "useradd": "",
    "groupadd": "",
    "adduser": "",
    "addgroup": "",
    "deb-systemd-helper": 'case "$*" in *was-enabled*worker*|debian-installed*) exit 1;; esac',
    "deb-systemd-invoke": "exit 1",
    "systemctl": "exit 1",
    "invoke-rc.d": "exit 1",
    "update-rc.d": "",
    "chkconfig": "",
    "service": "exit 1",
    "initctl": "exit 1",
    "runlevel": "echo N 3",
}

Ran = Callable[..., list[str]]


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    """Run a script's text with some words; return what it called.

    The machine's directories are the test's own; systemd runs on it.
    """
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, body in STUBS.items():
        (programs / name).write_text(STUB % body)
        (programs / name).chmod(0o755)
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    log = tmp_path / "log"

    def script(text: str, *words: str) -> list[str]:
        log.write_text("")
        for top in ("/run/", "/var/", "/usr/lib/", "/etc/"):
            text = text.replace(f" {top}", f" {tmp_path}{top}").replace(
                f">{top}", f">{tmp_path}{top}"
            )
        text = text.replace('"/etc/', f'"{tmp_path}/etc/')
        run(["sh", "-c", text, "script", *words], timeout_s=10,
            env={"PATH": f"{programs}:/usr/bin:/bin", "LOG": str(log)})  # fmt: skip
        return log.read_text().splitlines()

    return script


def texts(
    asked: PackageSpec, format_: PackageFormat, top: Path = Path("/nonexistent")
) -> dict[str, str]:
    return scripts(asked, format_, top, ())


def test_accounts_are_made_before_anything_is_unpacked(ran: Ran) -> None:
    expected = [
        "getent group staff", "groupadd --system staff",
        "getent group hello", "groupadd --system hello", "getent group www-data",
        "getent passwd hello",
        ("useradd --system --gid hello --no-create-home --home-dir /nonexistent"
        " --shell /usr/sbin/nologin hello"),
        "getent passwd www-data",
    ]  # fmt: skip

    assert ran(texts(SPEC, DEB)["preinstall"], "install") == expected
    upgrade = ran(texts(SPEC, DEB)["preinstall"], "upgrade", "1.0")
    assert upgrade == [*expected, "dpkg-query --listfiles hello"]
    assert ran(texts(SPEC, DEB)["preinstall"], "abort-upgrade", "1.0") == []
    rpm = [line.replace("/usr/sbin/nologin", "/sbin/nologin") for line in expected]
    assert ran(texts(SPEC, RPM)["preinstall"], "1") == rpm
    busybox = ran(texts(SPEC, APK)["preinstall"], "1.0")
    assert [line for line in busybox if line.startswith("add")] == [
        "addgroup -S staff", "addgroup -S hello",
        "adduser -S -D -H -h /nonexistent -s /sbin/nologin -G hello hello",
    ]  # fmt: skip


def test_a_deb_enables_and_starts(ran: Ran) -> None:
    called = ran(texts(SPEC, DEB)["postinstall"], "configure", "")
    helper = [line.split(" ", 1)[1] for line in called if "-helper" in line]

    assert helper == [
        "unmask hello.service", "--quiet was-enabled hello.service", "enable hello.service",
        "unmask hello-worker.service", "--quiet was-enabled hello-worker.service",
        "update-state hello-worker.service",
        "unmask hello-setup.service", "--quiet was-enabled hello-setup.service",
        "enable hello-setup.service",
        "unmask hello-nightly.timer", "--quiet was-enabled hello-nightly.timer",
        "enable hello-nightly.timer",
        "unmask hello-off.service", "debian-installed hello-off.service",
        "update-state hello-off.service",
        "unmask hello-nightly.service",
    ]  # fmt: skip
    restarted = "hello.service hello-worker.service hello-nightly.timer hello-off.service"
    assert [line for line in called if "-helper" not in line] == [
        "systemctl --system daemon-reload",
        f"deb-systemd-invoke start {restarted}",
        "deb-systemd-invoke start hello-setup.service",
    ]
    upgraded = ran(texts(SPEC, DEB)["postinstall"], "configure", "1.0")
    assert f"deb-systemd-invoke restart {restarted}" in upgraded
    assert "deb-systemd-invoke start hello-setup.service" in upgraded


def test_a_deb_lets_go_of_services_that_it_has_no_more(ran: Ran, tmp_path: Path) -> None:
    names = (
        "hello.service", "hello-gone.service", "hello-nightly.timer", "x.d/a.conf",
        "debian.service",
    )  # fmt: skip
    listed = "\n".join(f"/lib/systemd/system/{name}" for name in names)
    lists = f"#!/bin/sh\ncat <<'END'\n/.\n/opt/hello\n{listed}\nEND\n"
    knows = STUB % '[ "$*" != "debian-installed x.d/a.conf" ]'
    own = Entry(
        path="/lib/systemd/system/debian.service", kind="", source="/x", mode=0o644,
        owner="root", group="root", place="package.contents[0]",
    )  # fmt: skip
    made = scripts(spec(services=(service(),)), DEB, tmp_path, (own,))["preinstall"]
    for name, body in (("dpkg-query", lists), ("deb-systemd-helper", knows)):
        (tmp_path / "programs" / name).write_text(body)

    called = [line for line in ran(made, "upgrade", "1.0") if "systemd" in line]

    assert called == [
        "deb-systemd-helper debian-installed hello-gone.service",
        "deb-systemd-invoke stop hello-gone.service",
        "deb-systemd-helper purge hello-gone.service",
        "deb-systemd-helper debian-installed hello-nightly.timer",
        "deb-systemd-invoke stop hello-nightly.timer",
        "deb-systemd-helper purge hello-nightly.timer",
        "deb-systemd-helper debian-installed x.d/a.conf",
    ]
    assert "deb-systemd" not in "".join(ran(made, "install"))


def test_a_deb_that_goes_stops_masks_and_forgets(ran: Ran) -> None:
    made = texts(SPEC, DEB)

    assert ran(made["preremove"], "upgrade", "1.1") == []
    assert ran(made["preremove"], "remove") == [f"deb-systemd-invoke stop {' '.join(UNITS)}"]
    reload = "systemctl --system daemon-reload"
    assert ran(made["postremove"], "remove") == [
        *(f"deb-systemd-helper mask {unit}" for unit in UNITS), reload,
    ]  # fmt: skip
    assert ran(made["postremove"], "purge") == [
        *(f"deb-systemd-helper {verb} {unit}" for unit in UNITS for verb in ("purge", "unmask")),
        reload,
    ]


def test_a_purge_removes_what_services_wrote(ran: Ran, tmp_path: Path) -> None:
    for name in ("lib/hello", "cache/hello", "log/hello", "lib/hello-worker", "lib/other"):
        (tmp_path / "var" / name).mkdir(parents=True)
    made = texts(spec(services=SPEC.services), DEB)["postremove"]

    ran(made, "remove")
    assert (tmp_path / "var/lib/hello").exists()
    ran(made, "purge")
    assert sorted(path.name for path in (tmp_path / "var").glob("*/*")) == ["other"]


def test_an_rpm_enables_and_starts_what_is_new(ran: Ran, tmp_path: Path) -> None:
    made = texts(SPEC, RPM)
    (tmp_path / "usr/lib/systemd/system").mkdir(parents=True)
    (tmp_path / "usr/lib/systemd/system/hello.service").touch()
    started = [unit for unit in UNITS if unit != "hello-nightly.service"]

    ran(made["preinstall"], "2")  # an upgrade that brings further services
    called = ran(made["postinstall"], "2")
    again = ran(made["postinstall"], "2")

    assert [line for line in called if "preset" in line] == [
        f"systemctl --no-reload preset {unit}" for unit in started[1:]
    ]
    assert again == ["systemctl daemon-reload"]  # nothing was marked
    assert not (tmp_path / "var/lib/rpm-state/hello").exists()


def test_an_rpm_restarts_after_an_upgrade_and_stops_when_the_last_goes(
    ran: Ran, tmp_path: Path
) -> None:
    made = texts(SPEC, RPM)
    (tmp_path / "usr/lib/systemd/system").mkdir(parents=True)
    for unit in UNITS[:-2]:  # the newer package has no `off`
        (tmp_path / "usr/lib/systemd/system" / unit).touch()

    assert ran(made["preremove"], "1") == []
    called = ran(made["preremove"], "0")
    assert called[1] == f"systemctl stop {' '.join(UNITS)}"
    assert called[0].startswith("systemctl --no-reload disable hello.service")
    assert ran(made["postremove"], "0") == ["systemctl daemon-reload"]
    assert ran(made["postremove"], "1") == [
        "systemctl daemon-reload",
        "systemctl stop hello-off.service",
        "systemctl --no-reload disable hello-off.service",
        (
            "systemctl try-restart hello.service hello-worker.service hello-nightly.timer"
            " hello-off.service"
        ),
    ]


def test_an_rpm_takes_what_others_made_with_it(tmp_path: Path, ran: Ran) -> None:
    (tmp_path / "var/log").mkdir(parents=True)
    made = texts(spec(contents=(content("", "/var/log/x", "ghost"),)), RPM)

    for count, there in (("1", True), ("0", False)):
        (tmp_path / "var/log/x").touch()
        ran(made["postremove"], count)
        assert (tmp_path / "var/log/x").exists() is there


def test_formats_that_tell_upgrades_apart_do_the_same_then(ran: Ran) -> None:
    for format_ in (APK, ARCH):
        made = texts(SPEC, format_)
        assert made["preupgrade"] == made["preinstall"]
        assert [line for line in ran(made["postupgrade"], "2", "1") if "restart" in line] == [
            (
                "systemctl try-restart hello.service hello-worker.service hello-nightly.timer"
                " hello-off.service"
            )
        ]
        assert ran(made["preremove"], "1")[1].startswith("systemctl stop hello.service")


OLDER = dataclasses.replace(SPEC, init=(Init.SYSV,), contents=())


def test_init_scripts_are_registered_and_run(ran: Ran, tmp_path: Path) -> None:
    deb = texts(OLDER, DEB)
    called = ran(deb["postinstall"], "configure", "1.0")

    assert called == [
        "update-rc.d hello defaults", "invoke-rc.d hello restart",
        "update-rc.d hello-worker defaults", "invoke-rc.d hello-worker restart",
        "update-rc.d hello-setup defaults", "invoke-rc.d hello-setup start",
        "update-rc.d hello-off defaults-disabled",
    ]  # fmt: skip
    assert ran(deb["preremove"], "remove")[0] == "invoke-rc.d hello stop"
    assert ran(deb["postremove"], "purge")[0] == "update-rc.d hello remove"
    (tmp_path / "etc/init.d").mkdir(parents=True)
    rpm = texts(OLDER, RPM)
    ran(rpm["preinstall"], "1")
    (tmp_path / "etc/init.d/hello").touch(0o755)
    called = ran(rpm["postinstall"], "1")
    assert called[:4] == [
        "chkconfig --add hello", "initctl version", "runlevel ", "service hello start",
    ]  # fmt: skip
    assert "chkconfig --add hello-off" in called
    assert "service hello stop" in ran(rpm["preremove"], "0")
    assert "service hello condrestart" in ran(rpm["postremove"], "1")


def test_with_units_of_its_own_a_service_is_systemds(ran: Ran) -> None:
    both = dataclasses.replace(OLDER, init=tuple(Init))

    assert "invoke-rc.d" not in "".join(ran(texts(both, DEB)["postinstall"], "configure"))
    ran(texts(both, RPM)["preinstall"], "1")
    called = "".join(ran(texts(both, RPM)["postinstall"], "1"))
    assert ("service" in called.replace(".service", ""), "initctl" in called) == (False, False)


@pytest.mark.parametrize("format_", list(PackageFormat))
def test_a_package_without_services_has_no_scripts(format_: PackageFormat) -> None:
    assert texts(spec(), format_) == {}


def test_a_shell_reads_every_script(tmp_path: Path) -> None:
    for asked in (SPEC, OLDER, dataclasses.replace(OLDER, init=tuple(Init))):
        for format_ in PackageFormat:
            for moment, text in texts(asked, format_).items():
                (tmp_path / moment).write_text(text)
                run(["dash", "-n", tmp_path / moment], timeout_s=10)


def said(moment: str, own: str, *words: str) -> str:
    return run(["sh", "-c", joined(moment, ["echo ours"], own), "x", *words], timeout_s=10)


def test_the_apps_own_script_runs_on_the_inner_side_of_ours() -> None:
    own = "#!/bin/sh\necho theirs\n"

    for moment in ("preinstall", "preremove"):
        assert said(moment, own) == "ours\ntheirs\n"
    for moment in ("postinstall", "postremove"):
        assert said(moment, own) == "theirs\nours\n"
    assert joined("preinstall", [], "") == ""
    assert joined("preinstall", [], "  \n") == ""


@pytest.mark.parametrize("interpreter", ["/bin/sh", "/bin/bash", "/usr/bin/env sh", ""])
def test_the_apps_own_script_has_the_arguments_and_a_process_of_its_own(interpreter: str) -> None:
    head = f"#!{interpreter}\n" if interpreter else ""
    own = head + 'echo "$1-$2"\ncd /tmp; ours=1\ncat <<E\n  as $1 \\\nit is\nE\nexit 0\necho never'

    assert said("postinstall", own, "a b", "c") == "a b-c\n  as a b it is\nours\n"


@pytest.mark.parametrize("interpreter", ["/bin/sh", "/bin/bash"])
def test_a_failure_of_the_apps_own_script_is_one_of_ours(interpreter: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        said("postinstall", f"#!{interpreter}\necho before\nexit 7\n")
    assert "ours" not in str(caught.value.facts["stderr"])
    # It goes on after a command that fails, unless it says otherwise.
    assert said("postinstall", f"#!{interpreter}\nfalse\necho on\n") == "on\nours\n"
    with pytest.raises(CommandFailed):
        said("postinstall", f"#!{interpreter} -e\nfalse\necho on\n")


def test_another_language_is_run_by_its_interpreter() -> None:
    own = "#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:], '''$(no) `no` \\\\''')\n"

    assert said("preinstall", own, "a", "b c") == "ours\n['a', 'b c'] $(no) `no` \\\n"


def test_each_formats_script_is_the_one_that_is_said_for_it(tmp_path: Path) -> None:
    (tmp_path / "own.sh").write_text("echo own\n")
    asked = spec(scripts={ScriptMoment.PREREMOVE: "own.sh"})

    for format_ in PackageFormat:
        assert list(texts(asked, format_, tmp_path)) == ["preremove"]
