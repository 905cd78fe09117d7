"""How every step runs: narrated, timed, stoppable, recorded once.

    abort asked? ─▶ event ``NAME.started`` ─▶ work ─▶ event ``NAME.finished`` ─▶ DBOS records

For tests of recovery, ``OVENBIRD_DIE_BEFORE=NAME`` kills this process before a step's work
and ``OVENBIRD_DIE_AFTER=NAME`` after it, before anything says that it was done.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

from dbos import DBOS
from dbos import error as dbos_error

from ovenbird.aws.throttling import listening
from ovenbird.domain.errors import Aborted, OvenbirdError, Unrecorded, is_retryable
from ovenbird.domain.events import Event
from ovenbird.domain.ports import Progress
from ovenbird.pipeline import runtime
from ovenbird.pipeline.gathering import gathered
from ovenbird.pipeline.ports import Ports
from ovenbird.store.faults import database_errors
from ovenbird.system.caches import full_disk_errors

Params = ParamSpec("Params")
Result = TypeVar("Result")
ABORT = "abort"
ATTEMPTS = 4
PAUSE_S = 1.0  # before the second attempt; doubled before each further one


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a step's work gets: ports, and a way to say what happens.

    Args:
        name: As recorded, ``bake`` or ``prod/judge``.
        subject: The release or change that the step is part of.
        stoppable: Whether a person's word to end the release ends it, too.
    """

    name: str
    subject: str
    ports: Ports
    stoppable: bool = True

    def say(self, text: str) -> None:
        """Tell a person who waits."""
        self.note("said", text)

    @contextmanager
    def lines(self) -> Iterator[Progress]:
        """Yield what tells the lines that programs print; all are kept when the block ends.

        A person sees each within :data:`ovenbird.pipeline.gathering.GATHERED_S`.
        """
        with gathered(self.ports.store.add_events) as put:
            yield lambda text: put(self._event("said", text, {}))

    def refuse_aborted(self) -> None:
        """Raise if a person asked to end what this step is part of, and it may be ended.

        Raises:
            Aborted: Somebody did.
        """
        if self.stoppable and (actor := self.ports.store.said(self.subject, ABORT)):
            raise Aborted(f"Aborted by {actor}", actor=actor)

    def note(self, word: str, text: str, facts: Mapping[str, str | int | float] = {}) -> None:
        """Append an event.

        Args:
            word: What the event's kind ends with.
            text: The fact in words.
            facts: The same for machines.
        """
        self.ports.store.add_event(self._event(word, text, facts))

    def _event(self, word: str, text: str, facts: Mapping[str, str | int | float]) -> Event:
        return Event(
            sequence=0,
            at=self.ports.clock.now(),
            subject=self.subject,
            kind=f"{self.name}.{word}",
            text=text,
            facts=facts,
        )


def recorded(
    name: str,
    subject: str,
    work: Callable[Concatenate[Step, Params], Result],
    *args: Params.args,
    **kwargs: Params.kwargs,
) -> Result:
    """Do a step's work once, or return what it returned before the process died.

    Raises:
        Aborted: A person asked to end the release.
        OvenbirdError: What the work raised; any other exception comes as one, too, because
            that is how it will come back from the record.
    """
    return _run(name, subject, lambda step: work(step, *args, **kwargs), stoppable=True)


def recorded_always(
    name: str,
    subject: str,
    work: Callable[Concatenate[Step, Params], Result],
    *args: Params.args,
    **kwargs: Params.kwargs,
) -> Result:
    """Do as :func:`recorded` does, also after a person asked to end the release."""
    return _run(name, subject, lambda step: work(step, *args, **kwargs), stoppable=False)


def _run(name: str, subject: str, work: Callable[[Step], Result], *, stoppable: bool) -> Result:
    try:
        with _halting():
            return DBOS.run_step(
                {
                    "name": name,
                    "retries_allowed": True,
                    "max_attempts": ATTEMPTS,
                    "interval_seconds": PAUSE_S,
                    "should_retry": is_retryable,
                },
                _perform,
                Step(
                    name=name, subject=subject, ports=runtime.current().ports, stoppable=stoppable
                ),
                work,
            )
    except dbos_error.DBOSMaxStepRetriesExceeded as error:
        raise error.errors[-1] from error


def pause(seconds: float) -> None:
    """Wait; a process that takes over waits only for what is left."""
    with _halting():
        DBOS.sleep(seconds)


def word_on(topic: str, *, within_s: float) -> Mapping[str, str]:
    """Wait for a person's word on a topic; return it and who said it, or nothing in time."""
    with _halting():
        return DBOS.recv(topic, timeout_seconds=within_s) or {}


@contextmanager
def _halting() -> Iterator[None]:
    """Let all stand still when something cannot be recorded; it goes on where it was."""
    here = runtime.current()
    try:
        with database_errors(here.state):
            yield
    except Unrecorded as error:
        raise here.halt(error) from error


def _perform(step: Step, work: Callable[[Step], Result]) -> Result:
    with _halting():  # before the engine takes it for what the step came to
        return _told(step, work)


def _told(step: Step, work: Callable[[Step], Result]) -> Result:
    die("BEFORE", step.name)
    step.refuse_aborted()
    step.note("started", "")
    begun = time.monotonic()
    try:
        with full_disk_errors(step.ports.directory), listening(step.say, step.refuse_aborted):
            result = work(step)
    except OvenbirdError as error:
        step.note("failed", str(error), {"hint": error.hint})
        raise
    except Exception as error:
        step.note("failed", f"{type(error).__name__}: {error}")
        raise _fault(error) from error
    die("AFTER", step.name)
    step.note("finished", "", {"seconds": round(time.monotonic() - begun, 3)})
    return result


def _fault(error: Exception) -> OvenbirdError:
    where = "".join(traceback.format_exception(error))
    return OvenbirdError(
        f"{type(error).__name__}: {error}",
        hint="This is a fault in ovenbird: report it with the lines above",
        stderr=where[-4000:],
    )


def die(when: str, name: str) -> None:
    """Kill this process if a test of recovery asked for it at this point."""
    if os.environ.get(f"OVENBIRD_DIE_{when}") == name:
        os.kill(os.getpid(), signal.SIGKILL)
