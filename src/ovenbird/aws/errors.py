"""The door for AWS's errors: whatever botocore raises becomes one of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ProfileNotFound,
)

from ovenbird.domain.errors import (
    CapacityShortage,
    CloudError,
    Conflict,
    InvalidRequest,
    NotFound,
    OvenbirdError,
    Throttled,
)

# Source: EC2, ELBv2, Auto Scaling, EBS and S3 API references, "Error codes".
_KINDS: dict[str, type[OvenbirdError]] = {
    "RequestLimitExceeded": Throttled,
    "Throttling": Throttled,
    "ThrottlingException": Throttled,
    "RequestThrottledException": Throttled,
    "TooManyRequestsException": Throttled,
    "RequestThrottled": Throttled,
    "SlowDown": Throttled,
    "Unavailable": Throttled,
    "ServiceUnavailable": Throttled,
    "ServiceUnavailableException": Throttled,
    "InternalError": Throttled,
    "InternalFailure": Throttled,
    "InternalServerException": Throttled,
    "ConcurrentLimitExceededException": Throttled,
    "SnapshotCreationPerVolumeRateExceeded": Throttled,
    "InsufficientInstanceCapacity": CapacityShortage,
    "InvalidAMIID.NotFound": NotFound,
    "InvalidAMIID.Unavailable": NotFound,
    "InvalidSnapshot.NotFound": NotFound,
    "InvalidInstanceID.NotFound": NotFound,
    "InvalidGroup.NotFound": NotFound,
    "ResourceNotFoundException": NotFound,
    "TargetGroupNotFound": NotFound,
    "RuleNotFound": NotFound,
    "ListenerNotFound": NotFound,
    "InvalidLaunchTemplateName.NotFoundException": NotFound,
    "InvalidLaunchTemplateId.NotFound": NotFound,
    "InvalidAMIName.Duplicate": Conflict,
    "InvalidLaunchTemplateName.AlreadyExistsException": Conflict,
    "AlreadyExists": Conflict,
    "DependencyViolation": Conflict,
    "InvalidGroup.InUse": Conflict,
    "DuplicateTargetGroupName": Conflict,
    "PriorityInUse": Conflict,
    "ResourceInUse": Conflict,
    "InvalidSnapshot.InUse": Conflict,
    "ConflictException": Conflict,
    "ScalingActivityInProgress": Conflict,
    "InvalidParameterValue": InvalidRequest,
    "InvalidRequest": InvalidRequest,
    "InvalidAMIID.Malformed": InvalidRequest,
    "InvalidParameterException": InvalidRequest,
    "NoSuchBucket": NotFound,
    "NoSuchKey": NotFound,
    "404": NotFound,  # of HEAD, whose answer has no body to say more
    "OperationAborted": Throttled,
    "ConditionalRequestConflict": Throttled,
    "BucketAlreadyExists": Conflict,
    "InvalidBucketName": InvalidRequest,
    "ParameterNotFound": NotFound,
    "NotFoundException": NotFound,  # of KMS
    "InvalidKMSKey.NotFound": NotFound,
}
_BUSY = "The account's quota is used up: start the same command again later, or have it raised"
_ALLOWED = "Do the policies of the role, or of the credentials, allow it?"
HINTS = {
    "InvalidAMIID.NotFound": "Is it in this account and Region, or shared with this account?",
    "InvalidAMIID.Unavailable": "It was deregistered: name another one",
    "AccessDenied": "Does the role exist, and does its trust policy name this account?",
    "AccessDeniedException": _ALLOWED,
    "UnauthorizedOperation": _ALLOWED,
    "RequestThrottledException": _BUSY,
    "RequestLimitExceeded": _BUSY,
    "ConcurrentLimitExceededException": "Too many snapshots are pending: start again later",
    "InvalidClientTokenId": "Look at the credentials file and the profile in the settings",
    "ExpiredToken": "Log in again",
    "ExpiredTokenException": "Log in again",
    "BucketAlreadyExists": "Bucket names are shared by all accounts of AWS: choose another one",
    "PermanentRedirect": "The bucket lives in another Region than the settings say",
    "AuthorizationHeaderMalformed": "The bucket lives in another Region than the settings say",
}


@contextmanager
def cloud_errors(doing: str, *, hints: Mapping[str, str] | None = None) -> Iterator[None]:
    """Translate whatever botocore raises inside the block.

    Args:
        doing: What the block does, as in "registering image `hello-1.2`".
        hints: What to do next, by AWS's code, where it is not what it is elsewhere.
    """
    try:
        yield
    except ClientError as error:
        detail = error.response.get("Error", {})
        code = str(detail.get("Code", "Unknown"))
        words = str(detail.get("Message") or error)
        kind = _KINDS.get(code, CloudError)
        raise kind(
            f"AWS refused {doing}: {code}: {words}",
            hint=(hints or {}).get(code) or HINTS.get(code, ""),
            code=code,
        ) from error
    except (EndpointConnectionError, ConnectTimeoutError) as error:
        raise CloudError(
            f"{_capital(doing)} failed: {error}",
            hint="Is the sandbox running? `ovenbird sandbox up` starts it",
        ) from error
    except (NoCredentialsError, ProfileNotFound) as error:
        raise CloudError(
            f"{_capital(doing)} failed: {error}", hint="Set up credentials or the settings' profile"
        ) from error
    except BotoCoreError as error:
        raise CloudError(f"{_capital(doing)} failed: {error}") from error


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
