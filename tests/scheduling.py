"""Hands out groups of tests to the processes of a run.

Our own, because pytest-xdist 3.8.0 does not see the groups of ``--dist loadgroup`` with
pytest 9.2 (measured on 2026-11-25: it writes them into an attribute that is not read any more),
and does not say so.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests import groups


class GroupScheduling(LoadScopeScheduling):
    """Gives a group as a whole to one process, in the order of the collection."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return groups.group(nodeid)
