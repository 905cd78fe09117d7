"""Keys of KMS: which one encrypts, who manages it, and who may use it.

Source: KMS API reference, DescribeKey, CreateGrant, ListGrants; EBS user guide, "Enable EBS
encryption by default".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.domain.sharing import Key

if TYPE_CHECKING:
    from mypy_boto3_kms.type_defs import GrantListEntryTypeDef

# What launching from an encrypted snapshot and copying it need.
# Source: EC2 Auto Scaling user guide, "Required AWS KMS key policy for use with encrypted
# volumes", the grant for a key in another account.
OPERATIONS = frozenset(
    {
        "Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext", "DescribeKey", "CreateGrant",
    }
)  # fmt: skip
_NAME = "ovenbird"  # of our grants
_GRANT_HINTS = {
    "AccessDeniedException": "Let the key's policy allow `kms:CreateGrant`, `kms:ListGrants` and "
    "`kms:RevokeGrant` to the role that bakes; a policy that names nobody but others locks us out",
    "InvalidArnException": "Does the role exist there? `aws iam create-service-linked-role "
    "--aws-service-name autoscaling.amazonaws.com` in that account makes Auto Scaling's",
    "KMSInvalidStateException": "The key is being deleted or has no material: choose another one",
    "DisabledException": "Enable the key",
}
_HINTS = {
    "NotFoundException": "Is the key in the Region that bakes? Give its ARN, id or `alias/…`",
    "AccessDeniedException": "Let the key's policy allow `kms:DescribeKey` to this role",
}


class KmsKeys:
    """The keys that one account uses, and what it encrypts by default.

    Permissions: kms:DescribeKey, kms:ListGrants, kms:CreateGrant, kms:RevokeGrant,
    ec2:GetEbsEncryptionByDefault, ec2:GetEbsDefaultKmsKeyId.
    """

    def __init__(self, account: Account) -> None:
        self._account = account

    def get(self, key: str) -> Key:
        """Return a key by id, ARN or alias.

        Raises:
            NotFound: There is none.
        """
        with cloud_errors(f"describing key `{key}`", hints=_HINTS):
            found = self._account.kms.describe_key(KeyId=key)["KeyMetadata"]
        return Key(
            arn=found["Arn"],
            customer=found.get("KeyManager") == "CUSTOMER",
            enabled=bool(found.get("Enabled", False)),
        )

    def default_key(self) -> str:
        """Return the ARN of the key of new volumes; empty where they are not encrypted.

        AWS's own key, which is made with the first volume that it encrypts, is made by
        DescribeKey at the latest. Source: KMS API reference, DescribeKey, "AWS alias".
        """
        with cloud_errors("asking for encryption by default"):
            if not self._account.ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"]:
                return ""
            key = self._account.ec2.get_ebs_default_kms_key_id()["KmsKeyId"]
        return self.get(key).arn

    def grantees(self, key: str) -> frozenset[str]:
        """Return who may do by a grant all of :data:`OPERATIONS`, by ARN."""
        return frozenset(
            str(grant["GranteePrincipal"])
            for grant in self._grants(key)
            if set(grant.get("Operations", [])) >= OPERATIONS and grant.get("GranteePrincipal")
        )

    def grant(self, key: str, grantee: str) -> None:
        """Let somebody do all of :data:`OPERATIONS`; safe to repeat.

        Raises:
            CloudError: The key's policy does not let us, or the grantee does not exist.
        """
        with cloud_errors(f"letting `{grantee}` use key `{key}`", hints=_GRANT_HINTS):
            self._account.kms.create_grant(
                KeyId=key,
                GranteePrincipal=grantee,
                Operations=sorted(OPERATIONS),  # type: ignore[arg-type]
                Name=_NAME,  # with it, KMS returns the grant that is there
            )

    def revoke(self, key: str, grantee: str) -> None:
        """Take back what :meth:`grant` gave; grants of others, or to do less, stay."""
        for grant in self._grants(key):
            is_ours = grant.get("Name") == _NAME and set(grant.get("Operations", [])) >= OPERATIONS
            if is_ours and grant.get("GranteePrincipal") == grantee:
                with cloud_errors(f"revoking `{grantee}`'s use of `{key}`", hints=_GRANT_HINTS):
                    self._account.kms.revoke_grant(KeyId=key, GrantId=str(grant["GrantId"]))

    def _grants(self, key: str) -> list[GrantListEntryTypeDef]:
        with cloud_errors(f"listing the grants of key `{key}`", hints=_GRANT_HINTS):
            pages = self._account.kms.get_paginator("list_grants").paginate(KeyId=key)
            return [grant for page in pages for grant in page["Grants"]]
