"""The workflow engine of this process.

    state_directory/workflows.sqlite     DBOS's own database
    state_directory/executors/ID.lock    held while the process ID lives

DBOS resumes only what the same executor id began. Each process has an id of its own,
held by a lock that the kernel lets go of when the process dies; who finds such a lock
without a holder takes over that id's unfinished workflows.

Source: measured on 2026-11-23 with DBOS 3.4.0: two processes of one executor id run a step
twice; workflows of another, dead id are not resumed until ``_recover_pending_workflows``.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig

from ovenbird.domain.errors import Conflict, OvenbirdError
from ovenbird.pipeline.codec import DomainJson
from ovenbird.pipeline.ports import Ports
from ovenbird.system.locks import file_lock

VERSION = "2"  # raised when the order of recorded steps changes; older workflows then drain
ENDED_BADLY = {"ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}
POLL_S = 0.1


@dataclass(kw_only=True)
class Runtime:
    """The running engine.

    Args:
        adopted: Ids of workflows that were taken over from dead processes.
    """

    ports: Ports
    state: Path
    executor_id: str
    adopted: set[str] = field(default_factory=set)

    def adopt(self) -> None:
        """Take over what dead processes left unfinished."""
        for lease in sorted((self.state / "executors").glob("*.lock")):
            if lease.stem == self.executor_id:
                continue
            with suppress(Conflict), file_lock(lease, wait=False):  # held: it lives
                handles = DBOS._recover_pending_workflows([lease.stem])  # noqa: SLF001 - the only door in 3.4
                self.adopted.update(handle.get_workflow_id() for handle in handles)
                lease.unlink(missing_ok=True)

    def knows(self, workflow_id: str) -> bool:
        """Tell whether a workflow of that id was ever started."""
        return DBOS.get_workflow_status(workflow_id) is not None

    def has_ended(self, workflow_id: str) -> bool:
        """Tell whether a workflow has a result, or will never have one."""
        status = DBOS.get_workflow_status(workflow_id)
        return status is not None and status.status not in {"PENDING", "ENQUEUED", "DELAYED"}

    def is_broken(self, workflow_id: str) -> bool:
        """Tell whether a workflow ended by an error, or cannot go on."""
        status = DBOS.get_workflow_status(workflow_id)
        return status is not None and status.status in ENDED_BADLY

    def result(self, workflow_id: str) -> Any:
        """Wait for a workflow's end and return its result.

        Raises:
            OvenbirdError: What the workflow raised.
        """
        return DBOS.retrieve_workflow(workflow_id).get_result()


_current: list[Runtime] = []  # DBOS calls workflows by name: steps must find their ports here
_left: list[ExitStack] = []  # of engines whose threads still work: kept to the very end


def current() -> Runtime:
    """Return the running engine.

    Raises:
        OvenbirdError: There is none.
    """
    if not _current:
        raise OvenbirdError("The workflow engine is not running")
    return _current[-1]


@contextmanager
def running(ports: Ports, *, state: Path) -> Iterator[Runtime]:
    """Start the engine, and stop it when the block ends.

    A workflow that still runs then is left as a kill would leave it: it goes on when
    another process takes it over.

    Args:
        ports: What steps use.
        state: Directory of the engine's database and leases.
    """
    executor_id = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    lease = state / "executors" / f"{executor_id}.lock"
    with ExitStack() as held:
        held.enter_context(file_lock(lease))
        runtime = Runtime(ports=ports, state=state, executor_id=executor_id)
        _current.append(runtime)
        held.callback(_current.remove, runtime)
        DBOS(config=_config(state, executor_id))
        DBOS.launch()
        try:
            yield runtime
        finally:
            if is_busy():
                _left.append(held.pop_all())
            else:
                DBOS.destroy()
                lease.unlink(missing_ok=True)


def is_busy() -> bool:
    """Tell whether a workflow still runs in a thread of this process."""
    pending = DBOS.list_workflows(status="PENDING", executor_id=_current[-1].executor_id)
    return bool(pending)


def has_left_threads() -> bool:
    """Tell whether workflows were left running, so that the process must end hard."""
    return any(thread.name.startswith("dbos-executor-") for thread in threading.enumerate())


def database_url(state: Path) -> str:
    """Return where DBOS keeps its records."""
    return f"sqlite:///{state}/workflows.sqlite"


def _config(state: Path, executor_id: str) -> DBOSConfig:
    with closing(sqlite3.connect(state / "workflows.sqlite")) as connection:
        connection.execute("pragma journal_mode=wal")  # stays with the file
    return {
        "name": "ovenbird",
        "system_database_url": database_url(state),
        "executor_id": executor_id,
        "application_version": VERSION,
        "serializer": DomainJson(),
        "log_level": "CRITICAL",  # errors reach people as values
        "notification_listener_polling_interval_sec": POLL_S,
    }
