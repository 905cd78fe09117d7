"""The app's manifest, ``ovenbird.yaml``: read, checked, and turned into an ``AppSpec``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ovenbird.config import manifest_schema as schema
from ovenbird.config.documents import MEND, read
from ovenbird.config.judge_policies import judge_policy
from ovenbird.config.launching import launch_spec
from ovenbird.config.packages import build_spec, package_specs, version_spec
from ovenbird.config.recipes import recipe
from ovenbird.config.strategies import keep, strategy
from ovenbird.domain.apps import (
    DEFAULT_ALARM,
    AlarmSpec,
    AppSpec,
    CapacityFrom,
    EnvironmentSpec,
    Health,
    OnFailure,
)
from ovenbird.domain.clusters import Capacity
from ovenbird.domain.images import BakeStrategy, BootCheck, ImageSpec
from ovenbird.domain.sources import Source

MANIFEST = "ovenbird.yaml"
MISSING = f"An app needs a `{MANIFEST}` in its directory; see `examples/hello`"


def load_committed(source: Source, checkout: Path) -> AppSpec:
    """Read the manifest of one commit; errors call the file as git does.

    Args:
        source: The commit.
        checkout: The app's directory in a tree of it.

    Raises:
        NotFound: The commit has no manifest there.
        InvalidRequest: Something in it is wrong; each place is named with its line.
    """
    return load_manifest(
        checkout,
        shown=shown_name(source),
        mend="Correct it, commit it, and ask again",
    )


def shown_name(source: Source) -> str:
    """Return the manifest's name as git has it in the repository."""
    return str(PurePosixPath(source.directory) / MANIFEST)


def load_manifest(path: Path, *, shown: str = "", mend: str = MEND) -> AppSpec:
    """Read an app's manifest.

    Args:
        path: The file, or the directory that holds it.
        shown: What errors call it; its path by default.
        mend: Hint for the reader when something in it is wrong.

    Raises:
        NotFound: It does not exist.
        InvalidRequest: Something in it is wrong; each place is named with its line.
    """
    file = path / MANIFEST if path.is_dir() else path
    return _app(read(file, schema.Manifest, later={}, missing=MISSING, shown=shown, mend=mend))


def _app(raw: schema.Manifest) -> AppSpec:
    deploy = raw.deploy
    return AppSpec(
        app=raw.app,
        packages=package_specs(raw),
        build=build_spec(raw.package.build),
        version=version_spec(raw.package),
        image=ImageSpec(
            base=raw.image.base,
            packages=raw.image.packages or tuple(dict.fromkeys((raw.package_name, *raw.packages))),
            recipe=recipe(raw.image.recipe),
            strategy=BakeStrategy(raw.image.strategy),
            boot_check=BootCheck(raw.image.boot_check),
            max_age_days=raw.image.max_age_days,
        ),
        port=deploy.port,
        health=Health(**deploy.health.model_dump()),
        environments=tuple(
            _environment(name, environment) for name, environment in deploy.environments.items()
        ),
        path_patterns=deploy.path_patterns,
        host_names=deploy.host_names,
        rule_priority=deploy.rule_priority,
        draining_s=deploy.draining_s,
        testers=deploy.testers.marks() if deploy.testers else None,
        stickiness_s=deploy.stickiness_s,
    )


def _environment(name: str, raw: schema.EnvironmentPart) -> EnvironmentSpec:
    alarms = (DEFAULT_ALARM,) if raw.alarms is None else tuple(map(_alarm, raw.alarms))
    return EnvironmentSpec(
        name=name,
        capacity=Capacity(**raw.capacity.model_dump()),
        strategy=strategy(raw.strategy),
        judge=judge_policy(raw.judge),
        alarms=alarms,
        approval=raw.approval == "required",
        instance_type=raw.instance_type,
        environment=_frozen(raw.environment),
        rollback_window_s=raw.window_s,
        keep=keep(raw.keep),
        capacity_from=CapacityFrom(raw.capacity_from),
        min_healthy_percent=raw.min_healthy_percent,
        on_failure=OnFailure(raw.on_failure),
        guards=raw.guards,
        launch=launch_spec(raw.launch),
    )


def _alarm(raw: schema.AlarmPart) -> AlarmSpec:
    return AlarmSpec(**raw.model_dump())


def _frozen(values: Mapping[str, str]) -> Mapping[str, str]:
    return dict(values)
