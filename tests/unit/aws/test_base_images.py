"""Base images: which one a source means, and when it is copied."""

from __future__ import annotations

from typing import Any

import pytest

from ovenbird.aws.base_images import Ec2BaseImages
from ovenbird.domain.errors import CloudError, InvalidRequest, NotFound
from ovenbird.domain.images import BaseSource, Image
from tests.unit.aws.clouds import AMAZON, CUSTOMER, MANAGED, Cloud, raw, refusal

DEBIAN = raw(
    "ami-11111111", Name="debian-12-20260101", OwnerId=AMAZON, ImageOwnerAlias="amazon",
    Public=True,
)  # fmt: skip
LOOKALIKE = raw("ami-66666666", Name="debian-12-20260909", OwnerId="666666666666", Public=True)


def bases(cloud: Cloud, kms_key: str = "") -> Ec2BaseImages:
    return Ec2BaseImages(cloud.account(), kms_key=kms_key, clock=cloud.clock)


def find(images: list[dict[str, Any]], cloud: Cloud | None = None, **source: Any) -> str:
    cloud = cloud or Cloud()
    cloud.images = images
    return bases(cloud).find(BaseSource(**source)).image_id


def test_the_newest_that_fits_a_name_with_a_star_is_taken() -> None:
    newer = DEBIAN | {
        "ImageId": "ami-22222222", "Name": "debian-12-20260201",
        "CreationDate": "2026-02-01T00:00:00.000Z",
    }  # fmt: skip

    assert find([newer, DEBIAN, LOOKALIKE], name="debian-12-*", owner=AMAZON) == "ami-22222222"
    assert find([DEBIAN, LOOKALIKE], name="debian-12-*", owner="amazon") == "ami-11111111"


def test_a_name_means_an_image_of_this_account_unless_an_owner_is_given() -> None:
    with pytest.raises(NotFound, match="No image is named `debian-12-20260909`"):
        find([LOOKALIKE], name="debian-12-20260909")


def test_tags_must_all_be_there() -> None:
    tags = [{"Key": "role", "Value": "base"}, {"Key": "os", "Value": "debian"}]
    one, both = raw("ami-aaaaaaaa", Tags=tags[:1]), raw("ami-bbbbbbbb", Tags=tags)

    assert find([one, both], tags={"role": "base", "os": "debian"}) == "ami-bbbbbbbb"


def test_images_of_another_architecture_or_that_are_not_available_are_passed_over() -> None:
    arm = raw("ami-aaaaaaaa", Name="base", Architecture="arm64")
    failed = raw("ami-bbbbbbbb", Name="base", State="failed")

    assert find([arm, failed], name="base", architecture="arm64") == "ami-aaaaaaaa"
    with pytest.raises(NotFound, match="for x86_64"):
        find([arm, failed], name="base", architecture="x86_64")


def test_our_own_copies_of_base_images_are_not_base_images_by_their_tags() -> None:
    tag = {"Key": "os", "Value": "debian"}
    copied = {"Key": "ovenbird:copied-from", "Value": "ami-11111111"}

    with pytest.raises(NotFound):
        find([raw("ami-aaaaaaaa", Tags=[tag, copied])], tags={"os": "debian"})


def test_a_parameter_names_an_id() -> None:
    cloud = Cloud(parameters={"/base": "ami-aaaaaaaa\n", "/json": '{"image_id": "ami-1"}'})

    assert find([raw("ami-aaaaaaaa")], cloud, parameter="/base") == "ami-aaaaaaaa"
    with pytest.raises(InvalidRequest, match=r"`/json` holds .* which is no image id"):
        find([], cloud, parameter="/json")
    with pytest.raises(NotFound, match="parameter `/none`"):
        find([], cloud, parameter="/none")


def test_somebody_elses_image_is_refused_by_its_id_and_the_way_out_is_said() -> None:
    with pytest.raises(InvalidRequest, match="belongs to 666666666666") as caught:
        find([LOOKALIKE], image_id="ami-66666666")

    assert 'owner: "666666666666"' in caught.value.hint
    assert find([LOOKALIKE], image_id="ami-66666666", owner="666666666666") == "ami-66666666"
    assert find([DEBIAN], image_id="ami-11111111", owner="amazon") == "ami-11111111"
    with pytest.raises(InvalidRequest, match="not to `amazon`"):
        find([LOOKALIKE], image_id="ami-66666666", owner="amazon")


def test_an_id_that_is_not_there_and_one_that_failed_are_said() -> None:
    with pytest.raises(NotFound, match="No image `ami-99999999`"):
        find([], image_id="ami-99999999")
    with pytest.raises(CloudError, match="is `failed`"):
        find([raw("ami-aaaaaaaa", State="failed")], image_id="ami-aaaaaaaa")
    with pytest.raises(InvalidRequest, match="no name, no tags"):
        find([])


def ready(cloud: Cloud, kms_key: str = "") -> Image:
    """Make the cloud's first image ready."""
    door = bases(cloud, kms_key)
    image_id = cloud.images[0]["ImageId"]
    owner = cloud.images[0]["OwnerId"]
    base = door.find(BaseSource(image_id=image_id, owner=owner))
    return door.ready(base, progress=lambda _: None)


def test_an_image_of_our_own_is_used_as_it_is() -> None:
    cloud = Cloud(images=[raw("ami-aaaaaaaa")])

    assert ready(cloud).image_id == "ami-aaaaaaaa"
    assert cloud.copied == []


def test_a_public_image_is_copied_once() -> None:
    cloud = Cloud(images=[DEBIAN])

    first, second = ready(cloud), ready(cloud)

    assert first.image_id == second.image_id == "ami-00000001"
    assert first.tags == {"Name": "debian-12-20260101", "ovenbird:copied-from": "ami-11111111"}
    [copied] = cloud.copied
    assert (copied["Name"], copied["SourceRegion"]) == ("ovenbird-base/ami-11111111", "eu-west-1")
    assert "Encrypted" not in copied


def test_an_image_with_billing_products_is_never_copied() -> None:
    cloud = Cloud(images=[DEBIAN | {"UsageOperation": "RunInstances:0010"}])

    assert ready(cloud, "alias/ours").image_id == "ami-11111111"
    assert cloud.copied == []


@pytest.mark.parametrize(
    ("own", "default", "configured", "key"),
    [
        ("", MANAGED, "", MANAGED),  # AWS would refuse a snapshot of an unencrypted parent
        ("", MANAGED, "alias/ours", CUSTOMER),
        ("", "", "alias/ours", CUSTOMER),
        (MANAGED, "", "alias/ours", CUSTOMER),
        (MANAGED, MANAGED, "", ""),
        (CUSTOMER, "", "alias/ours", ""),
        (CUSTOMER, "", "", ""),
    ],
)
def test_an_own_image_is_copied_only_to_be_encrypted_as_is_wanted(
    own: str, default: str, configured: str, key: str
) -> None:
    image = raw("ami-aaaaaaaa", ebs={"Encrypted": True} if own else {})
    cloud = Cloud(images=[image], default_key=default, keys={"snap-aaaaaaaa": own})

    found = ready(cloud, configured)

    assert [copied["KmsKeyId"] for copied in cloud.copied] == ([key] if key else [])
    assert found.kms_key == (key or own)


def test_another_key_makes_another_copy() -> None:
    cloud = Cloud(images=[DEBIAN])

    assert ready(cloud).image_id != ready(cloud, "alias/ours").image_id
    assert ready(cloud, "alias/ours").image_id == ready(cloud, CUSTOMER).image_id


def test_a_key_that_is_not_there_is_said_before_anything_is_copied() -> None:
    cloud = Cloud(images=[DEBIAN])

    with pytest.raises(NotFound, match="describing key `alias/none`"):
        ready(cloud, "alias/none")
    assert cloud.copied == []


def test_a_copy_that_is_refused_says_what_its_owner_must_do() -> None:
    words = "You do not have permission to access the storage of this ami"
    cloud = Cloud(images=[DEBIAN], refuses={"copy_image": refusal("InvalidRequest", words)})

    with pytest.raises(InvalidRequest, match="the storage of this ami") as caught:
        ready(cloud)
    assert "let this account read the snapshot" in caught.value.hint
