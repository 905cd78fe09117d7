"""The store: our records of releases, what they made, and what was done to clusters.

Every write has a key of its own and can be repeated: a step that runs twice leaves what
it would have left by running once. Only events pile up; each has a number, and the
numbers rise. A database that cannot be read or written is ``Unrecorded``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.sqlite import insert

from ovenbird.domain.errors import NotFound
from ovenbird.domain.events import Event
from ovenbird.domain.images import Baked
from ovenbird.domain.releases import (
    ActionDone,
    Goal,
    Phase,
    Release,
    Report,
    Rollout,
    stage_times,
)
from ovenbird.store import tables as t
from ovenbird.store.database import row_of
from ovenbird.store.judgement_records import JudgementRecords
from ovenbird.store.lock_records import LockRecords


class Store(LockRecords, JudgementRecords):
    """All records, in one database.

    Those of packages stand in ``catalog_records.py``, locks and words in ``lock_records.py``,
    those of the judge in ``judgement_records.py``.
    """

    # Releases

    def put_release(self, release: Release) -> None:
        """Write a release, or write it over."""
        self.put(t.RELEASES, row_of(release, t.RELEASES))

    def get_release(self, release_id: str) -> Release:
        """Return one release.

        Raises:
            NotFound: There is none of that id.
        """
        rows = self.rows(select(t.RELEASES).where(t.RELEASES.c.release_id == release_id))
        if not rows:
            raise NotFound(
                f"No release `{release_id}`",
                hint="`ovenbird release list` shows what there is",
                release_id=release_id,
            )
        return _release(rows[0])

    def list_releases(self, app: str | None = None) -> tuple[Release, ...]:
        """Return the releases, newest first."""
        query = select(t.RELEASES).order_by(t.RELEASES.c.started_at.desc())
        if app:
            query = query.where(t.RELEASES.c.app == app)
        return tuple(_release(row) for row in self.rows(query))

    def change_release(self, release_id: str, **changes: Any) -> Release:
        """Write some fields of a release over and return it.

        Args:
            release_id: Which.
            changes: Fields of :class:`Release`.
        """
        changed = replace(self.get_release(release_id), **changes)
        self.put_release(changed)
        return changed

    def get_report(self, release_id: str) -> Report:
        """Return everything known of one release.

        Raises:
            NotFound: There is none of that id.
        """
        release = self.get_release(release_id)
        query = select(t.ROLLOUTS.c.rollout_id).where(t.ROLLOUTS.c.release_id == release_id)
        rollouts = tuple(
            self.get_rollout(row["rollout_id"])
            for row in self.rows(query.order_by(t.ROLLOUTS.c.started_at))
        )
        stages = stage_times(self.list_events(release_id), rollouts)
        return Report(release=release, stages=stages, rollouts=rollouts)

    # What releases make

    def put_image(self, baked: Baked, *, commit: str, release_id: str) -> None:
        """Write an image with the release that made it; what found it later changes nothing."""
        image = baked.image
        row = {
            **row_of(baked, t.IMAGES),
            **{name: getattr(image, name) for name in ("image_id", "name", "app", "version")},
            "bake_key": image.bake_key,
            "created_at": image.created_at,
            "commit": commit,
            "release_id": release_id,
        }
        with self.transaction() as connection:
            connection.execute(insert(t.IMAGES).values(row).on_conflict_do_nothing())

    # Rollouts

    def put_rollout(self, rollout: Rollout) -> None:
        """Write a rollout, or write it over; its actions and verdicts stand apart."""
        self.put(t.ROLLOUTS, row_of(rollout, t.ROLLOUTS))

    def get_rollout(self, rollout_id: str) -> Rollout:
        """Return one rollout with its actions and the last verdict of each canary step.

        Raises:
            NotFound: There is none of that id.
        """
        rows = self.rows(select(t.ROLLOUTS).where(t.ROLLOUTS.c.rollout_id == rollout_id))
        if not rows:
            raise NotFound(f"No rollout `{rollout_id}`", rollout_id=rollout_id)
        return Rollout(
            **{**rows[0], "phase": Phase(rows[0]["phase"])},
            actions=self._actions(rollout_id),
            verdicts=self.last_verdicts(rollout_id),
        )

    def list_rollouts(self, cluster: str | None = None) -> tuple[Rollout, ...]:
        """Return rollouts and other changes, newest first, without actions and verdicts.

        Args:
            cluster: Only those of this cluster.
        """
        query = select(t.ROLLOUTS).order_by(t.ROLLOUTS.c.started_at.desc())
        if cluster:
            query = query.where(t.ROLLOUTS.c.cluster == cluster)
        return tuple(Rollout(**{**row, "phase": Phase(row["phase"])}) for row in self.rows(query))

    def change_rollout(self, rollout_id: str, **changes: Any) -> None:
        """Write some fields of a rollout over."""
        self.put_rollout(replace(self.get_rollout(rollout_id), **changes))

    def put_action(self, rollout_id: str, number: int, *, text: str, seconds: float) -> None:
        """Write that an action was carried out."""
        row = {"rollout_id": rollout_id, "number": number, "text": text, "seconds": seconds}
        self.put(t.ACTIONS, row)

    def _actions(self, rollout_id: str) -> tuple[ActionDone, ...]:
        query = select(t.ACTIONS).where(t.ACTIONS.c.rollout_id == rollout_id)
        return tuple(
            ActionDone(text=row["text"], seconds=row["seconds"])
            for row in self.rows(query.order_by(t.ACTIONS.c.number))
        )

    # Events

    def add_event(self, event: Event) -> Event:
        """Append an event and return it with its number."""
        with self.transaction() as connection:
            result = connection.execute(insert(t.EVENTS).values(_event_row(event)))
        return replace(event, sequence=int(result.lastrowid))

    def add_events(self, events: Sequence[Event]) -> None:
        """Append events in their order, all of them or none."""
        with self.transaction() as connection:
            connection.execute(insert(t.EVENTS), [_event_row(event) for event in events])

    def list_events(self, subject: str | None = None, *, after: int = 0) -> tuple[Event, ...]:
        """Return events in order.

        Args:
            subject: Only those of this release or rollout.
            after: Only those with a greater number.
        """
        query = select(t.EVENTS).where(t.EVENTS.c.sequence > after).order_by(t.EVENTS.c.sequence)
        if subject:
            query = query.where(t.EVENTS.c.subject == subject)
        return tuple(Event(**row) for row in self.rows(query))

    def last_sequence(self) -> int:
        """Return the number of the newest event; 0 when there is none."""
        return int(self.rows(select(func.max(t.EVENTS.c.sequence).label("n")))[0]["n"] or 0)

    # Signs of life

    def count(self) -> int:
        """Return the number of events; a cheap sign of life for ``doctor``."""
        return int(self.rows(select(func.count().label("n")).select_from(t.EVENTS))[0]["n"])


def _event_row(event: Event) -> dict[str, Any]:
    row = {**row_of(event, t.EVENTS), "facts": dict(event.facts)}
    del row["sequence"]
    return row


def _release(row: Mapping[str, Any]) -> Release:
    return Release(**{**row, "phase": Phase(row["phase"]), "goal": Goal(row["goal"])})
