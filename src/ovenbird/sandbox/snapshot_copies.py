"""CopySnapshot, as EC2 does it.

A copy holds the same blocks as its source and is no child of it; it belongs to who makes it,
and has no permissions and no tags but those of the call. It is pending at first. Its key is
the one that the call names, or the default one when the source is encrypted or everything new
is; a copy is never less encrypted than its source. Whether both keys may be used is found out
only while it is copied: then it ends in state `error`, with a message.

moto 5.2.5 copies a record without content, of the account's own snapshots only.

Source: EC2 API reference, CopySnapshot ("AWS authenticates the KMS key asynchronously");
EBS user guide, "Copy an Amazon EBS snapshot", "Share the KMS key used to encrypt a shared
Amazon EBS snapshot".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.elastic_block_store import Snapshot
from moto.ec2.responses.elastic_block_store import ElasticBlockStore

from ovenbird.sandbox import blocks, encryption
from ovenbird.sandbox.block_store import SnapshotBlocks
from ovenbird.sandbox.snapshots import find_snapshot

NO_KEY = "Given key ID is not accessible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of a copy.

    Args:
        key: Id, alias or ARN of the key that the call names; empty for none.
    """

    description: str = ""
    encrypted: bool = False
    key: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def install() -> None:
    """Put our version in moto's place."""
    ElasticBlockStore.copy_snapshot = copy_snapshot


def copy_snapshot(self: ElasticBlockStore) -> ActionResult:
    """Stand in for CopySnapshot."""
    self.error_on_dryrun()
    asked = Asked(
        description=self._get_param("Description") or "",
        encrypted=bool(self._get_bool_param("Encrypted")),
        key=self._get_param("KmsKeyId") or "",
        tags=self._parse_tag_specification("snapshot").get("snapshot", {}),
    )
    source_backend = in_region(self.ec2_backend, self._get_param("SourceRegion"))
    source = find_snapshot(source_backend, self._get_param("SourceSnapshotId"))
    refuse_unfinished(source)
    made = copied(self.ec2_backend, source, asked)
    return ActionResult({"SnapshotId": made.id, "Tags": made.tag_set})


def in_region(backend: EC2Backend, region: str) -> EC2Backend:
    """Return the same account's EC2 in the Region that a call names as its source.

    Raises:
        EC2ClientError: InvalidParameterValue: there is no such Region.
    """
    account = ec2_backends[backend.account_id]
    if region not in account.regions:
        raise EC2ClientError("InvalidParameterValue", f"Invalid source region: {region}")
    return account[region]


def refuse_unfinished(source: Snapshot) -> None:
    """Refuse a source that is not completed.

    Raises:
        EC2ClientError: IncorrectState.
    """
    if source.status != "completed":
        raise EC2ClientError("IncorrectState", f"Snapshot {source.id} is not in state completed")


def copied(backend: EC2Backend, source: Snapshot, asked: Asked) -> Snapshot:
    """Make a copy, pending, that belongs to the account of *backend* and lies in its Region.

    Raises:
        EC2ClientError: A key is named for a copy that shall not be encrypted.
    """
    of_source = source.kms_key_id or ""
    if asked.key and not (asked.encrypted or of_source or encryption.is_default(backend)):
        raise EC2ClientError(
            "InvalidParameterDependency", "The parameter KmsKeyId requires Encrypted to be set."
        )
    key = encryption.chosen(backend, source=of_source, encrypted=asked.encrypted, key=asked.key)
    made = blocks.made(
        backend,
        size=source.volume.size,
        description=asked.description,
        tags=asked.tags,
        key=key,
    )
    copy = SnapshotBlocks(
        snapshot_id=made.id,
        account_id=backend.account_id,
        size_gib=source.volume.size,
        blocks=dict(blocks.block_map(source.id)),
    )
    usable = (encryption.may_use(one, account_id=backend.account_id) for one in (of_source, key))
    needed = (bool(of_source), bool(key))
    failed = any(need and not may for need, may in zip(needed, usable, strict=True))
    blocks.store().add(copy).seal(NO_KEY if failed else "")
    return made
