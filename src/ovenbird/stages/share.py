"""Let production launch an image, and write its tags there too."""

from __future__ import annotations

from ovenbird.domain.images import TAG, Image
from ovenbird.domain.ports import Images, Progress

SOURCE_ACCOUNT_TAG = TAG + "source-account"


def share(
    image: Image, *, account_id: str, images: Images, there: Images, progress: Progress
) -> Image:
    """Share *image* and return it as the other account sees it; safe to repeat.

    AWS shows the owner's tags to no other account: they are written again on that side.

    Args:
        image: As its owner sees it.
        account_id: The other account, twelve digits.
        images: The owner's side.
        there: The other account's side.
        progress: Told what happened.

    Raises:
        NotFound: The other account does not see the image.
        CloudError: AWS refused a call.
    """
    if image.owner_id == account_id:
        return image
    images.share(image, account_id=account_id)
    ours = {key: value for key, value in image.tags.items() if key.startswith((TAG, "Name"))}
    there.tag(image.image_id, ours | {SOURCE_ACCOUNT_TAG: image.owner_id})
    progress(f"Shared `{image.name}` ({image.image_id}) with account {account_id}")
    return there.get(image.image_id)
