"""Packages into an image: by apt or dnf, whichever it has, from one state of our repository.

It works through hands alone, so that a chroot and a builder instance are treated alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.domain.images import PackagePin
from ovenbird.domain.ports import Hands
from ovenbird.domain.recipes import STEP_TIMEOUT_S
from ovenbird.system import apt, dnf

KEY = "/run/ovenbird-key"  # a machine forgets what is below /run
UNREAD = "{} says above which index it could not read, or whose signature is not its key's"
NOT_INSTALLED = "{} says above which package could not be fetched, verified or installed"
UNMET = "Correct `package.depends`, or let a recipe step before it add the repository that has it"
_UNMET = (
    re.compile(r"^\s*(?P<who>\S+) : (?:Pre)?-?Depends: (?P<what>.+?) but it is not "),
    re.compile(r"nothing provides (?P<what>.+) needed by (?P<who>\S+)"),
)


class Manager(StrEnum):
    """A package manager; the value is its program."""

    APT = "apt-get"
    DNF = "dnf"


def manager_of(hands: Hands) -> Manager:
    """Return the package manager of an image.

    Raises:
        InvalidRequest: It has none that is known here.
    """
    line = "command -v apt-get >/dev/null && exit 10; command -v dnf >/dev/null && exit 11; exit 12"
    status = hands.status(["sh", "-c", line], environment={}, timeout_s=60)
    if status not in {10, 11}:
        raise InvalidRequest(
            "The base image has neither apt-get nor dnf",
            hint="Bake on Debian, Ubuntu, Amazon Linux 2023, Fedora or Enterprise Linux from 8 on",
        )
    return Manager.APT if status == 10 else Manager.DNF


class Installer:
    """An image's package manager, which knows our repository.

    Args:
        hands: Inside of the image.
        manager: The one that it has.
        keys: The repository's public keys, binary.
        url: Where the repository is seen from inside.
    """

    def __init__(self, hands: Hands, manager: Manager, *, keys: bytes, url: str) -> None:
        self.hands, self.manager, self.keys, self.url = hands, manager, keys, url

    def update(self, *, only_ours: bool = False) -> None:
        """Read the indexes of all repositories, or of our own alone; signatures are verified.

        Raises:
            CommandFailed: An index cannot be read, or is not signed by its key.
        """
        argv = {Manager.APT: apt.update, Manager.DNF: dnf.update}[self.manager]
        said = "apt-get update" if self.manager is Manager.APT else "dnf makecache"
        self._run(argv(only_ours=only_ours), said=said, hint=UNREAD.format(self.manager))

    def install(self, pins: Sequence[PackagePin]) -> None:
        """Install exact versions; indexes and packages are verified by the manager.

        Raises:
            CommandFailed: One could not be fetched, verified or installed, or needs what no
                repository has.
        """
        if self.manager is Manager.APT:
            names = [f"{pin.name}={pin.version}" for pin in pins]
            argv = apt.install(names, only_ours=self._have_all(names))
        else:
            names = [dnf.wanted(pin) for pin in pins]
            argv = dnf.install(names)
        said = f"{self.manager} install {' '.join(names)}"
        try:
            self._run(argv, said=said, hint=NOT_INSTALLED.format(self.manager))
        except CommandFailed as error:
            if said := unmet(str(error.facts.get("stderr", ""))):
                raise CommandFailed(
                    f"The bake failed: {said}", hint=UNMET, **error.facts
                ) from error
            raise
        if self.manager is Manager.DNF:
            said = "forget the repository's key"
            self._run(dnf.forget(self.keys), said=said, hint="rpm says above why")

    def _have_all(self, names: Sequence[str]) -> bool:
        """Tell whether these come to the same without the distribution's repositories."""
        asked = apt.suffices(names)
        return self.hands.status(asked, environment={}, timeout_s=STEP_TIMEOUT_S) == 0

    def _run(self, argv: Sequence[str], *, said: str, hint: str) -> None:
        self.hands.run(argv, environment={}, timeout_s=STEP_TIMEOUT_S, said=said, hint=hint)


@contextmanager
def connected(hands: Hands, repository: RepositoryState) -> Iterator[Installer]:
    """Let an image's package manager know our repository, for as long as the block runs.

    The file that says so goes with the cleaning (:mod:`ovenbird.system.rooms.cleaning`).

    Args:
        hands: Inside of the image.
        repository: A state whose address is reachable from inside, or a directory of this host.

    Raises:
        InvalidRequest: The image has no package manager that is known here.
    """
    manager, keys = manager_of(hands), Path(repository.key_path).read_bytes()
    with ExitStack() as stack:
        url = repository.url
        if url.startswith("file:"):
            published = Path(unquote(urlsplit(url).path))
            url = f"file:{stack.enter_context(hands.lend(published))}"
        if manager is Manager.APT:
            line = apt.source(
                key=KEY, url=url, suite=repository.suite, component=repository.component
            )
            _put(hands, keys, KEY)
            _put(hands, line.encode(), apt.OURS)
        else:
            _put(hands, dnf.armored(keys), KEY)
            line = dnf.source(key=KEY, url=url, suite=repository.suite)
            _put(hands, line.encode(), dnf.OURS)
        yield Installer(hands, manager, keys=keys, url=url)


def unmet(said: str) -> str:
    """Return which package needs what nobody has, as a package manager said it; or nothing."""
    for pattern in _UNMET:
        for line in said.splitlines():
            if found := pattern.search(line):
                who, what = found["who"], found["what"].strip()
                return f"`{who}` needs `{what}`, which no repository of the image has"
    return ""


def _put(hands: Hands, data: bytes, target: str) -> None:
    hands.put(data, target, owner="root", group="root", mode=0o644)
