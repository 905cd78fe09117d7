"""Traffic beyond weights: who reaches a server group in any case, and who stays where he is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.images import TAG

TESTERS_TAG = TAG + "testers"  # on the rule by which testers reach a new server group
LONGEST_STICKY_S = 604_800  # Source: ELBv2 API reference, TargetGroupStickinessConfig
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,40}")  # Source: HttpHeaderConditionConfig
_COOKIE = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]{1,40}")
LONGEST_VALUE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedRequests:
    """Requests that reach the newest server group at any weight: by a header, or by a cookie.

    Args:
        header: Name of a header; empty when it is a cookie.
        cookie: Name of a cookie; empty when it is a header.
        value: What it must be; for a header ``*`` stands for any letters, ``?`` for one.

    Raises:
        InvalidRequest: Not one of the two, or nothing that a load balancer can look for.
    """

    header: str = ""
    cookie: str = ""
    value: str

    def __post_init__(self) -> None:
        if bool(self.header) == bool(self.cookie):
            raise InvalidRequest(
                "Testers are told by a `header` or by a `cookie`",
                hint="For example `testers: {by: header, name: X-Canary, value: please}`",
            )
        if not (_HEADER.fullmatch(self.header) or _COOKIE.fullmatch(self.cookie)):
            raise InvalidRequest(
                f"`{self.header or self.cookie}` is no name of a header or cookie",
                hint="Up to 40 letters, digits and hyphens",
            )
        if not self.value or len(self.pattern) > LONGEST_VALUE or not self.value.isprintable():
            raise InvalidRequest(
                "The value that tells testers is empty, too long or not printable",
                hint=f"A load balancer compares {LONGEST_VALUE} characters at most",
            )

    @property
    def field(self) -> str:
        """The header in which it stands."""
        return self.header or "Cookie"

    @property
    def pattern(self) -> str:
        """What the header's value must look like, in a load balancer's words."""
        if self.header:
            return self.value
        # A cookie whose name ends so would do, too: a pattern cannot say where one begins.
        return f"*{self.cookie}={self.value}*"
