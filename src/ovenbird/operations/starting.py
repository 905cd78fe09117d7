"""The begin of an app's manifest: look at a repository, write an `ovenbird.yaml` for it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ovenbird.config.manifest import MANIFEST, load_manifest
from ovenbird.config.manifest_text import manifest_text
from ovenbird.domain.errors import Conflict, NotFound
from ovenbird.packaging.building.recognition import recognize
from ovenbird.system import git


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstManifest:
    """A manifest that is not written yet.

    Args:
        path: Where it goes.
        found: The file that told what the app is.
        notes: What a person should look at.
    """

    path: str
    text: str
    app: str
    kind: str
    found: str
    notes: tuple[str, ...]


def first_manifest(directory: Path) -> FirstManifest:
    """Look at a directory and say what its manifest would be.

    Args:
        directory: The app's; nothing in it is run or changed.

    Raises:
        NotFound: It does not exist, or nothing in it is known.
    """
    if not directory.is_dir():
        raise NotFound(f"`{directory}` is not a directory", hint="Give the app's directory")
    beginning = recognize(directory.resolve())
    if not beginning.maintainer:
        beginning = replace(beginning, maintainer=git.author(directory))
    notes = beginning.notes
    if not beginning.maintainer:
        notes = (*notes, "Nobody is known as `maintainer`")
    text = manifest_text(replace(beginning, notes=notes))
    _prove(text)
    return FirstManifest(
        path=str(directory / MANIFEST),
        text=text,
        app=beginning.app,
        kind=beginning.build.kind.value,
        found=beginning.found,
        notes=notes,
    )


def write_manifest(manifest: FirstManifest, *, replacing: bool) -> None:
    """Write a manifest, whole or not at all.

    Args:
        manifest: What to write.
        replacing: Whether one that is there goes.

    Raises:
        Conflict: There is one, and it was not to be replaced.
    """
    path = Path(manifest.path)
    if path.exists() and not replacing:
        raise Conflict(
            f"`{path}` exists already", hint="Add `--force` to write it anew", path=str(path)
        )
    part = path.with_name(f".{path.name}.part")
    part.write_text(manifest.text, encoding="utf-8")
    part.replace(path)


def _prove(text: str) -> None:
    """Read what is to be written as every later command will."""
    with tempfile.TemporaryDirectory(prefix="ovenbird-") as directory:
        path = Path(directory) / MANIFEST
        path.write_text(text, encoding="utf-8")
        load_manifest(path, shown=MANIFEST, mend="This is a bug in `ovenbird init`")
