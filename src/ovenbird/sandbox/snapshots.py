"""Snapshots, as EC2 has them: who sees one, and who may make volumes of it.

Another account sees a snapshot, and makes volumes of it, when its createVolumePermission
names that account or all; only its owner changes or deletes it, and each account sees the
tags that it wrote itself. DescribeSnapshots answers in pages, for the owners that it is asked
for. moto 5.2.5 shows an account nothing but its own, ignores OwnerIds, and knows no pages.

What EC2 says of a snapshot's state is what the block store says.

An encrypted snapshot is never public, and one that is encrypted with AWS's own key for EBS is
shared with nobody; a volume of an encrypted snapshot is encrypted, with the snapshot's key if
no other one is named. CreateVolumePermission is read from the call, too.

Source: moto/ec2/models/elastic_block_store.py, responses/elastic_block_store.py; EC2 API
reference, DescribeSnapshots, CreateVolume, ModifySnapshotAttribute.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.elastic_block_store import EBSBackend, Snapshot, Volume
from moto.ec2.responses.elastic_block_store import ElasticBlockStore

from ovenbird.sandbox import blocks, encryption
from ovenbird.sandbox.loops import CONTROL
from ovenbird.sandbox.pages import page_of


def install() -> None:
    """Put our versions in moto's place."""
    EBSBackend.describe_snapshots = seeing(EBSBackend.describe_snapshots, "snapshots", visible)
    EBSBackend.create_volume = _of_others(EBSBackend.create_volume)
    ElasticBlockStore.describe_snapshots = describe_snapshots
    ElasticBlockStore.modify_snapshot_attribute = modify_snapshot_attribute
    for name in ("add_create_volume_permission", "remove_create_volume_permission"):
        setattr(EBSBackend, name, _readers_follow(getattr(EBSBackend, name)))


def peers(backend: EC2Backend) -> list[EC2Backend]:
    """Return EC2 of all accounts, in a backend's region."""
    region = backend.region_name
    return [account[region] for account in list(ec2_backends.values()) if region in account]


def visible(backend: EC2Backend) -> dict[str, Snapshot]:
    """Return the snapshots that an account sees; those of others as views with its own tags."""
    found: dict[str, Snapshot] = {}
    for peer in peers(backend):
        for snapshot in list(peer.snapshots.values()):
            if peer is backend:
                found[snapshot.id] = _current(snapshot)
            elif _may_read(snapshot, backend.account_id):
                view = copy.copy(_current(snapshot))
                view.ec2_backend = backend  # whose tags it shows
                found[snapshot.id] = view
    return found


def find_snapshot(backend: EC2Backend, snapshot_id: str) -> Snapshot:
    """Return a snapshot that the account owns or may make volumes from.

    Raises:
        EC2ClientError: InvalidSnapshot.NotFound.
    """
    if snapshot := visible(backend).get(snapshot_id):
        return snapshot
    raise EC2ClientError(
        "InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist."
    )


def anywhere(backend: EC2Backend, snapshot_id: str) -> Snapshot | None:
    """Return a snapshot of any account in a Region, whether or not the caller may see it."""
    owners = (peer.snapshots.get(snapshot_id) for peer in peers(backend))
    return next((found for found in owners if found is not None), None)


def describe_snapshots(self: ElasticBlockStore) -> ActionResult:
    """Stand in for DescribeSnapshots."""
    self.error_on_dryrun()
    account = self.current_account
    owners = {account if one == "self" else one for one in self._get_param("OwnerIds", [])}
    users = self._get_param("RestorableByUserIds", [])
    found = [
        snapshot
        for snapshot in self.ec2_backend.describe_snapshots(
            snapshot_ids=self._get_param("SnapshotIds", []),
            filters=self._filters_from_querystring(),
        )
        if (not owners or snapshot.owner_id in owners)
        and (not users or any(_restorable(snapshot, user, account) for user in users))
    ]
    size = self._get_int_param("MaxResults") or len(found)
    page, token = page_of(found, self._get_param("NextToken"), size=size)
    return ActionResult({"Snapshots": page, "NextToken": token})


def modify_snapshot_attribute(self: ElasticBlockStore) -> EmptyResult:
    """Stand in for ModifySnapshotAttribute."""
    self.error_on_dryrun()
    backend, snapshot_id = self.ec2_backend, self._get_param("SnapshotId")
    snapshot = backend.get_snapshot(snapshot_id)
    given = self._get_param("CreateVolumePermission", {})
    adds, removes = given.get("Add", []), given.get("Remove", [])
    named = [{"UserId": user} for user in self._get_param("UserIds", [])]
    named += [{"Group": group} for group in self._get_param("GroupNames", [])]
    operation = self._get_param("OperationType")
    adds = [*adds, *(named if operation == "add" else [])]
    removes = [*removes, *(named if operation == "remove" else [])]
    if adds:
        _refuse_to_share(snapshot, public=any("Group" in one for one in adds))
    for change, ones in (
        (backend.add_create_volume_permission, adds),
        (backend.remove_create_volume_permission, removes),
    ):
        users = [one["UserId"] for one in ones if "UserId" in one]
        groups = [one["Group"] for one in ones if "Group" in one]
        if ones:
            change(snapshot_id, user_ids=users, groups=groups)
    return EmptyResult()


def _refuse_to_share(snapshot: Snapshot, *, public: bool) -> None:
    if not snapshot.kms_key_id:
        return
    if encryption.is_managed(snapshot.kms_key_id):
        raise EC2ClientError(
            "InvalidParameter", "Encrypted snapshots with EBS default key cannot be shared"
        )
    if public:
        raise EC2ClientError("InvalidParameter", "Encrypted snapshots cannot be made public")


def seeing(
    original: Any, attribute: str, visible: Callable[[EC2Backend], Mapping[str, Any]]
) -> Any:
    """Wrap one of moto's descriptions so that it looks through the caller's eyes.

    Args:
        original: Moto's.
        attribute: In which the backend holds what the account owns.
        visible: Returns what the account sees.
    """

    def describe(self: EC2Backend, *words: Any, **named: Any) -> Any:
        with CONTROL:
            own = getattr(self, attribute)
            setattr(self, attribute, visible(self))
            try:
                return original(self, *words, **named)
            finally:
                setattr(self, attribute, own)

    return describe


def _of_others(original: Any) -> Any:
    """Let a volume be made of another account's snapshot that is shared."""

    def create_volume(
        self: EC2Backend,
        size: int | None,
        zone_name: str,
        snapshot_id: str | None = None,
        *words: Any,
        **named: Any,
    ) -> Volume:
        snapshot = find_snapshot(self, snapshot_id) if snapshot_id else None
        _encrypted(self, named, source=(snapshot.kms_key_id or "") if snapshot else "")
        if snapshot is None or snapshot_id in self.snapshots:
            volume: Volume = original(self, size, zone_name, snapshot_id, *words, **named)
            return volume
        volume = original(self, size or snapshot.volume.size, zone_name, None, *words, **named)
        volume.snapshot_id = snapshot_id
        return volume

    return create_volume


def _encrypted(backend: EC2Backend, named: dict[str, Any], *, source: str) -> None:
    """Write a new volume's key into moto's words; a snapshot's own key goes with it."""
    asked = str(named.get("encrypted") or "").lower() == "true"
    if source and not named.get("kms_key_id"):
        key = source
    else:
        key = encryption.chosen(
            backend, source=source, encrypted=asked, key=named.get("kms_key_id") or ""
        )
    named["encrypted"], named["kms_key_id"] = bool(key), key or None


def _restorable(snapshot: Snapshot, user: str, account_id: str) -> bool:
    if user == "all":
        return "all" in snapshot.create_volume_permission_groups
    named = snapshot.create_volume_permission_userids
    if user == "self":
        return account_id in {snapshot.owner_id, *named}
    return user in named


def _may_read(snapshot: Snapshot, account_id: str) -> bool:
    shared = account_id in snapshot.create_volume_permission_userids
    return shared or "all" in snapshot.create_volume_permission_groups


def _current(snapshot: Snapshot) -> Snapshot:
    """Let EC2's record of a snapshot say what the block store says."""
    if found := blocks.store().find(snapshot.id):
        snapshot.status = found.status
        snapshot.state_message = found.failure if found.status == "error" else None  # type: ignore[attr-defined]
    return snapshot


def _readers_follow(original: Any) -> Any:
    """Let the block store know who may read a snapshot."""

    def change(self: EC2Backend, snapshot_id: str, *words: Any, **named: Any) -> None:
        original(self, snapshot_id, *words, **named)
        snapshot = self.snapshots[snapshot_id]
        if found := blocks.store().find(snapshot_id):
            users = snapshot.create_volume_permission_userids
            found.readers = set(users) | set(snapshot.create_volume_permission_groups)

    return change
