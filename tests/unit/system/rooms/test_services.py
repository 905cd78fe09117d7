"""Whether services would start at boot, told from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.system.rooms import services, unit_files
from ovenbird.system.rooms.image_paths import resolved, within

UNIT = """\
[Unit]
Description=Hello
[Service]
User=hello
ExecStartPre=-/nowhere/optional
ExecStart=/opt/hello/bin/hello --port 8000 \\
  --more
WorkingDirectory=/opt/hello
EnvironmentFile=-/etc/default/hello
[Install]
WantedBy=multi-user.target
"""


class Image:
    """A root with one service, enabled."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nhello:x:999:999::/:/bin/false\n")
        self.write("etc/group", "root:x:0:\nhello:x:999:\n")
        self.write("usr/bin/env", "")
        self.write("opt/hello/bin/hello", "#!/usr/bin/env python3\n").chmod(0o755)
        (root / "lib").symlink_to("/usr/lib")
        self.unit(UNIT)
        self.enable("hello.service")
        self.write(
            "var/lib/dpkg/info/hello.list",
            "/.\n/lib/systemd/system/hello.service\n/opt/hello/bin/hello\n",
        )

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def unit(self, text: str, name: str = "hello.service") -> None:
        self.write(f"usr/lib/systemd/system/{name}", text)

    def enable(self, name: str) -> None:
        wants = self.root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / name).symlink_to(f"/lib/systemd/system/{name}")

    def disable(self) -> None:
        (self.root / "etc/systemd/system/multi-user.target.wants/hello.service").unlink()

    def check(self) -> tuple[str, ...]:
        return services.check(
            self.root,
            changed=services.brought(self.root),
            ours=services.of_packages(self.root, {"hello"}),
        )


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path)


def test_a_service_that_would_start_has_nothing_said_of_it(image: Image) -> None:
    assert services.brought(image.root) == {"hello.service"}
    assert services.of_packages(image.root, {"hello"}) == {"hello.service"}
    assert image.check() == ()


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ("/opt/hello/bin/hello", "/opt/hello/bin/gone", "`/opt/hello/bin/gone` is not there"),
        ("/opt/hello/bin/hello", "/etc/passwd", "`/etc/passwd` is not executable"),
        ("User=hello", "User=nobody-here", "user `nobody-here` is not there"),
        ("User=hello", "Group=wheel", "group `wheel` is not there"),
        ("Directory=/opt/hello", "Directory=/srv", "directory `/srv` is not there"),
        ("File=-/etc/default", "File=/etc/default", "file `/etc/default/hello` is not there"),
        ("Description=Hello", "Requires=db.service", "requires `db.service`, which is not there"),
        ("User=hello", "User hello", "line 4 of `/usr/lib/systemd/system/hello.service` is no"),
        ("ExecStart=", "ExecStop=", ""),
        ("ExecStart=/opt", "X=/opt", "has no `ExecStart=`"),
    ],
)
def test_what_would_fail_at_boot_fails_the_bake(
    image: Image, was: str, now: str, words: str
) -> None:
    image.unit(UNIT.replace(was, now))

    if not words:
        assert image.check() == ()
        return
    with pytest.raises(CommandFailed) as caught:
        image.check()
    assert str(caught.value).startswith("`hello.service` would not start at boot: ")
    assert words in str(caught.value)


def test_an_interpreter_that_is_missing_is_named(image: Image) -> None:
    (image.root / "usr/bin/env").unlink()

    with pytest.raises(CommandFailed, match="needs `/usr/bin/env`, which is not there"):
        image.check()


def test_a_masked_service_fails_the_bake(image: Image) -> None:
    (image.root / "etc/systemd/system/hello.service").symlink_to("/dev/null")

    with pytest.raises(CommandFailed, match="it is masked"):
        image.check()


def test_a_fault_of_a_disabled_service_or_of_another_package_is_a_note(image: Image) -> None:
    image.disable()
    image.unit(UNIT.replace("User=hello", "User=other"))
    image.unit(UNIT.replace("/opt/hello/bin/hello", "/bin/gone"), name="theirs.service")
    image.enable("theirs.service")

    assert image.check() == (
        "`hello.service`: its user `other` is not there",
        "`hello.service`: it is installed and not enabled",
        "`theirs.service`: its program `/bin/gone` is not there",
    )


def test_a_service_that_a_timer_starts_need_not_be_enabled(image: Image) -> None:
    image.disable()
    image.unit("[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n", "hello.timer")
    image.enable("hello.timer")

    assert image.check() == ()


def test_drop_ins_count_and_an_empty_value_removes_those_before(image: Image) -> None:
    image.write(
        "etc/systemd/system/hello.service.d/50-own.conf",
        "[Service]\nExecStart=\nExecStart=!/opt/hello/bin/other\n",
    )

    with pytest.raises(CommandFailed, match="`/opt/hello/bin/other` is not there"):
        image.check()


def test_accounts_that_are_made_at_boot_are_there(image: Image) -> None:
    image.unit(UNIT.replace("User=hello", "User=later"))
    image.write("usr/lib/sysusers.d/hello.conf", 'u later - "Later"\n')

    assert image.check() == ()


def test_an_init_script_is_looked_at_where_there_is_no_unit(image: Image) -> None:
    image.write("etc/init.d/hello", "#!/bin/sh\n").chmod(0o755)
    image.write("etc/init.d/old", "#!/bin/sh\n")
    image.write("etc/rc2.d/S01old", "")

    assert image.check() == ("`old`: its program `/etc/init.d/old` is not executable",)


@pytest.mark.parametrize(
    ("command", "path", "optional"),
    [
        ("/bin/a b", "/bin/a", False),
        ("-@/bin/a b c", "/bin/a", True),
        ('+"/opt/with space/a" b', "/opt/with space/a", False),
        ("", "", False),
    ],
)
def test_the_program_of_a_command_line(command: str, path: str, optional: bool) -> None:  # noqa: FBT001
    assert unit_files.program(command) == unit_files.Program(path=path, is_optional=optional)


def test_aliases_are_no_units_wherever_they_lead_on_this_host(image: Image) -> None:
    top = image.root / "etc/systemd/system"
    outside = image.write("outside/other.service", UNIT)
    (top / "alias.service").symlink_to(outside)
    (top / "masked.service").symlink_to("/dev/null")
    (top / "linked.service").symlink_to("/opt/app/linked.service")

    assert services.brought(image.root) == {"hello.service", "linked.service"}


def test_what_lies_on_this_host_is_not_in_the_image(
    image: Image, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image.write("usr/lib/systemd/system/hello.service", UNIT.replace("User=hello", "User=other"))
    beside = tmp_path_factory.mktemp("beside")
    (beside / "other.conf").write_text("u other\n[Service]\nUser=root\n")
    (image.root / "usr/lib/sysusers.d").mkdir(parents=True)
    (image.root / "usr/lib/sysusers.d/other.conf").symlink_to(beside / "other.conf")
    (image.root / "etc/systemd/system/hello.service.d").symlink_to(beside)

    with pytest.raises(CommandFailed, match="its user `other` is not there"):
        image.check()


def test_links_of_an_image_stay_in_it(tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    (tmp_path / "opt").symlink_to("/srv")
    (tmp_path / "srv/up").symlink_to("../../../etc/passwd")
    (tmp_path / "srv/round").symlink_to("round")

    assert within(tmp_path, "/opt/app") == tmp_path / "srv/app"
    assert within(tmp_path, "/opt/up") == tmp_path / "srv/up"
    assert resolved(tmp_path, "/opt/up") == tmp_path / "etc/passwd"
    with pytest.raises(InvalidRequest, match="circle"):
        resolved(tmp_path, "/opt/round")
