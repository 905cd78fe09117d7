"""Names of clusters and server groups.

    hello-prod-eu-v012
    app   stack detail version
    ------------------ the cluster
    ------------------------ the server group (one Auto Scaling group)

What others made is read by ``frigga``, which knows the whole convention.

Source: the convention is Netflix's; see Frigga's ``Names`` and its test cases.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from ovenbird.domain.errors import Conflict, InvalidRequest
from ovenbird.domain.frigga import has_push

VERSIONS = 1000  # v000 .. v999, then it wraps around
FIRST_VERSION = 1
TARGET_GROUP_NAME_CHARS = 32  # Source: ELBv2 API reference, CreateTargetGroup, Name

_WORD = r"[a-zA-Z0-9._]"
_SERVER_GROUP = re.compile(
    rf"(?P<app>{_WORD}+)(?:-(?P<stack>{_WORD}*)(?:-(?P<detail>{_WORD}(?:{_WORD}|-)*?))?)?-v(?P<version>\d{{3}})"
)
_CLUSTER = re.compile(
    rf"(?P<app>{_WORD}+)(?:-(?P<stack>{_WORD}*)(?:-(?P<detail>{_WORD}(?:{_WORD}|-)*))?)?"
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ClusterName:
    """A family of server groups that serve the same purpose.

    A detail without a stack keeps the stack's place: ``hello--canary``.

    Raises:
        InvalidRequest: A part has a character that the convention does not allow, or reads
            as a version.
    """

    app: str
    stack: str = ""
    detail: str = ""

    def __post_init__(self) -> None:
        allowed = rf"{_WORD}+/{_WORD}*/(?:{_WORD}(?:{_WORD}|-)*)?"
        if not re.fullmatch(allowed, f"{self.app}/{self.stack}/{self.detail}"):
            raise InvalidRequest(f"`{self}` is not a cluster name", hint="Use APP[-STACK[-DETAIL]]")
        if has_push(self.stack) or has_push(self.detail):
            raise InvalidRequest(
                f"`{self}` names a server group, not a cluster",
                hint="`v` and three to six digits are a version: name the cluster without it",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cluster's name.

        Raises:
            InvalidRequest: *text* does not follow the convention.
        """
        if match := _CLUSTER.fullmatch(text):
            app, stack, detail = match.groups(default="")
            return cls(app=app, stack=stack, detail=detail)
        raise InvalidRequest(f"`{text}` is not a cluster name", hint="Use APP[-STACK[-DETAIL]]")

    def __str__(self) -> str:
        if self.detail:
            return f"{self.app}-{self.stack}-{self.detail}"
        return f"{self.app}-{self.stack}" if self.stack else self.app


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ServerGroupName:
    """One version of a cluster; never reused while an older one lives."""

    cluster: ClusterName
    version: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name as it stands in AWS.

        Raises:
            InvalidRequest: *text* does not follow the convention.
        """
        if match := _SERVER_GROUP.fullmatch(text):
            app, stack, detail, version = match.groups(default="")
            cluster = ClusterName(app=app, stack=stack, detail=detail)
            name = cls(cluster=cluster, version=int(version))
            if str(name) == text:
                return name
        raise InvalidRequest(
            f"`{text}` is not a server group name", hint="Expected APP[-STACK[-DETAIL]]-vNNN"
        )

    def next(self) -> Self:
        """Return the name that the following version takes."""
        return type(self)(cluster=self.cluster, version=(self.version + 1) % VERSIONS)

    def __str__(self) -> str:
        return f"{self.cluster}-v{self.version:03d}"


def next_name(
    cluster: ClusterName, *, newest: ServerGroupName | None, taken: Collection[ServerGroupName]
) -> ServerGroupName:
    """Return the first free name after the newest one.

    Raises:
        Conflict: All thousand names are taken.
    """
    name = newest.next() if newest else ServerGroupName(cluster=cluster, version=FIRST_VERSION)
    for _ in range(VERSIONS):
        if name not in taken:
            return name
        name = name.next()
    raise Conflict(f"Cluster `{cluster}` has no free version", hint="Decommission server groups")


def target_group_name(name: ServerGroupName) -> str:
    """Return the target group's name: readable head, unique tail, 32 characters at most.

    The full name of the server group goes into a tag.
    """
    digest = hashlib.sha256(str(name).encode()).hexdigest()[:8]
    head = re.sub(r"[^A-Za-z0-9]+", "-", str(name))
    return f"{head[: TARGET_GROUP_NAME_CHARS - 9].strip('-')}-{digest}"


def alarm_name(name: ServerGroupName, word: str) -> str:
    """Return the name of one of the server group's alarms, as ``hello-prod-v012-5xx``."""
    return f"{name}-{word}"
