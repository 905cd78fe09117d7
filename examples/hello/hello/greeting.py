"""What the app says to those who ask for `/`."""

from __future__ import annotations


def page(greeting: str) -> str:
    """Return the page."""
    return f"{greeting}, world\n"
