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
from ovenbird.domain.recipes import STEP_TIMEOUT_S, RecipeStep
from ovenbird.system import apt, base_roots
from ovenbird.system.base_roots import INSIDE
from ovenbird.system.directory_storage import DirectoryStorage
from ovenbird.system.hands import common_environment
from ovenbird.system.http_files import serving
from ovenbird.system.installing import NOT_INSTALLED, UNREAD
from ovenbird.system.recipes import steps
from ovenbird.system.recipes.logs import BakeLog
from ovenbird.system.ssh import Connection
from ovenbird.system.ssh_hands import SshHands

KEY = f"/{INSIDE}/key.gpg"
BOOTED_S = 600.0
CLEAN_S = 300.0
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# 2: cloud-init is done and found something to complain about; Source: cloud-init status --help
AWAIT_BOOT = """command -v cloud-init >/dev/null || exit 0
cloud-init status --wait >/dev/null || test $? -eq 2"""
# What writes when it ends is ended first, or it would write into the image at the shutdown.
CLEAN = """set -e
for unit in rsyslog.service syslog.socket auditd.service cron.service \\
    unattended-upgrades.service systemd-update-utmp.service systemd-random-seed.service
do systemctl stop "$unit" 2>/dev/null || true; done
journalctl --relinquish-var 2>/dev/null || true
rm -rf /var/log/journal/*
rm -f /etc/apt/sources.list.d/ovenbird.list
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /var/cache/apt/*.bin
rm -f /etc/ssh/ssh_host_* /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-
rm -f /etc/subuid- /etc/subgid- /etc/.pwd.lock
rm -f /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/lib/dpkg/*-old
rm -f /var/lib/systemd/random-seed /var/lib/apt/extended_states~
rm -f /etc/hostname /etc/resolv.conf /etc/netplan/50-cloud-init.yaml
rm -f /etc/sudoers.d/90-cloud-init-users
for home in /root /home/*
do rm -rf "$home/.ssh/authorized_keys" "$home/.bash_history" "$home/.ansible" "$home/.cache"
   rmdir "$home/.ssh" 2>/dev/null || true
done
rm -rf /var/lib/cloud/* /tmp/* /var/tmp/*
: > /etc/machine-id
rm -f /var/lib/dbus/machine-id
find /var/log -xdev -type f -size +0 -exec truncate --size=0 {} +
sync
"""


class LiveRoom:
    """A machine that is being made into an image."""

    def __init__(self, hands: SshHands, *, log: BakeLog, tools: Path) -> None:
        self._hands, self._log, self._tools = hands, log, tools

    def perform(self, step: RecipeStep, *, directory: Path | None) -> None:
        """Do one step of the recipe; a failing one fails the bake."""
        steps.perform(step, self._hands, directory=directory, log=self._log, tools=self._tools)

    def update(self) -> None:
        """Read the indexes of all sources."""
        self._run(apt.update(), said="apt-get update", hint=UNREAD.format("apt"))

    def install(self, pins: Sequence[PackagePin]) -> None:
        """Install exact versions from our repository, signatures verified by apt."""
        names = [f"{pin.name}={pin.version}" for pin in pins]
        said = f"apt-get install {' '.join(names)}"
        self._run(apt.install(names), said=said, hint=NOT_INSTALLED.format("apt"))

    def clean(self) -> None:
        """Remove what must not be in an image; the last command, for it removes our key, too."""
        self._hands.run(
            ["sh", "-c", CLEAN],
            environment={},
            timeout_s=CLEAN_S,
            said="the clean-up",
            hint="Which file could not be removed stands above",
        )

    def check(self) -> None:
        """Find nothing to complain about."""

    def _run(self, argv: list[str], *, said: str, hint: str) -> None:
        self._hands.run(argv, environment={}, timeout_s=STEP_TIMEOUT_S, said=said, hint=hint)


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
        CommandFailed: It did not boot well, or a source could not be read.
    """
    hands = SshHands(connection, tell=log)
    hands.run(
        ["sh", "-c", AWAIT_BOOT],
        environment={},
        timeout_s=BOOTED_S,
        said="cloud-init status --wait",
        hint="Look at the console of the builder; does the base image boot well by itself?",
    )
    with _reachable(connection, repository) as state:
        hands.put(Path(state.key_path).read_bytes(), KEY, owner="root", group="root", mode=0o644)
        line = apt.source(key=KEY, url=state.url, suite=state.suite, component=state.component)
        hands.put(line.encode(), apt.OURS, owner="root", group="root", mode=0o644)
        proxy = connection.lead_out() if goes_through_here else None
        config = "".join(f"{line}\n" for line in apt_options(proxy))
        target = common_environment()["APT_CONFIG"]
        hands.put(config.encode(), target, owner="root", group="root", mode=0o644)
        room = LiveRoom(hands, log=log, tools=tools)
        room.update()
        yield room


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
