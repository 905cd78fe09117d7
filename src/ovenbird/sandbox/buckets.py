"""Buckets, as S3 has them: who may reach one, how a new one is set, under which conditions.

A bucket is its owner's. Another account reaches it only when the bucket's policy names that
account, and nobody without a signature does. A new bucket is closed to the public, has no ACLs
(BucketOwnerEnforced) and encrypts with SSE-S3; a request that sets an ACL is refused. Writes
have conditions: PutObject and CompleteMultipartUpload `If-Match` and `If-None-Match: *`,
CopyObject the same for its target and `x-amz-copy-source-if-match` for its source; another value
of `If-None-Match` is not implemented (501).

moto 5.2.5 lets every account read and write every bucket, makes buckets without any of these
settings and with names that S3 refuses, takes ACLs, looks at no condition of CopyObject but
`x-amz-copy-source-if-none-match`, at no `If-Match` of CompleteMultipartUpload, takes any
`If-None-Match`, and fails (500) when an upload is not there.

S3 answers 409 (ConditionalRequestConflict) to one of two writes at the same time; here all
requests are in a row, so that it never does.

Source: moto/s3/responses.py, moto/s3/models.py (probed on 2026-11-25); S3 user guide,
"Conditional writes", "Blocking public access", "Controlling ownership of objects and disabling
ACLs", "Setting default server-side encryption", "General purpose bucket naming rules"; S3 API
reference, CopyObject, CompleteMultipartUpload.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from moto.s3.exceptions import (
    BucketAccessDeniedError,
    InvalidBucketName,
    MissingKey,
    NoSuchUpload,
    PreconditionFailed,
    S3ClientError,
)
from moto.s3.models import FakeBucket, PublicAccessBlock, S3Backend, s3_backends
from moto.s3.responses import S3Response

ENFORCED = "BucketOwnerEnforced"
_NAME = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)(?!xn--)[a-z0-9](?!.*\.\.)[a-z0-9.-]{1,61}[a-z0-9]")
_ACTIONS = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "POST": "Put", "DELETE": "Delete"}
_HARMLESS = {"", "bucket-owner-full-control"}  # the one ACL that is taken where there are none


def install() -> None:
    """Put our versions in moto's place."""
    S3Backend.create_bucket = _closed(S3Backend.create_bucket)
    S3Response._bucket_response = _guarded(S3Response._bucket_response)
    S3Response._key_response = _guarded(S3Response._key_response)
    S3Response.put_object = _conditional(S3Response.put_object)
    S3Response.copy_object = _copying(S3Response.copy_object)
    S3Response._key_response_post = _completing(S3Response._key_response_post)
    S3Response._acl_from_headers = _without_acls(S3Response._acl_from_headers)


def _closed(original: Any) -> Any:
    """Let a new bucket have the settings that it has on AWS."""

    def create_bucket(self: S3Backend, bucket_name: str, *words: Any, **named: Any) -> FakeBucket:
        if not _NAME.fullmatch(bucket_name):
            raise InvalidBucketName
        bucket: FakeBucket = original(self, bucket_name, *words, **named)
        bucket.public_access_block = PublicAccessBlock("true", "true", "true", "true")
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        bucket.encryption = {"Rule": rule}
        bucket.ownership_rule = ENFORCED  # type: ignore[assignment]  # moto stores the word
        return bucket

    return create_bucket


def _guarded(original: Any) -> Any:
    """Refuse whoever the bucket is not for."""

    def respond(self: S3Response, request: Any, full_url: str) -> Any:
        if bucket := _bucket(self.parse_bucket_name_from_url(request, full_url)):
            query = parse_qs(urlsplit(full_url).query, keep_blank_values=True)
            signed = "Authorization" in request.headers or "X-Amz-Signature" in query
            key = _key_name(self, original)
            is_new = (
                request.method == "PUT" and not key and not query
            )  # CreateBucket, of a taken name
            if not is_new and not (
                signed and _may(bucket, self.current_account, request.method, key)
            ):
                raise BucketAccessDeniedError(bucket=bucket.name)
        return original(self, request, full_url)

    return respond


def _key_name(self: S3Response, original: Any) -> str:
    return self.parse_key_name() if "key" in original.__name__ else ""


def _bucket(name: str | None) -> FakeBucket | None:
    """Return a bucket of any account."""
    if name not in s3_backends.bucket_accounts:
        return None
    partition, account = s3_backends.bucket_accounts[name]
    return s3_backends[account][partition].buckets.get(name)


def _may(bucket: FakeBucket, account: str, method: str, key: str) -> bool:
    """Tell whether an account may do something; its own policies are not looked at here."""
    if bucket.account_id == account:
        return True
    if bucket.policy is None:
        return False
    action = f"s3:{_ACTIONS.get(method, method)}Object" if key else _bucket_action(method)
    resource = f"arn:aws:s3:::{bucket.name}/{key}" if key else f"arn:aws:s3:::{bucket.name}"
    effects = {
        statement["Effect"]
        for statement in _listed(json.loads(bucket.policy).get("Statement"))
        if _is_meant(statement, account, action, resource)
    }
    return effects == {"Allow"}


def _bucket_action(method: str) -> str:
    return "s3:ListBucket" if method in {"GET", "HEAD"} else f"s3:{method.title()}Bucket"


def _is_meant(statement: Mapping[str, Any], account: str, action: str, resource: str) -> bool:
    principal = statement.get("Principal", {})
    named = _listed(principal.get("AWS") if isinstance(principal, dict) else principal)
    return (
        any(account in re.split("[:/]", one) for one in named)  # `*` would be public: blocked
        and any(fnmatch.fnmatchcase(action, one) for one in _listed(statement.get("Action")))
        and any(fnmatch.fnmatchcase(resource, one) for one in _listed(statement.get("Resource")))
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _without_acls(original: Any) -> Any:
    """Refuse ACLs for buckets that have none."""

    def acl_from_headers(self: S3Response, headers: Mapping[str, str]) -> Any:
        bucket = _bucket(self.bucket_name)
        grants = any(name.lower().startswith("x-amz-grant-") for name, _ in headers.items())
        if bucket and str(bucket.ownership_rule) == ENFORCED:  # moto keeps the word
            if grants or headers.get("x-amz-acl", "") not in _HARMLESS:
                raise S3ClientError(
                    "AccessControlListNotSupported", "The bucket does not allow ACLs"
                )
            return None
        return original(self, headers)

    return acl_from_headers


def _conditional(original: Any) -> Any:
    def put_object(self: S3Response) -> Any:
        return _unknown_condition(self) or original(self)

    return put_object


def _copying(original: Any) -> Any:
    """Let a copy have conditions, for its source and for its target."""

    def copy_object(self: S3Response) -> Any:
        source = unquote(urlsplit(str(self.headers["x-amz-copy-source"])).path).lstrip("/")
        bucket_name, _, key = source.partition("/")
        bucket = _bucket(bucket_name)
        if bucket and not _may(bucket, self.current_account, "GET", key):
            raise BucketAccessDeniedError(bucket=bucket_name)
        wanted = self.headers.get("x-amz-copy-source-if-match")
        found = self.backend.get_object(bucket_name, key) if bucket else None
        if wanted and found and not _is_same(found.etag, wanted):
            raise PreconditionFailed("x-amz-copy-source-If-Match")
        if refused := _unknown_condition(self):
            return refused
        _refuse_unmet(self, self.parse_key_name())
        return original(self)

    return copy_object


def _completing(original: Any) -> Any:
    """Let the end of an upload in parts have both conditions."""

    def respond(
        self: S3Response, request: Any, body: bytes, bucket: str, query: dict[str, Any], key: str
    ) -> Any:
        if upload := query.get("uploadId"):
            existing = self.backend.get_object(bucket, key)
            done = existing is not None and getattr(existing.multipart, "id", "") == upload[0]
            if not done:
                if upload[0] not in self.backend.get_bucket(bucket).multiparts:
                    raise NoSuchUpload(upload_id=upload[0])
                if refused := _unknown_condition(self):
                    return refused
                _refuse_unmet(self, key)
        return original(self, request, body, bucket, query, key)

    return respond


def _unknown_condition(self: S3Response) -> Any:
    """Return S3's answer to `If-None-Match` with an ETag; nothing for what it knows."""
    if self.headers.get("If-None-Match", "*") == "*":
        return None
    words = "A header you provided implies functionality that is not implemented"
    body = f"<Error><Code>NotImplemented</Code><Message>{words}</Message></Error>"
    return 501, {"content-type": "application/xml"}, body


def _refuse_unmet(self: S3Response, key: str) -> None:
    """Refuse a write whose conditions do not hold for what is there."""
    existing = self.backend.get_object(self.bucket_name, key)
    wanted = self.headers.get("If-Match")
    if wanted and existing is None:
        raise MissingKey(key=key)
    if wanted and existing is not None and not _is_same(existing.etag, wanted):
        raise PreconditionFailed("If-Match")
    if existing is not None and self.headers.get("If-None-Match") == "*":
        raise PreconditionFailed("If-None-Match")


def _is_same(etag: str, wanted: str) -> bool:
    return etag.strip('"') == wanted.strip('"')
