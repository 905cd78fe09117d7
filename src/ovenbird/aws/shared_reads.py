"""One call for many who ask the same API at once: a batcher with single flight.

    asked ─┐
    asked ─┼─▶ collected while the call before is under way ─▶ one call ─▶ answers handed out
    asked ─┘

Every answer comes from a call that began after it was asked for, unless the asker says that an
older one will do; so a read after a write always sees the write. The more ask, the more go
into one call: while one call waits for its turn, all who come gather for the next.

A crowd waits a moment longer before each call, so that more of it share one; and a call with
room left also asks for what was asked for a moment ago: those who ask for it again and again,
each second, then find an answer that is young enough.

Calls are made in threads of their own: who asked may end waiting without harm to the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillWaiting
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from ovenbird.aws import throttling
from ovenbird.domain.errors import NotFound

Key = TypeVar("Key")
Answer = TypeVar("Answer")
GATHER_S = 0.005  # before a call, so that those who ask in the same moment share it
CROWD_GATHER_S = 0.25  # when several threads ask
CROWD_S = 2.0  # after two threads asked within so long it is a crowd for as long again
AGAIN_S = 5.0  # who asked so long ago may be asking each second
KEPT_S = 60.0  # how old an answer may get that somebody may still take


@dataclass(kw_only=True)
class _Known(Generic[Answer]):
    """An answer, and when the call began that gave it."""

    answer: Answer
    begun: float


@dataclass(kw_only=True)
class _Asked(Generic[Answer]):
    """What one key's askers wait for."""

    future: Future[tuple[Answer, ...]] = field(default_factory=Future)  # one, or none


class SharedRead(Generic[Key, Answer]):
    """Reads of one API that many share.

    Args:
        fetch: Makes one call for some keys; leaves out the keys that there is nothing for.
        at_once: Keys in one call at most.
        calls: Calls under way at once at most.
        gather_s: Seconds for which a call waits for others to join, when few ask.
        crowd_s: The same when several threads ask.
        repeats: Whether calls with room left ask again for what was asked a moment ago.
        clock: Returns seconds that only grow.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        fetch: Callable[[Sequence[Key]], Mapping[Key, Answer]],
        *,
        at_once: int,
        calls: int = 1,
        gather_s: float = GATHER_S,
        crowd_s: float = CROWD_GATHER_S,
        repeats: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch, self._at_once, self._calls = fetch, at_once, calls
        self._gather_s, self._crowd_s, self._clock = gather_s, crowd_s, clock
        self._repeats = repeats
        self._lock = threading.Lock()
        self._asked: dict[Key, _Asked[Answer]] = {}
        self._known: dict[Key, _Known[Answer]] = {}
        self._written: dict[Key, float] = {}
        self._lately: dict[Key, float] = {}
        self._asker, self._asked_at, self._crowded_until = 0, 0.0, 0.0
        self._working = 0

    def get(self, key: Key, *, max_age_s: float = 0.0) -> Answer:
        """Return the answer for one key.

        Args:
            key: What is asked for.
            max_age_s: How long ago the call may have begun whose answer will do.

        Raises:
            NotFound: The call had no answer for it.
            OvenbirdError: What the call raised; all who share it get the same.
        """
        found = self.find_all((key,), max_age_s=max_age_s)
        if key not in found:
            raise NotFound(f"There is no `{key}`")
        return found[key]

    def find(self, key: Key, *, max_age_s: float = 0.0) -> Answer | None:
        """Return the answer for one key, or None when the call had none."""
        return self.find_all((key,), max_age_s=max_age_s).get(key)

    def find_all(self, keys: Sequence[Key], *, max_age_s: float = 0.0) -> dict[Key, Answer]:
        """Return the answers for some keys, all asked for at once, as far as there are any.

        Raises:
            OvenbirdError: What a call raised.
        """
        futures = {key: self._future(key, max_age_s) for key in keys}
        answers = {key: _awaited(future) for key, future in futures.items()}
        return {key: answer[0] for key, answer in answers.items() if answer}

    def forget(self, key: Key) -> None:
        """Take no answer from before now for this key: it was written."""
        with self._lock:
            self._known.pop(key, None)
            self._written[key] = self._clock()

    def know(self, found: Mapping[Key, Answer], *, begun: float) -> None:
        """Keep answers of another call for those who take older ones.

        Args:
            found: Key → answer.
            begun: When that call began, by the clock.
        """
        with self._lock:
            self._keep(found, begun)

    def now(self) -> float:
        """Return the time by the clock."""
        return self._clock()

    def _future(self, key: Key, max_age_s: float) -> Future[tuple[Answer, ...]]:
        with self._lock:
            now = self._clock()
            self._note(key, now)
            known = self._known.get(key)
            if known and max_age_s and now - known.begun <= max_age_s:
                done: Future[tuple[Answer, ...]] = Future()
                done.set_result((known.answer,))
                return done
            asked = self._asked.setdefault(key, _Asked())
            if self._working < self._calls:
                self._working += 1
                threading.Thread(target=self._work, name="shared-read", daemon=True).start()
            return asked.future

    def _note(self, key: Key, now: float) -> None:
        """Remember who asked for what."""
        self._lately[key] = now
        asker = threading.get_ident()
        if asker != self._asker and now - self._asked_at < CROWD_S:
            self._crowded_until = now + CROWD_S
        self._asker, self._asked_at = asker, now

    def _work(self) -> None:
        """Make calls until nobody asks any more."""
        while True:
            crowded = self._clock() < self._crowded_until
            if pause := self._crowd_s if crowded else self._gather_s:
                threading.Event().wait(pause)
            with self._lock:
                chosen = dict(islice(self._asked.items(), self._at_once))
                if not chosen:
                    self._working -= 1
                    return
                for key in chosen:
                    del self._asked[key]
                more = self._asked_lately(self._at_once - len(chosen)) if self._repeats else ()
            self._answer(chosen, tuple(dict.fromkeys((*chosen, *more))))

    def _asked_lately(self, room: int) -> tuple[Key, ...]:
        """Return keys that may be asked for again soon, as many as there is room for."""
        oldest = self._clock() - AGAIN_S
        self._lately = {key: at for key, at in self._lately.items() if at > oldest}
        return tuple(islice(self._lately, room))

    def _answer(self, chosen: Mapping[Key, _Asked[Answer]], keys: tuple[Key, ...]) -> None:
        begun = self._clock()
        try:
            found = self._fetch(keys)
        except Exception as error:  # noqa: BLE001 - raised where it was asked for
            for asked in chosen.values():
                asked.future.set_exception(error)
            return
        with self._lock:
            self._keep(found, begun)
        for key, asked in chosen.items():
            asked.future.set_result((found[key],) if key in found else ())

    def _keep(self, found: Mapping[Key, Answer], begun: float) -> None:
        """Keep answers for those who take older ones; not those from before a write."""
        oldest = begun - KEPT_S
        self._written = {key: at for key, at in self._written.items() if at > oldest}
        self._known = {key: known for key, known in self._known.items() if known.begun > oldest}
        for key, answer in found.items():
            if begun > self._written.get(key, oldest):
                self._known[key] = _Known(answer=answer, begun=begun)


def _awaited(future: Future[Answer]) -> Answer:
    """Wait for an answer, as long as nobody ends it."""
    while True:
        throttling.heed()
        try:
            return future.result(timeout=throttling.SLICE_S)
        except StillWaiting:
            if future.done():  # the call's own error
                raise
