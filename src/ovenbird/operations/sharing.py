"""Sharing one image by hand: with environments, accounts, organisations and units.

image, whom ─▶ look at both sides ─▶ plan ─▶ a person confirms ─▶ all of it, or nothing
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovenbird.domain.errors import Conflict, InvalidRequest
from ovenbird.domain.images import Image, ImageId
from ovenbird.domain.ports import Progress
from ovenbird.domain.sharing import (
    Observed,
    Principal,
    PrincipalKind,
    ShareAction,
    ShareRequest,
    changes,
    plan_sharing,
    refuse_unshareable,
)
from ovenbird.operations.clusters import list_clusters
from ovenbird.operations.images import Use, get_image, uses
from ovenbird.operations.opening import Installation
from ovenbird.stages import share as share_stage
from ovenbird.stages import unshare as unshare_stage
from ovenbird.stages.unshare import Withdrawal, plan_unsharing

_ACCOUNT = re.compile(r"[0-9]{12}")
_ARNS = {
    PrincipalKind.ORGANIZATION: re.compile(
        r"arn:[a-z-]+:organizations::[0-9]{12}:organization/o-\S+"
    ),
    PrincipalKind.UNIT: re.compile(r"arn:[a-z-]+:organizations::[0-9]{12}:ou/o-[^/\s]+/ou-\S+"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Whom:
    """With whom an image is shared.

    Args:
        environments: Names in the settings.
        accounts: Twelve digits each.
        organizations: ARNs of organisations.
        units: ARNs of organisational units.
    """

    environments: Sequence[str] = ()
    accounts: Sequence[str] = ()
    organizations: Sequence[str] = ()
    units: Sequence[str] = ()

    def principals(self) -> tuple[Principal, ...]:
        """Return those that are no environments.

        Raises:
            InvalidRequest: One cannot be what it is given as.
        """
        found = [Principal(kind=PrincipalKind.ACCOUNT, name=name) for name in self.accounts]
        found += [
            Principal(kind=PrincipalKind.ORGANIZATION, name=name) for name in self.organizations
        ]
        found += [Principal(kind=PrincipalKind.UNIT, name=name) for name in self.units]
        for principal in found:
            if not _ARNS.get(principal.kind, _ACCOUNT).fullmatch(principal.name):
                raise InvalidRequest(
                    f"`{principal.name}` is no {principal.kind}",
                    hint="Accounts are twelve digits, organisations and units whole ARNs, as "
                    "`aws organizations describe-organization` shows them",
                )
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What sharing would do.

    Args:
        actions: Those that look are among them.
    """

    request: ShareRequest
    observed: Observed
    actions: tuple[ShareAction, ...]

    @property
    def changes(self) -> tuple[ShareAction, ...]:
        """The actions that change something."""
        return changes(self.actions)


def plan_share(installation: Installation, image: str, whom: Whom) -> Proposal:
    """Look at both sides and say what is missing; nothing is changed.

    Args:
        installation: Whose image.
        image: Id, unique beginning of it, or name.
        whom: With whom it is shared.

    Raises:
        NotFound: There is no such image or environment.
        InvalidRequest: Nobody is named, the image failed its boot check, or the key that
            encrypts it can be shared with nobody.
        CloudError: AWS refused a call.
    """
    request = _request(installation, image, whom)
    if request.image.is_unfit:
        raise InvalidRequest(
            f"`{request.image.name}` failed its boot check: it is offered to nobody",
            hint="Bake again, or `ovenbird image boot-check` it when what it needs is there",
        )
    ports = installation.ports
    key = request.image.kms_key
    refuse_unshareable(request, ports.owner(request.region).key(key) if key else None)
    observed = share_stage.observe(request, doors=ports.sharing)
    actions = plan_sharing(request, observed)
    return Proposal(request=request, observed=observed, actions=actions)


def share(
    installation: Installation, proposal: Proposal, *, progress: Progress
) -> Mapping[str, Image]:
    """Do what was confirmed, all of it or nothing; return what each environment launches.

    Raises:
        OvenbirdError: A part failed; what was done is taken back.
    """
    return share_stage.carry_out(
        proposal.request,
        proposal.observed,
        proposal.actions,
        installation.ports.sharing,
        progress,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawing:
    """What taking a sharing back would do.

    Args:
        unknown: Who may use the image without our knowing: nobody looks from their side.
    """

    request: ShareRequest
    plan: tuple[Withdrawal, ...]
    unknown: tuple[Principal, ...]


def plan_unshare(installation: Installation, image: str, whom: Whom) -> Withdrawing:
    """Say what would be taken back; nothing is changed.

    Raises:
        NotFound: There is no such image or environment.
        Conflict: An environment uses it.
        InvalidRequest: Nobody is named.
        CloudError: AWS refused a call: then nobody knows what is used.
    """
    request = _request(installation, image, whom)
    observed = share_stage.observe(request, doors=installation.ports.sharing)
    _refuse_used(installation, request, observed)
    return Withdrawing(
        request=request, plan=plan_unsharing(request, observed), unknown=request.others
    )


def unshare(installation: Installation, found: Withdrawing, *, progress: Progress) -> None:
    """Take back what was confirmed."""
    doors = installation.ports.sharing
    unshare_stage.unshare(found.request, found.plan, doors=doors, progress=progress)


def _request(installation: Installation, text: str, whom: Whom) -> ShareRequest:
    if not (whom.environments or whom.accounts or whom.organizations or whom.units):
        raise InvalidRequest(
            "Nobody is named with whom the image is shared",
            hint="Add `--environment`, `--account`, `--organization` or `--unit`",
        )
    for name in whom.environments:
        installation.settings.environment(name)
    others = whom.principals()
    ports = installation.ports
    image = ports.images.get(get_image(installation, text).image.image_id)
    return ports.share_request(image, whom.environments, others=others)


def _refuse_used(installation: Installation, request: ShareRequest, observed: Observed) -> None:
    """Raise if an environment that would lose the image uses it.

    Raises:
        Conflict: One does.
    """
    groups = uses(list_clusters(installation))
    for target in request.targets:
        seen = observed.environments.get(target.environment)
        if seen is None or request.is_copying(target) or request.is_home(target):
            continue
        if reason := _use(installation, seen.image_id, groups, target.environment):
            raise Conflict(
                f"`{seen.image_id}` is used in `{target.environment}`: {reason}",
                hint="Roll out another image there first, or wait until the old server group goes",
            )


def _use(
    installation: Installation,
    image_id: ImageId,
    groups: Mapping[ImageId, tuple[Use, ...]],
    environment: str,
) -> str:
    """Return what uses an image in an environment; empty for nothing."""
    for use in groups.get(image_id, ()):
        if use.environment == environment:
            return f"server group {use.server_group} runs it"
    found = installation.environment(environment).uses.list_uses()
    return next((one.reason for one in found if one.image_id == image_id), "")
