"""Progress, told live: each event becomes a line that stays, a passing one, or none.

    bake.started    a passing "Baking"
    bake.said       passing, as apt's lines; the last one stays when the stage has finished
    prod/*.said     stays: what a rollout does to the cluster
    look.verdict    passing; the last look of a canary step stays
    *.failed        none: the error itself comes at the end

On a terminal passing lines live in one line with a spinner. Elsewhere the beginning of each
stage is a line, and of what follows one line in :data:`EVERY`; `release logs` has them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from ovenbird.domain.events import Event
from ovenbird.domain.releases import STAGES

DOING = {
    "manifest": "Reading the manifest",
    "build": "Building",
    "publish": "Publishing",
    "bake": "Baking",
    "boot": "Booting",
    "share": "Sharing",
}
STAYS = {"approved", "drift", "plan", "queued", "retreat", "stopped", "waits", "warning"}
MARKED = {"warning": "warning: "}
NAME_CHARS = 8
EVERY = timedelta(seconds=2)  # between passing lines where there is no terminal


class Story:
    """Turns events into lines; remembers what was said last in each step.

    Args:
        several: Whether events of more than one release come.
    """

    def __init__(self, *, several: bool = False) -> None:
        self._several = several
        self._last: dict[tuple[str, str], str] = {}

    def passing(self, event: Event) -> str:
        """Return what happens at this moment; empty when nothing new does."""
        step, word = _parts(event)
        stage = step.rpartition("/")[2]
        if word == "started":
            return DOING.get(stage, "")
        return _one_line(event.text) if word in {"said", "verdict"} else ""

    def staying(self, event: Event) -> str:
        """Return the line, or lines, that stay; empty when none do."""
        step, word = _parts(event)
        text = self._told(event, step, word)
        if text and self._several:
            return "\n".join(f"{event.subject}  {line}" for line in text.splitlines())
        return text

    def _told(self, event: Event, step: str, word: str) -> str:
        environment, _, stage = step.rpartition("/")
        environment = environment.partition("/")[0]  # `prod/retreat/set_weights` is of prod
        key = (event.subject, environment or stage)
        if word in {"said", "verdict"} and stage != "judged":
            self._last[key] = _one_line(event.text)
        if stage in STAGES and not environment:
            return self._stage(event, stage, word, key)
        head = f"{environment}: " if environment else ""
        if word == "said" and environment:
            # What the canary's last look found says more than that it was judged.
            return f"{head}{self._last[key] if stage == 'judged' else event.text}"
        if stage == "finish" and word not in {"started", "finished"}:
            # Why was told by the retreat, and the command's error says it again.
            return f"{head}{event.text if self._several else event.text.partition(': ')[0]}"
        return _indented(f"{head}{MARKED.get(word, '')}", event.text) if word in STAYS else ""

    def _stage(self, event: Event, stage: str, word: str, key: tuple[str, str]) -> str:
        if word != "finished":
            return ""
        seconds = float(event.facts.get("seconds", 0))
        return f"{stage:<{NAME_CHARS}} {seconds:6.1f} s  {self._last.get(key, '')}".rstrip()


class Narrator:
    """Tells a story on a terminal, or line by line where there is none.

    Args:
        console: Where; stderr.
        story: Knows the words.
        status: The passing line; None where there is no terminal.
    """

    def __init__(self, console: Console, story: Story, status: Status | None) -> None:
        self._console, self._story, self._status = console, story, status
        self._passed: datetime | None = None

    def __call__(self, event: Event) -> None:
        """Tell one event."""
        passing, staying = self._story.passing(event), self._story.staying(event)
        if passing and self._status is not None:
            room = max(20, self._console.width - 6)
            self._status.update(escape(passing[:room]))
        elif passing and not staying and self._is_due(event):
            self._passed = event.at
            self._print(f"  {passing}")
        if staying:
            self._print(staying)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _is_due(self, event: Event) -> bool:
        """Tell whether a passing line is printed where there is no terminal."""
        is_new = event.kind.endswith(".started")
        return is_new or self._passed is None or event.at - self._passed >= EVERY


@contextmanager
def narrating(*, several: bool = False) -> Iterator[Narrator]:
    """Give a narrator that tells on stderr for the time of the block."""
    console, story = Console(stderr=True), Story(several=several)
    if not console.is_terminal:
        yield Narrator(console, story, None)
        return
    with console.status("") as status:
        yield Narrator(console, story, status)


def log_line(event: Event) -> str:
    """Return an event as a line of a log: time, step, words."""
    step, word = _parts(event)
    text = event.text or word
    if word == "finished" and "seconds" in event.facts:
        text = f"finished in {event.facts['seconds']} s"
    head = f"{event.at:%H:%M:%S}  {step:<24}  "
    return _indented(head, f"{MARKED.get(word, '')}{text}")


def _parts(event: Event) -> tuple[str, str]:
    """Return the step and the word of an event's kind, as (``prod/set_weights``, ``said``)."""
    step, _, word = event.kind.rpartition(".")
    return step, word


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _indented(head: str, text: str) -> str:
    """Return lines of which the first begins with *head* and the others are as far right."""
    lines = text.splitlines() or [""]
    return "\n".join([f"{head}{lines[0]}", *(f"{' ' * len(head)}{line}" for line in lines[1:])])
