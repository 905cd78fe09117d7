"""The settings of images: where base images are found, and what encrypts what is baked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ovenbird.config.documents import Strict

WAYS = ("name", "id", "parameter", "tags")


class BaseImageSettings(Strict):
    """Where a base image is found: by exactly one of name, id, parameter and tags.

    Args:
        name: Of the image; with ``*`` or ``?`` the newest that fits, if its owner is given.
        id: Of the image; it never gets newer by itself.
        parameter: Of Systems Manager; its value is an image's id.
        tags: Of the image, all of them; the newest that fits.
        owner: Who must own it: ``self``, ``amazon``, ``aws-marketplace`` or an account's
            twelve digits. Anyone may publish an image under any name and with any tags.
        architecture: As EC2 calls it; both when it is left out.
    """

    name: str = ""
    id: Annotated[str, Field(pattern=r"^(ami-[0-9a-f]{8,17})?$")] = ""
    parameter: str = ""
    tags: Annotated[Mapping[str, str], Field(default_factory=dict)]
    owner: Annotated[str, Field(pattern=r"^(self|amazon|aws-marketplace|[0-9]{12})$")] = "self"
    architecture: Literal["x86_64", "arm64", ""] = ""

    @model_validator(mode="after")
    def _one_way(self) -> BaseImageSettings:
        given = [way for way in WAYS if getattr(self, way)]
        if len(given) != 1:
            ways = ", ".join(f"`{way}`" for way in WAYS)
            said = " and ".join(f"`{way}`" for way in given) or "none"
            raise ValueError(f"must be found by exactly one of {ways}, not by {said}")
        if set("*?") & set(self.name) and "owner" not in self.model_fields_set:
            raise ValueError("must say its `owner` (`self` for your own), as its name has `*`")
        return self


class ImageSettings(Strict):
    """What holds for every image that is baked.

    Args:
        kms_key: Id, ARN or alias of the key that encrypts images, in the account that bakes;
            empty to let images be as their base image, and as the account's default says.
    """

    kms_key: str = ""


class RebakeSettings(Strict):
    """What `ovenbird image rebake --scheduled` does, which a timer of the host starts.

    Args:
        every_h: Hours from one look at what is outdated to the next, at least.
        apps: Whose images are baked anew; those of all apps when it is left out.
    """

    every_h: Annotated[float, Field(gt=0)] = 24.0
    apps: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
