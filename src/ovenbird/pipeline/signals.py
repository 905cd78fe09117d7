"""A person's word to a workflow that waits, also from another process; and who works on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dbos import DBOSClient

from ovenbird.domain.errors import Conflict
from ovenbird.pipeline.codec import DomainJson
from ovenbird.pipeline.runtime import database_url
from ovenbird.store.faults import database_errors
from ovenbird.system.locks import file_lock

APPROVE, REJECT, ABORT = "approve", "reject", "abort"


def approval_topic(environment: str) -> str:
    """Return the topic on which a release waits for a word; stored, never changed."""
    return f"approval {environment}"


def send(release_id: str, *, environment: str, word: str, actor: str, state: Path) -> None:
    """Send a word; sending the same again changes nothing.

    Args:
        release_id: Which release.
        environment: The environment whose approval is waited for.
        word: ``approve``, ``reject`` or ``abort``.
        actor: Who says it.
        state: The engine's directory.
    """
    with _client(state) as client:
        client.send(
            release_id,
            {"word": word, "actor": actor},
            approval_topic(environment),
            idempotency_key=f"{release_id} {environment} {word}",
        )


def is_alive(workflow_id: str, *, state: Path) -> bool:
    """Tell whether a process that lives works on a workflow; no engine is started for it."""
    if not (state / "workflows.sqlite").exists():
        return False
    with _client(state) as client:
        found = client.list_workflows(workflow_ids=[workflow_id], load_input=False)
    lease = state / "executors" / f"{found[0].executor_id if found else ''}.lock"
    if not lease.exists():
        return False
    try:
        with file_lock(lease, wait=False):
            return False
    except Conflict:
        return True


@contextmanager
def _client(state: Path) -> Iterator[DBOSClient]:
    with database_errors(state):
        client = DBOSClient(system_database_url=database_url(state), serializer=DomainJson())
        try:
            yield client
        finally:
            client.destroy()
