"""The package repository: what is in it, how machines use it, how it is made and repaired.

show      channels, their states, who signs, the lines for apt and dnf
create    the bucket, or the directory
repair    what killed publishers left undone
rebuild   a new state of the same packages: index files anew, signed by the keys of today
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ovenbird.config.settings import RepositorySettings
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import NotFound
from ovenbird.domain.keys import KeyRole
from ovenbird.domain.packages import PackageFormat
from ovenbird.operations import keys
from ovenbird.operations.opening import Installation
from ovenbird.system.clock import SystemClock

APT_KEY = "/usr/share/keyrings/ovenbird-{}.gpg"
YUM_KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-ovenbird-{}"
NO_ADDRESS = (
    "Bakes read the bucket by themselves. For other machines set `repository.base_url` in the"
    " settings: the HTTP address at which they reach it. Mirror lists have it from the next state"
    " on"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelView:
    """One channel as it is served now.

    Args:
        number: Of its newest state; 0 for none.
        packages: Format → how many packages.
        unserved: Numbers of newer states, which a killed publisher left.
        apt: The line for sources.list; empty without a deb, or without an address.
        yum: The text of a ``.repo`` file; empty without an rpm, or without an address.
    """

    name: str
    number: int = 0
    packages: Mapping[str, int] = field(default_factory=dict)
    unserved: tuple[int, ...] = ()
    apt: str = ""
    yum: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How machines reach the repository and check it.

    Args:
        url: Its address for them; empty when there is none.
        apt_key: Path of the public keys on a machine, for apt.
        yum_key: The same for dnf.
        is_here: True when machines are this host: the keys are there already.
    """

    url: str
    apt_key: str
    yum_key: str
    is_here: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryView:
    """The whole repository.

    Args:
        url: Where it lives.
        keys: Fingerprints of the keys that sign it; none before the first publish.
    """

    name: str
    url: str
    access: Access
    keys: tuple[str, ...]
    channels: tuple[ChannelView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryChange:
    """A change that has not been confirmed yet.

    Args:
        words: What would be done, one sentence each; none when there is nothing to do.
        act: Does it, and returns what there is then.
    """

    words: tuple[str, ...]
    act: Callable[[], tuple[str, ...]]


def get_repository(installation: Installation, *, channel: str = "") -> RepositoryView:
    """Return what is in the repository, and how machines use it; nothing is changed.

    Args:
        installation: Whose repository.
        channel: Only this one; empty for all.

    Raises:
        NotFound: There is no such channel, or no such bucket.
        OvenbirdError: The store is damaged, or refuses.
    """
    known = keys.get_keys(installation)
    found = installation.settings.repository
    access = _access(found, installation.storage.url, public_keys=known.public_keys)
    return RepositoryView(
        name=found.name,
        url=installation.storage.url,
        access=access,
        keys=tuple(one.fingerprint for one in known.keys if one.role is KeyRole.SIGNS),
        channels=tuple(
            _channel(installation, one, access) for one in _named(installation, channel)
        ),
    )


def plan_create(installation: Installation) -> RepositoryChange:
    """Plan to make the repository's bucket, or its directory, unless it is there.

    Raises:
        CloudError: AWS refused, as for another account's bucket.
    """
    storage, found = installation.storage, installation.settings.repository
    if storage.is_made():
        return RepositoryChange(words=(), act=lambda: (storage.url,))
    words = f"Make the directory `{found.directory}`"
    if found.bucket is not None:
        name = found.bucket.environment or installation.settings.bake_environment
        place = installation.settings.environment(name)
        words = (
            f"Make the bucket `{found.bucket.name}` in account `{place.account_id}`, Region"
            f" `{place.region}`: closed to the public, and encrypted"
        )

    def make() -> tuple[str, ...]:
        storage.ensure()
        return (storage.url,)

    return RepositoryChange(words=(words,), act=make)


def plan_repair(installation: Installation, *, channel: str = "") -> RepositoryChange:
    """Plan to do what killed publishers left undone.

    Args:
        installation: Whose repository.
        channel: Only this one; empty for all.

    Raises:
        NotFound: There is no such channel.
        OvenbirdError: The store is damaged, or refuses.
    """
    repository = installation.repository
    return _on_channels(
        installation,
        channel,
        words=lambda name: _repair_words(name, repository.unserved(name)),
        act=repository.repair,
    )


def plan_rebuild(installation: Installation, *, channel: str = "") -> RepositoryChange:
    """Plan a new state of each channel, with its packages, its index files made anew.

    Args:
        installation: Whose repository.
        channel: Only this one; empty for all.

    Raises:
        NotFound: There is no such channel.
        OvenbirdError: The store is damaged, or refuses.
    """
    repository, clock = installation.repository, SystemClock()
    return _on_channels(
        installation,
        channel,
        words="Make a new state of `{}` with the same packages,"
        " signed by the keys that sign now".format,
        act=lambda name: repository.rebuild(name, at=clock.now()),
    )


def _on_channels(
    installation: Installation,
    channel: str,
    *,
    words: Callable[[str], str],
    act: Callable[[str], RepositoryState],
) -> RepositoryChange:
    names = _named(installation, channel)
    return RepositoryChange(
        words=tuple(map(words, names)), act=lambda: tuple(act(name).suite for name in names)
    )


def _repair_words(channel: str, unserved: tuple[int, ...]) -> str:
    if not unserved:
        return f"Look whether all files of the newest state of `{channel}` are there"
    numbers = ", ".join(map(str, unserved))
    return f"Serve what a killed publisher left of channel `{channel}`: {numbers}"


def _named(installation: Installation, channel: str) -> tuple[str, ...]:
    """Return the channels that are meant.

    Raises:
        NotFound: There is no such channel.
    """
    known = installation.repository.channels()
    if not channel:
        return known
    if channel not in known:
        there = ", ".join(f"`{one}`" for one in known)
        raise NotFound(
            f"The repository has no channel `{channel}`",
            hint=f"There are {there}"
            if known
            else "Nothing is published yet: `ovenbird package build --publish`",
        )
    return (channel,)


def _channel(installation: Installation, name: str, access: Access) -> ChannelView:
    repository = installation.repository
    unserved = repository.unserved(name)
    if unserved and unserved[0] == 1:
        return ChannelView(name=name, unserved=unserved)
    state = repository.state(name)
    counted = Counter(one.format.value for one in repository.list_packages(name))
    return ChannelView(
        name=name,
        number=state.number,
        packages=dict(sorted(counted.items())),
        unserved=unserved,
        apt=_apt(state, access) if counted[PackageFormat.DEB.value] and access.url else "",
        yum=_yum(state, access) if counted[PackageFormat.RPM.value] and access.url else "",
    )


def _access(found: RepositorySettings, url: str, *, public_keys: Path) -> Access:
    """Return how machines reach the repository: by HTTP, or as files of this host."""
    if found.directory is not None and not found.base_url:
        path = str(public_keys)
        return Access(url=url, apt_key=path, yum_key=path, is_here=True)
    return Access(
        url=found.base_url.rstrip("/"),
        apt_key=APT_KEY.format(found.name),
        yum_key=YUM_KEY.format(found.name),
        is_here=False,
    )


def _apt(state: RepositoryState, access: Access) -> str:
    """Return the line of sources.list.

    Source: sources.list(5), "The DEB and DEB-SRC types: one-line-style format".
    """
    return f"deb [signed-by={access.apt_key}] {access.url} {state.channel} {state.component}"


def _yum(state: RepositoryState, access: Access) -> str:
    """Return the text of a ``.repo`` file.

    Source: dnf.conf(5), "Repo options"; dnf looks for ``://`` in addresses.
    """
    url = re.sub(r"^file:/(?!/)", "file:///", access.url)
    return "\n".join(
        (
            f"[{state.repository}-{state.channel}]",
            f"name={state.repository}, channel {state.channel}",
            f"mirrorlist={url}/yum/{state.channel}/$basearch/mirrorlist",
            f"gpgkey=file://{access.yum_key}",
            "gpgcheck=1",
            "repo_gpgcheck=1",
        )
    )
