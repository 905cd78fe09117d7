"""What a person means by an app: a git remote, and a directory in it."""

from __future__ import annotations

from pathlib import Path


def located(app: str) -> tuple[str, str]:
    """Return the git remote, and the app's directory in it (empty for its root).

    Args:
        app: A URL, or a directory in a git repository.
    """
    path = Path(app).expanduser()
    if not path.is_dir():
        return app, ""
    place = path.resolve()
    for top in (place, *place.parents):
        if (top / ".git").exists():
            directory = str(place.relative_to(top))
            return str(top), "" if directory == "." else directory
    return str(place), ""
