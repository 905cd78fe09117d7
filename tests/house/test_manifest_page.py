"""The page about the manifest is a manifest, and leaves out no key."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML

from ovenbird.config.manifest import load_manifest
from ovenbird.config.manifest_schema import Manifest

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/manifest.md"
FENCE = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def written() -> str:
    return "\n".join(FENCE.findall(PAGE.read_text()))


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in a type, itself or inside of unions and containers."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) is not None or isinstance(annotation, types.UnionType):
        for part in typing.get_args(annotation):
            yield from models(part)


def keys(model: type[BaseModel]) -> set[str]:
    """Return every key that a model and those in it know."""
    found = set()
    for name, field in model.model_fields.items():
        found.add(field.alias or name)
        for inner in models(field.annotation):
            found |= keys(inner)
    if extra := typing.get_type_hints(model).get("__pydantic_extra__"):
        for inner in models(extra):
            found |= keys(inner)
    return found


def said(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {str(key) for key in value} | {k for inner in value.values() for k in said(inner)}
    if isinstance(value, list):
        return {key for inner in value for key in said(inner)}
    return set()


def test_the_page_is_a_manifest(tmp_path: Path) -> None:
    path = tmp_path / "ovenbird.yaml"
    path.write_text(written())

    app = load_manifest(path)

    assert [package.name for package in app.packages] == ["hello", "hello-worker"]


def test_the_page_leaves_out_no_key() -> None:

    missing = keys(Manifest) - said(YAML(typ="safe").load(written())) - {"all_at_once"}

    assert missing == set()
