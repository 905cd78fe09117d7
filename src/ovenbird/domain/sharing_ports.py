"""The port of sharing: one account's images in one Region, as :mod:`ovenbird.domain.ports`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ovenbird.domain.images import Image, ImageId
from ovenbird.domain.ports import Progress
from ovenbird.domain.sharing import Key, Permissions, Principal


class ImageSharing(Protocol):
    """Images of one account in one Region: who may use them, and copies of others' images."""

    def get(self, image_id: ImageId) -> Image: ...  # NotFound

    def await_seen(self, image_id: ImageId) -> Image: ...  # NotFound: not within a minute

    def key(self, name: str) -> Key: ...  # by id, ARN or alias

    def permissions(self, image: Image) -> Permissions: ...

    def allow_volumes(self, image: Image, accounts: Sequence[str]) -> None: ...

    def deny_volumes(self, image: Image, accounts: Sequence[str]) -> None: ...

    def allow_launch(self, image: Image, principals: Sequence[Principal]) -> None: ...

    def deny_launch(self, image: Image, principals: Sequence[Principal]) -> None: ...

    def grantees(self, key: str) -> frozenset[str]: ...  # that may do all that a launch needs

    def grant(self, key: str, grantee: str) -> None: ...

    def revoke(self, key: str, grantee: str) -> None: ...  # grants of ours only

    def find_copy(self, source: Image, *, region: str) -> Image | None: ...  # Conflict

    def copy(
        self,
        source: Image,
        *,
        region: str,
        tags: Mapping[str, str],
        kms_key: str,
        progress: Progress,
    ) -> Image: ...  # the one that there is, or a new one; available

    def remove_copy(self, source: Image, *, region: str) -> None: ...  # with its snapshot

    def write_tags(self, image_id: ImageId, tags: Mapping[str, str]) -> None: ...

    def remove_tags(self, image_id: ImageId, names: Sequence[str]) -> None: ...

    def launch_doubt(self, image: Image) -> str: ...  # CloudError: it cannot be launched
