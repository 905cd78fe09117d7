"""One step of a recipe, done by hands inside of an image, wherever it is.

    when? ─▶ its work, in a module of its own ─▶ done, or an error that names what failed

All of it happens within the step's time, and all that it prints is kept in the bake's log.
"""

from __future__ import annotations

from pathlib import Path

from ovenbird.domain.errors import CommandFailed
from ovenbird.domain.ports import Hands
from ovenbird.domain.recipes import (
    Ansible,
    BroughtFile,
    Chef,
    FromDistribution,
    Puppet,
    RecipeStep,
    Shell,
)
from ovenbird.system.caches import FULL_ENDING, says_full
from ovenbird.system.recipes import ansible, chef, distribution, files, puppet, shell
from ovenbird.system.recipes.doing import Doing
from ovenbird.system.recipes.logs import BakeLog
from ovenbird.system.recipes.step_hands import StepHands

FULL = "Write less, or take a base image with a larger root; `/tmp` and `/run` are not kept"


def perform(
    step: RecipeStep, hands: Hands, *, directory: Path | None, log: BakeLog, tools: Path
) -> None:
    """Do one step; what it leaves running ends with it.

    Args:
        step: What to do.
        hands: Inside of the image; what is printed there is told to the log.
        directory: The app's directory; None when no step reads a file.
        log: Of the bake.
        tools: Directory for what is made once on this host and lent to images.

    Raises:
        CommandFailed: It failed, or ran too long; the hint says where the log is.
        InvalidRequest: A file that it reads is missing, or a template cannot be filled in.
    """
    log.turn_page()
    doing = Doing(
        step=step, hands=StepHands(hands, step), directory=directory, log=log, tools=tools
    )
    try:
        if shell.is_wanted(doing):
            _do(doing)
    except CommandFailed as error:
        raise _explained(error, step, log) from error


def _do(doing: Doing) -> None:
    match doing.step.work:
        case Shell(lines=lines):
            shell.run(lines, doing)
        case BroughtFile() as file:
            files.bring(file, doing)
        case FromDistribution(names=names):
            distribution.install(names, doing)
        case Ansible() as playbook:
            ansible.run(playbook, doing)
        case Puppet() as manifest:
            puppet.run(manifest, doing)
        case Chef() as cookbooks:
            chef.run(cookbooks, doing)


def _explained(error: CommandFailed, step: RecipeStep, log: BakeLog) -> CommandFailed:
    """Return an error that names the step, says where the log is, and whether space was missing."""
    text, hint = str(error), error.hint
    if step.name not in text:  # in every text is the name of a step without one
        text += f", in step `{step.name}`"
    if says_full(error):
        text, hint = f"The image's root file system is full: {text}{FULL_ENDING}", FULL
    facts = {**error.facts, "log": str(log.path)}
    return CommandFailed(text, hint=f"{hint}; all of it is in `{log.path}`", **facts)
