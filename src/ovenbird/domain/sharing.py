"""Sharing: who may use an image, and what has to be done so that they may.

    request + observed ──plan_sharing──▶ actions ──stages/share.py──▶ image of each environment

An image lives in one Region of one account. Another account in the same Region is let in:
it may read the snapshot, it may launch the image, and where a key encrypts it, its Auto
Scaling may use the key. Another Region has a copy, of our own (and is let in there), or of
the other account's own, with its own key. Tags are nobody else's to see: they are written
again on the other side.

Source: EC2 user guide, "Share an AMI with specific AWS accounts", "Share an AMI with
organizations and organizational units"; EC2 Auto Scaling user guide, "Required AWS KMS key
policy for use with encrypted volumes".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.images import COPIED_FROM_TAG, TAG, Image

SOURCE_ACCOUNT_TAG = TAG + "source-account"
NAME_TAG = "Name"
AUTO_SCALING_ROLE = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of KMS.

    Args:
        customer: Whether we manage it; AWS's own keys can be shared with nobody.
    """

    arn: str
    customer: bool
    enabled: bool


class PrincipalKind(StrEnum):
    """Who can be let in."""

    ACCOUNT = "account"
    ORGANIZATION = "organization"
    UNIT = "unit"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Principal:
    """An account by its twelve digits, or an organisation or one of its units by its ARN."""

    kind: PrincipalKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareTarget:
    """An environment that shall launch the image.

    Args:
        copies: Whether its account makes a copy of its own, instead of launching ours.
        kms_key: What encrypts the copy, in the account that copies; empty for as the image.
        role_arn: The role by which we work there; empty for none.
    """

    environment: str
    account_id: str
    region: str
    copies: bool = False
    kms_key: str = ""
    role_arn: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRequest:
    """What shall be shared with whom.

    Args:
        image: As its owner sees it.
        region: Where it is.
        others: Who is let in beside the environments; nobody looks from their side.
    """

    image: Image
    region: str
    targets: tuple[ShareTarget, ...]
    others: tuple[Principal, ...] = ()

    @property
    def owner_id(self) -> str:
        """The account of the image."""
        return self.image.owner_id

    def is_home(self, target: ShareTarget) -> bool:
        """Tell whether the image is there already: nothing is to be done."""
        return (target.account_id, target.region) == (self.owner_id, self.region)

    def is_copying(self, target: ShareTarget) -> bool:
        """Tell whether an environment's own account makes a copy; the owner's never does."""
        return target.copies and target.account_id != self.owner_id

    def let_in(self) -> Iterator[tuple[str, ShareTarget]]:
        """Yield a Region, and an environment whose account is let in there."""
        for target in self.targets:
            if target.account_id != self.owner_id:
                yield self._region_for(target), target

    @property
    def regions(self) -> tuple[str, ...]:
        """The Regions in which the owner has something to do, the image's own first."""
        found = {self._region_for(one) for one in self.targets if not self.is_home(one)}
        if self.others:
            found.add(self.region)
        return tuple(sorted(found, key=lambda region: (region != self.region, region)))

    def key_in(self, region: str) -> str:
        """Return the key that is wanted for the owner's copy in another Region; empty for none."""
        here = [one for one in self.targets if one.region == region and not self.is_copying(one)]
        keys = sorted({one.kms_key for one in here} - {""})
        return keys[0] if keys and region != self.region else ""

    def _region_for(self, target: ShareTarget) -> str:
        """Return where the owner's image for an environment is."""
        return self.region if self.is_copying(target) else target.region


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """Who may use an image of ours.

    Args:
        launch: Who may launch it.
        volumes: Accounts that may make volumes of its snapshot, or copy it.
    """

    launch: frozenset[Principal] = frozenset()
    volumes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the owner has in one Region.

    Args:
        image: None when it is to be copied there first.
        key: What encrypts it, or will; None for nothing.
        grantees: ARNs of who may use the key by a grant.
    """

    image: Image | None
    key: Key | None = None
    permissions: Permissions = Permissions()
    grantees: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Both sides as they are.

    Args:
        regions: By Region of the owner.
        environments: What each environment would launch, with its own tags; None for nothing.
    """

    regions: Mapping[str, Held] = field(default_factory=dict)
    environments: Mapping[str, Image | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyToRegion:
    """The owner copies the image to another Region."""

    region: str
    kms_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowVolumes:
    """Accounts may read the snapshot."""

    region: str
    accounts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowKey:
    """Somebody may use the key that encrypts it."""

    region: str
    key: str
    grantee: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowLaunch:
    """Somebody may launch it."""

    region: str
    principals: tuple[Principal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyInto:
    """An environment's account makes a copy of its own."""

    environment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTags:
    """The image's tags are written on the other side."""

    environment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """The other account's role describes the image, and asks whether it could launch it."""

    environment: str


ShareAction = CopyToRegion | AllowVolumes | AllowKey | AllowLaunch | CopyInto | WriteTags | Verify


def plan_sharing(request: ShareRequest, observed: Observed) -> tuple[ShareAction, ...]:
    """Return what is missing, in the order in which it is done; at least a look at each side."""
    actions: list[ShareAction] = []
    for region in request.regions:
        actions += _let_in(request, region, observed.regions[region])
    for target in request.targets:
        if not request.is_home(target):
            actions += _other_side(request, target, observed.environments.get(target.environment))
    return tuple(actions)


def changes(actions: tuple[ShareAction, ...]) -> tuple[ShareAction, ...]:
    """Return the actions that change something."""
    return tuple(action for action in actions if not isinstance(action, Verify))


def tags_there(request: ShareRequest) -> dict[str, str]:
    """Return the tags of the image on another side: ours, and whose it is."""
    image = request.image
    ours = {
        key: value
        for key, value in image.tags.items()
        if key == NAME_TAG or (key.startswith(TAG) and key != COPIED_FROM_TAG)
    }
    return ours | {SOURCE_ACCOUNT_TAG: image.owner_id}


def grantees(request: ShareRequest, region: str, key: Key) -> tuple[str, ...]:
    """Return the ARNs of those that need a key to use the image: the first that need it first."""
    partition = key.arn.split(":")[1]
    found = []
    for where, target in request.let_in():
        if where == region:
            account = f"arn:{partition}:iam::{target.account_id}"
            copier = target.role_arn or f"{account}:root"
            found.append(copier if target.copies else f"{account}:{AUTO_SCALING_ROLE}")
    return tuple(dict.fromkeys(found))


def refuse_unshareable(request: ShareRequest, key: Key | None) -> None:
    """Refuse what could be baked and then not be shared.

    Args:
        request: Its image is what is baked, or what a bake starts from.
        key: What encrypts the image; None for nothing.

    Raises:
        InvalidRequest: AWS manages the key, or it is disabled, or a Region has none.
    """
    others = sorted({target.account_id for _, target in request.let_in()})
    if key is None or not (others or request.others):
        return
    whom = f"account {others[0]}" if others else str(request.others[0])
    if not key.customer:
        raise InvalidRequest(
            f"An image that AWS's own key `{key.arn}` encrypts cannot be shared with {whom}",
            hint="Make a key of your own and set `images: {kms_key: alias/NAME}` in the settings: "
            "the base image is then copied with it first",
        )
    if not key.enabled:
        raise InvalidRequest(
            f"Key `{key.arn}` is disabled: nobody could launch what it encrypts",
            hint="Enable it, or name another one in `images.kms_key`",
        )
    for region in sorted({where for where, _ in request.let_in()}):
        if region != request.region and not request.key_in(region):
            raise InvalidRequest(
                f"Key `{key.arn}` does not exist in {region}, and AWS's own key there cannot be "
                f"shared with {whom}",
                hint="Set `kms_key` of the environments there to a key of the account that bakes, "
                "or let them copy: `images: copy`",
            )


def words(action: ShareAction, request: ShareRequest) -> str:
    """Return an action as a sentence."""
    name = request.image.name
    match action:
        case CopyToRegion():
            text = f"Copy `{name}` to {action.region}"
        case AllowVolumes():
            accounts = ", ".join(action.accounts)
            text = f"Let {accounts} read the snapshot of `{name}` in {action.region}"
        case AllowKey():
            text = f"Let {action.grantee} use key `{action.key}`"
        case AllowLaunch():
            whom = ", ".join(str(principal) for principal in action.principals)
            text = f"Let {whom} launch `{name}` in {action.region}"
        case CopyInto():
            text = f"Copy `{name}` in `{action.environment}`, to an image of its own"
        case WriteTags():
            text = f"Write the tags of `{name}` in `{action.environment}`"
        case Verify():
            text = f"Look at `{name}` as `{action.environment}` sees it"
        case _:
            assert_never(action)
    return text


def _let_in(request: ShareRequest, region: str, held: Held) -> Iterator[ShareAction]:
    """Yield what the owner does in one Region.

    The snapshot before the image, the key between them: who may launch can launch at once.
    """
    accounts = {target.account_id for where, target in request.let_in() if where == region}
    principals = {Principal(kind=PrincipalKind.ACCOUNT, name=account) for account in accounts}
    if region == request.region:
        principals |= set(request.others)
    readers = {one.name for one in principals if one.kind is PrincipalKind.ACCOUNT}
    if held.image is None:
        yield CopyToRegion(region=region, kms_key=request.key_in(region))
    if missing := readers - held.permissions.volumes:
        yield AllowVolumes(region=region, accounts=tuple(sorted(missing)))
    if held.key is not None:
        for grantee in grantees(request, region, held.key):
            if grantee not in held.grantees:
                yield AllowKey(region=region, key=held.key.arn, grantee=grantee)
    if unlaunched := principals - held.permissions.launch:
        yield AllowLaunch(region=region, principals=tuple(sorted(unlaunched)))


def _other_side(
    request: ShareRequest, target: ShareTarget, seen: Image | None
) -> Iterator[ShareAction]:
    if seen is None and request.is_copying(target):
        yield CopyInto(environment=target.environment)
    elif seen is None and target.account_id == request.owner_id:
        pass  # the copy has the tags from the beginning
    elif seen is None or not tags_there(request).items() <= seen.tags.items():
        yield WriteTags(environment=target.environment)
    yield Verify(environment=target.environment)
