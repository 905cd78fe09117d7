"""What people say to a rollout: pause, continue, promote; stored words, never changed.

pause 1 ─▶ it stands before its next action ─▶ continue pause 1
its plan says that it waits at action 7     ─▶ continue action 7
promote ─▶ it goes on, and what only looks or waits is left out

The first of each word counts, so saying one again changes nothing; a second pause is
another word than the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

PROMOTE = "promote"
ACTION = "action "
WAITS, GOES_ON = "waits", "goes_on"  # how the kinds of events end that say so
QUEUED = "queued"  # likewise, of those of who waits for its turn
SUPERSEDE = "supersede"  # said by a newer one, to what waits for its turn or for an approval


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """All that was said to one rollout.

    Args:
        said: Word → who said it.
    """

    said: Mapping[str, str] = field(default_factory=dict)

    @property
    def promoted_by(self) -> str:
        """Who promoted it; empty when nobody did."""
        return self.said.get(PROMOTE, "")

    @property
    def pause(self) -> str:
        """The pause that nobody has ended, as ``pause 2``; empty when there is none."""
        last = next(n for n in count() if pause_word(n + 1) not in self.said)
        word = pause_word(last)
        return word if last and not self.continued(word) else ""

    @property
    def next_pause(self) -> str:
        """The word that pauses it now: the open one, or a new one."""
        return self.pause or next(w for n in count(1) if (w := pause_word(n)) not in self.said)

    def continued(self, what: str) -> str:
        """Return who let it go on after a pause, or after an action; empty for nobody."""
        return self.said.get(continue_word(what), "")

    def lets_go(self, what: str) -> bool:
        """Tell whether a rollout that stands for this goes on.

        A promotion leaves out what the plan waits for; a pause ends by its own word alone.
        """
        return bool(self.continued(what) or (self.promoted_by and what.startswith(ACTION)))


def pause_word(number: int) -> str:
    """Return the word for a pause.

    Args:
        number: Counted from 1.
    """
    return f"pause {number}"


def action_word(number: int) -> str:
    """Return what an action of the plan is called that waits for a word."""
    return f"{ACTION}{number}"


def continue_word(what: str) -> str:
    """Return the word that ends a pause, or lets an action of the plan go on."""
    return f"continue {what}"
