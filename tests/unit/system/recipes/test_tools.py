"""Trees of tools that are lent: apt and dpkg-deb are stand-ins that record what they are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.domain.errors import CommandFailed
from ovenbird.system.recipes import tools

APT = """#!/bin/sh
echo "apt-get $*" >> "$0.log"
cache=
for one; do case $one in Dir::Cache=*) cache=${one#*=};; esac; done
case $* in *" install "*) touch "$cache/archives/ruby_1.deb" "$cache/archives/perl_1.deb";; esac
"""
DPKG = """#!/bin/sh
echo "dpkg-deb $1 ${2##*/}" >> "$0.log"
mkdir -p "$3/usr/share/doc/ruby" "$3/usr/share/puppet/vendor_modules"
mkdir -p "$3/usr/share/puppet/modules.available/puppetlabs-host-core/lib"
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "programs"
    place.mkdir()
    for name, text in (("apt-get", APT), ("dpkg-deb", DPKG)):
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
    return place


def test_puppet_is_unpacked_once_and_never_installed(programs: Path, tmp_path: Path) -> None:
    tree = tools.puppet(tmp_path / "tools")
    again = tools.puppet(tmp_path / "tools")

    update, install = (programs / "apt-get.log").read_text().splitlines()
    assert again == tree
    assert update.endswith(" update")
    assert " --download-only install puppet-agent puppet-module-puppetlabs-augeas-core " in install
    assert f"Dir::State::status={tmp_path / 'tools'}/" in install
    assert (programs / "dpkg-deb.log").read_text() == "dpkg-deb --extract ruby_1.deb\n"
    assert (tree / tools.PUPPET_MODULES / "host_core/lib").is_dir()
    assert not (tree / "usr/share/doc").exists()
    left = sorted(path.suffix for path in (tmp_path / "tools").iterdir() if path != tree)
    assert left == [".lock"]


def test_a_host_that_cannot_make_it_says_what_to_do_instead(programs: Path, tmp_path: Path) -> None:
    (programs / "apt-get").write_text("#!/bin/sh\necho no network >&2; exit 100\n")

    with pytest.raises(CommandFailed, match="Puppet cannot be lent to the image: ") as caught:
        tools.puppet(tmp_path / "tools")

    assert "`packages: [puppet-agent]`" in caught.value.hint
    assert caught.value.facts["stderr"] == "no network\n"


def test_it_is_made_again_after_a_failure(programs: Path, tmp_path: Path) -> None:
    (programs / "dpkg-deb").write_text("#!/bin/sh\nexit 2\n")
    with pytest.raises(CommandFailed):
        tools.puppet(tmp_path / "tools")
    (programs / "dpkg-deb").write_text(DPKG)

    assert (tools.puppet(tmp_path / "tools") / tools.PUPPET_MODULES).is_dir()
