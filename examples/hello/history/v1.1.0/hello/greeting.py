"""What the app says to those who ask for `/`."""

from __future__ import annotations


def page(greeting: str) -> str:
    """Return the page; the exclamation mark is what 1.1.0 brings."""
    return f"{greeting}, world!\n"
