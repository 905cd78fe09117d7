"""Secrets are references in settings, ``env:NAME`` or ``file:PATH``: read here when needed."""

from __future__ import annotations

import os
from pathlib import Path

from ovenbird.domain.errors import InvalidRequest, NotFound


def read_secret(reference: str) -> str:
    """Return what a reference stands for, without the line's end.

    Args:
        reference: ``env:PROMETHEUS_TOKEN`` or ``file:/etc/ovenbird/token``.

    Raises:
        NotFound: It is not there, or is empty.
        InvalidRequest: It is no reference.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        found = os.environ.get(name, "")
    elif kind == "file":
        try:
            found = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NotFound(f"The secret `{reference}` cannot be read: {error}") from error
    else:
        raise InvalidRequest(f"`{kind}:` is no kind of secret", hint="Use `env:` or `file:`")
    if not found.strip():
        raise NotFound(f"The secret `{reference}` is empty", hint="Set it, and ask again")
    return found.strip()
