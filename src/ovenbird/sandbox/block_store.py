"""Snapshots as maps of content-addressed blocks on disk.

A child begins with its parent's map, as an EBS snapshot does; equal blocks are stored
once. The rules are EBS's: only a pending snapshot takes blocks, only a completed one
gives them, and a completed one never changes.

Source: EBS direct APIs reference (StartSnapshot, PutSnapshotBlock, CompleteSnapshot,
ListChangedBlocks), "Block tokens".
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ovenbird.domain.blocks import BLOCK_BYTES, GIB_BLOCKS, ZERO_BLOCK, checksum, linear_checksum

SEAL_S = 0.2  # EBS completes asynchronously; the time is not published


class Refused(Exception):
    """EBS says no.

    Args:
        code: ``ValidationException``, ``ResourceNotFoundException`` or ``ConflictException``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(kw_only=True)
class SnapshotBlocks:
    """One snapshot's blocks.

    Args:
        blocks: Index → SHA-256 of the block, lowercase hex; those of the parent included.
        written: Indexes that were put since the start.
        readers: Accounts that may make volumes of it; ``all`` for everybody.
        sealed_at: Monotonic time at which it is completed; None while it takes blocks.
        failure: Why it is in error once it is sealed; empty when it is not.
    """

    snapshot_id: str
    account_id: str
    size_gib: int
    parent_id: str = ""
    client_token: str = ""
    blocks: dict[int, str] = field(default_factory=dict)
    written: dict[int, str] = field(default_factory=dict)
    readers: set[str] = field(default_factory=set)
    sealed_at: float | None = None
    failure: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(tz=UTC))  # noqa: TID251 - the server's own time

    @property
    def status(self) -> str:
        """``pending``, ``completed`` or ``error``."""
        if self.sealed_at is None or time.monotonic() < self.sealed_at:
            return "pending"
        return "error" if self.failure else "completed"

    def seal(self, failure: str = "") -> None:
        """Let it be completed, or in error, a moment later."""
        self.failure, self.sealed_at = failure, time.monotonic() + SEAL_S

    def token(self, index: int) -> str:
        """Return the block token of one block."""
        text = f"{self.snapshot_id}:{index}:{self.blocks[index]}"
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class BlockStore:
    """All snapshots of all accounts, and the files that hold their blocks."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.RLock()
        self._snapshots: dict[str, SnapshotBlocks] = {}

    def path(self, digest: str) -> Path:
        """Return the file of one block."""
        return self._directory / digest[:2] / digest

    def get(self, snapshot_id: str, account_id: str, *, to_write: bool = False) -> SnapshotBlocks:
        """Return a snapshot that the account owns or, for reading, that is shared with it by name.

        What is public is for volumes and copies only: EBS direct does not read it.

        Raises:
            Refused: There is none, as far as this account can tell.
        """
        found = self._snapshots.get(snapshot_id)
        mine = found is not None and found.account_id == account_id
        shared = found is not None and account_id in found.readers
        if found is None or not (mine or (shared and not to_write)):
            raise Refused(
                "ResourceNotFoundException", f"The snapshot '{snapshot_id}' does not exist."
            )
        return found

    def block_map(self, snapshot_id: str) -> Mapping[int, str]:
        """Return index → SHA-256 (hex) of a snapshot, whoever owns it; empty when unknown."""
        found = self._snapshots.get(snapshot_id)
        return dict(found.blocks) if found else {}

    def find(self, snapshot_id: str) -> SnapshotBlocks | None:
        """Return a snapshot, whoever owns it."""
        return self._snapshots.get(snapshot_id)

    def find_by_token(self, account_id: str, client_token: str) -> SnapshotBlocks | None:
        """Return the snapshot that was started with a client token, if any."""
        with self._lock:
            for found in self._snapshots.values():
                if client_token and (found.account_id, found.client_token) == (
                    account_id,
                    client_token,
                ):
                    return found
        return None

    def check_parent(self, parent_id: str, account_id: str, size_gib: int) -> None:
        """Refuse a parent that is unknown, unfinished or larger than its child."""
        parent = self.get(parent_id, account_id)
        if parent.status != "completed":
            raise Refused("ValidationException", "The parent snapshot is not completed")
        if parent.size_gib > size_gib:
            raise Refused("ValidationException", "The volume is smaller than the parent's")

    def add(self, snapshot: SnapshotBlocks) -> SnapshotBlocks:
        """Take a new snapshot in; it inherits its parent's blocks."""
        with self._lock:
            parent = self._snapshots.get(snapshot.parent_id)
            if parent is not None:
                snapshot.blocks = dict(parent.blocks)
            self._snapshots[snapshot.snapshot_id] = snapshot
            return snapshot

    def remove(self, snapshot_id: str) -> None:
        """Forget a snapshot; its block files stay until the sandbox goes."""
        with self._lock:
            self._snapshots.pop(snapshot_id, None)

    def put(self, snapshot: SnapshotBlocks, index: int, data: bytes, sha256: str) -> None:
        """Write one block of a pending snapshot.

        Args:
            snapshot: Pending.
            index: From 0, below the volume's end.
            data: 524,288 bytes.
            sha256: Base64 of the block's digest; checked.

        Raises:
            Refused: Any of these is not so.
        """
        if snapshot.sealed_at is not None:
            raise Refused("ValidationException", "The snapshot is not pending")
        if len(data) != BLOCK_BYTES:
            raise Refused("ValidationException", f"A block has {BLOCK_BYTES} bytes")
        if not 0 <= index < snapshot.size_gib * GIB_BLOCKS:
            raise Refused("ValidationException", "BlockIndex is out of range")
        if checksum(data) != sha256:
            raise Refused("ValidationException", "The checksum does not match the block")
        digest = base64.b64decode(sha256).hex()
        self._store(digest, data)
        with self._lock:
            snapshot.blocks[index] = digest
            snapshot.written[index] = sha256

    def read(self, snapshot: SnapshotBlocks, index: int, token: str) -> tuple[bytes, str]:
        """Return one block and its checksum in base64.

        Raises:
            Refused: Not completed, no such block, or not its token.
        """
        if snapshot.status != "completed":
            raise Refused("ValidationException", "The snapshot is not completed")
        if index not in snapshot.blocks:
            raise Refused("ResourceNotFoundException", f"There is no block {index}")
        if token != snapshot.token(index):
            raise Refused("ValidationException", "The block token is invalid")
        digest = snapshot.blocks[index]
        return self.path(digest).read_bytes(), base64.b64encode(bytes.fromhex(digest)).decode()

    def complete(
        self, snapshot: SnapshotBlocks, *, changed: int | None, aggregate: str | None
    ) -> None:
        """Seal a snapshot; it is completed a moment later.

        Raises:
            Refused: It is sealed already, or count or checksum do not fit what was put.
        """
        if snapshot.sealed_at is not None:
            raise Refused("ValidationException", "The snapshot is not pending")
        if changed is not None and changed != len(snapshot.written):
            raise Refused(
                "ValidationException",
                f"ChangedBlocksCount is {changed}, but {len(snapshot.written)} were written",
            )
        if aggregate and aggregate != linear_checksum(snapshot.written):
            raise Refused("ValidationException", "The aggregate checksum does not match")
        snapshot.seal()

    def keep(self, snapshot: SnapshotBlocks, index: int, data: bytes) -> None:
        """Write one block of a snapshot that EBS itself takes; zeros over a hole stay one."""
        if data == ZERO_BLOCK and index not in snapshot.blocks:
            return
        digest = hashlib.sha256(data).hexdigest()
        self._store(digest, data)
        snapshot.blocks[index] = digest

    def _store(self, digest: str, data: bytes) -> None:
        path = self.path(digest)
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        part.write_bytes(data)
        part.replace(path)


def changed_blocks(
    first: Mapping[int, str], second: Mapping[int, str]
) -> tuple[tuple[int, bool, bool], ...]:
    """Return (index, in the first, in the second) of blocks that differ, rising."""
    both = sorted(first.keys() | second.keys())
    return tuple((i, i in first, i in second) for i in both if first.get(i) != second.get(i))
