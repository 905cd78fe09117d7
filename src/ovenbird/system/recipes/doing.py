"""A step under way: what each kind of work needs to do it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.recipes import RecipeStep
from ovenbird.system.recipes.logs import BakeLog
from ovenbird.system.recipes.step_hands import StepHands


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """A step under way.

    Args:
        hands: Inside of the image, within the step's time.
        directory: The app's directory; None when no step of the recipe reads a file.
        log: What is printed inside goes there, too.
        tools: Directory for what is made once on this host and lent to images.
    """

    step: RecipeStep
    hands: StepHands
    directory: Path | None
    log: BakeLog
    tools: Path

    def file(self, name: str) -> Path:
        """Return where a file or directory of the app is on this host.

        Raises:
            InvalidRequest: It is missing, or a symbolic link leads out of the app's directory.
        """
        if self.directory is None:
            raise InvalidRequest(
                f"`{self.step.shown}` reads `{name}`, and there is no checkout",
                hint="This is a mistake of Ovenbird's: keep the log",
            )
        top = self.directory.resolve()
        path = (top / name).resolve()
        if not path.is_relative_to(top):
            raise InvalidRequest(
                f"`{name}` leads out of the app's directory by a symbolic link",
                hint="Commit what it points to",
            )
        if not path.exists():
            raise InvalidRequest(f"`{name}` is not in the commit", hint="Mend `image.recipe`")
        return path
