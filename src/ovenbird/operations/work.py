"""The engine at work for a person who looks on: what it does is told as it happens.

    at_work ─▶ take over what dead processes left ─▶ begin ─▶ watch: events ─▶ ended or waiting

Only commands come here; queries read the store.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ovenbird.domain.errors import OvenbirdError, Unrecorded, from_json
from ovenbird.domain.events import Event
from ovenbird.domain.releases import Ending, Phase
from ovenbird.domain.words import GOES_ON, QUEUED
from ovenbird.operations.opening import Installation
from ovenbird.operations.releases import ANSWERED, ASKED, STANDS, Wait, find_wait, phase_of
from ovenbird.operations.releases import ending_of as ending_recorded
from ovenbird.operations.releases import error_of as error_recorded
from ovenbird.pipeline import changes, release, runtime  # noqa: F401 - workflows are found by name
from ovenbird.pipeline.runtime import Runtime
from ovenbird.store.faults import RESUME
from ovenbird.system.locks import file_lock

Tell = Callable[[Event], None]
"""Takes each event as it happens."""

EVERY_S = 0.1
LOOKS = 10  # after so many it is asked whether somebody works on it
STUCK = "Its process died before it began, or the engine gave it up"
STILL = f"Is the disk of the state directory full? When it is mended, {RESUME}"
GIVEN_UP = "Start it again: what it made is found and used"
FOREIGN_ENDED = "Another version of ovenbird began it, and nothing was taken back"
LOOK = "Look at `ovenbird cluster show`; `ovenbird cluster rollback` moves the traffic back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Where a release, or another change, stands after a command worked on it.

    Args:
        wait: The word that it waits for; None when it does not wait.
        error: What ended it; None when it was promoted, or has not ended.
        elsewhere: True when another process works on it.
    """

    subject: str
    wait: Wait | None = None
    error: OvenbirdError | None = None
    elsewhere: bool = False

    @property
    def waits_for(self) -> str:
        """The environment whose approval it waits for; empty when it does not."""
        return self.wait.environment if self.wait else ""


@contextmanager
def at_work(installation: Installation) -> Iterator[Runtime]:
    """Run the engine for the time of the block.

    A workflow that still runs at its end keeps this process's lease: then the process must
    end hard (:func:`has_left_threads`).
    """
    with runtime.running(installation.ports, state=installation.state) as engine:
        yield engine


def has_left_threads() -> bool:
    """Tell whether workflows go on in threads, so that this process must end hard."""
    return runtime.has_left_threads()


def take_over(engine: Runtime) -> tuple[str, ...]:
    """Adopt what dead processes left unfinished; return the releases and changes among it."""
    engine.adopt()
    with starting(engine):
        _close_what_cannot_go_on(engine)
    store = engine.ports.store
    known = {found.release_id for found in store.list_releases()}
    known |= {found.rollout_id for found in store.list_rollouts() if not found.release_id}
    return tuple(sorted(engine.adopted & known))


@contextmanager
def starting(engine: Runtime) -> Iterator[None]:
    """Be the only process that writes a release down and starts its workflow."""
    with file_lock(engine.state / "starting.lock"):
        yield


class Watch:
    """Tells the events of some releases and changes from its making on.

    Args:
        engine: Works on them.
        tell: Takes each event.
    """

    def __init__(self, engine: Runtime, tell: Tell) -> None:
        self._engine, self._tell = engine, tell
        self._seen = engine.ports.store.last_sequence()
        self._heard: set[str] = set()
        self._asked: set[str] = set()
        self._still: set[str] = set()
        self._queued: set[str] = set()

    def hear(self, subjects: Collection[str]) -> None:
        """Tell their events, too."""
        self._heard.update(subjects)

    def until_done(self, subjects: Collection[str]) -> None:
        """Return when each of them has ended, or waits for a person.

        Raises:
            Unrecorded: Our records cannot be kept; they stand still.
        """
        self.hear(subjects)
        for look in itertools.count(1):
            going = {subject for subject in subjects if not self._engine.has_ended(subject)}
            self._pass_on()  # after that look: the last event is there by then
            going -= self._asked
            if not going:
                return
            if look % LOOKS == 0:
                if self._queued & going:  # who is before it may have died
                    self._engine.adopt()
                self._refuse_still(going)
            self._engine.ports.clock.sleep(EVERY_S)

    def _refuse_still(self, going: set[str]) -> None:
        """Take over what another process has dropped; raise if this one has dropped something."""
        for subject in going:
            self._engine.adopt_again(subject)
        if self._engine.fault is not None:
            raise self._engine.fault
        still = {subject for subject in going if self._engine.stands_still(subject)}
        if again := still & self._still:  # seen once it may only be about to begin
            raise Unrecorded(f"`{min(again)}` could not be recorded", hint=STILL)
        self._still = still

    def _pass_on(self) -> None:
        for event in self._engine.ports.store.list_events(after=self._seen):
            self._seen = event.sequence
            if event.subject not in self._heard:
                continue
            self._note(event)
            self._tell(event)

    def _note(self, event: Event) -> None:
        """Remember who waits: for a person, or for its turn."""
        if event.kind.endswith((ASKED, STANDS)):
            self._asked.add(event.subject)
        if event.kind.endswith((ANSWERED, f".{GOES_ON}")):
            self._asked.discard(event.subject)
        if event.kind.endswith(f".{QUEUED}"):
            self._queued.add(event.subject)
        if event.kind.endswith("turn.finished"):
            self._queued.discard(event.subject)


def result_of(engine: Runtime, subject: str) -> Result:
    """Return where something stands now."""
    store = engine.ports.store
    if not engine.knows(subject):
        return Result(subject=subject, error=OvenbirdError(STUCK, hint=GIVEN_UP))
    if engine.is_cancelled(subject):
        return Result(subject=subject, error=error_recorded(ending_recorded(store, subject)))
    if not engine.has_ended(subject):
        return Result(subject=subject, wait=find_wait(store, subject))
    try:
        ending: Ending = engine.result(subject)
    except OvenbirdError as error:
        return Result(subject=subject, error=error)
    return Result(subject=subject, error=error_of(ending))


def error_of(ending: Ending) -> OvenbirdError | None:
    """Return the error that an ending tells of, if it does."""
    if ending.phase in {Phase.PROMOTED, Phase.BAKED}:
        return None
    words = ending.error or f"It ended as {ending.phase.replace('_', ' ')}"
    return from_json({"error": ending.cause, "message": words, "hint": ending.hint})


def is_stuck(engine: Runtime, subject: str) -> bool:
    """Tell whether our records say that something goes on which the engine will never do.

    Its process died between the two writes of a start, or the engine gave it up.
    """
    unfinished = not phase_of(engine.ports.store, subject).ended
    return unfinished and (not engine.knows(subject) or engine.is_broken(subject))


def end_foreign(engine: Runtime, subject: str, phase: Phase, why: str = FOREIGN_ENDED) -> Result:
    """End what this program cannot go on with: another version began it, or its lock is gone.

    Nothing is done to clusters; the records say so.
    """
    with starting(engine):
        engine.cancel(subject)
        _close(engine, subject, phase=phase, error=why, hint=LOOK)
    return Result(subject=subject)


def _close_what_cannot_go_on(engine: Runtime) -> None:
    """Write an ending for what is stuck, and free its locks. Call it while ``starting``."""
    store = engine.ports.store
    subjects = [found.release_id for found in store.list_releases() if not found.phase.ended]
    subjects += [found.rollout_id for found in store.list_rollouts() if not found.phase.ended]
    for subject in subjects:
        if is_stuck(engine, subject):
            _close(engine, subject, phase=Phase.FAILED, error=STUCK, hint=GIVEN_UP)


def _close(engine: Runtime, subject: str, *, phase: Phase, error: str, hint: str) -> None:
    """Write an ending for a release with its rollouts, or for another change; free its locks."""
    store, now = engine.ports.store, engine.ports.clock.now()
    ending = {"phase": phase, "error": error, "hint": hint, "ended_at": now}
    if any(found.release_id == subject for found in store.list_releases()):
        store.change_release(subject, **ending)
    for found in store.list_rollouts():
        if subject in {found.release_id, found.rollout_id} and not found.phase.ended:
            store.change_rollout(found.rollout_id, **ending)
    store.unlock_all(owner=subject)
