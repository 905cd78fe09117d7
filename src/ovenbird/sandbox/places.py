"""Where one sandbox keeps its files, and how its kernel objects are named.

Several sandboxes may run side by side (a demo beside the tests): everything is
named after a token made from the home directory, so that ``down`` removes what
belongs to this home and nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ovenbird.config.settings import cache_home, state_home

DEVELOPMENT = "111111111111"
PRODUCTION = "222222222222"
ACCOUNTS = (DEVELOPMENT, PRODUCTION)
REGION = "eu-west-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The files and names of one sandbox.

    Args:
        home: Its directory; removed as a whole by ``down``, but for logs.
        cache: Shared between sandboxes and runs: base images, downloads.
    """

    home: Path
    cache: Path

    @property
    def token(self) -> str:
        """Six hex digits that mark this sandbox's namespaces, interfaces and control groups."""
        return hashlib.sha256(str(self.home).encode()).hexdigest()[:6]

    @property
    def blocks(self) -> Path:
        """Content-addressed block store: ``ab/abcdef...``."""
        return self.home / "blocks"

    @property
    def disks(self) -> Path:
        """Assembled root disks (sparse files) and their read-only mounts."""
        return self.home / "disks"

    @property
    def machines(self) -> Path:
        """One directory for each instance: overlay, console, cgroup notes."""
        return self.home / "machines"

    @property
    def volumes(self) -> Path:
        """One sparse file for each EBS volume that was attached to a machine."""
        return self.home / "volumes"

    @property
    def balancer(self) -> Path:
        """HAProxy's configuration, sockets and logs."""
        return self.home / "balancer"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.home / "server.log"

    @property
    def progress(self) -> Path:
        """What the server says while it starts, one line for each step."""
        return self.home / "progress"

    @property
    def pid(self) -> Path:
        """Process id of the server; held with an exclusive lock while it lives."""
        return self.home / "server.pid"

    @property
    def settings(self) -> Path:
        """The settings file that points at this sandbox."""
        return self.home / "settings.yaml"

    @property
    def credentials(self) -> Path:
        """Shared AWS credentials file with the profile ``ovenbird-sandbox``."""
        return self.home / "credentials"

    def namespace(self, account_id: str) -> str:
        """Return the network namespace in which an account's machines live."""
        return f"ovb-{self.token}-{account_id[:3]}"


def default_places() -> Places:
    """Return the places of the sandbox that the command line means."""
    return Places(home=state_home() / "sandbox", cache=cache_home())
