"""Permissions, grants and trial launches, as EC2 and KMS are asked for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from ovenbird.aws.clients import Account
from ovenbird.aws.keys import OPERATIONS, KmsKeys
from ovenbird.aws.sharing import Ec2Sharing
from ovenbird.domain.errors import CloudError, NotFound, OvenbirdError
from ovenbird.domain.images import ImageId
from ovenbird.domain.sharing import Permissions, Principal, PrincipalKind
from tests.sharing import IMAGE, THEIRS
from tests.unit.aws.clouds import CUSTOMER, OURS, Clock, Cloud, raw, refusal

ORGANIZATION = Principal(kind=PrincipalKind.ORGANIZATION, name="arn:o")
UNIT = Principal(kind=PrincipalKind.UNIT, name="arn:u")
ACCOUNT = Principal(kind=PrincipalKind.ACCOUNT, name=THEIRS)


class Api:
    """Answers by name, and keeps what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def get_paginator(self, name: str) -> Any:
        return SimpleNamespace(paginate=lambda **given: [getattr(self, name)(**given)])

    def __getattr__(self, name: str) -> Any:
        def call(**given: Any) -> Any:
            self.asked.append((name, given))
            answer = self._answers.get(name, {})
            if isinstance(answer, ClientError):
                raise answer
            return answer

        return call


def sharing(subnet_id: str = "", **answers: Any) -> tuple[Ec2Sharing, Api]:
    api = Api(**answers)
    account = SimpleNamespace(
        account_id=OURS, access=SimpleNamespace(region="eu-west-1"), ec2=api, kms=api
    )
    door = Ec2Sharing(cast("Account", account), subnet_id=subnet_id, clock=Clock())
    return door, api


def test_permissions_are_read_with_organisations_and_units() -> None:
    launch = [
        {"UserId": THEIRS},
        {"OrganizationArn": "arn:o"},
        {"OrganizationalUnitArn": "arn:u"},
        {"Group": "all"},
    ]
    door, _ = sharing(
        describe_image_attribute={"LaunchPermissions": launch},
        describe_snapshot_attribute={
            "CreateVolumePermissions": [{"UserId": THEIRS}, {"Group": "all"}]
        },
    )

    assert door.permissions(IMAGE) == Permissions(
        launch=frozenset({ACCOUNT, ORGANIZATION, UNIT}), volumes=frozenset({THEIRS})
    )


def test_each_kind_of_principal_has_a_field_of_its_own() -> None:
    door, api = sharing()

    door.allow_launch(IMAGE, [ACCOUNT, ORGANIZATION, UNIT])
    door.deny_launch(IMAGE, [ORGANIZATION])
    door.deny_volumes(IMAGE, [THEIRS])

    fields = [{"UserId": THEIRS}, {"OrganizationArn": "arn:o"}, {"OrganizationalUnitArn": "arn:u"}]
    assert [given.get("LaunchPermission") for _, given in api.asked] == [
        {"Add": fields},
        {"Remove": [{"OrganizationArn": "arn:o"}]},
        None,
    ]
    assert (api.asked[2][1]["OperationType"], api.asked[2][1]["UserIds"]) == ("remove", [THEIRS])


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("OperationNotPermitted", "block public access"),
        ("InvalidParameterValue", "do they exist?"),
        ("UnauthorizedOperation", "policies of the role"),
        ("RequestLimitExceeded", ""),
    ],
)
def test_a_refused_permission_says_what_to_look_at(code: str, hint: str) -> None:
    door, _ = sharing(modify_image_attribute=refusal(code), modify_snapshot_attribute=refusal(code))

    with pytest.raises(OvenbirdError, match=code) as launch:
        door.allow_launch(IMAGE, [ACCOUNT])
    with pytest.raises(OvenbirdError, match=code) as volumes:
        door.allow_volumes(IMAGE, [THEIRS])
    assert hint in launch.value.hint
    assert hint in volumes.value.hint


@pytest.mark.parametrize(
    ("answer", "doubt"),
    [
        (refusal("DryRunOperation"), ""),
        (refusal("UnauthorizedOperation"), "UnauthorizedOperation"),
        (refusal("InsufficientInstanceCapacity"), "InsufficientInstanceCapacity"),
    ],
)
def test_a_trial_launch_launches_nothing_and_says_what_is_not_known(
    answer: ClientError, doubt: str
) -> None:
    door, api = sharing("subnet-1", run_instances=answer)

    assert door.launch_doubt(IMAGE) == doubt
    ((_, given),) = api.asked
    assert (given["DryRun"], given["SubnetId"], given["InstanceType"]) == (
        True, "subnet-1", "t3.micro",
    )  # fmt: skip


@pytest.mark.parametrize(
    "code", ["InvalidAMIID.NotFound", "InvalidSnapshot.NotFound", "AuthFailure"]
)
def test_an_image_that_could_not_be_launched_is_an_error(code: str) -> None:
    door, _ = sharing(run_instances=refusal(code))

    with pytest.raises(OvenbirdError, match=f"trying to launch `ami-1`: {code}"):
        door.launch_doubt(IMAGE)


@pytest.mark.parametrize("code", ["InvalidAMIID.NotFound", "AuthFailure"])
def test_a_permission_that_ec2_does_not_know_yet_is_waited_for(code: str) -> None:
    door, api = sharing(run_instances=refusal(code))
    answers = [refusal(code), refusal("DryRunOperation")]

    def run_instances(**_: Any) -> None:
        raise answers.pop(0)

    api.run_instances = run_instances  # type: ignore[attr-defined]

    assert door.launch_doubt(IMAGE) == ""
    assert answers == []


def test_an_image_that_is_not_seen_within_a_minute_is_an_error() -> None:
    cloud = Cloud()
    door = Ec2Sharing(cloud.account(), clock=cloud.clock)

    with pytest.raises(NotFound, match="No image `ami-1`"):
        door.await_seen(ImageId("ami-1"))
    assert 55 <= cloud.clock.slept <= 65
    cloud.images.append(raw("ami-11111111"))
    assert door.await_seen(ImageId("ami-11111111")).image_id == "ami-11111111"


def grants(*found: dict[str, Any], **answers: Any) -> tuple[KmsKeys, Api]:
    api = Api(list_grants={"Grants": list(found)}, **answers)
    account = SimpleNamespace(account_id=OURS, kms=api, ec2=api)
    return KmsKeys(cast("Account", account)), api


def grant(who: str, operations: Any = OPERATIONS, name: str = "ovenbird") -> dict[str, Any]:
    return {"GranteePrincipal": who, "Operations": list(operations), "Name": name, "GrantId": who}


def test_a_grant_counts_when_it_allows_all_that_a_launch_needs() -> None:
    keys, _ = grants(grant("all"), grant("some", ["Decrypt"]), grant("other", name="theirs"))

    assert keys.grantees(CUSTOMER) == {"all", "other"}


def test_only_grants_of_ours_are_taken_back() -> None:
    keys, api = grants(
        grant("role"),
        grant("role", name="theirs") | {"GrantId": "theirs"},
        grant("role", ["Decrypt"]) | {"GrantId": "older"},
    )

    keys.revoke(CUSTOMER, "role")

    assert [given["GrantId"] for name, given in api.asked if name == "revoke_grant"] == ["role"]


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("AccessDeniedException", "Let the key's policy allow `kms:CreateGrant`"),
        ("InvalidArnException", "create-service-linked-role"),
        ("DisabledException", "Enable the key"),
    ],
)
def test_a_grant_that_the_key_refuses_says_what_its_policy_needs(code: str, hint: str) -> None:
    keys, _ = grants(create_grant=refusal(code))

    with pytest.raises(CloudError, match="letting `role` use key") as caught:
        keys.grant(CUSTOMER, "role")
    assert hint in caught.value.hint


def test_a_key_that_is_pending_is_no_key_to_share_with() -> None:
    metadata = {"Arn": CUSTOMER, "KeyManager": "CUSTOMER", "Enabled": False}
    keys, _ = grants(describe_key={"KeyMetadata": metadata})

    assert keys.get("alias/x").enabled is False
