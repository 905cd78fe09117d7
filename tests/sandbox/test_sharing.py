"""Base images and sharing across the two accounts, through our own doors."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest

from ovenbird.aws.base_images import Ec2BaseImages
from ovenbird.aws.clients import Account, open_account
from ovenbird.aws.images import Ec2Images
from ovenbird.aws.keys import KmsKeys
from ovenbird.aws.sharing import Ec2Sharing
from ovenbird.domain.errors import CloudError, InvalidRequest, NotFound, OvenbirdError
from ovenbird.domain.images import BaseSource, Image, ImageId
from ovenbird.domain.sharing import (
    Permissions,
    Principal,
    PrincipalKind,
    ShareRequest,
    ShareTarget,
    changes,
    plan_sharing,
    refuse_unshareable,
)
from ovenbird.domain.sharing_ports import ImageSharing
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.places import DEVELOPMENT, PRODUCTION, REGION
from ovenbird.stages.share import Doors, observe, share
from ovenbird.system.clock import SystemClock
from tests.sandbox.drives import block, snapshot_of
from tests.sandbox.keys import client, customer_key, shared_key

pytestmark = pytest.mark.sandbox

NORTH = "eu-north-1"
EVERYBODY: Any = {"Group": "all"}
PRODUCTIONS = Principal(kind=PrincipalKind.ACCOUNT, name=PRODUCTION)


@cache  # clients take their time to be made
def account_in(endpoint: Endpoint, account_id: str, region: str) -> Account:
    account = endpoint.development if account_id == DEVELOPMENT else endpoint.production
    return open_account(replace(account.access, region=region))


@pytest.fixture
def ours(endpoint: Endpoint) -> Account:
    return account_in(endpoint, DEVELOPMENT, REGION)


@pytest.fixture
def theirs(endpoint: Endpoint) -> Account:
    return account_in(endpoint, PRODUCTION, REGION)


def silent(text: str) -> None:
    assert text


class Quick(SystemClock):
    """Looks more often than AWS should be asked."""

    def sleep(self, seconds: float) -> None:
        super().sleep(min(seconds, 0.05))


def bases_of(account: Account, kms_key: str = "") -> Ec2BaseImages:
    return Ec2BaseImages(account, kms_key=kms_key, clock=Quick())


def register(account: Account, **more: Any) -> Image:
    """Make an image with one block and a name of its own."""
    snapshot_id = snapshot_of(account, {0: block(1)})
    image_id = account.ec2.register_image(
        **{
            "Name": f"base-{uuid.uuid4()}",
            "Architecture": "x86_64",
            "RootDeviceName": "/dev/xvda",
            "VirtualizationType": "hvm",
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}
            ],
            "TagSpecifications": [
                {
                    "ResourceType": "image",
                    "Tags": [
                        {"Key": "ovenbird:app", "Value": "hello"},
                        {"Key": "cost-centre", "Value": "ours alone"},
                    ],
                }
            ],
            **more,
        }
    )["ImageId"]
    return Ec2Images(account).get(ImageId(image_id))


def encrypted_image(account: Account, key: str) -> Image:
    """Make an image that a key encrypts, tagged as a baked one."""
    image = bases_of(account, key).ready(register(account), progress=silent)
    account.ec2.create_tags(
        Resources=[image.image_id], Tags=[{"Key": "ovenbird:app", "Value": "hello"}]
    )
    return Ec2Images(account).get(image.image_id)


def publish(account: Account, image: Image, *, with_snapshot: bool = True) -> None:
    account.ec2.modify_image_attribute(
        ImageId=image.image_id, LaunchPermission={"Add": [EVERYBODY]}
    )
    if with_snapshot:
        account.ec2.modify_snapshot_attribute(
            SnapshotId=image.root_snapshot_id,
            Attribute="createVolumePermission",
            CreateVolumePermission={"Add": [EVERYBODY]},
        )


# Base images


def test_a_public_base_image_is_copied_once_and_its_blocks_can_be_read(
    ours: Account, theirs: Account
) -> None:
    public = register(theirs)
    publish(theirs, public)
    bases = bases_of(ours)
    base = bases.find(BaseSource(name=public.name[:-4] + "*", owner=PRODUCTION))

    copied = bases.ready(base, progress=silent)

    assert base.public
    assert (copied.owner_id, copied.state) == (DEVELOPMENT, "available")
    blocks = ours.ebs.list_snapshot_blocks(SnapshotId=copied.root_snapshot_id)["Blocks"]
    assert [one["BlockIndex"] for one in blocks] == [0]
    assert bases.ready(base, progress=silent) == copied
    assert bases.ready(copied, progress=silent) == copied


def test_a_look_alike_is_not_found_by_name(ours: Account, theirs: Account) -> None:
    public = register(theirs)
    publish(theirs, public)

    with pytest.raises(NotFound, match="No image is named"):
        bases_of(ours).find(BaseSource(name=public.name))
    with pytest.raises(InvalidRequest, match=f"belongs to {PRODUCTION}"):
        bases_of(ours).find(BaseSource(image_id=public.image_id))


def test_base_images_are_found_by_tags_and_by_parameter(ours: Account) -> None:
    word = str(uuid.uuid4())
    tags: Any = [{"ResourceType": "image", "Tags": [{"Key": "role", "Value": word}]}]
    image = register(ours, TagSpecifications=tags)
    ours.ssm.put_parameter(Name=f"/base/{word}", Value=image.image_id, Type="String")
    bases = bases_of(ours)

    assert bases.find(BaseSource(tags={"role": word})) == image
    assert bases.find(BaseSource(parameter=f"/base/{word}", architecture="x86_64")) == image
    with pytest.raises(NotFound, match="reading parameter"):
        bases.find(BaseSource(parameter=f"/none/{word}"))


def test_a_public_image_whose_snapshot_is_kept_back_says_so(ours: Account, theirs: Account) -> None:
    public = register(theirs)
    publish(theirs, public, with_snapshot=False)
    bases = bases_of(ours)

    with pytest.raises(InvalidRequest, match="permission to access the storage") as caught:
        bases.ready(
            bases.find(BaseSource(image_id=public.image_id, owner=PRODUCTION)), progress=silent
        )
    assert "read the snapshot" in caught.value.hint


def test_an_own_base_image_is_copied_to_be_encrypted(ours: Account) -> None:
    key = customer_key(ours)
    image = register(ours)
    bases = bases_of(ours, key)

    copied = bases.ready(image, progress=silent)

    assert (image.kms_key, copied.kms_key) == ("", key)
    found = bases.key_of(image)
    assert found is not None
    assert (found.arn, found.customer, found.enabled) == (key, True, True)


@pytest.fixture
def encrypting(ours: Account) -> Iterator[str]:
    """Let development encrypt by default; return the key."""
    ours.ec2.enable_ebs_encryption_by_default()
    try:
        yield KmsKeys(ours).default_key()
    finally:
        ours.ec2.disable_ebs_encryption_by_default()


def test_encryption_by_default_encrypts_the_base_and_is_refused_for_sharing(
    ours: Account, encrypting: str
) -> None:
    image = register(ours)
    bases = bases_of(ours)
    key = bases.key_of(image)

    assert key is not None
    assert (key.arn, key.customer) == (encrypting, False)
    with pytest.raises(InvalidRequest, match="cannot be shared with account 222222222222"):
        refuse_unshareable(request_of(image), key)


# Sharing


@dataclass(kw_only=True)
class Breaking:
    """A door whose changing calls fail from the n-th on, for a while, after their effect."""

    door: Ec2Sharing
    left: list[int]

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.door, name)
        if name not in {"allow_volumes", "allow_launch", "grant", "copy", "write_tags"}:
            return real

        def call(*words: Any, **named: Any) -> Any:
            found = real(*words, **named)
            self.left[0] -= 1
            if self.left[0] == 0:
                raise CloudError(f"{name} broke")
            return found

        return call


def request_of(image: Image, **changed: Any) -> ShareRequest:
    known: Any = {"environment": "prod", "account_id": PRODUCTION, "region": REGION}
    target = ShareTarget(**{**known, **changed})
    dev = ShareTarget(environment="dev", account_id=DEVELOPMENT, region=REGION)
    return ShareRequest(image=image, region=REGION, targets=(dev, target))


def doors_of(endpoint: Endpoint, request: ShareRequest, left: int = 0) -> Doors:
    """Return both sides, whose n-th change fails."""
    count = [left]

    def door(account_id: str, region: str) -> ImageSharing:
        account = account_in(endpoint, account_id, region)
        return Breaking(door=Ec2Sharing(account, clock=Quick()), left=count)

    there = {one.environment: door(one.account_id, one.region) for one in request.targets}
    return Doors(owner=lambda region: door(DEVELOPMENT, region), there=there)


def world(endpoint: Endpoint, image: Image) -> tuple[Any, ...]:
    """Return all that sharing an image may change."""
    ours = Ec2Sharing(account_in(endpoint, DEVELOPMENT, REGION))
    named: Any = [{"Name": "name", "Values": [image.name]}]
    known: list[Any] = []
    for account_id, region in itertools.product((DEVELOPMENT, PRODUCTION), (REGION, NORTH)):
        ec2 = account_in(endpoint, account_id, region).ec2
        found = ec2.describe_images(Filters=named)["Images"]
        known.append([(one["ImageId"], one.get("Tags", [])) for one in found])
        snapshots = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        known.append(sorted(one["SnapshotId"] for one in snapshots))
    grantees = ours.grantees(image.kms_key) if image.kms_key else frozenset()
    return ours.permissions(image), grantees, known


def plain(ours: Account, theirs: Account) -> ShareRequest:
    del theirs
    return request_of(register(ours))


def encrypted(ours: Account, theirs: Account) -> ShareRequest:
    del theirs
    return request_of(encrypted_image(ours, customer_key(ours)))


def copying(ours: Account, theirs: Account) -> ShareRequest:
    image = encrypted_image(ours, shared_key(ours, PRODUCTION))
    return request_of(image, copies=True, kms_key=customer_key(theirs))


def northern(ours: Account, theirs: Account) -> ShareRequest:
    del theirs
    return request_of(register(ours), region=NORTH)


Story = Callable[[Account, Account], ShareRequest]
STORIES: list[Story] = [plain, encrypted, copying, northern]


@pytest.mark.parametrize("story", STORIES)
def test_an_image_is_shared_once_and_taken_back_whole_after_each_failure(
    story: Story, endpoint: Endpoint, ours: Account, theirs: Account
) -> None:
    request = story(ours, theirs)
    before = world(endpoint, request.image)
    planned = changes(plan_sharing(request, observe(request, doors=doors_of(endpoint, request))))

    for number in range(1, len(planned) + 1):
        with pytest.raises(CloudError, match="broke"):
            share(request, doors=doors_of(endpoint, request, number), progress=silent)
        assert world(endpoint, request.image) == before

    seen = share(request, doors=doors_of(endpoint, request), progress=silent)
    after = world(endpoint, request.image)

    assert seen["dev"] == request.image
    assert seen["prod"].tags["ovenbird:app"] == "hello"
    assert seen["prod"].tags["ovenbird:source-account"] == DEVELOPMENT
    assert "cost-centre" not in seen["prod"].tags
    assert share(request, doors=doors_of(endpoint, request), progress=silent) == seen
    assert world(endpoint, request.image) == after


def test_a_copy_belongs_to_who_made_it_and_is_encrypted_with_its_key(
    endpoint: Endpoint, ours: Account, theirs: Account
) -> None:
    request = copying(ours, theirs)

    seen = share(request, doors=doors_of(endpoint, request), progress=silent)["prod"]

    assert (seen.owner_id, seen.kms_key) == (PRODUCTION, request.targets[1].kms_key)
    assert seen.image_id != request.image.image_id
    assert [one.image_id for one in Ec2Images(theirs).list_baked("hello")].count(seen.image_id) == 1


def test_an_organisation_is_let_in_by_its_arn(
    endpoint: Endpoint, ours: Account, theirs: Account
) -> None:
    organizations = client(ours, "organizations", region="us-east-1")
    arn = organizations.describe_organization()["Organization"]["Arn"]
    image = register(ours)
    whole = Principal(kind=PrincipalKind.ORGANIZATION, name=arn)
    request = ShareRequest(image=image, region=REGION, targets=(), others=(whole,))
    with pytest.raises(NotFound):
        Ec2Images(theirs).get(image.image_id)

    share(request, doors=doors_of(endpoint, request), progress=silent)

    assert Ec2Images(theirs).get(image.image_id).image_id == image.image_id
    assert Ec2Sharing(ours).permissions(image) == Permissions(launch=frozenset({whole}))


def test_an_account_that_is_none_is_refused_and_nothing_is_left(
    endpoint: Endpoint, ours: Account
) -> None:
    image = register(ours)
    nobody = Principal(kind=PrincipalKind.ACCOUNT, name="nobody")
    request = ShareRequest(image=image, region=REGION, targets=(), others=(PRODUCTIONS, nobody))

    with pytest.raises(OvenbirdError):
        share(request, doors=doors_of(endpoint, request), progress=silent)
    assert Ec2Sharing(ours).permissions(image) == Permissions()
