"""Fixtures of more than one lane."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ovenbird.sandbox.endpoint import Endpoint


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The sandbox's API on loopback; moto takes two seconds to import, so only when asked for."""
    from ovenbird.sandbox.endpoint import running  # noqa: PLC0415 - see above

    home = tmp_path_factory.mktemp("sandbox")
    with running(home, cache=home / "cache") as found:
        yield found
