"""What a manifest may say about packages: ``package``, and ``packages`` for further ones.

``contents[].from`` and ``to`` are called ``origin`` and ``destination`` in the code.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from ovenbird.config.documents import Strict
from ovenbird.config.words import (
    AbsolutePath,
    Destination,
    Line,
    PackageName,
    Phrase,
    Seconds,
    ServiceName,
    UserName,
    VariableName,
    Words,
    matches,
)
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.relations import check_debian, parse

FORMATS = ("deb", "rpm", "apk", "archlinux")
RELATIONS = ("depends", "recommends", "suggests", "conflicts", "replaces", "provides")
Format = Literal["deb", "rpm", "apk", "archlinux"]
Architecture = Literal["all", "amd64", "arm64"]


def _unquoted(value: object) -> object:
    if isinstance(value, int):  # what YAML makes of `0644` has lost its zero
        raise ValueError("needs quotes, as '0644'")  # noqa: TRY004 - pydantic's way
    return value


Octal = Annotated[
    str,
    BeforeValidator(_unquoted),
    matches(r"0?[0-7]{3,4}", "is not a mode; write it in quotes, as '0644'"),
]
Directive = Annotated[str, matches(r"[A-Z][A-Za-z0-9]*", "is not a directive of systemd's")]
# Source: Debian policy 5.1: no colon, no blank, and neither `#` nor `-` first.
FieldName = Annotated[str, matches(r"(?![#-])[!-9;-~]+", "is not a field's name")]
Section = Annotated[str, matches(r"[A-Z][A-Za-z]*", "is not a section of a unit file")]
InCheckout = Annotated[
    str, matches(r"(?!/)(?!.*(^|/)\.\.(/|$)).*", "must stay inside the checkout")
]


Value = str | int | bool | tuple[str, ...]  # of a directive; several lines, one for each item


class ContentPart(Strict):
    """One thing that the package installs; a ``from`` that ends with ``/`` is a whole tree."""

    origin: str = Field(default="", alias="from")
    destination: Destination = Field(alias="to")
    kind: (
        Literal[
            "file", "tree", "config", "config_replaced", "config_missing_ok", "ghost", "dir",
            "symlink", "doc", "license", "readme",
        ]
        | None
    ) = None  # fmt: skip
    mode: Octal | None = None
    owner: UserName = "root"
    group: UserName = "root"
    formats: tuple[Format, ...] = ()

    @model_validator(mode="after")
    def _inside(self) -> ContentPart:
        if self.kind not in {"dir", "ghost"} and not self.origin:
            raise ValueError("`from` is missing")
        parts = PurePosixPath(self.origin)
        if self.kind != "symlink" and (parts.is_absolute() or ".." in parts.parts):
            raise ValueError(f"`from` must stay inside the checkout, not `{self.origin}`")
        return self


class ServicePart(Strict):
    """One process that the init system keeps running, or a job that it runs."""

    command: Line
    user: UserName = "root"
    group: UserName | None = None
    restart: Literal[
        "no", "always", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog"
    ] = "always"
    oneshot: bool = False
    schedule: str = ""
    config_reload: Literal["", "SIGHUP", "SIGUSR1", "SIGUSR2"] = ""
    working_directory: AbsolutePath | None = None
    environment: Mapping[VariableName, str] = Field(default_factory=dict)
    limits: Mapping[Directive, str | int] = Field(default_factory=dict)
    unit: Mapping[Section, Mapping[Directive, Value]] = Field(default_factory=dict)
    enabled: bool = True
    restarted: bool = True

    @field_validator("command")
    @classmethod
    def _absolute(cls, command: str) -> str:
        try:
            program = shlex.split(command)[0]
        except ValueError as error:
            raise ValueError(f"cannot be split into words: {error}") from error
        if not program.startswith("/"):
            raise ValueError(f"must begin with an absolute path, not `{program}`")
        return command

    @field_validator("unit")
    @classmethod
    def _account_is_known(cls, unit: Mapping[str, Mapping[str, Value]]) -> object:
        for directive in ("User", "Group"):
            if unit.get("Service", {}).get(directive):
                word = directive.lower()
                raise ValueError(f"say `{word}: ...` of the service: the package makes the {word}")
        return unit

    @model_validator(mode="after")
    def _jobs_end(self) -> ServicePart:
        if self.schedule and not self.oneshot:
            raise ValueError("`schedule` is for jobs: add `oneshot: true`")
        return self


def _read_by(reader: Callable[[str], object]) -> AfterValidator:
    """Return a check of a relation's text by what reads it later."""

    def check(text: str) -> str:
        try:
            reader(text)
        except InvalidRequest as error:
            raise ValueError(f"{error}: {error.hint.lower()}") from error
        return text

    return AfterValidator(check)


AnyRelation = Annotated[Line, _read_by(parse)]
DebianRelation = Annotated[Line, _read_by(check_debian)]


class RelationsPart(Strict):
    """Relations to other packages: a list for all formats, or lists by format."""

    all: list[AnyRelation] = Field(default=[])
    deb: list[DebianRelation] = Field(default=[])
    rpm: list[Line] = Field(default=[])
    apk: list[Line] = Field(default=[])
    archlinux: list[Line] = Field(default=[])

    @model_validator(mode="before")
    @classmethod
    def _for_all(cls, value: object) -> object:
        return {"all": value} if isinstance(value, list) else value


class ScriptsPart(Strict):
    """The app's own maintainer scripts: paths in the checkout."""

    preinstall: InCheckout = ""
    postinstall: InCheckout = ""
    preremove: InCheckout = ""
    postremove: InCheckout = ""


class RelatedPart(Strict):
    """What packages and overrides have alike."""

    depends: RelationsPart = RelationsPart()
    recommends: RelationsPart = RelationsPart()
    suggests: RelationsPart = RelationsPart()
    conflicts: RelationsPart = RelationsPart()
    replaces: RelationsPart = RelationsPart()
    provides: RelationsPart = RelationsPart()
    contents: tuple[ContentPart, ...] = ()
    scripts: ScriptsPart = ScriptsPart()


class OverridePart(RelatedPart):
    """What one format has differently; relations take the place of the general ones."""

    umask: Octal | None = None


class OverridesPart(Strict):
    """Overrides by format."""

    deb: OverridePart | None = None
    rpm: OverridePart | None = None
    apk: OverridePart | None = None
    archlinux: OverridePart | None = None

    @model_validator(mode="after")
    def _its_own(self) -> OverridesPart:
        for format_ in FORMATS:
            override: OverridePart | None = getattr(self, format_)
            for kind in override.model_fields_set & set(RELATIONS) if override else ():
                said: RelationsPart = getattr(override, kind)
                if others := sorted(said.model_fields_set - {"all", format_}):
                    raise ValueError(
                        f"`{kind}` of `{format_}` cannot have a list for `{others[0]}`"
                    )
        return self


class DebScriptsPart(Strict):
    """Source: nfpm's configuration reference, ``deb.scripts``."""

    rules: InCheckout = ""
    templates: InCheckout = ""
    config: InCheckout = ""


class DebTriggersPart(Strict):
    """Source: deb-triggers(5)."""

    interest: tuple[Line, ...] = ()
    interest_await: tuple[Line, ...] = ()
    interest_noawait: tuple[Line, ...] = ()
    activate: tuple[Line, ...] = ()
    activate_await: tuple[Line, ...] = ()
    activate_noawait: tuple[Line, ...] = ()


class DebPart(Strict):
    """What only deb has. Source: nfpm's configuration reference, ``deb``."""

    arch_variant: Phrase = ""
    compression: Literal["gzip", "xz", "zstd", "none"] = "zstd"
    fields: Mapping[FieldName, Line] = Field(default_factory=dict)
    breaks: tuple[DebianRelation, ...] = ()
    predepends: tuple[DebianRelation, ...] = ()
    scripts: DebScriptsPart = DebScriptsPart()
    triggers: DebTriggersPart = DebTriggersPart()


class RpmScriptsPart(Strict):
    """Source: nfpm's configuration reference, ``rpm.scripts``."""

    pretrans: InCheckout = ""
    posttrans: InCheckout = ""
    verify: InCheckout = ""


class RpmPart(Strict):
    """What only rpm has. Source: nfpm's configuration reference, ``rpm``."""

    group: Phrase = ""
    summary: Phrase = ""
    packager: Phrase = ""
    compression: Annotated[
        str, matches(r"(gzip|lzma|xz|zstd)(:\w+)?|none", "is not a compression, as `zstd:3`")
    ] = "zstd"
    prefixes: tuple[AbsolutePath, ...] = ()
    scripts: RpmScriptsPart = RpmScriptsPart()


class UpgradeScriptsPart(Strict):
    """Scripts of formats that tell upgrades from installations."""

    preupgrade: InCheckout = ""
    postupgrade: InCheckout = ""


class ApkPart(Strict):
    """What only apk has."""

    scripts: UpgradeScriptsPart = UpgradeScriptsPart()


class ArchlinuxPart(Strict):
    """What only archlinux has."""

    pkgbase: Phrase = ""
    packager: Phrase = ""
    scripts: UpgradeScriptsPart = UpgradeScriptsPart()


class FurtherPackagePart(RelatedPart):
    """A package of its own out of the same build."""

    formats: Annotated[tuple[Format, ...], Field(min_length=1)] | None = None
    architecture: Annotated[list[Architecture], Field(min_length=1)] | None = None
    description: Words | None = None
    vendor: Phrase = ""
    section: Line = "misc"
    priority: Literal["required", "important", "standard", "optional", "extra"] = "optional"
    services: Mapping[ServiceName, ServicePart] = Field(default_factory=dict)
    init: Annotated[tuple[Literal["systemd", "upstart", "sysv"], ...], Field(min_length=1)] = (
        "systemd",
    )
    umask: Octal = "022"
    changelog: InCheckout = ""
    overrides: OverridesPart = OverridesPart()
    deb: DebPart = DebPart()
    rpm: RpmPart = RpmPart()
    apk: ApkPart = ApkPart()
    archlinux: ArchlinuxPart = ArchlinuxPart()
    allow: tuple[Line, ...] = ()

    @field_validator("architecture", mode="before")
    @classmethod
    def _one(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value


class BuildPart(Strict):
    """How contents come to be: a shell line, or a mapping."""

    kind: Literal["command", "make", "python", "node", "binary"] = "command"
    command: str = ""
    target: str = ""
    into: Annotated[str, matches(r"(/[^\s\"']+)?", "is not an absolute path")] = ""
    requirements: InCheckout = ""
    interpreter: AbsolutePath = "/usr/bin/python3"
    environment: Mapping[VariableName, str] = Field(default_factory=dict)
    isolation: Literal["host", "chroot"] = "host"
    depends: list[Line] = Field(default=[])
    timeout_s: Seconds = 900.0

    @model_validator(mode="before")
    @classmethod
    def _line(cls, value: object) -> object:
        return {"command": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whole(self) -> BuildPart:
        if self.kind in {"python", "node", "binary"} and not self.into:
            raise ValueError(f"`into` is missing: where a build of kind `{self.kind}` is installed")
        if self.kind == "binary" and not self.target:
            raise ValueError("`target` is missing: the program that the command makes")
        if self.depends and self.isolation != "chroot":
            raise ValueError(
                "`depends` is for `isolation: chroot`; a build on the host has its own"
            )
        return self


class PackagePart(FurtherPackagePart):
    """How the app is built and what its package holds."""

    name: PackageName | None = None
    build: BuildPart = BuildPart()
    tag_prefix: str = "v"
    version: str = ""
    epoch: Annotated[int, Field(ge=0)] = 0
    revision: Annotated[str, matches(r"[A-Za-z0-9.+~]*", "is not a revision")] = ""

    @field_validator("version")
    @classmethod
    def _plain(cls, version: str) -> str:
        if version and not re.fullmatch(r"[0-9][A-Za-z0-9.+~]*", version):
            raise ValueError(f"`{version}` is not a version: digits, letters and `.+~`")
        return version

    @model_validator(mode="after")
    def _holds_something(self) -> PackagePart:
        if not self.contents and not self.depends.model_fields_set:
            raise ValueError(
                "`contents` is missing, and so is `depends`: the package holds nothing"
            )
        return self


def section(part: Strict) -> dict[str, Any]:
    """Return what a format's own part says, without what it does not say."""
    return part.model_dump(exclude_unset=True)
