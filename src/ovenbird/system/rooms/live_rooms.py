"""A room on a machine that runs: recipe and packages do their work in it over SSH.

Our repository comes to the machine through the connection when it is one of this host's, and
so do the distribution's packages where the machine has no way out of its own. Nothing listens
but on the machine's own loopback.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.images import PackagePin
from ovenbird.domain.recipes import RecipeStep
from ovenbird.system.directory_storage import DirectoryStorage
from ovenbird.system.http_files import serving
from ovenbird.system.recipes import steps
from ovenbird.system.recipes.logs import BakeLog
from ovenbird.system.rooms import base_roots, cleaning, installing
from ovenbird.system.rooms.hands import common_environment
from ovenbird.system.rooms.installing import Installer
from ovenbird.system.rooms.ssh import Connection
from ovenbird.system.rooms.ssh_hands import SshHands

BOOTED_S = 600.0
SHORT_S = 120.0
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# 2: cloud-init is done and found something to complain about; Source: cloud-init status --help
AWAIT_BOOT = """command -v cloud-init >/dev/null || exit 0
cloud-init status --wait >/dev/null || test $? -eq 2"""
# What writes when it ends is ended before the clean-up, or the shutdown would write into the image.
QUIET = """for unit in rsyslog.service syslog.socket auditd.service cron.service crond.service \\
    unattended-upgrades.service systemd-update-utmp.service systemd-random-seed.service
do systemctl stop "$unit" 2>/dev/null || true; done
journalctl --relinquish-var 2>/dev/null || true
rm -rf /var/log/journal/*
# Only what cloud-init named for this machine: it names the next one.
test ! -e /var/lib/cloud/data/previous-hostname || rm -f /etc/hostname
for keys in /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys
do test ! -f "$keys" || sed -i '/ ovenbird[^ ]*$/d' "$keys"; done
"""
# Source: dpkg-query(1), rpm(8), systemctl(1).
FAILED = """for name
do { dpkg-query -L "$name" 2>/dev/null || rpm -ql "$name"; } \\
   | sed -n 's,^.*/systemd/system/\\([^/@]*\\.service\\)$,\\1,p' | sort -u \\
   | while read -r unit
     do systemctl is-failed --quiet "$unit" || continue
        systemctl status --no-pager --full --lines=20 "$unit"
        echo "$unit" >> "$failed"
     done
done
! test -s "$failed"
"""


class LiveRoom:
    """A machine that is being made into an image."""

    def __init__(self, installer: Installer, *, log: BakeLog, tools: Path) -> None:
        self._installer, self._log, self._tools = installer, log, tools
        self._hands = installer.hands
        self._names: list[str] = []

    def perform(self, step: RecipeStep, *, directory: Path | None) -> None:
        """Do one step of the recipe; a failing one fails the bake."""
        steps.perform(step, self._hands, directory=directory, log=self._log, tools=self._tools)

    def install(self, pins: Sequence[PackagePin]) -> None:
        """Install exact versions from our repository, signatures verified."""
        self._installer.install(pins)
        self._names += [pin.name for pin in pins]

    def clean(self) -> None:
        """Remove what must not be in an image; nobody can log in after that."""
        self._short(["sh", "-c", QUIET], said="ending what writes", hint="")
        cleaning.clean_builder(self._hands)

    def check(self) -> None:
        """Find services of our packages that were started here and failed.

        Raises:
            CommandFailed: There is one; what systemd says of it stands in the log.
        """
        script = f"failed=$(mktemp -p /run)\n{FAILED}"
        self._short(
            ["sh", "-c", script, "sh", *self._names],
            said="a look for services that failed",
            hint="The lines above say which service failed on the builder, and why",
        )

    def _short(self, argv: list[str], *, said: str, hint: str) -> None:
        self._hands.run(argv, environment={}, timeout_s=SHORT_S, said=said, hint=hint)


@contextmanager
def opened(
    connection: Connection,
    repository: RepositoryState,
    *,
    goes_through_here: bool,
    log: BakeLog,
    tools: Path,
) -> Iterator[LiveRoom]:
    """Make a machine ready for a bake: booted, with our repository in its sources.

    Args:
        connection: To the machine.
        repository: Where packages come from.
        goes_through_here: Whether its package manager has no other way out.
        log: Of the bake.
        tools: As :func:`ovenbird.system.recipes.steps.perform` takes it.

    Raises:
        CommandFailed: It did not boot well, or an index could not be read.
        InvalidRequest: It has no package manager that is known here.
    """
    hands = SshHands(connection, tell=log)
    hands.run(
        ["sh", "-c", AWAIT_BOOT],
        environment={},
        timeout_s=BOOTED_S,
        said="cloud-init status --wait",
        hint="Look at the console of the builder; does the base image boot well by itself?",
    )
    proxy = connection.lead_out() if goes_through_here else None
    config = "".join(f"{line}\n" for line in apt_options(proxy))
    target = common_environment()["APT_CONFIG"]
    hands.put(config.encode(), target, owner="root", group="root", mode=0o644)
    with (
        _reachable(connection, repository) as state,
        installing.connected(hands, state) as installer,
    ):
        installer.update()
        yield LiveRoom(installer, log=log, tools=tools)


def apt_options(proxy: int | None) -> list[str]:
    """Return apt's configuration on a machine that runs.

    Args:
        proxy: Port of a SOCKS proxy on its loopback that goes out from this host, with what
            this host's apt needs for its sources; None when it has a way out of its own.

    Source: apt.conf(5); apt-transport-http(1), "Acquire::http::Proxy".
    """
    options = ['DPkg::Lock::Timeout "300";']  # the machine's own timers may hold it
    if proxy is None:
        return options
    return [
        *options,
        *base_roots.host_options(),
        f'Acquire::http::Proxy "socks5h://127.0.0.1:{proxy}";',
        f'Acquire::https::Proxy "socks5h://127.0.0.1:{proxy}";',
        'Acquire::http::Proxy::127.0.0.1 "DIRECT";',
    ]


@contextmanager
def _reachable(connection: Connection, state: RepositoryState) -> Iterator[RepositoryState]:
    """Yield the state under an address that the machine can read."""
    parts = urlsplit(state.url)
    if parts.scheme == "file":
        with serving(DirectoryStorage(Path(unquote(parts.path)))) as url:
            yield replace(state, url=_through(connection, url))
    elif parts.scheme == "http" and parts.hostname in LOOPBACK:
        yield replace(state, url=_through(connection, state.url))
    elif parts.scheme in {"http", "https"}:
        yield state
    else:
        raise CommandFailed(f"A builder cannot read a repository at `{state.url}`")


def _through(connection: Connection, url: str) -> str:
    """Return what a URL of this host's loopback is called on the machine."""
    parts = urlsplit(url)
    port = connection.lead_here(parts.port or 80)
    return parts._replace(netloc=f"127.0.0.1:{port}").geturl()
