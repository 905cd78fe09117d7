"""Single calls of the EBS direct APIs, made again where that helps.

    below the quota (pacing) ─▶ carried (block_transports) ─▶ checked
       └── throttled, a server's error, a lost connection, a damaged block: again, later

Source: EBS direct APIs reference, "Error retries"; coldsnap #43 and #56 (a new snapshot may be
unknown for up to two minutes).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from botocore.exceptions import ConnectionError as NoConnection
from botocore.exceptions import HTTPClientError

from ovenbird.aws import block_transports
from ovenbird.aws.block_transports import BlockTransport
from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.pacing import Pace
from ovenbird.domain.blocks import BLOCK_BYTES, checksum
from ovenbird.domain.errors import CloudError, NotFound, OvenbirdError, Throttled
from ovenbird.domain.images import SnapshotId
from ovenbird.domain.ports import Clock

PER_S = 1000.0  # Source: quotas of PutSnapshotBlock and GetSnapshotBlock, see pacing
PATIENCE = timedelta(minutes=2)  # with throttling and a server's errors
ATTEMPTS = 6  # with lost connections and damaged blocks
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
GONE = {
    "ResourceNotFoundException": "It was deleted meanwhile, or is another account's: bake again"
}

Answer = TypeVar("Answer")


class Damaged(CloudError):
    """A block did not arrive as EBS has it."""


class BlockCalls:
    """Reads, writes and lists blocks of one account's snapshots.

    Args:
        account: Whose snapshots.
        clock: Waits.
        jitter: Returns a number from 0 to 1, so that those who wait do not come back together.
    """

    def __init__(
        self, account: Account, *, clock: Clock, jitter: Callable[[], float] = random.random
    ) -> None:
        self._account, self._ebs, self._clock, self._jitter = account, account.ebs, clock, jitter
        self._puts, self._gets = Pace(PER_S, clock=clock), Pace(PER_S, clock=clock)

    @contextmanager
    def carrying(self, blocks: int) -> Iterator[BlockTransport]:
        """Open what carries so many blocks."""
        with (
            cloud_errors("opening connections to EBS"),
            block_transports.opened(self._account, blocks, clock=self._clock) as transport,
        ):
            yield transport

    def put(
        self,
        transport: BlockTransport,
        snapshot_id: SnapshotId,
        index: int,
        data: bytes,
        *,
        known_by: datetime,
    ) -> str:
        """Write one block and return its SHA-256 in base64.

        Args:
            transport: Carries it.
            snapshot_id: Pending.
            index: Of the block.
            data: 524,288 bytes.
            known_by: Until when EBS may not know the snapshot, being new.
        """
        digest = checksum(data)

        def call() -> None:
            with cloud_errors(f"writing block {index} of `{snapshot_id}`"):
                transport.put(snapshot_id, index, data, digest)

        self._patiently(call, pace=self._puts, known_by=known_by)
        return digest

    def get(
        self, transport: BlockTransport, snapshot_id: SnapshotId, index: int, token: str
    ) -> tuple[bytes, str]:
        """Return one block and its SHA-256 in base64, verified.

        Raises:
            NotFound: The snapshot is gone.
            CloudError: The block arrives damaged again and again.
        """

        def call() -> tuple[bytes, str]:
            with cloud_errors(f"reading block {index} of `{snapshot_id}`", hints=GONE):
                data, said = transport.get(snapshot_id, index, token)
            if len(data) != BLOCK_BYTES or checksum(data) != said:
                raise Damaged(
                    f"Block {index} of `{snapshot_id}` arrived damaged",
                    hint="Start the same command again; if it stays so, copy the snapshot",
                )
            return data, said

        return self._patiently(call, pace=self._gets)

    def listed(self, snapshot_id: SnapshotId) -> tuple[int, dict[int, str]]:
        """Return the volume's size in GiB and index → block token.

        Raises:
            NotFound: There is no such snapshot.
        """
        tokens: dict[int, str] = {}
        size = 0
        request = {"SnapshotId": snapshot_id}
        with cloud_errors(f"listing the blocks of `{snapshot_id}`", hints=GONE):
            for page in _pages(self._ebs.list_snapshot_blocks, request):
                size = page["VolumeSize"]
                tokens |= {b["BlockIndex"]: b["BlockToken"] for b in page["Blocks"]}
        return size, tokens

    def changed(self, first: SnapshotId, second: SnapshotId) -> tuple[int, dict[int, str]]:
        """Return the second volume's size in GiB, and what differs in it from the first.

        Returns:
            Size, and index → token of the second's block; empty where it has none.
        """
        tokens: dict[int, str] = {}
        size = 0
        request = {"FirstSnapshotId": first, "SecondSnapshotId": second}
        with cloud_errors(f"comparing `{second}` with `{first}`", hints=GONE):
            for page in _pages(self._ebs.list_changed_blocks, request):
                size = page.get("VolumeSize", size)
                for block in page["ChangedBlocks"]:
                    tokens[block["BlockIndex"]] = block.get("SecondBlockToken", "")
        return size, tokens

    def patiently(self, call: Callable[[], Answer]) -> Answer:
        """Make another call until it is neither throttled nor lost; see :data:`PATIENCE`."""
        return self._patiently(call, pace=None)

    def _patiently(
        self, call: Callable[[], Answer], *, pace: Pace | None, known_by: datetime | None = None
    ) -> Answer:
        begun, failed = self._clock.now(), 0
        while True:
            if pace:
                pace.wait()
            try:
                answer = call()
            except OvenbirdError as error:
                failed += 1
                waited = self._clock.now() - begun
                is_new = known_by is not None and self._clock.now() < known_by
                if not _may_help(error, failed, waited, is_new=is_new):
                    raise
                if pace and isinstance(error, Throttled):
                    pace.slow_down()
                self._clock.sleep(self._pause_s(failed))
            else:
                if pace:
                    pace.speed_up()
                return answer

    def _pause_s(self, failed: int) -> float:
        longest = min(FIRST_PAUSE_S * 2.0 ** min(failed, 20), LONGEST_PAUSE_S)
        return longest * (0.5 + self._jitter() / 2)


def _may_help(error: OvenbirdError, failed: int, waited: timedelta, *, is_new: bool) -> bool:
    """Tell whether a call is made once more after an error."""
    if isinstance(error, NotFound):
        return is_new
    if isinstance(error, Throttled):
        return waited < PATIENCE
    lost = isinstance(error.__cause__, HTTPClientError | NoConnection)
    return failed < ATTEMPTS and (lost or isinstance(error, Damaged))


def _pages(call: Callable[..., Any], request: dict[str, Any]) -> Iterator[Any]:
    """Yield page after page; boto has no paginator for these."""
    while True:
        page = call(**request)
        if page.get("BlockSize", BLOCK_BYTES) != BLOCK_BYTES:
            raise CloudError(f"EBS has blocks of {page['BlockSize']} bytes, not of {BLOCK_BYTES}")
        yield page
        if not page.get("NextToken"):
            return
        request = request | {"NextToken": page["NextToken"]}
