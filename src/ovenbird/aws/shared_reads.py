"""One call for many who ask the same API at once: a batcher with single flight.

    asked ─┐
    asked ─┼─▶ collected while the call before is under way ─▶ one call ─▶ answers handed out
    asked ─┘

Every answer comes from a call that began after it was asked for, unless the asker says that an
older one will do; so a read after a write always sees the write. The more ask, the more go
into one call: while one call waits for its turn, all who come gather for the next.

Calls are made in threads of their own: who asked may end waiting without harm to the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillWaiting
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ovenbird.aws import throttling
from ovenbird.domain.errors import NotFound

Key = TypeVar("Key")
Answer = TypeVar("Answer")
GATHER_S = 0.005  # before a call, so that those who ask in the same moment share it
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
        gather_s: Seconds for which a call waits for others to join.
        clock: Returns seconds that only grow.
    """

    def __init__(
        self,
        fetch: Callable[[Sequence[Key]], Mapping[Key, Answer]],
        *,
        at_once: int,
        calls: int = 1,
        gather_s: float = GATHER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch, self._at_once, self._calls = fetch, at_once, calls
        self._gather_s, self._clock = gather_s, clock
        self._lock = threading.Lock()
        self._asked: dict[Key, _Asked[Answer]] = {}
        self._known: dict[Key, _Known[Answer]] = {}
        self._written: dict[Key, float] = {}
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

    def _future(self, key: Key, max_age_s: float) -> Future[tuple[Answer, ...]]:
        with self._lock:
            known = self._known.get(key)
            if known and max_age_s and self._clock() - known.begun <= max_age_s:
                done: Future[tuple[Answer, ...]] = Future()
                done.set_result((known.answer,))
                return done
            asked = self._asked.setdefault(key, _Asked())
            if self._working < self._calls:
                self._working += 1
                threading.Thread(target=self._work, name="shared-read", daemon=True).start()
            return asked.future

    def _work(self) -> None:
        """Make calls until nobody asks any more."""
        while True:
            if self._gather_s:
                threading.Event().wait(self._gather_s)
            with self._lock:
                chosen = dict(list(self._asked.items())[: self._at_once])
                if not chosen:
                    self._working -= 1
                    return
                for key in chosen:
                    del self._asked[key]
            self._answer(chosen)

    def _answer(self, chosen: Mapping[Key, _Asked[Answer]]) -> None:
        begun = self._clock()
        try:
            found = self._fetch(tuple(chosen))
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
