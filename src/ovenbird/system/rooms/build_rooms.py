"""Where builds run: on this host, or in a base image's root file system; never as root.

Root asks ``nobody`` to do it, in namespaces of the build's own: what a build leaves running
ends with it, and with a killed process of ours too. The build sees its checkout and its home
at one and the same place, wherever they lie: bytes that say where they were made are the
same everywhere. Somebody who is not root builds as who they are, where the checkout lies.

The network is the host's, since pip and npm need it: where there is instance metadata, a
build can ask for it. What it gets of this process is neither credentials nor a home.

Source: unshare(1), setpriv(1), prctl(2) PR_SET_PDEATHSIG (cleared when credentials change,
so the shell that keeps the build is root's and waits).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.domain.packages import BuildSite
from ovenbird.domain.ports import Progress
from ovenbird.system import apt
from ovenbird.system.commands import how_it_ended, run, stream
from ovenbird.system.disks.disks import mounted
from ovenbird.system.rooms import base_roots
from ovenbird.system.rooms.package_caches import PackageCaches

NOBODY = 65534  # Source: Debian's base-passwd, users `nobody` and group `nogroup`
PLACE = "/mnt"  # every system has it
CHECKOUT, HOME = f"{PLACE}/checkout", f"{PLACE}/home"
SCRATCH = "scratch"  # in the home: for what programs put into /tmp elsewhere
INSTALL_TIMEOUT_S = 1800.0
_APART = (
    "setpriv", "--pdeathsig", "KILL", "--",
    "unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child",
)  # fmt: skip
_AS_NOBODY = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --no-new-privs"
# `|| exit` keeps the shell: a shell replaces itself by its last command.
_ON_HOST = f"""
umask 022
mount -t tmpfs -o mode=755 tmpfs {PLACE}
mkdir {CHECKOUT} {HOME}
mount --bind "$0" {CHECKOUT}
mount --bind "$1" {HOME}
cd "$2"
shift 2
{_AS_NOBODY} -- "$@" || exit $?
"""
_IN_ROOT = f"""
umask 022
root=$0
setpriv --no-new-privs -- \
  chroot --userspec={NOBODY}:{NOBODY} --groups= "$root" "$@" || exit $?
"""
_PLAIN = 'umask 022; cd "$0"; exec "$@"'


def is_root() -> bool:
    """Tell whether this process may build as somebody else."""
    return os.geteuid() == 0


class HostRoom:
    """This host, for one build.

    Args:
        site: The checkout and the home; given to nobody when this process is root's.
    """

    def __init__(self, site: BuildSite) -> None:
        self._site, self._confined = site, is_root()
        if self._confined:
            _give(site)
        top, home = (CHECKOUT, HOME) if self._confined else (site.tree, site.home)
        self.checkout, self.home = str(PurePosixPath(top) / site.directory), home

    def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout_s: float,
        on_line: Progress,
    ) -> None:
        """Run one program of the build in its checkout.

        Raises:
            CommandFailed: Not found, timed out, or exited non-zero; carries the last lines.
        """
        line = ["sh", "-e", "-c", _PLAIN, self.checkout, *argv]
        if self._confined:
            start = ["--mount-proc", "sh", "-e", "-c", _ON_HOST, self._site.tree, self._site.home]
            line = [*_APART, *start, self.checkout, *argv]
        stream(line, timeout_s=timeout_s, on_line=on_line, env=environment)


class BaseRooms:
    """Opens base images as rooms for builds.

    Args:
        directory: For mounts of builds under way.
        cache: For apt's indexes and archives, between builds.
        disk: Base image's name in the settings → its disk on this host.
    """

    def __init__(self, directory: Path, *, cache: Path, disk: Callable[[str], Path]) -> None:
        self._directory, self._cache, self._disk = directory, cache, disk

    @contextmanager
    def open(
        self, base: str, site: BuildSite, *, depends: Sequence[str], progress: Progress
    ) -> Iterator[BaseRoom]:
        """Open a base image with the packages that a build needs; nothing is left afterwards.

        Args:
            base: The base image's name in the settings.
            site: The checkout and the home; they are given to nobody.
            depends: Debian packages.
            progress: Told each line that apt prints.

        Raises:
            InvalidRequest: This process is not root.
            NotFound: There is no such base image.
            CommandFailed: A package could not be installed.
        """
        if not is_root():
            raise InvalidRequest(
                "A build in the base image needs root",
                hint="Run it as root, or say `isolation: host` in `package.build`",
            )
        base_roots.sweep_dead(self._directory)
        disk = self._disk(base)
        cache = self._cache / disk.stem
        place = self._directory / hashlib.sha256(site.tree.encode()).hexdigest()[:16]
        with base_roots.opened(disk, place) as opened, ExitStack() as stack:
            root = opened.root
            written = base_roots.written_inside()
            caches = base_roots.furnish(stack, root, cache=cache, written=written)
            if depends:
                progress(f"Installing {', '.join(depends)} in `{base}`")
                _install(root, depends, progress, caches)
            _give(site)
            _show(stack, root, site)
            yield BaseRoom(root, site)


class BaseRoom:
    """A base image's root file system, for one build."""

    def __init__(self, root: Path, site: BuildSite) -> None:
        self._root = root
        self.checkout, self.home = str(PurePosixPath(CHECKOUT) / site.directory), HOME

    def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        timeout_s: float,
        on_line: Progress,
    ) -> None:
        """Run one program of the build in its checkout, inside.

        Raises:
            CommandFailed: Not found, timed out, or exited non-zero; carries the last lines.
        """
        line = [*_APART, f"--mount-proc={self._root}/proc", "sh", "-e", "-c", _IN_ROOT]
        line += [str(self._root), "sh", "-e", "-c", _PLAIN, self.checkout, *argv]
        path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"  # not the caller's
        stream(line, timeout_s=timeout_s, on_line=on_line, env={**environment, "PATH": path})


def _give(site: BuildSite) -> None:
    owner = f"{NOBODY}:{NOBODY}"
    run(
        ["chown", "--recursive", "--no-dereference", owner, site.tree, site.home],
        timeout_s=120,
    )


def _install(root: Path, depends: Sequence[str], progress: Progress, caches: PackageCaches) -> None:
    if not caches.is_fresh():
        _apt(root, apt.update(), "apt-get update", progress)
        caches.keep_indexes(state=None, all_read=True)
    _apt(root, apt.install(depends), f"apt-get install {' '.join(depends)}", progress)
    caches.keep_packages()


def _apt(root: Path, argv: list[str], said: str, progress: Progress) -> None:
    environment = {
        "HOME": "/root",
        "DEBIAN_FRONTEND": "noninteractive",
        "APT_CONFIG": f"/{base_roots.INSIDE}/apt.conf",
    }
    try:
        stream(
            base_roots.inside(root, argv),
            timeout_s=INSTALL_TIMEOUT_S,
            on_line=progress,
            env=environment,
        )
    except CommandFailed as error:
        raise CommandFailed(
            f"The build's packages could not be installed: `{said}` {how_it_ended(error)}",
            hint="Look at `package.build.depends`; apt says above what it misses",
            **error.facts,
        ) from error


def _show(stack: ExitStack, root: Path, site: BuildSite) -> None:
    """Let the checkout, the home and what pip and npm were told to use be seen inside."""
    binds = [(site.tree, CHECKOUT, "rw"), (site.home, HOME, "rw")]
    binds += [(path, path, "ro") for path in site.seen]
    for what, where, options in binds:
        point = root / where.removeprefix("/")
        stack.enter_context(mounted(what, point, bind=True, options=options))


@contextmanager
def opened_site(checkout: Path, directory: str, *, seen: Sequence[str]) -> Iterator[BuildSite]:
    """Make an empty home beside a checkout's root and remove it after the block.

    Args:
        checkout: The app's directory in the checkout.
        directory: The same, relative to the checkout's root; empty for the root.
        seen: Directories that the build must see where they are.
    """
    checkout = checkout.absolute()
    tree = _tree(checkout, directory)
    home = tree.with_name(f"{tree.name}.home")
    shutil.rmtree(home, ignore_errors=True)
    (home / SCRATCH).mkdir(parents=True)
    inside = str(checkout.relative_to(tree))
    try:
        yield BuildSite(tree=str(tree), directory=inside, home=str(home), seen=tuple(seen))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _tree(checkout: Path, directory: str) -> Path:
    parts = PurePosixPath(directory).parts
    is_below = bool(parts) and checkout.parts[-len(parts) :] == parts
    return checkout.parents[len(parts) - 1] if is_below else checkout
