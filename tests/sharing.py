"""Accounts and Regions in memory, for what shares images: permissions, grants, copies, tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ovenbird.domain.errors import CloudError, NotFound, Throttled
from ovenbird.domain.images import COPIED_FROM_TAG, Image, ImageId, SnapshotId
from ovenbird.domain.ports import Progress
from ovenbird.domain.sharing import Key, Permissions, Principal, PrincipalKind
from ovenbird.domain.sharing_ports import ImageSharing
from ovenbird.stages.share import Doors

OURS, THEIRS = "111111111111", "222222222222"
HERE, NORTH = "eu-west-1", "eu-north-1"
IMAGE = Image(
    image_id=ImageId("ami-1"), name="hello-1.2.0", owner_id=OURS,
    root_snapshot_id=SnapshotId("snap-1"), root_device_name="/dev/xvda",
    architecture="x86_64", boot_mode="uefi", ena=True, imds_v2=True, size_gib=4,
    created_at=datetime(2026, 1, 1, tzinfo=UTC), state="available",
    tags={"Name": "hello 1.2.0", "ovenbird:app": "hello", "cost-centre": "ours alone"},
)  # fmt: skip


@dataclass(kw_only=True)
class Cloud:
    """All of it; images are known by their place: account, Region, id.

    Args:
        tags: (Account, image) → tags that this account wrote on another's image.
        grants: (Key, grantee).
        log: Every call that changes something.
        breaks: Numbers of such calls that fail after their effect, from 1.
        refuses: Likewise, before their effect.
        cannot_launch: Accounts whose trial launches fail because of the image.
        blind: Number of the look that is throttled, from 1.
    """

    images: dict[tuple[str, str, str], Image] = field(
        default_factory=lambda: {(OURS, HERE, IMAGE.image_id): IMAGE}
    )
    launch: dict[str, set[Principal]] = field(default_factory=dict)
    volumes: dict[str, set[str]] = field(default_factory=dict)
    tags: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    grants: set[tuple[str, str]] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    breaks: set[int] = field(default_factory=set)
    refuses: set[int] = field(default_factory=set)
    cannot_launch: set[str] = field(default_factory=set)
    blind: int = 0
    looks: int = 0

    def look(self) -> None:
        self.looks += 1
        if self.looks == self.blind:
            raise Throttled("Slow down")

    def change(self, what: str, do: Callable[[], object]) -> None:
        self.log.append(what)
        if len(self.log) in self.refuses:
            raise CloudError(f"{what} was refused", hint="Ask nicely")
        do()
        if len(self.log) in self.breaks:
            raise CloudError(f"{what} broke")

    def state(self) -> tuple[Any, ...]:
        """Return all that sharing may change."""
        told = [{k: sorted(v) for k, v in d.items() if v} for d in (self.launch, self.volumes)]
        tags = {key: value for key, value in self.tags.items() if value}
        return (sorted(self.images), *told, tags, sorted(self.grants))

    def doors(self, environments: Mapping[str, tuple[str, str]]) -> Doors:
        """Return both sides.

        Args:
            environments: Name → account and Region.
        """

        def owner(region: str) -> ImageSharing:
            return Side(self, OURS, region)

        there = {name: Side(self, *place) for name, place in environments.items()}
        return Doors(owner=owner, there=there)


class Side:
    """One account in one Region."""

    def __init__(self, cloud: Cloud, account_id: str, region: str) -> None:
        self._cloud, self._account, self._region = cloud, account_id, region

    def get(self, image_id: ImageId) -> Image:
        self._cloud.look()
        for (account, region, known), image in self._cloud.images.items():
            if known == image_id and region == self._region:
                if account == self._account:
                    return image
                me = Principal(kind=PrincipalKind.ACCOUNT, name=self._account)
                if me in self._cloud.launch.get(image_id, set()):
                    tags = self._cloud.tags.get((self._account, image_id), {})
                    return replace(image, tags=dict(tags))
        raise NotFound(f"No image `{image_id}` for {self._account} in {self._region}")

    def await_seen(self, image_id: ImageId) -> Image:
        return self.get(image_id)

    def key(self, name: str) -> Key:
        return Key(arn=name, customer="managed" not in name, enabled="disabled" not in name)

    def permissions(self, image: Image) -> Permissions:
        self._cloud.look()
        return Permissions(
            launch=frozenset(self._cloud.launch.get(image.image_id, set())),
            volumes=frozenset(self._cloud.volumes.get(image.root_snapshot_id, set())),
        )

    def allow_volumes(self, image: Image, accounts: Sequence[str]) -> None:
        known = self._cloud.volumes.setdefault(image.root_snapshot_id, set())
        what = f"{image.root_snapshot_id} for {' '.join(accounts)}"
        self._cloud.change(what, lambda: known.update(accounts))

    def deny_volumes(self, image: Image, accounts: Sequence[str]) -> None:
        known = self._cloud.volumes[image.root_snapshot_id]
        what = f"not {image.root_snapshot_id} for {' '.join(accounts)}"
        self._cloud.change(what, lambda: known.difference_update(accounts))

    def allow_launch(self, image: Image, principals: Sequence[Principal]) -> None:
        known = self._cloud.launch.setdefault(image.image_id, set())
        what = f"{image.image_id} for {' '.join(one.name for one in principals)}"
        self._cloud.change(what, lambda: known.update(principals))

    def deny_launch(self, image: Image, principals: Sequence[Principal]) -> None:
        known = self._cloud.launch[image.image_id]
        what = f"not {image.image_id} for {' '.join(one.name for one in principals)}"
        self._cloud.change(what, lambda: known.difference_update(principals))

    def grantees(self, key: str) -> frozenset[str]:
        self._cloud.look()
        return frozenset(who for known, who in self._cloud.grants if known == key)

    def grant(self, key: str, grantee: str) -> None:
        self._cloud.change(f"grant {grantee}", lambda: self._cloud.grants.add((key, grantee)))

    def revoke(self, key: str, grantee: str) -> None:
        self._cloud.change(f"revoke {grantee}", lambda: self._cloud.grants.discard((key, grantee)))

    def find_copy(self, source: Image, *, region: str) -> Image | None:
        self._cloud.look()
        return self._copy_of(source)

    def _copy_of(self, source: Image) -> Image | None:
        for (account, where, _), image in self._cloud.images.items():
            mine = (account, where) == (self._account, self._region)
            if mine and image.tags.get(COPIED_FROM_TAG) == source.image_id:
                return image
        return None

    def copy(
        self,
        source: Image,
        *,
        region: str,
        tags: Mapping[str, str],
        kms_key: str,
        progress: Progress,
    ) -> Image:
        name = f"{self._account[0]}-{self._region}"
        made = replace(
            source, image_id=ImageId(f"ami-{name}"), root_snapshot_id=SnapshotId(f"snap-{name}"),
            owner_id=self._account, kms_key=kms_key,
            tags={**tags, COPIED_FROM_TAG: source.image_id},
        )  # fmt: skip
        place = (self._account, self._region, made.image_id)
        what = f"copy to {name} with {kms_key or 'no key'}"
        self._cloud.change(what, lambda: self._cloud.images.update({place: made}))
        return made

    def remove_copy(self, source: Image, *, region: str) -> None:
        if found := self._copy_of(source):
            place = (self._account, self._region, found.image_id)
            self._cloud.change(
                f"remove {found.image_id}", lambda: self._cloud.images.pop(place, None)
            )

    def write_tags(self, image_id: ImageId, tags: Mapping[str, str]) -> None:
        known = self._cloud.tags.setdefault((self._account, image_id), {})
        self._cloud.change(f"tag {image_id}", lambda: known.update(tags))

    def remove_tags(self, image_id: ImageId, names: Sequence[str]) -> None:
        known = self._cloud.tags.setdefault((self._account, image_id), {})

        def remove() -> None:
            for name in names:
                known.pop(name, None)

        self._cloud.change(f"untag {image_id}", remove)

    def launch_doubt(self, image: Image) -> str:
        self._cloud.look()
        if self._account in self._cloud.cannot_launch:
            raise CloudError(f"`{image.image_id}` cannot be launched")
        return ""
