"""What is refused before a bake, and what a plan holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.sharing import (
    AllowKey,
    AllowLaunch,
    AllowVolumes,
    CopyToRegion,
    Held,
    Key,
    Observed,
    Permissions,
    Principal,
    PrincipalKind,
    ShareRequest,
    ShareTarget,
    grantees,
    plan_sharing,
    refuse_unshareable,
    words,
)
from tests.sharing import HERE, IMAGE, NORTH, OURS, THEIRS

CUSTOMER = Key(arn="arn:aws:kms:eu-west-1:111111111111:key/1", customer=True, enabled=True)
MANAGED = replace(CUSTOMER, customer=False)
DEV = ShareTarget(environment="dev", account_id=OURS, region=HERE)
PROD = ShareTarget(environment="prod", account_id=THEIRS, region=HERE)

accounts = st.sampled_from([OURS, THEIRS, "333333333333"])
targets = st.builds(
    ShareTarget,
    environment=st.uuids().map(str),
    account_id=accounts,
    region=st.sampled_from([HERE, NORTH]),
    copies=st.booleans(),
    kms_key=st.sampled_from(["", "alias/one"]),
)
others = st.builds(
    Principal, kind=st.just(PrincipalKind.ACCOUNT), name=accounts.filter(THEIRS.__ne__)
)
requests = st.builds(
    ShareRequest,
    image=st.just(IMAGE),
    region=st.just(HERE),
    targets=st.lists(targets, max_size=4).map(tuple),
    others=st.lists(others, max_size=2).map(tuple),
)
held = st.builds(
    Held,
    image=st.just(IMAGE),
    key=st.sampled_from([None, CUSTOMER]),
    permissions=st.builds(
        Permissions,
        launch=st.frozensets(others),
        volumes=st.frozensets(accounts),
    ),
)


def request(*found: ShareTarget) -> ShareRequest:
    return ShareRequest(image=IMAGE, region=HERE, targets=found)


def test_an_image_that_awss_own_key_encrypts_is_refused_before_the_bake() -> None:
    with pytest.raises(InvalidRequest, match=f"cannot be shared with account {THEIRS}") as caught:
        refuse_unshareable(request(DEV, PROD), MANAGED)

    assert "images: {kms_key: alias/NAME}" in caught.value.hint


@pytest.mark.parametrize(
    ("targets", "key"),
    [
        ((DEV, PROD), CUSTOMER),
        ((DEV, PROD), None),
        ((DEV,), MANAGED),
        ((DEV, replace(DEV, environment="north", region=NORTH)), MANAGED),
        ((replace(PROD, region=NORTH, kms_key="alias/north"),), CUSTOMER),
        ((replace(PROD, region=NORTH, copies=True),), CUSTOMER),
    ],
)
def test_what_can_be_shared_is_not_refused(
    targets: tuple[ShareTarget, ...], key: Key | None
) -> None:
    refuse_unshareable(request(*targets), key)

    assert len(targets) > 0


def test_a_key_of_one_region_does_not_serve_in_another() -> None:
    with pytest.raises(InvalidRequest, match="does not exist in eu-north-1") as caught:
        refuse_unshareable(request(replace(PROD, region=NORTH)), CUSTOMER)

    assert "`kms_key`" in caught.value.hint


def test_a_disabled_key_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="is disabled"):
        refuse_unshareable(request(PROD), replace(CUSTOMER, enabled=False))


def test_who_copies_needs_the_key_itself_and_who_launches_lets_auto_scaling_use_it() -> None:
    role = "arn:aws:iam::222222222222:role/ovenbird-deploy"
    key = replace(CUSTOMER, arn="arn:aws-cn:kms:cn-north-1:111111111111:key/1")
    service = "arn:aws-cn:iam::222222222222:role/aws-service-role/autoscaling.amazonaws.com"

    assert grantees(request(replace(PROD, copies=True, role_arn=role)), HERE, key) == (role,)
    assert grantees(request(PROD), HERE, key) == (f"{service}/AWSServiceRoleForAutoScaling",)


@given(requests, held)
def test_a_plan_adds_what_is_missing_once_and_lets_launch_last(
    asked: ShareRequest, there: Held
) -> None:
    observed = Observed(regions=dict.fromkeys(asked.regions, there))

    plan = plan_sharing(asked, observed)

    assert all(words(action, asked) for action in plan)
    assert len(set(plan)) == len(plan)
    for region in asked.regions:
        mine = [action for action in plan if getattr(action, "region", "") == region]
        launch = [action for action in mine if isinstance(action, AllowLaunch)]
        assert launch == mine[len(mine) - len(launch) :]
        volumes = [action for action in mine if isinstance(action, AllowVolumes)]
        assert not {one for a in launch for one in a.principals} & there.permissions.launch
        assert not {one for a in volumes for one in a.accounts} & there.permissions.volumes


@given(requests)
def test_nothing_is_planned_for_what_is_there(asked: ShareRequest) -> None:
    empty = Observed(regions={r: Held(image=None, key=CUSTOMER) for r in asked.regions})
    first = plan_sharing(asked, empty)
    regions = {
        region: Held(
            image=IMAGE,
            key=CUSTOMER,
            permissions=Permissions(
                launch=frozenset(
                    principal
                    for action in first
                    if isinstance(action, AllowLaunch) and action.region == region
                    for principal in action.principals
                ),
                volumes=frozenset(
                    account
                    for action in first
                    if isinstance(action, AllowVolumes) and action.region == region
                    for account in action.accounts
                ),
            ),
            grantees=frozenset(
                action.grantee
                for action in first
                if isinstance(action, AllowKey) and action.region == region
            ),
        )
        for region in asked.regions
    }

    again = plan_sharing(asked, Observed(regions=regions))

    kinds = (AllowKey, AllowLaunch, AllowVolumes, CopyToRegion)
    assert [action for action in again if isinstance(action, kinds)] == []
