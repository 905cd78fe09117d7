from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.recipes import Puppet, RecipeStep
from ovenbird.system.recipes import puppet
from tests.unit.system.recipes.here import Kitchen

RECORDING = 'for one; do echo "> $one"; done; echo "$FACTER_who"; cat "${conf:=$0}" >/dev/null; '


@pytest.mark.parametrize(
    ("line", "resource"),
    [
        (
            "Error: /Stage[main]/Main/File[/no/x]/ensure: change from 'absent' to 'file' failed: y",
            "/Stage[main]/Main/File[/no/x]",
        ),
        (
            "Error: /Stage[main]/Web::A/Package[b c]/ensure: change from 'purged' failed",
            "/Stage[main]/Web::A/Package[b c]",
        ),
        ("Error: /Stage[main]/Main/Exec[a: b]: No", "/Stage[main]/Main/Exec[a: b]"),
        ("Error: Could not parse for environment production", ""),
        ("Notice: /Stage[main]/Main/File[/x]/ensure: defined content as", ""),
    ],
)  # fmt: skip
def test_the_resource_that_failed_is_found(line: str, resource: str) -> None:
    assert puppet.failed_resource(["Notice: first", line, "Notice: last"]) == resource


@pytest.mark.parametrize("status", [0, 2])
def test_changes_are_success(kitchen: Kitchen, status: int) -> None:
    kitchen.write("site.pp", "")
    kitchen.write("ops/modules/web/init.pp", "")
    kitchen.program("puppet", f"{RECORDING} exit {status}")
    work = Puppet(manifest="site.pp", modules="ops/modules")

    kitchen.do(RecipeStep(work=work, variables={"who": "me"}))

    given = [line[2:] for line in kitchen.said if line.startswith("> ")]
    conf = given[-1]
    assert given == [
        "apply",
        "--detailed-exitcodes",
        "--color", "false",
        "--logdest", "console",
        "--summarize",
        "--reports", "none",
        "--modulepath", str(kitchen.app / "ops/modules"),
        str(kitchen.app / "site.pp"),
        "--confdir", conf,
    ]  # fmt: skip
    assert "me" in kitchen.said
    assert not Path(conf).exists()


@pytest.mark.parametrize("status", [1, 4, 6])
def test_failures_are_none(kitchen: Kitchen, status: int) -> None:
    kitchen.write("site.pp", "")
    kitchen.program("puppet", f"echo 'Error: /Stage[main]/Main/File[/x]/ensure: no'; exit {status}")

    with pytest.raises(CommandFailed) as caught:
        kitchen.do(RecipeStep(work=Puppet(manifest="site.pp")))

    assert str(caught.value) == (
        f"The bake failed: `puppet apply site.pp` exited with status {status}, "
        "in `/Stage[main]/Main/File[/x]`"
    )


def test_a_machine_with_another_processor_needs_its_own(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    kitchen.write("site.pp", "")
    kitchen.program("uname", "echo pdp11")
    (kitchen.programs / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(kitchen.programs))  # this host may have Puppet

    with pytest.raises(CommandFailed, match="needs Puppet in the image; ours is for ") as caught:
        kitchen.do(RecipeStep(work=Puppet(manifest="site.pp")))

    assert "`packages: [puppet-agent]`" in caught.value.hint


def test_a_lent_puppet_is_started_by_its_own_loader(tmp_path: Path) -> None:
    for name in (
        "lib/x-linux-gnu/ld-linux-x.so.2", "usr/lib/x-linux-gnu/libruby.so", "usr/bin/ruby3.1",
        "usr/lib/ruby/vendor_ruby/puppet.rb", "usr/lib/ruby/3.1.0/json.rb",
        "usr/share/rubygems-integration/all/gems/a-1/lib/a.rb", "usr/bin/puppet", "usr/bin/ruby",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert puppet.lent_command(tmp_path, "/l") == [
        "/l/lib/x-linux-gnu/ld-linux-x.so.2",
        "--library-path", "/l/lib/x-linux-gnu:/l/usr/lib/x-linux-gnu",
        "/l/usr/bin/ruby3.1",
        "-I", "/l/usr/lib/ruby/vendor_ruby",
        "-I", "/l/usr/lib/ruby/3.1.0",
        "-I", "/l/usr/share/rubygems-integration/all/gems/a-1/lib",
        "/l/usr/bin/puppet", "apply",
        "--vendormoduledir", "/l/usr/share/puppet/vendor_modules",
    ]  # fmt: skip
