"""Which baked images may go, and by which step: nothing that is used, nothing that is young.

    offered ─▶ deprecated ─▶ disabled ─▶ removed with its snapshot
       ◀───────────┴────────────┘  restored, when something uses it again

An image begins to go only when all of these hold:

* nothing uses it: no server group, whether it serves or rests; no instance, launch template or
  launch configuration; no SSM parameter; no copy; no release under way;
* it is not among the newest N images of its app;
* it was made longer ago than D days;
* nobody put the tag ``ovenbird:keep`` on it.

Each further step waits some days, so that what was overlooked is noticed while it can be taken
back. The newest image of an app stays whatever the limits say.

Source: EC2 user guide, "Deprecate an AMI", "Disable an AMI": a deprecated image can be launched,
a disabled one cannot and is shared with nobody; Asgard's ImageServiceMassDeleteSpec (never what
is in use, never when the records look wrong, a floor for days, a limit for each run).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ovenbird.domain.durations import counted
from ovenbird.domain.errors import Conflict
from ovenbird.domain.images import DISABLED, TAG, Image, ImageId

KEEP_TAG = TAG + "keep"
RETIRED_TAG = TAG + "retired-at"  # when it was deprecated, ISO 8601 in UTC


class Step(StrEnum):
    """What becomes of an image."""

    STAY = "stay"
    RESTORE = "restore"
    DEPRECATE = "deprecate"
    DISABLE = "disable"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """How many images are kept, beside those that are used.

    Args:
        keep_last: So many of the newest images of each app; at least one is kept.
        keep_days: What was made within so many days.
        disable_after_days: From the deprecation on.
        remove_after_days: From the deprecation on.
        at_once: Images that one run takes further, the oldest first.
    """

    keep_last: int = 10
    keep_days: float = 30.0
    disable_after_days: float = 7.0
    remove_after_days: float = 30.0
    at_once: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUse:
    """Something that needs an image.

    Args:
        reason: Who needs it, as ``instance i-0a1b in dev runs it``.
    """

    image_id: ImageId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChoice:
    """What becomes of one image, and why."""

    image: Image
    step: Step
    reason: str


def plan_images(
    images: Iterable[Image], uses: Iterable[ImageUse], *, limits: ImageLimits, now: datetime
) -> tuple[ImageChoice, ...]:
    """Decide what becomes of each image; by app, the newest first.

    Args:
        images: All baked images that the account owns.
        uses: All that was found to need one.
        limits: What is kept beside it.
        now: To which ages are counted.
    """
    reasons: dict[ImageId, str] = {}
    for use in uses:
        reasons.setdefault(use.image_id, use.reason)
    choices = [
        _choice(image, rank=rank, use=reasons.get(image.image_id, ""), limits=limits, now=now)
        for line in _lines(images)
        for rank, image in enumerate(line)
    ]
    return tuple(_few(choices, limits.at_once))


def refuse_strange(
    images: Sequence[Image], uses: Sequence[ImageUse], *, expected: Mapping[str, str]
) -> None:
    """Refuse to let anything go while what was observed cannot be true.

    Args:
        images: All baked images that the account owns.
        uses: All that was found to need an image.
        expected: Image → what our own records say runs it, for images that must be used.

    Raises:
        Conflict: Nothing uses what the records say runs, or a used image is not listed.
    """
    used, known = {use.image_id for use in uses}, {image.image_id for image in images}
    for image_id, what in expected.items():
        if image_id in known and image_id not in used:
            raise Conflict(
                f"The records look wrong: `{what}` runs `{image_id}`, and nothing in AWS uses it",
                hint="Look at `ovenbird cluster list`; nothing was removed",
            )
    if images and not used & known and expected:
        raise Conflict(
            "The records look wrong: nothing in AWS uses any of the images",
            hint="Look at `ovenbird cluster list`; nothing was removed",
        )


def _choice(
    image: Image, *, rank: int, use: str, limits: ImageLimits, now: datetime
) -> ImageChoice:
    retired = retired_at(image)
    if kept := use or _kept(image, rank=rank, limits=limits, now=now):
        step = Step.RESTORE if retired or image.state == DISABLED else Step.STAY
        return ImageChoice(image=image, step=step, reason=kept)
    if retired is None:
        days = (now - image.created_at).days
        reason = (
            f"{rank} newer images of `{image.app}`, {counted(days, 'day')} old, nothing uses it"
        )
        return ImageChoice(image=image, step=Step.DEPRECATE, reason=reason)
    return _further(image, retired, limits=limits, now=now)


def _further(image: Image, retired: datetime, *, limits: ImageLimits, now: datetime) -> ImageChoice:
    """Decide on an image that is on its way out."""
    days = (now - retired) / timedelta(days=1)
    since = f"deprecated {counted(round(days), 'day')} ago, and nothing uses it"
    if days >= limits.remove_after_days:
        return ImageChoice(image=image, step=Step.REMOVE, reason=since)
    if days >= limits.disable_after_days and image.state != DISABLED:
        return ImageChoice(image=image, step=Step.DISABLE, reason=since)
    word = "disabled" if image.state == DISABLED else "deprecated"
    return ImageChoice(image=image, step=Step.STAY, reason=f"it is {word}: {since}")


def _kept(image: Image, *, rank: int, limits: ImageLimits, now: datetime) -> str:
    """Return why an image that nothing uses is kept; empty when it is not."""
    young = now - image.created_at <= timedelta(days=limits.keep_days)
    reasons = {
        f"it has the tag `{KEEP_TAG}`": KEEP_TAG in image.tags,
        "it was made in the future: a clock is wrong": image.created_at > now,
        "it is the newest": rank == 0,
        f"it is among the {limits.keep_last} newest": rank < limits.keep_last,
        f"it is not older than {counted(limits.keep_days, 'day')}": young,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def retired_at(image: Image) -> datetime | None:
    """Return when an image was deprecated; None when it was not, or nobody knows when."""
    try:
        at = datetime.fromisoformat(image.tags.get(RETIRED_TAG, ""))
    except ValueError:
        return None
    return at if at.tzinfo else None


def _few(choices: Sequence[ImageChoice], at_once: int) -> Iterator[ImageChoice]:
    """Let so many images go further in one run, the oldest first; the others stay for now."""
    going = [one for one in choices if one.step not in {Step.STAY, Step.RESTORE}]
    oldest = sorted(going, key=lambda one: (one.image.created_at, one.image.image_id))[:at_once]
    now = {one.image.image_id for one in oldest}
    for choice in choices:
        if choice in going and choice.image.image_id not in now:
            reason = f"{at_once} older ones go first; then: {choice.reason}"
            yield ImageChoice(image=choice.image, step=Step.STAY, reason=reason)
        else:
            yield choice


def _lines(images: Iterable[Image]) -> Iterator[list[Image]]:
    """Yield the images of each app, the newest first."""
    lines: dict[str, list[Image]] = {}
    for image in images:
        lines.setdefault(image.app, []).append(image)
    for app in sorted(lines):
        yield sorted(lines[app], key=lambda one: (one.created_at, one.image_id), reverse=True)
