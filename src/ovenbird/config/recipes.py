"""From what a manifest says about recipes to domain values, and what they need of the commit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ovenbird.config import recipe_schema as schema
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.recipes import (
    Ansible,
    BroughtFile,
    Chef,
    FromDistribution,
    Puppet,
    RecipeStep,
    Shell,
    Work,
    unknown_variables,
)

MISSING = "Commit it, or correct its path, which is relative to the app's directory"
UNFILLED = (
    "Name it in the step's `variables`, write `$$` for a dollar sign, or leave out `template`"
)


def recipe(parts: Sequence[schema.RecipePart]) -> tuple[RecipeStep, ...]:
    """Return the steps in their order."""
    return tuple(
        RecipeStep(
            work=_work(part),
            name=part.name,
            when=part.when,
            timeout_s=part.timeout_s,
            variables=dict(part.variables),
        )
        for part in parts
    )


def _work(part: schema.RecipePart) -> Work:
    found = (
        part.shell and Shell(lines=part.shell),
        part.file and _file(part.file),
        part.packages and FromDistribution(names=part.packages),
        part.ansible and Ansible(playbook=part.ansible.playbook, tags=tuple(part.ansible.tags)),
        part.chef and _chef(part.chef),
        part.puppet
        and Puppet(manifest=part.puppet.manifest, modules=(part.puppet.modules or "").rstrip("/")),
    )
    return next(work for work in found if work)


def _file(raw: schema.FilePart) -> BroughtFile:
    return BroughtFile(
        source=raw.origin,
        target=raw.target,
        owner=raw.owner,
        group=raw.group,
        mode=raw.mode or "",
        is_template=raw.template,
    )


def _chef(raw: schema.ChefPart) -> Chef:
    return Chef(
        cookbooks=raw.cookbooks.rstrip("/"),
        run_list=raw.run_list,
        attributes=json.dumps(raw.attributes, sort_keys=True),
    )


def check_files(steps: Sequence[RecipeStep], checkout: Path) -> None:
    """Refuse a recipe whose files are not in the commit, or not what they should be.

    Args:
        steps: As :func:`recipe` gives them.
        checkout: The app's directory in a tree of the commit.

    Raises:
        InvalidRequest: Each mistake has a line, which begins with the key's place.
    """
    absent, unfilled = list[str](), list[str]()
    for index, step in enumerate(steps):
        absent += (
            f"image.recipe[{index}].{key}: {what}" for key, what in _absences(step, checkout)
        )
        unfilled += (f"image.recipe[{index}].file: {what}" for what in _unfilled(step, checkout))
    if absent or unfilled:
        raise InvalidRequest("\n".join(absent + unfilled), hint=MISSING if absent else UNFILLED)


def _absences(step: RecipeStep, checkout: Path) -> Iterator[tuple[str, str]]:
    match step.work:
        case BroughtFile(source=source):
            yield from _absent("file", checkout, source, wants_tree=source.endswith("/"))
        case Ansible(playbook=playbook):
            yield from _absent("ansible", checkout, playbook, wants_tree=False)
        case Chef(cookbooks=cookbooks):
            yield from _absent("chef.cookbooks", checkout, cookbooks, wants_tree=True)
        case Puppet(manifest=manifest, modules=modules):
            tree = (checkout / manifest).is_dir()
            yield from _absent("puppet", checkout, manifest, wants_tree=tree)
            if modules:
                yield from _absent("puppet.modules", checkout, modules, wants_tree=True)
        case Shell() | FromDistribution():
            return


def _absent(key: str, checkout: Path, name: str, *, wants_tree: bool) -> Iterator[tuple[str, str]]:
    path = checkout / name
    if not path.exists():
        yield key, f"`{name}` is not in the commit"
    elif not path.resolve().is_relative_to(checkout.resolve()):
        yield key, f"`{name}` leads out of the app's directory by a symbolic link"
    elif path.is_dir() and not wants_tree:
        end = "; for a tree, end it with `/`" if key == "file" else ""
        yield key, f"`{name}` is a directory{end}"
    elif not path.is_dir() and wants_tree:
        yield key, f"`{name}` is not a directory"


def _unfilled(step: RecipeStep, checkout: Path) -> Iterator[str]:
    if not isinstance(step.work, BroughtFile) or not step.work.is_template:
        return
    path = checkout / step.work.source
    for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if not one.is_file() or one.is_symlink():
            continue
        try:
            missing = unknown_variables(one.read_text(encoding="utf-8"), step.variables)
        except UnicodeDecodeError:
            yield f"`{one.relative_to(checkout)}` is a template and not text in UTF-8"
            continue
        if missing:
            yield f"`{one.relative_to(checkout)}` has {missing}"
