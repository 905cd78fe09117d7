"""Listings in pages; a token says how many items come before its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from moto.core.exceptions import ServiceException

Item = TypeVar("Item")


class InvalidToken(ServiceException):
    """A token that is not one of ours; moto derives the service from the caller's."""

    code = "InvalidNextToken"
    message = "The NextToken value is not valid"


def page_of(
    items: Sequence[Item], token: str | None, *, size: int
) -> tuple[list[Item], str | None]:
    """Return a page, and the token of the next one if there is more.

    Raises:
        InvalidToken: It is not one of ours.
    """
    first = offset(token)
    following = first + size
    return list(items[first:following]), str(following) if following < len(items) else None


def offset(token: str | None) -> int:
    """Return how many items come before the page.

    Raises:
        InvalidToken: It is not one of ours.
    """
    if token is None:
        return 0
    if not token.isdigit():
        raise InvalidToken
    return int(token)
