"""Baking anew what stands on an old base image: ordinary releases of the same commits.

    outdated ─▶ which commit serves? ─▶ a release of it, through the same pipeline
                └─ none: its image only      └─ several: a person must say which

There is no server that starts it: a timer of the host calls ``rebake --scheduled``, which
does nothing before it is due.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ovenbird.domain.errors import NotFound, OvenbirdError
from ovenbird.domain.events import Event
from ovenbird.domain.releases import Goal
from ovenbird.operations import preparing, releasing
from ovenbird.operations.opening import Installation
from ovenbird.operations.outdated import Standing, list_standings
from ovenbird.operations.work import Result, Tell

SUBJECT = "rebake"
BEGUN = "rebake.begun"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebake:
    """One app to be baked anew.

    Args:
        place: What `release start --app` takes.
        goal: A release where it serves, otherwise only an image.
        fresh: Whether an image of the same inputs must not be used again.
        reason: Why.
        refused: Why it is not done; empty when it is.
    """

    app: str
    commit: str
    place: str
    goal: Goal
    fresh: bool
    reason: str
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebaked:
    """What became of one.

    Args:
        result: None when it could not begin.
        error: Why it could not, or what ended it.
    """

    rebake: Rebake
    result: Result | None = None
    error: OvenbirdError | None = None


def plan_rebakes(
    installation: Installation, *, apps: Sequence[str] = (), is_forced: bool = False
) -> tuple[Rebake, ...]:
    """Return what is to be baked anew; nothing is changed.

    Args:
        installation: Whose apps.
        apps: Only of these; empty for all.
        is_forced: Also what is not outdated.

    Raises:
        NotFound: An app that is named has no image.
        CloudError: AWS refused a call.
    """
    by_app: dict[str, list[Standing]] = {}
    for standing in list_standings(installation):
        if not apps or standing.app in apps:
            by_app.setdefault(standing.app, []).append(standing)
    if missing := [app for app in apps if app not in by_app]:
        raise NotFound(f"No image of `{missing[0]}`", hint="`ovenbird image list` shows them")
    return tuple(
        _rebake(installation, standings)
        for standings in by_app.values()
        if is_forced or any(one.is_outdated for one in standings)
    )


def carry_out(
    installation: Installation, rebakes: Sequence[Rebake], *, actor: str, tell: Tell
) -> Iterator[Rebaked]:
    """Release one after the other; what fails does not keep the next one from it."""
    for rebake in rebakes:
        if rebake.refused:
            continue
        try:
            prepared = preparing.prepare(installation, app=rebake.place, ref=rebake.commit)
            result = releasing.start(
                installation,
                prepared,
                fresh=rebake.fresh,
                actor=actor,
                tell=tell,
                goal=rebake.goal,
            )
        except OvenbirdError as error:
            yield Rebaked(rebake=rebake, error=error)
        else:
            yield Rebaked(rebake=rebake, result=result, error=result.error)


def due_at(installation: Installation) -> datetime | None:
    """Return when the next scheduled look is due; None when the settings schedule none."""
    settings = installation.settings.rebake
    if settings is None:
        return None
    begun = [one.at for one in installation.store.list_events(SUBJECT) if one.kind == BEGUN]
    now = installation.ports.clock.now()
    return max(begun) + timedelta(hours=settings.every_h) if begun else now


def note_begun(installation: Installation, rebakes: Sequence[Rebake]) -> None:
    """Remember that a scheduled look was taken; before its work, which is not done twice."""
    apps = ", ".join(one.app for one in rebakes) or "nothing"
    event = Event(
        sequence=0,
        at=installation.ports.clock.now(),
        subject=SUBJECT,
        kind=BEGUN,
        text=f"Looked for outdated images: {apps}",
    )
    installation.store.add_event(event)


def _rebake(installation: Installation, standings: Sequence[Standing]) -> Rebake:
    """Decide which commit of an app is baked anew, and how far it goes."""
    first = standings[0]
    serving = sorted({one.commit for one in standings if one.serves_in})
    commit = serving[0] if serving else first.commit
    reasons = [reason for one in standings for reason in one.reasons]
    place = _place(installation, first.app, commit)
    refused = ""
    if len(serving) > 1:
        where = "; ".join(f"{one.commit[:7]} in {', '.join(one.serves_in)}" for one in standings)
        refused = f"different commits serve ({where}): release one of them first"
    elif not place:
        refused = f"the catalog does not say where commit {commit[:7] or 'of its image'} came from"
    return Rebake(
        app=first.app,
        commit=commit,
        place=place,
        goal=Goal.ROLLOUT if serving else Goal.IMAGE,
        fresh=not reasons,
        reason="; ".join(dict.fromkeys(reasons)) or "it was asked for",
        refused=refused,
    )


def _place(installation: Installation, app: str, commit: str) -> str:
    """Return what `release start --app` takes for an app; empty when it is not known."""
    for entry in installation.store.list_catalog(app):
        if entry.source.commit == commit and entry.package.app == app:
            source = entry.source
            return str(Path(source.url, source.directory)) if source.directory else source.url
    return ""
