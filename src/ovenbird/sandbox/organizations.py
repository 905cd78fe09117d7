"""Organisations: which account is in which, as sharing an image asks.

Development manages the sandbox's organisation, and production is a member of it, at its root
until somebody moves it. An image that is shared with an organisation, or with an
organisational unit, may be launched by every account below it, also in units below that unit.

moto 5.2.5 invites nobody who exists, and gives each account that it makes a random id.

Source: EC2 user guide, "Share an AMI with organizations and organizational units";
moto/organizations/models.py.
"""

from __future__ import annotations

from moto.organizations.models import (
    FakeAccount,
    OrganizationsBackend,
    organizations_backends,
)

from ovenbird.sandbox.places import DEVELOPMENT, PRODUCTION

PARTITION = "aws"


def create() -> None:
    """Make the organisation of both accounts; one that is there stays as it is."""
    backend = organizations_backends[DEVELOPMENT][PARTITION]
    if backend.org is not None:
        return
    backend.create_organization(PARTITION, FeatureSet="ALL")
    member = FakeAccount(
        backend.org,  # type: ignore[arg-type] # made in the line before
        AccountName="production",
        Email="production@example.org",
    )
    member.id = PRODUCTION
    backend.accounts.append(member)
    organizations_backends.master_accounts[PRODUCTION] = (DEVELOPMENT, PARTITION)


def arns(account_id: str) -> frozenset[str]:
    """Return the ARNs of an account's organisation and of all units above the account."""
    backend = _backend(account_id)
    if backend is None or backend.org is None:
        return frozenset()
    found = {backend.org.arn}
    units = {unit.id: unit for unit in backend.ou}
    above = {unit.id: getattr(unit, "parent_id", None) for unit in backend.ou}
    here = next((one.parent_id for one in backend.accounts if one.id == account_id), None)
    while here in units:
        found.add(units[here].arn)
        here = above[here]
    return frozenset(found)


def _backend(account_id: str) -> OrganizationsBackend | None:
    manager, partition = organizations_backends.master_accounts.get(
        account_id, (account_id, PARTITION)
    )
    if manager not in organizations_backends:
        return None
    return organizations_backends[manager][partition]
