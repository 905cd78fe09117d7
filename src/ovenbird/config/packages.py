"""From what a manifest says about packages to domain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ovenbird.config import package_schema as schema
from ovenbird.config.manifest_schema import Manifest
from ovenbird.domain.packages import (
    BuildKind,
    BuildSpec,
    Content,
    ContentKind,
    Init,
    Isolation,
    Override,
    PackageFormat,
    PackageSpec,
    RelationKind,
    ScriptMoment,
    Service,
    VersionSpec,
)
from ovenbird.domain.relations import Relation, parse, parse_for_one_format

ARCHITECTURE = "{architecture}"  # in `from`: stands for the package's own
_FILES = {
    ContentKind.FILE, ContentKind.CONFIG, ContentKind.CONFIG_REPLACED, ContentKind.DOC,
    ContentKind.CONFIG_MISSING_OK, ContentKind.LICENSE, ContentKind.README,
}  # fmt: skip
Relations = Mapping[RelationKind, tuple[Relation, ...]]


def package_specs(raw: Manifest) -> tuple[PackageSpec, ...]:
    """Return the app's packages, its own first; one for each architecture."""
    own = _specs(raw, raw.package_name, raw.package, place="package")
    further = [
        spec
        for name, part in raw.packages.items()
        for spec in _specs(raw, name, part, place=f"packages.{name}")
    ]
    return (*own, *further)


def build_spec(raw: schema.BuildPart) -> BuildSpec:
    """Return how contents come to be."""
    return BuildSpec(
        kind=BuildKind(raw.kind),
        command=raw.command,
        target=raw.target,
        into=raw.into.rstrip("/"),
        requirements=raw.requirements,
        interpreter=raw.interpreter,
        environment=dict(raw.environment),
        isolation=Isolation(raw.isolation),
        depends=tuple(raw.depends),
        timeout_s=raw.timeout_s,
    )


def version_spec(raw: schema.PackagePart) -> VersionSpec:
    """Return how versions are made."""
    return VersionSpec(
        tag_prefix=raw.tag_prefix,
        explicit=raw.version,
        epoch=raw.epoch,
        revision=raw.revision,
    )


def _specs(
    raw: Manifest, name: str, part: schema.FurtherPackagePart, *, place: str
) -> Iterator[PackageSpec]:
    asked = part.architecture or raw.package.architecture or ["all"]
    for architecture in dict.fromkeys(asked):
        yield _spec(raw, name, part, place=place, architecture=architecture)


def _spec(
    raw: Manifest, name: str, part: schema.FurtherPackagePart, *, place: str, architecture: str
) -> PackageSpec:
    formats = part.formats or raw.package.formats or ("deb",)
    general, by_format = _relations(part)
    return PackageSpec(
        name=name,
        maintainer=raw.maintainer,
        description=raw.description if part.description is None else part.description,
        homepage=raw.homepage,
        license=raw.license,
        vendor=part.vendor,
        section=part.section,
        priority=part.priority,
        formats=tuple(PackageFormat(word) for word in dict.fromkeys(formats)),
        architecture=architecture,
        contents=_contents(part.contents, f"{place}.contents", architecture),
        services=tuple(_service(key, service) for key, service in part.services.items()),
        init=tuple(Init(word) for word in dict.fromkeys(part.init)),
        relations=general,
        scripts=_scripts(part.scripts),
        umask=int(part.umask, base=8),
        changelog=part.changelog,
        specifics=_specifics(part),
        overrides=_overrides(part, by_format, place, architecture),
        allowed=part.allow,
    )


def _relations(part: schema.RelatedPart) -> tuple[Relations, dict[PackageFormat, Relations]]:
    """Return relations for all formats, and those of formats that have some of their own."""
    general: dict[RelationKind, tuple[Relation, ...]] = {}
    own: dict[PackageFormat, dict[RelationKind, tuple[Relation, ...]]] = {}
    for kind in RelationKind:
        said: schema.RelationsPart = getattr(part, kind.value)
        shared = tuple(map(parse, said.all))
        if shared:
            general[kind] = shared
        for format_ in PackageFormat:
            if texts := getattr(said, format_.value):
                mine = (*shared, *map(parse_for_one_format, texts))
                own.setdefault(format_, {})[kind] = mine
    return general, {**own}


def _overrides(
    part: schema.FurtherPackagePart,
    by_format: Mapping[PackageFormat, Relations],
    place: str,
    architecture: str,
) -> dict[PackageFormat, Override]:
    found = {}
    for format_ in PackageFormat:
        said: schema.OverridePart | None = getattr(part.overrides, format_.value)
        relations = dict(by_format.get(format_, {}))
        if said is None:
            if relations:
                found[format_] = Override(relations=relations)
            continue
        found[format_] = Override(
            relations={**relations, **_overriding(said, format_)},
            contents=_contents(
                said.contents, f"{place}.overrides.{format_.value}.contents", architecture
            ),
            scripts=_scripts(said.scripts),
            umask=None if said.umask is None else int(said.umask, base=8),
        )
    return found


def _overriding(said: schema.OverridePart, format_: PackageFormat) -> Relations:
    """Return the relations that one format has instead; an empty list means none."""
    found = {}
    for kind in RelationKind:
        if kind.value in said.model_fields_set:
            own: schema.RelationsPart = getattr(said, kind.value)
            texts = (*own.all, *getattr(own, format_.value))
            found[kind] = tuple(map(parse_for_one_format, texts))
    return found


def _contents(
    raw: tuple[schema.ContentPart, ...], place: str, architecture: str
) -> tuple[Content, ...]:
    return tuple(
        _content(content, f"{place}[{index}]", architecture) for index, content in enumerate(raw)
    )


def _content(raw: schema.ContentPart, place: str, architecture: str) -> Content:
    kind = ContentKind(raw.kind) if raw.kind else ContentKind.FILE
    if not raw.kind and raw.origin.endswith("/"):
        kind = ContentKind.TREE
    origin = raw.origin.replace(ARCHITECTURE, architecture)
    destination = raw.destination.rstrip("/") or "/"
    if raw.destination.endswith("/") and kind in _FILES:
        destination = f"{destination.rstrip('/')}/{PurePosixPath(origin).name}"
    return Content(
        origin=origin.rstrip("/"),
        destination=destination,
        kind=kind,
        mode=None if raw.mode is None else int(raw.mode, base=8),
        owner=raw.owner,
        group=raw.group,
        formats=tuple(PackageFormat(word) for word in raw.formats),
        place=place,
    )


def _service(name: str, raw: schema.ServicePart) -> Service:
    return Service(
        name=name,
        command=raw.command,
        user=raw.user,
        group=raw.group or "",
        oneshot=raw.oneshot,
        schedule=raw.schedule,
        restart="no" if raw.oneshot else raw.restart,
        config_reload=raw.config_reload,
        working_directory=raw.working_directory or "",
        environment=dict(raw.environment),
        limits={directive: str(value) for directive, value in raw.limits.items()},
        overrides={
            section: {directive: _directive(value) for directive, value in said.items()}
            for section, said in raw.unit.items()
        },
        enabled=raw.enabled,
        restarted=raw.restarted,
    )


def _directive(value: schema.Value) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case tuple():
            return "\n".join(value)
        case _:
            return str(value)


def _scripts(raw: schema.ScriptsPart) -> dict[ScriptMoment, str]:
    return {moment: path for moment in ScriptMoment if (path := str(getattr(raw, moment.value)))}


def _specifics(part: schema.FurtherPackagePart) -> dict[PackageFormat, dict[str, Any]]:
    said = {format_: schema.section(getattr(part, format_.value)) for format_ in PackageFormat}
    return {format_: found for format_, found in said.items() if found}
