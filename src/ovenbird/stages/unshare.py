"""Let others use an image no longer.

    tags there ─▶ launch permission ─▶ volume permission

In this order an account sees the image for as long as something of ours is on its side.
Copies of its own stay: they are its images. Grants of keys stay: other images have the key.
Killed in between, the next run does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from ovenbird.domain.ports import Progress
from ovenbird.domain.sharing import (
    Observed,
    Principal,
    PrincipalKind,
    ShareRequest,
    tags_there,
)
from ovenbird.stages.share import Doors


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """What is taken back in one Region.

    Args:
        environments: Where our tags are removed.
        launch: Who may launch the image until now.
        volumes: Which accounts may read its snapshot until now.
    """

    region: str
    environments: tuple[str, ...]
    launch: tuple[Principal, ...]
    volumes: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done."""
        return not (self.environments or self.launch or self.volumes)


def plan_unsharing(request: ShareRequest, observed: Observed) -> tuple[Withdrawal, ...]:
    """Return what those of a request may do with the image now, by Region; pure."""
    return tuple(
        found
        for region in request.regions
        if not (found := _withdrawal(request, region, observed)).is_empty
    )


def unshare(
    request: ShareRequest, plan: tuple[Withdrawal, ...], *, doors: Doors, progress: Progress
) -> None:
    """Take back what was planned; safe to repeat.

    Raises:
        CloudError: AWS refused a call; what was taken back before stays taken back.
    """
    names = tuple(tags_there(request))
    for one in plan:
        door = doors.owner(one.region)
        image = request.image
        if one.region != request.region:
            copied = door.find_copy(image, region=request.region)
            if copied is None:
                continue
            image = copied
        for environment in one.environments:
            doors.there[environment].remove_tags(image.image_id, names)
        if one.launch:
            door.deny_launch(image, one.launch)
        if one.volumes:
            door.deny_volumes(image, one.volumes)
        progress(f"`{image.name}` ({image.image_id}) is no longer shared in {one.region}")


def words(withdrawal: Withdrawal, request: ShareRequest) -> str:
    """Return what is taken back as a sentence."""
    whom = ", ".join(str(one) for one in withdrawal.launch) or ", ".join(withdrawal.volumes)
    where = ", ".join(f"`{one}`" for one in withdrawal.environments)
    tags = f"; remove its tags in {where}" if where else ""
    return f"Let {whom or 'nobody'} use `{request.image.name}` in {withdrawal.region} no more{tags}"


def _withdrawal(request: ShareRequest, region: str, observed: Observed) -> Withdrawal:
    targets = [one for where, one in request.let_in() if where == region]
    accounts = {one.account_id for one in targets}
    principals = {Principal(kind=PrincipalKind.ACCOUNT, name=one) for one in accounts}
    if region == request.region:
        principals |= set(request.others)
        accounts |= {one.name for one in request.others if one.kind is PrincipalKind.ACCOUNT}
    seen = [
        one.environment
        for one in targets
        if not request.is_copying(one) and _is_tagged(request, observed, one.environment)
    ]
    permissions = observed.regions[region].permissions
    return Withdrawal(
        region=region,
        environments=tuple(seen),
        launch=tuple(sorted(principals & permissions.launch)),
        volumes=tuple(sorted(accounts & permissions.volumes)),
    )


def _is_tagged(request: ShareRequest, observed: Observed, environment: str) -> bool:
    image = observed.environments.get(environment)
    return image is not None and bool(set(tags_there(request)) & set(image.tags))
