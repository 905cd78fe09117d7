"""Shell lines: a step's own, and those that ask whether it is wanted."""

from __future__ import annotations

from collections.abc import Sequence

from ovenbird.domain.errors import CommandFailed
from ovenbird.system.recipes.doing import Doing

_FOUND = 10  # status of a question, plus the index of the answer
LEFT_OUT = 1  # grep(1) and test(1) say so for "no"; 2 is a mistake


def is_wanted(doing: Doing) -> bool:
    """Ask the step's ``when``; one that is left out is said to be.

    Raises:
        CommandFailed: It says neither yes nor no.
    """
    step = doing.step
    if not step.when:
        return True
    status = doing.hands.status(line(step.when), said=step.when, environment=step.variables)
    if status == LEFT_OUT:
        doing.log(f"Leaving out `{step.shown}`: `{step.when}` says no")
    elif status:
        raise CommandFailed(
            f"The bake failed: `when` of `{step.shown}`, `{step.when}`, "
            f"exited with status {status}",
            hint="Status 0 does the step, 1 leaves it out",
            status=status,
            stderr="\n".join(doing.log.page[-20:]),
        )
    return status == 0


def run(lines: Sequence[str], doing: Doing) -> None:
    """Run lines in their order.

    Raises:
        CommandFailed: One of them ended with another status than 0.
    """
    for text in lines:
        doing.log(f"$ {text}")
        doing.hands.run(line(text), said=text, environment=doing.step.variables)


def line(text: str) -> list[str]:
    """Return the command that runs a shell line."""
    return ["sh", "-e", "-c", text]


def first_of(programs: Sequence[str], doing: Doing) -> str | None:
    """Return the first of some programs that the image has, by name or path; None for none."""
    asked = [
        f"if command -v {name} >/dev/null 2>&1; then exit {_FOUND + index}; fi"
        for index, name in enumerate(programs)
    ]
    asked.append("exit 0")
    said = f"command -v {' '.join(programs)}"
    status = doing.hands.status(["sh", "-c", "\n".join(asked)], said=said)
    return programs[status - _FOUND] if status >= _FOUND else None
