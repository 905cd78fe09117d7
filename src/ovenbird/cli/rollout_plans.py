"""What a rollout would do, change and cost, for people and programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ovenbird.cli import output
from ovenbird.cli.plans import plan_data, plan_lines
from ovenbird.domain.footprints import Footprint
from ovenbird.operations.foreseeing import ENVIRONMENT, Changed, Foreseen
from ovenbird.operations.rolling import Preview

MOST = 20  # packages that are named one by one


def preview_data(seen: Preview, found: Foreseen) -> dict[str, Any]:
    """Return it for ``--json``."""
    wanted = seen.wanted
    return {
        "environment": wanted.environment,
        "cluster": str(wanted.cluster),
        "image_id": wanted.image.image_id,
        "version": wanted.image.version,
        "manifest": wanted.source,
        **plan_data(seen.plan),
        "instances": output.to_data(found.footprint),
        "replaces": output.to_data(found.serving.image_id) if found.serving else None,
        "packages": output.to_data(found.packages),
        "settings": output.to_data(found.settings),
    }


def preview_lines(seen: Preview, found: Foreseen) -> Iterator[str]:
    """Yield it as lines."""
    wanted = seen.wanted
    image = wanted.image
    yield f"Rollout on {wanted.cluster} in {wanted.environment}"
    yield f"  image     {image.image_id}, {image.app} {image.version}; manifest of {wanted.source}"
    yield from plan_lines(seen.plan)
    if not seen.plan.actions:
        return
    yield from ["", "Instances"]
    yield from _instances(found.footprint)
    yield from ["", "Different from what runs now"]
    yield from _different(seen, found)


def _instances(found: Footprint) -> Iterator[str]:
    for words, sizes in (("now", found.now), ("at most", found.most), ("after", found.after)):
        yield f"  {words:<9} {_sizes(sizes)}"
    if found.more_per_hour is None or found.more_after is None:
        names = ", ".join(f"`{one}`" for one in found.unknown)
        yield f"  cost      not known: no price of {names} in the settings (`prices`)"
    else:
        yield (
            f"  cost      up to {found.more_per_hour:.4f} more per hour while it runs,"
            f" {found.more_after:+.4f} per hour afterwards"
        )


def _sizes(sizes: Mapping[str, int]) -> str:
    parts = ", ".join(f"{size} of {name}" for name, size in sorted(sizes.items()) if size)
    return f"{sum(sizes.values())} ({parts})" if parts else "0"


def _different(seen: Preview, found: Foreseen) -> Iterator[str]:
    serving, image = found.serving, seen.wanted.image
    if serving is None:
        yield "  nothing runs now"
        return
    before, after = f"{serving.image_id} ({serving.version})", f"{image.image_id} ({image.version})"
    yield f"  image     {before} → {after}" if before != after else "  image     the same"
    yield from _packages(found)
    if found.settings is None:
        yield "  settings  not known: the launch template of what runs now is gone"
        return
    values = [one for one in found.settings if one.key.startswith(ENVIRONMENT)]
    others = [one for one in found.settings if one not in values and one.key != "ImageId"]
    yield from _changes("values", [(one, one.key.removeprefix(ENVIRONMENT)) for one in values])
    yield from _changes("template", [(one, one.key) for one in others])


def _changes(head: str, changes: list[tuple[Changed, str]]) -> Iterator[str]:
    if not changes:
        yield f"  {head:<9} the same"
    for one, key in changes:
        yield f"  {head:<9} {key}: {one.before or 'none'} → {one.after or 'none'}"


def _packages(found: Foreseen) -> Iterator[str]:
    if found.packages is None:
        yield "  packages  not known: no evidence is kept of both images"
        return
    if not found.packages:
        yield "  packages  the same"
    for one in found.packages[:MOST]:
        yield f"  packages  {one.name}: {one.before or 'none'} → {one.after or 'none'}"
    if len(found.packages) > MOST:
        yield f"  packages  and {len(found.packages) - MOST} more"
