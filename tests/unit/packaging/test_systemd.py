"""Units and timers, read by systemd's own checker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import Init, PackageFormat, PackageSpec, Service
from ovenbird.packaging.writing.services import names, service_files
from ovenbird.packaging.writing.systemd import timer, unit
from ovenbird.system.commands import run
from tests.unit.packaging.writing import service, spec

HARDENING = """\
NoNewPrivileges=yes PrivateTmp=yes PrivateDevices=yes ProtectHome=yes ProtectSystem=strict
ProtectKernelTunables=yes ProtectKernelModules=yes ProtectKernelLogs=yes ProtectControlGroups=yes
ProtectClock=yes ProtectHostname=yes RestrictSUIDSGID=yes RestrictRealtime=yes
RestrictNamespaces=yes LockPersonality=yes SystemCallArchitectures=native CapabilityBoundingSet=
"""


def lines(made: Service, **more: Any) -> list[str]:
    return unit(spec(services=(made,), **more), made).splitlines()


def test_a_service_starts_after_user_data_has_written_its_environment() -> None:
    found = lines(service())

    assert "After=network.target cloud-init.service cloud-init-network.service" in found
    assert "EnvironmentFile=-/etc/ovenbird/environment" in found


def test_an_account_is_asked_for_without_a_group_that_it_may_not_have() -> None:
    found = lines(service(user="nobody"))

    assert "User=nobody" in found
    assert [line for line in found if line.startswith("Group=")] == []
    assert "Group=www-data" in lines(service(group="www-data"))


def test_values_reach_the_service_as_they_are_written() -> None:
    environment = {"A": 'say "hi"', "B": "100%", "C": "back\\slash"}
    found = lines(service(environment=environment))

    assert [line for line in found if line.startswith("Environment=")] == [
        r'Environment="A=say \"hi\""',
        'Environment="B=100%%"',
        r'Environment="C=back\\slash"',
    ]


def test_a_service_is_hardened() -> None:
    found = lines(service())

    assert set(HARDENING.split()) <= set(found)
    assert "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6" in found
    assert "StateDirectory=hello" in found


def test_what_runs_as_root_keeps_what_root_can_do() -> None:
    found = lines(service(user="root"))

    assert "ProtectSystem=strict" in found
    assert [line for line in found if line.startswith(("Capability", "SystemCallFilter"))] == []


def test_every_directive_can_be_changed_left_out_and_repeated() -> None:
    made = service(
        limits={"LimitNOFILE": "1000", "MemoryMax": "512M"},
        overrides={
            "Unit": {"Wants": "a.service"},
            "Service": {
                "ProtectHome": "read-only",
                "PrivateTmp": "",
                "ExecStartPre": "/bin/true\n/bin/echo 1",
            },
        },
    )
    found = lines(made)

    assert "Wants=a.service" in found[: found.index("[Service]")]
    assert {"ProtectHome=read-only", "LimitNOFILE=1000", "MemoryMax=512M"} <= set(found)
    assert [line for line in found if line.startswith(("PrivateTmp", "ProtectHome=yes"))] == []
    assert [line for line in found if line.startswith("ExecStartPre=")] == [
        "ExecStartPre=/bin/true", "ExecStartPre=/bin/echo 1",
    ]  # fmt: skip
    assert [line for line in found if line.startswith("LimitNOFILE")] == ["LimitNOFILE=1000"]


def test_the_bounding_set_follows_ambient_capabilities() -> None:
    ambient = {"Service": {"AmbientCapabilities": "CAP_NET_BIND_SERVICE"}}

    assert "CapabilityBoundingSet=CAP_NET_BIND_SERVICE" in lines(service(overrides=ambient))


def test_an_override_for_a_section_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"services\.web: its unit has no section `Socket`"):
        lines(service(overrides={"Socket": {"ListenStream": "80"}}))
    with pytest.raises(InvalidRequest, match="more than one line"):
        lines(service(command="/bin/true \\"))


def test_a_job_runs_once_and_one_with_a_schedule_again() -> None:
    once = lines(service(oneshot=True))
    nightly = service(oneshot=True, schedule="daily", overrides={"Timer": {"AccuracySec": "1s"}})
    again = lines(nightly)
    timed = timer(spec(services=(nightly,)), nightly).splitlines()

    assert {"Type=oneshot", "RemainAfterExit=yes", "WantedBy=multi-user.target"} <= set(once)
    assert "RemainAfterExit=yes" not in again  # a timer starts nothing that is still there
    assert "[Install]" not in again
    assert [line for line in (*once, *again) if line.startswith("Restart=")] == []
    assert {"OnCalendar=daily", "Persistent=yes", "AccuracySec=1s", "WantedBy=timers.target"} <= {
        *timed
    }


def test_services_of_several_accounts_do_not_take_each_others_directories() -> None:
    web, root = service(), service(name="setup", user="root", oneshot=True)
    both = spec(services=(web, root, service(name="worker")))

    assert "StateDirectory=hello" in unit(both, web)
    assert "RuntimeDirectoryPreserve=yes" in unit(both, web)  # the worker has it, too
    assert "StateDirectory=hello-setup" in unit(both, root)
    assert "RuntimeDirectoryPreserve" not in unit(spec(services=(web,)), web)


def test_units_are_called_like_their_package_while_that_keeps_them_apart() -> None:
    def called(*services: str) -> tuple[str, ...]:
        return names(spec(services=tuple(service(name=name) for name in services)))

    assert called("web") == ("hello",)
    assert called("web", "worker") == ("hello", "hello-worker")
    assert called("web", "main") == ("hello-web", "hello-main")


def test_a_plus_sign_is_none_of_a_units(tmp_path: Path) -> None:
    asked = spec(name="c++app", services=(service(), service(name="worker")))

    assert names(asked) == ("c--app", "c--app-worker")
    assert verified(tmp_path, asked) == ""


def test_two_services_do_not_share_a_file() -> None:
    jobs = tuple(service(name=name, schedule="daily") for name in ("a.b", "a-b"))
    asked = spec(services=jobs, init=tuple(Init))

    with pytest.raises(InvalidRequest, match=r"a-b: `/etc/cron.d/hello-a-b` is .* services.a.b"):
        service_files(asked, PackageFormat.DEB)


def test_rpms_bring_a_preset_that_says_what_is_enabled() -> None:
    job = service(name="nightly", schedule="daily", oneshot=True, enabled=False)
    asked = spec(services=(service(), job))
    files = {file.path: file.text for file in service_files(asked, PackageFormat.RPM)}

    assert files["/usr/lib/systemd/system-preset/50-hello.preset"] == (
        "enable hello.service\ndisable hello-nightly.timer\n"
    )
    debs = {file.path for file in service_files(asked, PackageFormat.DEB)}
    assert debs == {
        f"/lib/systemd/system/{name}"
        for name in ("hello.service", "hello-nightly.service", "hello-nightly.timer")
    }


SPREAD = (
    service(name="web", config_reload="SIGHUP", environment={"A": 'b "c" 100% \\ é'}),
    service(name="root", user="root", restart="on-failure"),
    service(name="once", oneshot=True, working_directory="/srv", group="www-data"),
    service(name="daily", oneshot=True, schedule="daily"),
    service(name="often", schedule="Mon..Fri *-*-* 08..18:0/5 Europe/Berlin", user="root"),
    service(
        name="low",
        command='/bin/sh -c "exec sleep $${N}" ${X}',
        overrides={
            "Unit": {"ConditionPathExists": "/etc/hello"},
            "Service": {"AmbientCapabilities": "CAP_NET_BIND_SERVICE", "SystemCallFilter": ""},
            "Install": {"WantedBy": "multi-user.target\ngraphical.target"},
        },
        limits={"MemoryMax": "1G", "LimitNOFILE": "1024:4096", "CPUQuota": "50%"},
    ),
)


def verified(tmp_path: Path, asked: PackageSpec) -> str:
    """Return what `systemd-analyze verify` has to say of all units; nothing when all is well."""
    paths = []
    for file in service_files(asked, PackageFormat.DEB):
        paths.append(tmp_path / Path(file.path).name)
        paths[-1].write_text(file.text.replace("/opt/hello/bin/hello", "/bin/true"))
    script = 'systemd-analyze verify --man=no "$@" 2>&1'
    return run(["sh", "-c", script, "sh", *paths], timeout_s=60)


def test_systemd_has_nothing_to_say_against_the_units(tmp_path: Path) -> None:
    asked = spec(services=SPREAD, description="50% of it\nand more")

    assert verified(tmp_path, asked) == ""


def test_systemd_would_say_so(tmp_path: Path) -> None:
    wrong = service(overrides={"Service": {"ProtectSistem": "yes"}})

    assert "ProtectSistem" in verified(tmp_path, spec(services=(wrong,)))


SCHEDULES = (
    "daily", "Hourly", "weekly UTC", "Mon", "Mon..Fri", "mon,wed,Sunday 12:00", "*-*-* 03:00:00",
    "*-*-1..7 18:00", "Sat,Thu,Mon..Wed,Sat..Sun", "2026-12-24", "*:0/5", "Mon *-01/2-01 *:30",
    "*-02~01", "03:00 UTC", "2026-01-01 00:00:00 America/New_York", "*:*:0/30.5", "quarterly",
    "*-*~28", "*-02~7/6", "*-*~1..5", "*:0/59", "23:59:59.5", "1970-1-1", "2199-12-31", "*:10..10",
)  # fmt: skip
NO_SCHEDULES = (
    "", "sometimes", "every day", "25", "@daily", "* * * * *", "daily daily", "Mon Tue",
    "12:00 Mon", "2026-", "UTC", "Moonday",
    "24:00", "12:60", "00:00:60", "*-13-01", "*-0-1", "*-*-32", "1969-1-1", "2200-1-1", "*-*~29",
    "Fri..Mon 10:00", "sun-mon", "*-*-31..1", "*:0/0", "*:0/60", "*/2:00", "*-02~7/7",
)  # fmt: skip


@pytest.mark.parametrize("text", [*SCHEDULES, *NO_SCHEDULES])
def test_schedules_are_what_systemd_takes(text: str) -> None:
    made = service(schedule=text or " ")
    ok = frozenset({0, 1})
    said = run(["systemd-analyze", "calendar", text], timeout_s=20, ok=ok)

    if text in SCHEDULES:
        assert "Normalized form" in said
        assert f"OnCalendar={text}" in timer(spec(services=(made,)), made)
    else:
        assert said == ""
        with pytest.raises(InvalidRequest, match=r"services\.web: .* is not a schedule"):
            timer(spec(services=(made,)), made)


def test_a_schedule_is_one_line() -> None:
    made = service(schedule="*-*-*\n12:00")
    with pytest.raises(InvalidRequest, match="is not a schedule"):
        timer(spec(services=(made,)), made)
