"""The workflow engine of this process.

    state_directory/workflows.sqlite     DBOS's own database
    state_directory/executors/ID.lock    held while the process ID lives

DBOS resumes only what the same executor id began. Each process has an id of its own,
held by a lock that the kernel lets go of when the process dies; who finds such a lock
without a holder takes over that id's unfinished workflows. DBOS puts them into a queue
from which any process may take them: who watches one looks whether its process lives.

A workflow of another ``VERSION`` is left to that version, its lock too.

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
from dbos._dbos import _get_dbos_instance

from ovenbird.domain.errors import Conflict, OvenbirdError, Unrecorded
from ovenbird.pipeline.codec import DomainJson
from ovenbird.pipeline.ports import Ports
from ovenbird.store.faults import database_errors
from ovenbird.system.locks import file_lock

VERSION = "5"  # raised when the order of recorded steps changes; older workflows then drain
ENDED_BADLY = {"ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}
POLL_S = 0.1


class Halted(BaseException):
    """Ends a workflow in this process as a kill would: nothing is recorded of its end.

    No ``Exception``, which the engine would record as what the workflow came to.
    """


@dataclass(kw_only=True)
class Runtime:
    """The running engine.

    Args:
        adopted: Ids of workflows that were taken over from dead processes.
        fault: Why work in this process stands still; None while it goes on.
    """

    ports: Ports
    state: Path
    executor_id: str
    adopted: set[str] = field(default_factory=set)
    fault: Unrecorded | None = None

    def adopt(self) -> None:
        """Take over what dead processes left unfinished."""
        leases = (self.state / "executors").glob("*.lock")
        self._adopt({lease.stem for lease in leases})

    def adopt_again(self, subject: str) -> None:
        """Take over a workflow, and its children, if the process that took it has died since."""
        left = DBOS.list_workflows(
            workflow_id_prefix=subject, status="PENDING", app_version=VERSION, load_input=False
        )
        self._adopt({str(found.executor_id) for found in left})

    def _adopt(self, executors: set[str]) -> None:
        for executor in sorted(executors - {self.executor_id}):
            lease = self.state / "executors" / f"{executor}.lock"
            if not lease.exists():
                continue  # another process has taken over what it had
            with suppress(Conflict), file_lock(lease, wait=False):  # held: it lives
                handles = DBOS._recover_pending_workflows([executor])  # noqa: SLF001 - the only door in 3.4
                self.adopted.update(handle.get_workflow_id() for handle in handles)
                if not _pending(executor):  # else it has work of another version
                    lease.unlink(missing_ok=True)

    def is_foreign(self, workflow_id: str) -> bool:
        """Tell whether a workflow waits for another version of this program to go on with it."""
        status = DBOS.get_workflow_status(workflow_id)
        return (
            status is not None and status.app_version != VERSION and not self.has_ended(workflow_id)
        )

    def cancel(self, subject: str) -> None:
        """Let no version go on with a workflow and its children."""
        for found in DBOS.list_workflows(workflow_id_prefix=subject, load_input=False):
            if subject in {found.workflow_id, found.parent_workflow_id}:
                DBOS.cancel_workflow(found.workflow_id)

    def stands_still(self, workflow_id: str) -> bool:
        """Tell whether a workflow is this process's, and no thread works on it."""
        status = DBOS.get_workflow_status(workflow_id)
        mine = status is not None and status.executor_id == self.executor_id
        # The only door in 3.4: what could not be written down raises in nobody's hands.
        active = _get_dbos_instance()._active_workflows_set.activeList()  # noqa: SLF001
        return mine and workflow_id not in active and not self.has_ended(workflow_id)

    def halt(self, fault: Unrecorded) -> Halted:
        """Keep why work in this process stands still; return what ends a workflow's thread."""
        self.fault = fault
        return Halted()

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

    def is_cancelled(self, workflow_id: str) -> bool:
        """Tell whether a person let no version go on with a workflow."""
        status = DBOS.get_workflow_status(workflow_id)
        return status is not None and status.status == "CANCELLED"

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

    Raises:
        Unrecorded: The engine's database cannot be read or written.
    """
    executor_id = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    lease = state / "executors" / f"{executor_id}.lock"
    with ExitStack() as held:
        held.enter_context(file_lock(lease))
        runtime = Runtime(ports=ports, state=state, executor_id=executor_id)
        _current.append(runtime)
        held.callback(_current.remove, runtime)
        with database_errors(state):
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
    return _pending(_current[-1].executor_id)


def _pending(executor: str) -> bool:
    """Tell whether a process of this id has, or had, workflows that have not ended."""
    found = DBOS.list_workflows(status="PENDING", executor_id=executor, load_input=False)
    return bool(found)


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
