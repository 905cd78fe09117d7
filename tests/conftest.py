"""Fixtures of more than one lane, and how the lanes share the processes of a run.

`tools/test` runs tests in several processes (pytest-xdist). A group of tests goes to one
process as a whole; the next group is given to whoever has almost nothing left to do.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import abandoned, groups

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

    from ovenbird.sandbox.endpoint import Endpoint


def pytest_configure(config: pytest.Config) -> None:
    """Take the signals that `nohup` and background jobs ignore: what tests start inherits that."""
    del config
    for number, action in (
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, action)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remove what killed runs left: sandboxes whose machines would go on for ever."""
    if not _is_worker() and os.geteuid() == 0:
        abandoned.sweep()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Hand out groups of tests in the order of their collection."""
    from tests.scheduling import GroupScheduling  # noqa: PLC0415 - only in runs of more processes

    return GroupScheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest lanes begin, after the tests have been shuffled."""
    items.sort(key=lambda item: groups.rank(item.nodeid))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let a process that others run beside take its turn by the lane of its test."""
    if _is_worker():
        _be_nice(groups.nice(item.nodeid))


def _is_worker() -> bool:
    return "PYTEST_XDIST_WORKER" in os.environ


def _be_nice(nice: int) -> None:
    """Set the priority of all threads of this process; what it starts inherits it."""
    for thread in Path("/proc/self/task").iterdir():
        try:
            os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)
        except (ProcessLookupError, PermissionError):  # it has ended; only root may go back
            continue


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The sandbox's API on loopback; moto takes two seconds to import, so only when asked for."""
    from ovenbird.sandbox.endpoint import running  # noqa: PLC0415 - see above

    home = tmp_path_factory.mktemp("sandbox")
    with running(home, cache=home / "cache") as found:
        yield found
