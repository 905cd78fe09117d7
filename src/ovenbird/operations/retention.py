"""Retention: packages that nothing needs leave their channels, then the pool.

    AWS, records ─▶ plan ─▶ a person confirms ─▶ plan again ─▶ withdraw, channel by channel
                                                            ─▶ prune states and pool files

What runs is asked of AWS both times: when it cannot be asked, nothing is removed. Each
withdrawal is a new numbered state, recorded after it was published; killed in between, the
next run withdraws the same packages again, which changes nothing, and records it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ovenbird.config.settings import Settings
from ovenbird.domain.catalog import CatalogEntry, PackageKey
from ovenbird.domain.images import Image, ImageId
from ovenbird.domain.ports import Progress
from ovenbird.domain.retention import (
    Choice,
    Hold,
    Limits,
    Policy,
    RetentionPlan,
    holds_of,
    oldest_kept,
    plan_retention,
)
from ovenbird.operations.clusters import list_clusters
from ovenbird.operations.opening import Installation, person

RELEASES = Limits(keep_last=50, keep_days=365)  # of the channel of what is in production


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a pruning would do, or what it did.

    Args:
        plan: Which packages leave which channels, and why; which stay, and why.
        entries: All that the catalog knows, without facts.
        oldest: Channel → number of the oldest state that stays readable.
        states: Names of the states that go, as ``candidate-3``.
    """

    plan: RetentionPlan
    entries: Mapping[PackageKey, CatalogEntry]
    oldest: Mapping[str, int]
    states: tuple[str, ...]

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.plan.goes or self.states)


def policy_of(
    settings: Settings, *, keep_last: int | None = None, keep_days: float | None = None
) -> Policy:
    """Return the policy of the settings, with other general limits when they are given.

    The channel of releases keeps at least as much as the others.
    """
    found, release = settings.retention, settings.repository.release_channel
    general = Limits(
        keep_last=found.keep_last if keep_last is None else keep_last,
        keep_days=found.keep_days if keep_days is None else keep_days,
    )
    more = Limits(
        keep_last=max(RELEASES.keep_last, general.keep_last),
        keep_days=max(RELEASES.keep_days, general.keep_days),
    )
    own = {
        channel: Limits(keep_last=limits.keep_last, keep_days=limits.keep_days)
        for channel, limits in found.channels.items()
    }
    return Policy(general=general, channels={release: more} | own)


def plan_pruning(installation: Installation, policy: Policy) -> Proposal:
    """Plan which packages and states go; nothing is changed.

    Raises:
        CloudError: AWS could not be asked what runs.
        NotFound: The sandbox is not running, or the repository lacks a channel.
        InvalidRequest: The repository cannot be thinned out.
    """
    now = installation.ports.clock.now()
    entries = {entry.key: entry for entry in installation.store.list_catalog()}
    name = installation.settings.repository.name
    publications = [one for one in installation.store.list_publications() if one.repository == name]
    plan = plan_retention(
        (entry.package for entry in entries.values()),
        publications,
        holds=tuple(_holds(installation, now)),
        policy=policy,
        now=now,
    )
    channels = sorted({one.channel for one in publications})
    oldest, states = _states(installation, channels, now=now)
    return Proposal(plan=plan, entries=entries, oldest=oldest, states=states)


def prune(
    installation: Installation, confirmed: Proposal, policy: Policy, *, progress: Progress
) -> Proposal:
    """Carry out what was confirmed, as far as it still holds, and return what was done.

    Raises:
        CloudError: AWS could not be asked what runs; nothing was removed.
        OvenbirdError: The repository could not be written; what was done is consistent, and
            the next run goes on.
    """
    again = plan_pruning(installation, policy)
    seen = {choice.publication for choice in confirmed.plan.goes}
    goes = [choice for choice in again.plan.goes if choice.publication in seen]
    for channel in sorted({choice.publication.channel for choice in goes}):
        here = [choice for choice in goes if choice.publication.channel == channel]
        _withdraw(installation, again, channel, here, progress=progress)
    installation.repository.prune_before(again.oldest)
    if again.states:
        progress(f"Removed with the files that only they needed: {', '.join(again.states)}")
    stays = tuple(choice for choice in again.plan.choices if choice not in goes)
    return replace(again, plan=RetentionPlan(choices=(*goes, *stays)))


def _withdraw(
    installation: Installation,
    proposal: Proposal,
    channel: str,
    choices: Sequence[Choice],
    *,
    progress: Progress,
) -> None:
    now = installation.ports.clock.now()
    packages = [proposal.entries[choice.publication.key].package for choice in choices]
    state = installation.repository.withdraw(packages, channel=channel, at=now)
    reasons = {choice.publication.key: choice.reason for choice in choices}
    installation.store.put_withdrawals(reasons, state=state, at=now, by=person())
    progress(f"Withdrew from channel `{channel}`: {len(packages)}; its state is {state.number} now")


def _holds(installation: Installation, now: datetime) -> Iterator[Hold]:
    images: dict[ImageId, Image] = {}
    for name in installation.settings.environments:  # copies have ids of their own
        found = installation.environment(name).images.list_baked()
        images |= {image.image_id: image for image in found}
    for cluster in list_clusters(installation):
        yield from holds_of(cluster, images, now=now)
    for release in installation.store.list_releases():
        if not release.phase.ended:
            yield Hold(
                reason=f"release {release.release_id} is under way",
                app=release.app,
                version=release.version,
                commit=release.commit,
            )


def _states(
    installation: Installation, channels: Sequence[str], *, now: datetime
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return each channel's oldest state that stays, and the names of those that go.

    The states that releases under way work with stay.
    """
    store, days = installation.store, installation.settings.retention.state_days
    begun = [release.started_at for release in store.list_releases() if not release.phase.ended]
    before = min([now - timedelta(days=days), *begun])
    oldest: dict[str, int] = {}
    gone: list[str] = []
    for channel in channels:
        states = installation.repository.states(channel)
        numbers = [state.number for state in states]
        oldest[channel] = oldest_kept(numbers, store.state_times(channel), before=before)
        gone += [state.suite for state in states if state.number < oldest[channel]]
    return oldest, tuple(gone)
