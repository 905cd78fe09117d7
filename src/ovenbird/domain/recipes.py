"""Recipes: what is done to a base image before the packages are installed, step by step.

A step has one work, of one kind; the kinds are a sum type. Paths of files that a step reads are
relative to the app's directory in the checkout and stay inside of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from string import Template

from ovenbird.domain.errors import InvalidRequest

STEP_TIMEOUT_S = 1800.0
FILL = "Add it to the step's `variables`, or write `$$` for a dollar sign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Shell lines that run in the image, in order, as root.

    Args:
        lines: Each is run by ``sh -e -c``; a non-zero status fails the bake.
    """

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtFile:
    """A file, or a tree when *source* ends with ``/``, that is brought into the image.

    Args:
        source: Path in the app's directory.
        target: Absolute path in the image.
        mode: Octal, as ``0644``; empty to keep the checkout's (0644, or 0755 for programs).
        is_template: ``${NAME}`` in it stands for a variable of the step.
    """

    source: str
    target: str
    owner: str = "root"
    group: str = "root"
    mode: str = ""
    is_template: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FromDistribution:
    """Packages of the base image's distribution, as its package manager names them."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ansible:
    """A playbook, run by ansible-core inside the image against ``localhost``.

    Args:
        playbook: Path in the app's directory; what is beside it (roles, templates) comes along.
        tags: Only tasks with one of these; empty for all.
    """

    playbook: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chef:
    """A run list, converged by chef-solo or cinc-solo inside the image.

    Args:
        cookbooks: Directory of cookbooks in the app's directory.
        run_list: As ``recipe[nginx]``.
        attributes: JSON text of an object; the run list is added to it.
    """

    cookbooks: str
    run_list: tuple[str, ...]
    attributes: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Puppet:
    """A manifest, applied by `puppet apply` inside the image.

    Args:
        manifest: Path in the app's directory.
        modules: Directory of modules in the app's directory; empty for none.
    """

    manifest: str
    modules: str = ""


Work = Shell | BroughtFile | FromDistribution | Ansible | Chef | Puppet


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeStep:
    """One step of a recipe.

    Args:
        name: What logs and errors call it; empty for a name made from the work.
        when: A shell line that runs in the image first: status 0 does the step, 1 leaves it
            out, any other fails the bake; empty for always.
        timeout_s: Seconds for the whole step, all its lines together.
        variables: Environment of shell lines and of *when*; variables of templates and
            playbooks; facts of Puppet; attributes of Chef below ``ovenbird``.
    """

    work: Work
    name: str = ""
    when: str = ""
    timeout_s: float = STEP_TIMEOUT_S
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[str, ...]:
        """Files and directories of the app that decide what the step does."""
        match self.work:
            case BroughtFile(source=source):
                return (source,)
            case Ansible(playbook=playbook):
                return (_directory_of(playbook),)
            case Chef(cookbooks=cookbooks):
                return (cookbooks,)
            case Puppet(manifest=manifest, modules=modules):
                return (manifest, modules) if modules else (manifest,)
            case Shell() | FromDistribution():
                return ()

    @property
    def shown(self) -> str:
        """What a person calls the step."""
        return self.name or _shown(self.work)


def filled(text: str, variables: Mapping[str, str], *, shown: str) -> str:
    """Return a template with its variables filled in; ``$$`` is a dollar sign.

    Args:
        text: With ``${NAME}`` or ``$NAME`` in it.
        variables: Name → what stands for it.
        shown: What errors call the template.

    Raises:
        InvalidRequest: A name in it is unknown, or a dollar sign stands alone.
    """
    if wrong := unknown_variables(text, variables):
        raise InvalidRequest(f"`{shown}` has {wrong}", hint=FILL)
    return Template(text).substitute(variables)


def unknown_variables(text: str, variables: Collection[str]) -> str:
    """Return in words what cannot be filled in, the first of it; empty when all can."""
    for found in Template.pattern.finditer(text):
        name = found["named"] or found["braced"]
        line = text.count("\n", 0, found.start()) + 1
        if found["invalid"] is not None:
            return f"a `$` alone in line {line}; write `$$` for a dollar sign"
        if name and name not in variables:
            return f"`${{{name}}}` in line {line}, which the step's `variables` do not name"
    return ""


def _directory_of(path: str) -> str:
    return f"{path.rpartition('/')[0] or '.'}/"


def _shown(work: Work) -> str:
    words: tuple[str, ...]
    match work:
        case Shell(lines=lines):
            words = lines[:1] or ("shell",)
        case BroughtFile(target=target):
            words = ("file", target)
        case FromDistribution(names=names):
            words = ("packages", *names)
        case Chef(run_list=run_list):
            words = ("chef", *run_list)
        case Ansible(playbook=path):
            words = ("ansible", path)
        case Puppet(manifest=path):
            words = ("puppet", path)
    return " ".join(words)
