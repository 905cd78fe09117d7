"""Accounts and clients: one :class:`Account` for each environment.

Production is reached by a role that is assumed with the base credentials; its
credentials are fetched anew before they run out.

Source: STS API reference, AssumeRole; botocore, RefreshableCredentials.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import DeferredRefreshableCredentials
from botocore.exceptions import NoCredentialsError
from botocore.httpsession import get_cert_path
from botocore.loaders import Loader, create_loader

from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.quotas import SHARE
from ovenbird.aws.reads import Reads
from ovenbird.aws.signatures import Signer
from ovenbird.aws.throttling import Throttle
from ovenbird.aws.token_buckets import Buckets

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ebs import EBSClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

POOL = 32  # connections of one client; the block upload uses up to 16 at once
SESSION_NAME = "ovenbird"
Client = TypeVar("Client")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountAccess:
    """How one account is reached.

    Args:
        role_arn: Role to assume; empty for the base credentials' own account.
        endpoint_url: Another endpoint than AWS's; empty on AWS.
        credentials_file: Another shared credentials file; empty for boto's own search.
        quotas: Directory of this host's token buckets; empty for calls without a limit of ours.
        quota_factor: How many times AWS's published numbers of calls the account has.
    """

    account_id: str
    region: str
    role_arn: str = ""
    endpoint_url: str = ""
    credentials_file: str = ""
    profile: str = ""
    quotas: str = ""
    quota_factor: float = 1.0


class Account:
    """One account's clients, made when they are first used.

    Permissions: ``sts:AssumeRole`` on the role, when there is one.
    """

    def __init__(self, access: AccountAccess) -> None:
        self.access = access

    @property
    def account_id(self) -> str:
        """The account's twelve digits."""
        return self.access.account_id

    @cached_property
    def ec2(self) -> EC2Client:
        """EC2."""
        return self._kept(self._session.client("ec2", **self._options))

    @cached_property
    def ebs(self) -> EBSClient:
        """EBS direct APIs."""
        return self._session.client("ebs", **self._options)

    @cached_property
    def elbv2(self) -> ElasticLoadBalancingv2Client:
        """Elastic Load Balancing."""
        return self._kept(self._session.client("elbv2", **self._options))

    @cached_property
    def autoscaling(self) -> AutoScalingClient:
        """EC2 Auto Scaling."""
        return self._kept(self._session.client("autoscaling", **self._options))

    @cached_property
    def cloudwatch(self) -> CloudWatchClient:
        """CloudWatch."""
        return self._kept(self._session.client("cloudwatch", **self._options))

    @cached_property
    def s3(self) -> S3Client:
        """S3."""
        return self._session.client("s3", **self._options)

    @cached_property
    def kms(self) -> KMSClient:
        """KMS."""
        return self._kept(self._session.client("kms", **self._options))

    @cached_property
    def ssm(self) -> SSMClient:
        """Systems Manager."""
        return self._kept(self._session.client("ssm", **self._options))

    @cached_property
    def sts(self) -> STSClient:
        """STS."""
        return self._kept(self._session.client("sts", **self._options))

    @cached_property
    def reads(self) -> Reads:
        """What is read of this account by many at once."""
        return Reads(self)

    def signer(self, service: str) -> Signer:
        """Return what signs requests to a service as this account; keys are kept fresh."""
        found = self._session.get_credentials()
        if found is None:
            raise NoCredentialsError
        return Signer(service=service, region=self.access.region, keys=found.get_frozen_credentials)

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Whom connections of our own trust: the same as boto's."""
        core = self._session._session  # noqa: SLF001 - boto3 has no public door for it
        chosen = core.get_config_variable("ca_bundle") or get_cert_path(verify=True)
        return ssl.create_default_context(cafile=chosen)

    def _kept(self, client: Client) -> Client:
        """Keep a client's calls below AWS's limits."""
        self._throttle.attach(client)
        return client

    @cached_property
    def _throttle(self) -> Throttle:
        found = self.access
        if not found.quotas:
            return Throttle(None)
        return Throttle(
            Buckets(
                Path(found.quotas),
                account_id=found.account_id,
                region=found.region,
                factor=SHARE * found.quota_factor,
            )
        )

    @property
    def _options(self) -> dict[str, Any]:
        return _options(self.access)

    @cached_property
    def _session(self) -> boto3.Session:
        with cloud_errors(f"opening account `{self.account_id}`"):
            base = _base_session(self.access)
            if not self.access.role_arn:
                return base
            core = botocore.session.get_session()
            core.register_component("data_loader", _loader())
            core._credentials = DeferredRefreshableCredentials(  # type: ignore[attr-defined]  # noqa: SLF001 - botocore has no public door for it
                refresh_using=lambda: _assume(base, self.access), method="assume-role"
            )
            return boto3.Session(botocore_session=core, region_name=self.access.region)


def open_account(access: AccountAccess) -> Account:
    """Return the account; nothing is asked of AWS before the first call."""
    return Account(access)


@cache
def _loader() -> Loader:
    """Return what reads the API descriptions, shared: each is read once, not for each account."""
    return create_loader()


def _base_session(access: AccountAccess) -> boto3.Session:
    core = botocore.session.Session(profile=access.profile or None)
    core.register_component("data_loader", _loader())
    if access.credentials_file:
        core.set_config_variable("credentials_file", access.credentials_file)
    return boto3.Session(botocore_session=core, region_name=access.region)


def _assume(base: boto3.Session, access: AccountAccess) -> dict[str, str]:
    sts = base.client("sts", **_options(access))
    with cloud_errors(f"assuming role `{access.role_arn}`"):
        found = sts.assume_role(RoleArn=access.role_arn, RoleSessionName=SESSION_NAME)
    credentials = found["Credentials"]
    return {
        "access_key": credentials["AccessKeyId"],
        "secret_key": credentials["SecretAccessKey"],
        "token": credentials["SessionToken"],
        "expiry_time": credentials["Expiration"].isoformat(),
    }


def _options(access: AccountAccess) -> dict[str, Any]:
    return {
        "region_name": access.region,
        "endpoint_url": access.endpoint_url or None,
        "config": Config(
            max_pool_connections=POOL,
            retries={"mode": "standard", "max_attempts": 6},
            connect_timeout=5,
            read_timeout=60,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    }
