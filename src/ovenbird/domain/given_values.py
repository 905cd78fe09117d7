"""Values of the machines' environment that are given with a release, over the manifest's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ovenbird.domain.apps import AppSpec
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.launching import user_data

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # Source: systemd.exec(5), Environment


def with_values(app: AppSpec, values: Mapping[str, str]) -> AppSpec:
    """Return an app whose machines have these values in their environment, in each environment.

    Args:
        app: As its manifest says.
        values: Name → value, over those of the manifest.

    Raises:
        InvalidRequest: A name cannot be one, or the user data would be too long.
    """
    for name in values:
        if not VARIABLE.fullmatch(name):
            raise InvalidRequest(
                f"`{name}` is not a variable's name",
                hint="Letters, digits and `_`, and no digit first: `--set LOG_LEVEL=debug`",
            )
    environments = tuple(
        replace(one, environment={**one.environment, **values}) for one in app.environments
    )
    for environment in environments:
        user_data(environment.environment)
    return replace(app, environments=environments)
