"""Snapshots, read into sparse files and kept.

listed blocks ─▶ fetched in parallel, verified ─▶ NAME.part ─▶ cache
with a parent: a clone of the parent's disk, and only the blocks that differ
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from pathlib import Path

from ovenbird.aws.block_calls import BlockCalls
from ovenbird.aws.parallel import in_parallel
from ovenbird.domain.blocks import BLOCK_BYTES, GIB_BLOCKS, ZERO_BLOCK, blocks_of_extents
from ovenbird.domain.errors import CloudError
from ovenbird.domain.images import SnapshotId
from ovenbird.system.disks.disk_cache import DiskCache, write_block
from ovenbird.system.disks.disks import clone, extents


class SnapshotReading:
    """Reads snapshots of one account.

    Args:
        calls: To EBS.
        cache: Where disks are kept.
        prefix: Of names in the cache: two accounts may have snapshots of one id.
    """

    def __init__(self, calls: BlockCalls, *, cache: DiskCache, prefix: str) -> None:
        self._calls, self._cache, self._prefix = calls, cache, prefix

    def download(self, snapshot_id: SnapshotId, *, parent: SnapshotId | None) -> Path:
        """Return a sparse file with the snapshot's bytes; see EbsSnapshots."""
        known = self.download(parent, parent=None) if parent else None

        def fill(part: Path) -> Mapping[int, bytes]:
            if known and parent:
                try:
                    return self._read_child(snapshot_id, parent, known, part)
                except CloudError as error:
                    if error.facts.get("code") != "ValidationException":
                        raise  # otherwise: the two are not related, as EBS sees it
            return self._read(snapshot_id, part)

        return self._cache.get(self._name(snapshot_id), fill)

    def _name(self, snapshot_id: SnapshotId) -> str:
        return f"{self._prefix}-{snapshot_id}"

    def _read(self, snapshot_id: SnapshotId, part: Path) -> dict[int, bytes]:
        size, tokens = self._calls.listed(snapshot_id)
        with part.open("wb"):
            pass
        return self._fetch(snapshot_id, part, size, tokens)

    def _read_child(
        self, snapshot_id: SnapshotId, parent: SnapshotId, known: Path, part: Path
    ) -> dict[int, bytes]:
        size, tokens = self._calls.changed(parent, snapshot_id)
        sums = self._cache.digests(self._name(parent))
        clone(known, part)
        part.chmod(0o644)
        sums = {index: digest for index, digest in sums.items() if index not in tokens}
        return sums | self._fetch(snapshot_id, part, size, tokens)

    def _fetch(
        self, snapshot_id: SnapshotId, part: Path, size_gib: int, tokens: Mapping[int, str]
    ) -> dict[int, bytes]:
        """Write blocks into a disk; return the digests of those that are not zero."""
        sums: dict[int, bytes] = {}
        adding = threading.Lock()
        with part.open("r+b") as file, self._calls.carrying(len(tokens)) as transport:
            file.truncate(size_gib * GIB_BLOCKS * BLOCK_BYTES)
            old = set(_written(part))

            def fetch(index: int) -> None:
                if not tokens[index]:  # only the parent has it
                    write_block(file, index, ZERO_BLOCK)
                    return
                data, digest = self._calls.get(transport, snapshot_id, index, tokens[index])
                if data != ZERO_BLOCK:
                    with adding:
                        sums[index] = base64.b64decode(digest)
                elif index not in old:
                    return  # a hole stays a hole
                write_block(file, index, data)

            in_parallel(fetch, sorted(tokens), threads=min(transport.threads, len(tokens) or 1))
        return sums


def _written(disk: Path) -> tuple[int, ...]:
    return tuple(blocks_of_extents(extents(disk)))
