"""Tools that are made once on this host and lent to images, so that nothing of them stays there."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import distribution
from pathlib import Path, PurePath

from ovenbird.domain.errors import CommandFailed
from ovenbird.system.commands import run
from ovenbird.system.locks import file_lock

# What ansible-core imports to run a playbook; cryptography, which it has for vaults, is no pure
# Python and left out. Source: requirements.txt of ansible-core 2.19.
_ANSIBLE = ("ansible-core", "jinja2", "markupsafe", "packaging", "pyyaml", "resolvelib")
_LEFT_OUT = frozenset({"ansible_test", "bin"})
# Puppet's own types beyond its core are packages of their own. Source: Debian's puppet-agent.
_PUPPET = (
    "puppet-agent",
    *(
        f"puppet-module-puppetlabs-{name}-core"
        for name in ("augeas", "cron", "host", "mount", "selinux", "sshkeys")
    ),
)
# What these packages need for their installation, which is not done, and what nobody reads.
_NOT_RUN = ("adduser", "debconf", "dpkg", "libperl", "passwd", "perl", "tar_", "usrmerge")
_NOT_READ = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/lib/*/gconv")
PUPPET_MODULES = "usr/share/puppet/vendor_modules"
_MADE_IN_S = 600.0
NO_PUPPET = "Install it in the image instead, in a step before: `packages: [puppet-agent]`"


def ansible(tools: Path) -> Path:
    """Return a directory of ansible-core and what it imports, all of it pure Python.

    It is taken from our own locked dependencies. Compiled parts stay behind, since they fit
    one version of Python only; what has some does without (PyYAML, MarkupSafe).

    Args:
        tools: Where it is kept, by the versions.
    """
    found = [distribution(name) for name in _ANSIBLE]
    versions = "-".join(one.version for one in found)

    def make(place: Path) -> None:
        for one in found:
            for path in one.files or ():
                if _is_lent(path):
                    target = place / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(str(one.locate_file(path)), target)

    return ensured(tools / f"ansible-{versions}", make)


def _is_lent(path: PurePath) -> bool:
    top = path.parts[0]
    outside = top == ".." or top in _LEFT_OUT or top.endswith(".dist-info")
    return not outside and path.suffix not in {".so", ".c", ".pyi"}


def puppet(tools: Path) -> Path:
    """Return a directory of Puppet with everything that it needs to run, the C library too.

    It is made of Debian's packages, those that this host's apt knows, without installing any.

    Args:
        tools: Where it is kept, by the processor.

    Raises:
        CommandFailed: apt does not have it, or is not here.
    """

    def make(place: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="ovenbird-", dir=place) as name:
            for path in _downloaded(_PUPPET, Path(name)):
                if not path.name.startswith(_NOT_RUN):
                    run(["dpkg-deb", "--extract", path, place], timeout_s=_MADE_IN_S)
        for unread in [path for pattern in _NOT_READ for path in place.glob(pattern)]:
            shutil.rmtree(unread)
        for module in place.glob("usr/share/puppet/modules.available/puppetlabs-*"):
            name = module.name.removeprefix("puppetlabs-").replace("-", "_")
            module.rename(place / PUPPET_MODULES / name)

    try:
        return ensured(tools / f"puppet-{platform.machine()}", make)
    except CommandFailed as error:
        text = f"Puppet cannot be lent to the image: {error}"
        raise CommandFailed(text, hint=NO_PUPPET, **error.facts) from error


def _downloaded(packages: Sequence[str], work: Path) -> list[Path]:
    """Fetch packages and all that they depend on, as if nothing were installed.

    Source: apt.conf(5), "DIRECTORIES": what apt keeps, it keeps below these.
    """
    status = work / "status"
    status.touch()
    options = {
        "Dir::State": work / "state",
        "Dir::State::status": status,
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
    }
    for name in ("state/lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    given = [part for key, value in options.items() for part in ("--option", f"{key}={value}")]
    run(["apt-get", *given, "update"], timeout_s=_MADE_IN_S)
    wanted = ["--yes", "--no-install-recommends", "--download-only", "install", *packages]
    run(["apt-get", *given, *wanted], timeout_s=_MADE_IN_S)
    return sorted((work / "cache/archives").glob("*.deb"))


def ensured(place: Path, make: Callable[[Path], None]) -> Path:
    """Return a directory, made unless it is there; half-made ones are made anew.

    Args:
        place: The directory; who asks meanwhile waits for it.
        make: Fills an empty directory.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(place.with_name(f"{place.name}.lock")):
        if not place.exists():
            begun = place.with_name(f"{place.name}.begun")
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir()
            make(begun)
            begun.rename(place)
    return place
