"""Packages of the base image's distribution, by the package manager that the image has."""

from __future__ import annotations

from collections.abc import Sequence

from ovenbird.domain.errors import CommandFailed
from ovenbird.system import apt, dnf
from ovenbird.system.recipes import shell
from ovenbird.system.recipes.doing import Doing

NOT_INSTALLED = "The package manager says above what it could not find, fetch or install"


def install(names: Sequence[str], doing: Doing) -> None:
    """Install packages, and nothing that is merely recommended.

    Raises:
        CommandFailed: The image has no package manager that is known here, or it failed.
    """
    manager = shell.first_of(("apt-get", "dnf"), doing)
    if manager is None:
        raise CommandFailed(
            f"The bake failed: `{doing.step.shown}` needs apt-get or dnf; the image has neither",
            hint="Use `shell` with the package manager that the image has",
        )
    argv = (apt if manager == "apt-get" else dnf).install(names)
    said = f"{manager} install {' '.join(names)}"
    doing.log(f"$ {said}")
    doing.hands.run(argv, said=said, hint=NOT_INSTALLED, environment=doing.step.variables)
