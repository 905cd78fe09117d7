"""The maintainer scripts, run by a real shell with programs that only write down their names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ovenbird.domain.packages import PackageSpec, Service
from ovenbird.packaging import scripts, units
from ovenbird.system.commands import run

SPEC = PackageSpec(
    name="hello",
    maintainer="A <a@example.com>",
    services=(
        Service(name="web", command="/opt/hello/web", user="hello"),
        Service(name="worker", command="/opt/hello/worker", user="www-data"),
        Service(name="cron", command="/opt/hello/cron"),
    ),
)
UNITS = units.unit_names(SPEC)
STUB = '#!/bin/sh\necho "${0##*/} $*" >>"$LOG"\n%s\n'
# Accounts that are there: www-data. Units were enabled before: none of the worker's.
STUBS = {
    "getent": '[ "$2" = www-data ]',
    "useradd": "",
    "deb-systemd-helper": 'case "$*" in *was-enabled*worker*) exit 1;; esac',
    "deb-systemd-invoke": "exit 1",
    "systemctl": "exit 1",
}

Ran = Callable[..., list[str]]


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    """Run a script's text with some words; return what it called, but for systemd itself."""
    for name, body in STUBS.items():
        stub = tmp_path / name
        stub.write_text(STUB % body)
        stub.chmod(0o755)
    log = tmp_path / "log"

    def script(text: str, *words: str) -> list[str]:
        log.write_text("")
        run(["sh", "-c", text, "script", *words], timeout_s=10,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "LOG": str(log)})  # fmt: skip
        called = log.read_text().splitlines()
        return [line for line in called if not line.startswith(("systemctl", "deb-systemd-invoke"))]

    return script


def test_the_first_installation_makes_accounts_and_enables_units(ran: Ran) -> None:
    called = ran(scripts.postinst(SPEC, UNITS), "configure")

    assert called == [
        "getent passwd hello",
        "useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin hello",
        "getent passwd www-data",
        *(f"deb-systemd-helper {words}" for words in (
            "unmask hello.service", "--quiet was-enabled hello.service", "enable hello.service",
            "unmask hello-worker.service", "--quiet was-enabled hello-worker.service",
            "update-state hello-worker.service",
            "unmask hello-cron.service", "--quiet was-enabled hello-cron.service",
            "enable hello-cron.service",
        )),
    ]  # fmt: skip


def test_nothing_is_done_but_at_the_right_moment(ran: Ran) -> None:
    assert ran(scripts.postinst(SPEC, UNITS), "abort-upgrade", "1.0") == []
    assert ran(scripts.prerm(UNITS), "upgrade", "1.1") == []


def test_removal_masks_and_purge_forgets(ran: Ran) -> None:
    text = scripts.postrm(["hello.service"]).replace("/usr/bin/deb-systemd-helper", "/bin/sh")

    assert ran(text, "remove") == ["deb-systemd-helper mask hello.service"]
    assert ran(text, "purge") == [
        "deb-systemd-helper purge hello.service",
        "deb-systemd-helper unmask hello.service",
    ]


def test_a_package_without_services_has_scripts_that_do_nothing(ran: Ran) -> None:
    plain = PackageSpec(name="data", maintainer="A <a@example.com>")

    for text, word in (
        (scripts.postinst(plain, ()), "configure"),
        (scripts.prerm(()), "remove"),
        (scripts.postrm(()), "purge"),
    ):
        assert ran(text, word) == []
