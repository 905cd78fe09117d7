"""Accounts and roles: who a caller is, and whether a role lets him in.

STS checks that the role exists and that its trust policy names the caller, or his account,
under conditions that he meets. moto 5.2.5 lets anybody assume any role, also one that does
not exist.

Source: moto/sts/models.py; STS API reference, AssumeRole; IAM user guide, "Cross-account
resource access", "AWS JSON policy elements: Principal", "Access to AWS accounts owned by
third parties" (external id, the only condition that is known here). Whole IAM policies are
not evaluated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.iam.models import iam_backends
from moto.sts.responses import TokenResponse

from ovenbird.sandbox import organizations
from ovenbird.sandbox.places import DEVELOPMENT, PRODUCTION
from ovenbird.sandbox.settings_file import ROLE

USER = "ovenbird"
_ROLE_ARN = re.compile(r"arn:aws:iam::(\d{12}):role/(?:.*/)?([\w+=,.@-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who wants to assume a role.

    Args:
        arn: Of the user, or of the session of a role.
    """

    account_id: str
    arn: str = ""
    external_id: str | None = None

    @property
    def names(self) -> set[str]:
        """By which a policy may call him."""
        account = f"arn:aws:iam::{self.account_id}"
        session = re.fullmatch(r"arn:aws:sts::\d+:assumed-role/([^/]+)/.+", self.arn)
        role = {f"{account}:role/{session.group(1)}"} if session else set()
        return {"*", self.account_id, f"{account}:root", self.arn, *role}


class AccessDenied(ServiceException):
    """STS's refusal; moto derives the service from the module's name."""

    __module__ = "moto.sts.exceptions"


def install() -> None:
    """Put our version in moto's place."""
    original = TokenResponse.assume_role

    def assume_role(self: TokenResponse) -> ActionResult:
        """Stand in for AssumeRole."""
        arn = self._get_param("RoleArn") or ""
        _, who, account_id = self.backend.get_caller_identity(self.get_access_key(), self.region)
        external_id = self._get_param("ExternalId")
        if not trusted(arn, Caller(account_id=account_id, arn=who, external_id=external_id)):
            raise AccessDenied(
                "AccessDenied",
                f"User: {who} is not authorized to perform: sts:AssumeRole on resource: {arn}",
            )
        return original(self)

    TokenResponse.assume_role = assume_role


def trusted(role_arn: str, caller: Caller) -> bool:
    """Tell whether the role exists and its trust policy lets the caller in."""
    match = _ROLE_ARN.fullmatch(role_arn)
    if not match or match.group(1) not in iam_backends:
        return False
    roles = iam_backends[match.group(1)]["aws"].roles.values()
    for role in roles:
        if role.name == match.group(2):
            return allows(json.loads(role.assume_role_policy_document or "{}"), caller)
    return False


def allows(policy: Mapping[str, Any], caller: Caller) -> bool:
    """Tell whether a trust policy allows ``sts:AssumeRole`` to a caller; Deny wins."""
    statements = policy.get("Statement", [])
    statements = [statements] if isinstance(statements, Mapping) else statements
    effects = [s.get("Effect") for s in statements if _names(s, caller) and _meets(s, caller)]
    return "Allow" in effects and "Deny" not in effects


def _names(statement: Mapping[str, Any], caller: Caller) -> bool:
    actions = _listed(statement.get("Action"))
    if not {"sts:AssumeRole", "sts:*", "*"} & set(actions):
        return False
    principal = statement.get("Principal", {})
    who = ["*"] if principal == "*" else _listed(dict(principal).get("AWS"))
    return bool(caller.names & set(who))


def _meets(statement: Mapping[str, Any], caller: Caller) -> bool:
    """Tell whether a statement applies; a condition unknown here is as bad as it can be."""
    conditions = {
        (test, key): _listed(values)
        for test, keys in (statement.get("Condition") or {}).items()
        for key, values in keys.items()
    }
    wanted = conditions.pop(("StringEquals", "sts:ExternalId"), None)
    if wanted is not None and caller.external_id not in wanted:
        return False
    return not conditions or statement.get("Effect") == "Deny"


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def create() -> dict[str, str]:
    """Make development's user, production's role, the organisation; return the user's access key.

    Returns:
        ``{"access_key_id": ..., "secret_access_key": ...}``
    """
    development = iam_backends[DEVELOPMENT]["aws"]
    development.create_user(region_name="us-east-1", user_name=USER)
    key = development.create_access_key(USER)
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{DEVELOPMENT}:root"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    iam_backends[PRODUCTION]["aws"].create_role(
        role_name=ROLE,
        assume_role_policy_document=json.dumps(trust),
        path="/",
        permissions_boundary=None,
        description="What Ovenbird may do in production",
        tags=[],
        max_session_duration="3600",
    )
    organizations.create()
    return {"access_key_id": key.access_key_id, "secret_access_key": key.secret_access_key}
