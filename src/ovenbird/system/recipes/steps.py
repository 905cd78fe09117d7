"""One step of a recipe, done by hands inside of an image, wherever it is."""

from __future__ import annotations

from pathlib import Path

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.ports import Hands, Progress
from ovenbird.domain.recipes import RecipeStep, Shell

MEND = "Mend `image.recipe`, or what it calls"


def perform(step: RecipeStep, hands: Hands, *, directory: Path | None, progress: Progress) -> None:
    """Do one step.

    Args:
        step: What to do.
        hands: Inside of the image.
        directory: The app's directory; None when no step reads a file.
        progress: Told what is done.

    Raises:
        CommandFailed: It failed, or ran too long.
        InvalidRequest: A file that it reads is missing.
    """
    match step.work:
        case Shell(lines=lines):
            for line in lines:
                progress(f"$ {line}")
                hands.run(
                    ["sh", "-e", "-c", line],
                    environment=step.variables,
                    timeout_s=step.timeout_s,
                    said=line,
                    hint=MEND,
                )
        case _:
            raise InvalidRequest(f"`{step.shown}` in `{directory}` is not known here", hint=MEND)
