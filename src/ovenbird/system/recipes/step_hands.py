"""Hands for one step: all that they do together is done within the step's time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.ports import Hands
from ovenbird.domain.recipes import RecipeStep

MEND = "Mend `image.recipe`, or what it calls"
LONGER = "Mend what hangs, or give the step a longer `timeout_s`"


class StepHands:
    """The hands with which one step works; its time runs from now on.

    Args:
        hands: Inside of the image.
        step: Whose words errors use.
    """

    def __init__(self, hands: Hands, step: RecipeStep) -> None:
        self._hands, self._step = hands, step
        self._until = monotonic() + step.timeout_s

    def run(
        self,
        argv: Sequence[str],
        *,
        said: str,
        hint: str = MEND,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run a command to its end.

        Raises:
            CommandFailed: It ended with another status than 0, or the step's time is over.
        """
        try:
            self._hands.run(
                argv,
                environment=environment or {},
                timeout_s=self._left(said),
                said=said,
                hint=hint,
            )
        except CommandFailed as error:
            if "within_s" not in error.facts:
                raise
            raise self._late(said, error) from error

    def status(
        self, argv: Sequence[str], *, said: str, environment: Mapping[str, str] | None = None
    ) -> int:
        """Run a command and return its exit status.

        Raises:
            CommandFailed: The step's time is over, or it could not be run.
        """
        try:
            return self._hands.status(
                argv, environment=environment or {}, timeout_s=self._left(said)
            )
        except CommandFailed as error:
            if "within_s" not in error.facts:
                raise
            raise self._late(said, error) from error

    def lend(self, source: Path) -> AbstractContextManager[str]:
        """Show a file or tree of this host inside, read-only, and yield its path there."""
        return self._hands.lend(source)

    def _left(self, said: str) -> float:
        left = self._until - monotonic()
        if left <= 0:
            raise self._late(said, None)
        return left

    def _late(self, said: str, error: CommandFailed | None) -> CommandFailed:
        within = f"{self._step.timeout_s:g}"
        facts = {**(error.facts if error else {}), "within_s": within}
        text = f"The bake failed: `{self._step.shown}` ran past {within} s, in `{said}`"
        return CommandFailed(text, hint=LONGER, **facts)
