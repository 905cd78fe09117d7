"""AWS's limits on calls: what comes too fast is refused, as AWS refuses it.

moto takes calls as fast as they come. With `ovenbird sandbox up --throttle` each account has
AWS's token buckets: a call that finds one of its buckets empty is refused with the service's
own code and takes nothing; buckets fill all the time.

The numbers are those of :mod:`ovenbird.aws.quotas`, where their sources stand; Auto Scaling's
are an assumption.

Source: EC2 developer guide and Elastic Load Balancing user guide, "Request throttling"; error
codes: EC2 `RequestLimitExceeded` (503), ELBv2 `ThrottlingException`, Auto Scaling and
CloudWatch `Throttling`, all with "Rate exceeded".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cache

from moto.iam.models import get_account_id_from

from ovenbird.aws.quotas import Quota, quotas_of
from ovenbird.sandbox.faults import Call, Decide, Fault, throttled

SERVICES = {"elasticloadbalancing": "elbv2", "monitoring": "cloudwatch"}
"""Names in signatures, where they are not boto's."""


class _Bucket:
    """Tokens of one quota."""

    def __init__(self, quota: Quota, now: float) -> None:
        self._quota, self._tokens, self._at = quota, quota.burst, now

    def fill(self, now: float) -> bool:
        """Add what came back; tell whether there is one."""
        self._tokens += (now - self._at) * self._quota.per_s
        self._tokens, self._at = min(self._tokens, self._quota.burst), now
        return self._tokens >= 1

    def take(self) -> None:
        """Take one."""
        self._tokens -= 1


class Throttles:
    """Decides which calls are one too many; safe between threads.

    Args:
        factor: How many times AWS's published numbers the accounts have.
        otherwise: Decides about the calls that are not.
        clock: Returns seconds that only grow.
    """

    def __init__(
        self,
        *,
        factor: float = 1.0,
        otherwise: Decide | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._factor, self._otherwise, self._clock = factor, otherwise, clock
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._lock = threading.Lock()

    def __call__(self, call: Call) -> Fault | None:
        """Decide about one call."""
        service = SERVICES.get(call.service, call.service)
        if not self._may(call.key and _account(call.key), quotas_of(service, call.action)):
            return Fault(code="ThrottlingException") if service == "elbv2" else throttled(call)
        return self._otherwise(call) if self._otherwise else None

    def _may(self, account_id: str, quotas: tuple[Quota, ...]) -> bool:
        with self._lock:
            now = self._clock()
            buckets = [self._bucket(account_id, quota, now) for quota in quotas]
            if not all(bucket.fill(now) for bucket in buckets):
                return False
            for bucket in buckets:
                bucket.take()
            return True

    def _bucket(self, account_id: str, quota: Quota, now: float) -> _Bucket:
        key = (account_id, quota.name)
        if key not in self._buckets:
            self._buckets[key] = _Bucket(quota.times(self._factor), now)
        return self._buckets[key]


@cache
def _account(key: str) -> str:
    """Return the account of an access key, or of the keys of an assumed role."""
    return str(get_account_id_from(key))
