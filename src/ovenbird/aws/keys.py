"""Keys of KMS: which one encrypts, who manages it, and who may use it.

Source: KMS API reference, DescribeKey, CreateGrant, ListGrants; EBS user guide, "Enable EBS
encryption by default".
"""

from __future__ import annotations

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.domain.errors import NotFound
from ovenbird.domain.sharing import Key

_HINTS = {
    "NotFoundException": "Is the key in the Region that bakes? Give its ARN, id or `alias/…`",
    "AccessDeniedException": "Let the key's policy allow `kms:DescribeKey` to this role",
}


class KmsKeys:
    """The keys that one account uses, and what it encrypts by default.

    Permissions: kms:DescribeKey, ec2:GetEbsEncryptionByDefault, ec2:GetEbsDefaultKmsKeyId.
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
        """Return the ARN of the key of new volumes; empty where they are not encrypted."""
        with cloud_errors("asking for encryption by default"):
            if not self._account.ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"]:
                return ""
            key = self._account.ec2.get_ebs_default_kms_key_id()["KmsKeyId"]
        try:
            return self.get(key).arn
        except NotFound:  # AWS's own key is made with the first volume that it encrypts
            return key
