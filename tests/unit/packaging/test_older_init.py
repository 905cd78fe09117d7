"""SysV scripts, upstart jobs and cron's entries; tests/boot runs the scripts for real."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.domain.packages import Init, PackageFormat, Service
from ovenbird.packaging.writing import cron, shell, sysv, upstart
from ovenbird.packaging.writing.services import service_files
from ovenbird.system.commands import run
from tests.unit.packaging.writing import content, service, spec

DEB, RPM = PackageFormat.DEB, PackageFormat.RPM


def test_a_sysv_script_says_what_lsb_and_chkconfig_ask() -> None:
    made, off = service(), service(enabled=False)
    text = sysv.script(spec(services=(made,)), made, name="hello", format_=RPM)
    disabled = sysv.script(spec(services=(off,)), off, name="hello", format_=RPM)

    assert "# Provides:          hello\n" in text
    assert "# Default-Start:     2 3 4 5\n" in text
    assert "# chkconfig: 2345 80 20\n" in text
    assert "# Default-Start:\n" in disabled
    assert "# chkconfig: - 80 20\n" in disabled


SPREAD = (
    service(command="/opt/x 'a b' \"c'd\" $A ${B}x $$ %% `e` \\\\", environment={"A": "it's"}),
    service(name="root", user="root", config_reload="SIGHUP", limits={"LimitNOFILE": "99"}),
    service(name="once", oneshot=True, group="www-data", working_directory="/a b"),
    service(name="off", enabled=False, restart="no"),
    service(name="nightly", oneshot=True, schedule="daily"),
)


@pytest.mark.parametrize("format_", list(PackageFormat))
def test_shells_read_all_that_is_made(format_: PackageFormat, tmp_path: Path) -> None:
    files = service_files(spec(services=SPREAD, init=tuple(Init)), format_)
    paths = {file.path: file for file in files}

    assert {"/etc/init.d/hello", "/etc/init/hello.conf", "/etc/cron.d/hello-nightly"} <= set(paths)
    assert "/etc/init.d/hello-nightly" not in paths
    assert all(file.config for path, file in paths.items() if path.startswith("/etc/"))
    for number, file in enumerate(files):
        parts = [file.text] if file.path.startswith("/etc/init.d/") else []
        parts += re.findall(r"script\n(.*?)end script", file.text, re.DOTALL)
        for part in parts:
            (tmp_path / str(number)).write_text(part)
            run(["dash", "-n", tmp_path / str(number)], timeout_s=10)


def test_an_upstart_job_says_when_it_runs_and_as_whom() -> None:
    made = service(limits={"LimitNOFILE": "99:100"}, restart="on-failure", group="adm")
    text = upstart.job(spec(services=(made,)), made)
    lines = text.splitlines()

    assert {
        "start on runlevel [2345]", "stop on runlevel [!2345]", "respawn", "normal exit 0 TERM",
        "limit nofile 99 99",
    } <= set(lines)  # fmt: skip
    assert (
        "--chuid hello:adm --chdir \"$PWD\" --startas /bin/sh -- -c 'exec /opt/hello/bin/hello'"
        in text
    )
    assert "mkdir -p /var/lib/hello && chown hello:adm /var/lib/hello" in text
    endless = service(limits={"LimitNOFILE": "infinity"})
    assert "limit nofile unlimited unlimited\n" in upstart.job(spec(services=(endless,)), endless)
    job = service(oneshot=True, enabled=False, user="root")
    text = upstart.job(spec(services=(job,)), job)
    assert ("task\n" in text, "respawn" in text, "start on" in text) == (True, False, False)
    assert "  exec /opt/hello/bin/hello\n" in text


def test_schedules_of_plain_words_are_crons() -> None:
    made = service(
        name="nightly", command="/opt/x 50%%", schedule="daily", environment={"A": "b c"}
    )
    only = cron.entry(spec(services=(made,), init=(Init.SYSV,)), made).splitlines()[-1]
    beside = cron.entry(spec(services=(made,)), made).splitlines()[-1]

    assert only.startswith("@daily hello [ -e /opt/x ] && { set -a; ")
    assert only.endswith(r" A='b c'; set +a; cd / && /opt/x 50\%; }")
    assert beside.startswith("@daily hello [ ! -d /run/systemd/system ] && [ -e /opt/x ] && { ")
    off = service(schedule="daily", enabled=False)
    assert cron.entry(spec(services=(off,)), off).splitlines()[-1].startswith("#@daily")


def test_a_shell_is_given_what_systemd_would_give(tmp_path: Path) -> None:
    made = service(
        command="/usr/bin/printf %%s| $(touch x) `touch y` a$HOME ${A}b ${A:-c} $$A ^x$ "
        "'$$(touch z)' $A"
    )
    with pytest.raises(InvalidRequest, match=r"`\$\(touch` is not a variable"):
        shell.command(made)
    made = dataclasses.replace(made, command=made.command.replace("$(touch x)", "b$(touch"))

    said = run(["sh", "-c", shell.command(made)], timeout_s=10, cwd=tmp_path, env={"A": "1 2"})

    assert said == "b$(touch|`touch|y`|a$HOME|1 2b|${A:-c}|$A|^x$|$(touch z)|1|2|"
    assert list(tmp_path.iterdir()) == []


def test_what_outlives_its_package_does_nothing(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    made = service(command=f"/bin/sh -e {app}/run.sh", schedule="daily", user="root")
    asked = spec(services=(made,), contents=(content("app/", str(app), "tree"),))
    line = cron.entry(asked, made).splitlines()[-1].partition(" root ")[2]
    script = sysv.script(asked, made, name="hello", format_=DEB)
    anyhow = frozenset({0, 1, 2})

    assert run(["sh", "-c", line], timeout_s=10, ok=anyhow) == ""
    assert run(["sh", "-c", script, "hello", "no-action"], timeout_s=10) == ""
    (app / "run.sh").write_text("echo ran")
    assert run(["sh", "-c", line.partition("&& ")[2]], timeout_s=10) == "ran\n"
    with pytest.raises(CommandFailed):
        run(["sh", "-c", script, "hello", "no-action"], timeout_s=10)
    assert f"[ -e {app}/run.sh ] || {{ stop; exit 0; }}" in upstart.job(asked, made)


@pytest.mark.parametrize("init", [Init.SYSV, Init.UPSTART])
def test_what_older_init_systems_cannot_say_is_refused(init: Init) -> None:
    def refused(made: Service) -> str:
        with pytest.raises(InvalidRequest) as caught:
            service_files(spec(services=(made,), init=(init,)), DEB)
        return str(caught.value)

    timed = service(name="nightly", schedule="*-*-* 03:00:00", oneshot=True)
    assert "is a schedule for systemd alone" in refused(timed)
    assert "which only systemd knows" in refused(service(command="/opt/x %i"))
    assert "does not begin with an absolute path" in refused(service(command="-/opt/x"))
    assert "services.web: `command`" in refused(service(command="/opt/x 'a"))
    long = service(schedule="daily", environment={"A": "x" * 1000})
    assert "cron takes one line" in refused(long)


def test_directories_that_a_purge_removes_are_those_of_the_units() -> None:
    moved = service(
        overrides={"Service": {"StateDirectory": "a b/c:d ../e / . f/./g", "LogsDirectory": ""}}
    )

    assert shell.kept_directories(spec(services=(moved,))) == (
        "/var/cache/hello", "/var/lib/a", "/var/lib/b/c",
    )  # fmt: skip
