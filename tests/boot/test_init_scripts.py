"""Generated SysV scripts, run for real: as Debian has them and as distributions of rpm do."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.packages import PackageFormat, Service
from ovenbird.packaging.writing import sysv
from ovenbird.system.commands import run
from tests.unit.packaging.writing import service, spec

pytestmark = pytest.mark.boot
DEB, RPM = PackageFormat.DEB, PackageFormat.RPM
# Writes what it was given and goes on until it is told to end.
PROGRAM = """#!/bin/sh
trap 'echo again >>"$OUT"' HUP
trap 'echo end >>"$OUT"; exit 0' TERM
printf '%s|' "$(id -un)" "$PWD" "$GREETING" "$@" >"$OUT"
echo >>"$OUT"
while :; do sleep 0.05; done
"""

Script = Callable[..., tuple[int, str]]


@pytest.fixture(params=[DEB, RPM])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, PackageFormat]]:
    """A directory that `nobody` can write to, below one that everybody can enter."""
    top = Path("/tmp") / f"ovb-{uuid.uuid4().hex[:12]}"  # noqa: S108 - pytest's own is root's
    top.mkdir(mode=0o755)
    os.chown(top, 65534, 65534)
    try:
        yield top, request.param
    finally:
        run(["rm", "-rf", top], timeout_s=10)


def installed(top: Path, format_: PackageFormat, made: Service) -> Script:
    """Write an init script whose files lie in a directory of the test's own."""
    path = top / "init"
    text = sysv.script(spec(services=(made,)), made, name="hello", format_=format_)
    path.write_text(re.sub(r"/var/(run|lib|cache|log)\b", rf"{top}/\1", text))
    for name in ("run", "lib", "cache", "log"):
        (top / name).mkdir()

    def act(word: str) -> tuple[int, str]:
        try:
            return 0, run(["sh", path, word], timeout_s=20)
        except CommandFailed as error:
            return int(error.facts.get("status", -1)), str(error.facts["stderr"])

    return act


def program(top: Path) -> str:
    (top / "hello").write_text(PROGRAM)
    (top / "hello").chmod(0o755)
    return str(top / "hello")


def until(top: Path, text: str) -> str:
    """Wait until the program has written something; return all that it wrote."""
    script = 'for i in $(seq 100); do grep -q "$2" "$1" 2>/dev/null && break; sleep 0.05; done'
    run(["sh", "-c", script, "sh", top / "out", text], timeout_s=10)
    return (top / "out").read_text()


def test_a_sysv_script_starts_reloads_and_stops_a_daemon(home: tuple[Path, PackageFormat]) -> None:
    top, format_ = home
    act = installed(
        top, format_,
        service(
            command=f"{program(top)} 'a  b' $$5 ${{GREETING}} %%",
            user="nobody", config_reload="SIGHUP", working_directory=str(top),
            environment={"GREETING": "good day", "OUT": str(top / "out")},
        ),
    )  # fmt: skip

    assert act("status") == (3, "hello is not running\n")
    assert act("start")[0] == 0
    try:
        assert until(top, "|") == f"nobody|{top}|good day|a  b|$5|good day|%|\n"
        pid = (top / "run/hello.pid").read_text().strip()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        assert f"{top}/hello" in command
        assert act("start")[0] == 0  # it is there already
        assert (top / "run/hello.pid").read_text().strip() == pid
        assert act("status") == (0, "hello is running\n")
        assert act("reload")[0] == 0
        assert until(top, "again").endswith("again\n")
    finally:
        assert act("stop")[0] == 0
    assert until(top, "end").endswith("end\n")
    assert not Path(f"/proc/{pid}").exists()
    assert act("status") == (3, "hello is not running\n")
    assert act("stop")[0] == 0
    assert {path.owner() for path in (top / "lib").iterdir()} == {"nobody"}


def test_a_sysv_script_restarts_only_what_runs(home: tuple[Path, PackageFormat]) -> None:
    top, format_ = home
    out = {"OUT": str(top / "out")}
    act = installed(top, format_, service(command=program(top), user="root", environment=out))

    assert act("try-restart")[0] == 0
    assert not (top / "out").exists()
    act("start")
    try:
        until(top, "|")
        before = (top / "run/hello.pid").read_text()
        assert act("restart")[0] == 0
        until(top, "|")
        assert (top / "run/hello.pid").read_text() != before
        assert act("reload")[0] == 3
        assert act("dance")[0] == 2
    finally:
        act("stop")
    (top / "run/hello.pid").write_text("999999999\n")
    assert act("status")[0] == 1


def test_a_sysv_job_runs_to_its_end_and_its_failure_is_told(
    home: tuple[Path, PackageFormat],
) -> None:
    top, format_ = home
    made = service(command=f"/bin/sh -c 'id -un >{top}/out'", user="nobody", oneshot=True)
    act = installed(top, format_, made)

    assert act("status")[0] == 3
    assert act("start")[0] == 0
    assert ((top / "out").read_text(), act("status")[0]) == ("nobody\n", 0)
    failing = service(command="/bin/false", oneshot=True, user="root")
    text = sysv.script(spec(services=(failing,)), failing, name="hello", format_=format_)
    (top / "init").write_text(re.sub(r"/var/(run|lib|cache|log)\b", rf"{top}/\1", text))
    assert act("restart")[0] == 1
