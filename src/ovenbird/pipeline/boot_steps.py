"""The work of a release's step that boots its image once; it can run twice."""

from __future__ import annotations

from dataclasses import replace

from ovenbird.domain.apps import AppSpec
from ovenbird.domain.boot_checks import Probe
from ovenbird.domain.images import Baked
from ovenbird.pipeline.steps import Step
from ovenbird.stages.boot_check import boot_check


def boot(step: Step, app: AppSpec, baked: Baked) -> Baked:
    """Boot the image if the manifest wants it; return it with what came of it in its tags.

    Raises:
        Unhealthy: It is not fit to be offered.
        InvalidRequest: The manifest wants it in any case, and nothing can be booted here.
    """
    image = boot_check(
        baked.image,
        policy=app.image.boot_check,
        probe=Probe(port=app.port, path=app.health.path, ignored=step.ports.boot_ignored),
        proving=step.ports.proving,
        progress=step.say,
    )
    return replace(baked, image=image)
