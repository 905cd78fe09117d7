"""What a manifest may say about recipes: the steps of ``image.recipe``, each with one work.

``file.from`` and ``to`` are called ``origin`` and ``destination`` in the code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from ovenbird.config.documents import Strict
from ovenbird.config.package_schema import Octal
from ovenbird.config.words import AbsolutePath, Line, Phrase, UserName, VariableName, matches
from ovenbird.domain.recipes import STEP_TIMEOUT_S

WORKS = ("shell", "file", "packages", "ansible", "chef", "puppet")
LONGEST_STEP_S = 86_400.0


def _inside(text: str) -> str:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"must stay inside of the app's directory, not `{text}`")
    if any(ord(sign) < ord(" ") for sign in text):
        raise ValueError("must not hold control characters")
    return f"{path}/" if text.endswith("/") else str(path)


def _variable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL")
    return text


InApp = Annotated[str, AfterValidator(_inside)]
Variable = Annotated[str, AfterValidator(_variable)]
# Source: Debian policy 5.6.7, and rpm's names; an exact version may follow. apt-get(8): a name
# that ends with `-` would be removed, one that begins with it would be an option.
FromDistributionName = Annotated[
    str,
    matches(r"[A-Za-z0-9](?:[A-Za-z0-9_.+:~=-]*[A-Za-z0-9_.+~])?", "is not the name of a package"),
]
Tag = Annotated[str, matches(r"[^\s,'\"-][^\s,'\"]*", "is not a tag")]
RunListItem = Annotated[
    str,
    matches(
        r"recipe\[[\w:.@-]+\]|[A-Za-z_][\w:.@-]*",
        "is not an item of a run list, as `recipe[nginx::default]`",
    ),
]


class FilePart(Strict):
    """A file of the app's directory, or a tree when ``from`` ends with ``/``."""

    origin: InApp = Field(alias="from")
    destination: AbsolutePath = Field(alias="to")
    owner: UserName = "root"
    group: UserName = "root"
    mode: Octal | None = None
    template: bool = False

    @field_validator("destination")
    @classmethod
    def _plain(cls, destination: str) -> str:
        if ".." in PurePosixPath(destination).parts:
            raise ValueError(f"`{destination}` must not hold `..`")
        return destination

    @property
    def target(self) -> str:
        """The absolute path; with a ``/`` at its end, ``to`` is the directory of the file."""
        path = PurePosixPath(self.destination)
        if self.destination.endswith("/") and not self.origin.endswith("/"):
            path /= PurePosixPath(self.origin).name
        return f"/{str(path).lstrip('/')}"


class AnsiblePart(Strict):
    """A playbook: a path, or ``{playbook, tags}``."""

    playbook: InApp
    tags: list[Tag] = Field(default=[])

    @model_validator(mode="before")
    @classmethod
    def _path(cls, value: object) -> object:
        return {"playbook": value} if isinstance(value, str) else value


class ChefPart(Strict):
    """Cookbooks and what is converged of them."""

    cookbooks: InApp
    run_list: Annotated[tuple[RunListItem, ...], Field(min_length=1)]
    attributes: Mapping[str, JsonValue] = Field(default_factory=dict)

    @field_validator("attributes")
    @classmethod
    def _not_the_run_list(cls, attributes: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        for name in ("run_list", "ovenbird"):
            if name in attributes:
                raise ValueError(f"`{name}` is not an attribute; it has a place of its own")
        try:
            json.dumps(attributes, allow_nan=False)
        except ValueError as error:
            raise ValueError("must not hold numbers that JSON does not know") from error
        return attributes


class PuppetPart(Strict):
    """A manifest: a path, or ``{manifest, modules}``."""

    manifest: InApp
    modules: InApp | None = None

    @model_validator(mode="before")
    @classmethod
    def _path(cls, value: object) -> object:
        return {"manifest": value} if isinstance(value, str) else value


class RecipePart(Strict):
    """One step of the recipe: one of the works, and what goes for all of them."""

    shell: Annotated[tuple[Line, ...], Field(min_length=1)] | None = None
    file: FilePart | None = None
    packages: Annotated[tuple[FromDistributionName, ...], Field(min_length=1)] | None = None
    ansible: AnsiblePart | None = None
    chef: ChefPart | None = None
    puppet: PuppetPart | None = None
    name: Phrase = ""
    when: Phrase = ""
    timeout_s: Annotated[float, Field(gt=0, le=LONGEST_STEP_S)] = STEP_TIMEOUT_S
    variables: Mapping[VariableName, Variable] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_work(self) -> RecipePart:
        said = [work for work in WORKS if getattr(self, work) is not None]
        if not said:
            known = ", ".join(f"`{work}`" for work in WORKS)
            raise ValueError(f"says nothing to do; known here: {known}")
        if len(said) > 1:
            both = " and ".join(f"`{work}`" for work in said)
            raise ValueError(f"has {both}: a step has one work; make a step of each")
        return self

    @field_validator("variables")
    @classmethod
    def _facts(cls, variables: Mapping[str, str]) -> Mapping[str, str]:
        if wrong := [name for name in variables if re.fullmatch(r"_+", name)]:
            raise ValueError(f"`{wrong[0]}` is not a variable's name")
        return variables
