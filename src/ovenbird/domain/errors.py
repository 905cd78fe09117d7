"""Every error that this project raises on purpose.

* OvenbirdError
  + InvalidRequest        the caller asked for something that cannot be (exit 2)
  + NotFound              a named thing does not exist                  (exit 3)
  + Conflict              the world changed under us, or a lock is held (exit 4)
  + CommandFailed         an external program exited non-zero           (exit 5)
  + CloudError            AWS refused or failed
    - Throttled           ... for now: retry
    - CapacityShortage    ... for now: retry later, then give up
  + Unhealthy             instances or a canary did not stay healthy    (exit 6)
  + Aborted               a person said no                              (exit 130)
  + Unrecorded            our records cannot be kept: work stands still (exit 1)

An error has a message (what happened), a hint (what to do next) and facts
(for machines). It goes to JSON and back, since the workflow engine stores it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar


class OvenbirdError(Exception):
    """Base of all deliberate errors.

    Args:
        message: What happened, as one sentence without a final period.
        hint: What the reader can do next; shown on its own line.
        facts: Identifiers that a program may need (ids, names, counts).
    """

    retryable: ClassVar[bool] = False
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", **facts: str | int) -> None:
        super().__init__(message)
        self.hint = hint
        self.facts = facts

    def to_json(self) -> dict[str, Any]:
        """Return class name, message, hint and facts."""
        return {
            "error": type(self).__name__,
            "message": str(self),
            "hint": self.hint,
            "facts": dict(self.facts),
        }


class InvalidRequest(OvenbirdError):
    """The caller asked for something that cannot be."""

    exit_status = 2


class NotFound(OvenbirdError):
    """A named thing does not exist."""

    exit_status = 3


class Conflict(OvenbirdError):
    """The world changed under us, or a lock is held."""

    exit_status = 4


class CommandFailed(OvenbirdError):
    """An external program exited non-zero, was not found, or ran too long."""

    exit_status = 5


class CloudError(OvenbirdError):
    """AWS refused or failed."""


class Throttled(CloudError):
    """AWS asked to come back later."""

    retryable = True


class CapacityShortage(CloudError):
    """AWS has no capacity for now."""

    retryable = True


class Unhealthy(OvenbirdError):
    """Instances did not become healthy in time, or a canary did not stay so."""

    exit_status = 6


class Aborted(OvenbirdError):
    """A person ended it."""

    exit_status = 130


class Unrecorded(OvenbirdError):
    """Our records cannot be read or written; what is under way stands still until they can."""


def every(cls: type[OvenbirdError] = OvenbirdError) -> Iterator[type[OvenbirdError]]:
    """Yield *cls* and all its subclasses."""
    yield cls
    for sub in cls.__subclasses__():
        yield from every(sub)


def from_json(data: Mapping[str, Any]) -> OvenbirdError:
    """Bring back what :meth:`OvenbirdError.to_json` wrote.

    A class that this version does not know comes back as :class:`OvenbirdError`.
    """
    kinds = {cls.__name__: cls for cls in every()}
    kind = kinds.get(str(data.get("error")), OvenbirdError)
    return kind(str(data["message"]), hint=str(data.get("hint", "")), **data.get("facts", {}))


def is_retryable(error: BaseException) -> bool:
    """Tell whether trying again may help; the class decides, nothing else does."""
    return isinstance(error, OvenbirdError) and error.retryable
