"""Keys of encrypted snapshots, as EBS asks KMS for them.

A snapshot is encrypted with one key. Who copies it, or launches from it, needs that key, too:
it is his own account's, or its policy names him, or a grant does. AWS's own key
(`alias/aws/ebs`) is each account's own and is never anybody else's, so that what is encrypted
with it can be shared with nobody. The role by which Auto Scaling launches is allowed nothing
by its account: a customer's key must name it, or grant to it, also in the key's account.

With encryption by default, every new volume and snapshot of an account in a Region is
encrypted. moto 5.2.5 keeps a key id on what was made with one, asks nobody, and does not know
encryption by default.

Only accounts are told apart, not the users in them: IAM policies are not evaluated.

Source: EBS user guide, "Amazon EBS encryption", "Share the KMS key used to encrypt a shared
Amazon EBS snapshot"; EC2 Auto Scaling user guide, "Required KMS key policy for use with
encrypted volumes"; EC2 API reference, EnableEbsEncryptionByDefault; KMS developer guide, "Key
policies", "Grants".
"""

from __future__ import annotations

import json
import re
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models import EC2Backend
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.kms.models import Key, KmsBackend, kms_backends

MANAGED = "alias/aws/ebs"
GROUP_ROLE = (
    "arn:aws:iam::{}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
)
_ARN = re.compile(r"arn:aws:kms:([a-z0-9-]+):(\d{12}):((?:key|alias)/.+)")
_CALLS = (
    "enable_ebs_encryption_by_default",
    "disable_ebs_encryption_by_default",
    "get_ebs_encryption_by_default",
    "get_ebs_default_kms_key_id",
    "reset_ebs_default_kms_key_id",
)


def install() -> None:
    """Put our versions in moto's place."""
    for name in _CALLS:
        setattr(ElasticBlockStore, name, globals()[name])
    setattr(EC2Backend, "_create_default_encryption_key", _default)  # noqa: B010 - moto's name
    setattr(KmsBackend, "_generate_default_keys", _of_aws(KmsBackend._generate_default_keys))  # noqa: B010 - as above


def is_default(backend: EC2Backend) -> bool:
    """Tell whether everything new in an account and Region is encrypted."""
    return bool(getattr(backend, "ebs_encrypts_by_default", False))


def default_key(backend: EC2Backend) -> str:
    """Return the ARN of the key that is used when none is named."""
    return backend.default_kms_key_id or _default(backend)


def is_managed(arn: str) -> bool:
    """Tell whether a key is AWS's own, which cannot be shared."""
    key = find(arn)
    return key is not None and key.key_manager == "AWS"


def find(arn: str) -> Key | None:
    """Return the key that an ARN (of a key or an alias) names, if there is one."""
    match = _ARN.fullmatch(arn)
    if match is None or match.group(2) not in kms_backends:
        return None
    region, account_id, name = match.groups()
    kms = kms_backends[account_id][region]
    known = kms.any_id_to_key_id(name) if name.startswith("alias/") else name.removeprefix("key/")
    return kms.keys.get(known) if known else None


def arn_of(backend: EC2Backend, given: str) -> str:
    """Return the ARN of the key that a caller names by id, alias or ARN.

    What names no key is returned as an ARN that names none either.
    """
    if given == MANAGED:
        return managed_key(backend).arn
    place = f"arn:aws:kms:{backend.region_name}:{backend.account_id}:"
    name = given if given.startswith("alias/") else f"key/{given}"
    arn = given if given.startswith("arn:") else place + name
    key = find(arn)
    return key.arn if key else arn


def managed_key(backend: EC2Backend) -> Key:
    """Return AWS's own key for EBS of an account and Region, made when it is first used."""
    kms = kms_backends[backend.account_id][backend.region_name]
    return kms.keys[kms.any_id_to_key_id(MANAGED)]


def may_use(arn: str, *, account_id: str, by_group: bool = False) -> bool:
    """Tell whether an account may use a key.

    Args:
        arn: Of a key.
        account_id: Of the caller.
        by_group: Whether it is Auto Scaling that launches for the account.
    """
    key = find(arn)
    if key is None or key.key_state != "Enabled":
        return False
    if key.key_manager == "AWS":
        return key.account_id == account_id
    role = GROUP_ROLE.format(account_id)
    if by_group:
        return _granted(key, {role}) or _named(key, {role, "*"})
    names = {account_id, f"arn:aws:iam::{account_id}:root", "*"}
    if key.account_id == account_id or _named(key, names):
        return True
    return any(_account(grant.grantee_principal) == account_id for grant in key.grants.values())


def chosen(backend: EC2Backend, *, source: str, encrypted: bool, key: str) -> str:
    """Return the ARN of the key of a copy; empty when the copy is not encrypted.

    Args:
        backend: Where the copy is made.
        source: ARN of the source's key; empty when it is not encrypted.
        encrypted: What the caller asks for.
        key: The key that the caller names, if any.
    """
    if key:
        return arn_of(backend, key)
    if encrypted or source or is_default(backend):
        return default_key(backend)
    return ""


def enable_ebs_encryption_by_default(self: ElasticBlockStore) -> ActionResult:
    """Stand in for EnableEbsEncryptionByDefault."""
    return _by_default(self, enabled=True)


def disable_ebs_encryption_by_default(self: ElasticBlockStore) -> ActionResult:
    """Stand in for DisableEbsEncryptionByDefault."""
    return _by_default(self, enabled=False)


def get_ebs_encryption_by_default(self: ElasticBlockStore) -> ActionResult:
    """Stand in for GetEbsEncryptionByDefault."""
    return ActionResult({"EbsEncryptionByDefault": is_default(self.ec2_backend)})


def get_ebs_default_kms_key_id(self: ElasticBlockStore) -> ActionResult:
    """Stand in for GetEbsDefaultKmsKeyId: the key as it was named, or AWS's own alias."""
    return ActionResult({"KmsKeyId": self.ec2_backend.default_kms_key_id or MANAGED})


def reset_ebs_default_kms_key_id(self: ElasticBlockStore) -> ActionResult:
    """Stand in for ResetEbsDefaultKmsKeyId."""
    self.error_on_dryrun()
    return ActionResult({"KmsKeyId": _default(self.ec2_backend)})


def _by_default(self: ElasticBlockStore, *, enabled: bool) -> ActionResult:
    self.error_on_dryrun()
    self.ec2_backend.ebs_encrypts_by_default = enabled
    return ActionResult({"EbsEncryptionByDefault": enabled})


def _of_aws(original: Any) -> Any:
    """Let the keys that AWS makes by itself be AWS's; moto says that a customer made them."""

    def generate(self: KmsBackend, alias_name: str) -> str | None:
        key_id: str | None = original(self, alias_name)
        if key_id:
            self.keys[key_id].key_manager = "AWS"
        return key_id

    return generate


def _default(backend: EC2Backend) -> str:
    backend.default_kms_key_id = managed_key(backend).arn
    return backend.default_kms_key_id


def _granted(key: Key, names: set[str]) -> bool:
    return any(grant.grantee_principal in names for grant in key.grants.values())


def _named(key: Key, names: set[str]) -> bool:
    """Tell whether the key's policy allows one of the names to use it; Deny wins."""
    policy: dict[str, Any] = json.loads(key.policy or "{}")
    effects = {
        statement.get("Effect")
        for statement in policy.get("Statement", [])
        if _principals(statement) & names and not statement.get("Condition")
    }
    return "Allow" in effects and "Deny" not in effects


def _principals(statement: dict[str, Any]) -> set[str]:
    given = statement.get("Principal", {})
    named = given if isinstance(given, str) else given.get("AWS", [])
    return {named} if isinstance(named, str) else set(named)


def _account(arn: str) -> str:
    return arn.split(":")[4] if arn.count(":") > 4 else arn
