"""What the workflow engine stores: JSON, in which each domain value names its type.

    {"type": "ClusterName", "app": "hello", "stack": "prod", "detail": ""}

Values come back as the same class, errors with message, hint and facts; arrays come back
as tuples. Nothing is pickled, so that the next version can read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from functools import cache
from types import ModuleType
from typing import Any

from dbos import Serializer
from dbos import error as dbos_error
from pydantic import TypeAdapter

from ovenbird.domain import (
    apps,
    catalog,
    clusters,
    contents,
    errors,
    events,
    guards,
    images,
    judging,
    launching,
    names,
    packages,
    plans,
    recipes,
    relations,
    releases,
    sources,
    verdicts,
)
from ovenbird.domain.errors import OvenbirdError

TYPE = "type"
MODULES = (
    apps, catalog, clusters, contents, events, guards, images, judging, launching, names,
    packages, plans, recipes, relations, releases, sources, verdicts,
)  # fmt: skip


class DomainJson(Serializer):
    """The serialiser that is given to DBOS."""

    def name(self) -> str:
        """Return the name that is stored beside each value; it is never changed."""
        return "ovenbird_json"

    def serialize(self, data: Any) -> str:
        """Write a value, or an error."""
        return json.dumps(encode(data), separators=(",", ":"), ensure_ascii=False)

    def deserialize(self, serialized_data: str) -> Any:
        """Read what :meth:`serialize` wrote."""
        return decode(json.loads(serialized_data))


def encode(value: Any) -> Any:
    """Turn a value into what JSON has.

    Raises:
        TypeError: It is neither of the domain nor plain.
    """
    if isinstance(value, BaseException):
        return {TYPE: "error", **_error(value)}
    if is_dataclass(value) and not isinstance(value, type):
        found = {field.name: encode(getattr(value, field.name)) for field in fields(value)}
        return {TYPE: type(value).__name__, **found}
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return _plain(value)


def decode(data: Any) -> Any:
    """Turn what :func:`encode` returned back into the value.

    Raises:
        LookupError: A newer version wrote a type that this one does not have.
    """
    if isinstance(data, list):
        return tuple(decode(item) for item in data)
    if not isinstance(data, dict):
        return data
    kind = data.get(TYPE)
    rest = {key: item for key, item in data.items() if key != TYPE}
    if kind is None:
        return {key: decode(item) for key, item in rest.items()}
    return _typed(str(kind), rest)


def _typed(kind: str, rest: dict[str, Any]) -> Any:
    match kind:
        case "error":
            return errors.from_json(rest)
        case "datetime":
            return datetime.fromisoformat(rest["at"])
        case "timedelta":
            return timedelta(seconds=rest["seconds"])
        case "mapping":
            return {key: decode(item) for key, item in rest["items"]}
        case _:
            values = {key: decode(item) for key, item in rest.items()}
            return _adapter(kind).validate_python(values)


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return {TYPE: "datetime", "at": value.isoformat()}
        case timedelta():
            return {TYPE: "timedelta", "seconds": value.total_seconds()}
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise TypeError(f"`{type(value).__name__}` is not a value of the domain")


def _mapping(value: Mapping[Any, Any]) -> Any:
    if TYPE in value:  # would be taken for a value of ours
        return {TYPE: "mapping", "items": [[str(key), encode(v)] for key, v in value.items()]}
    return {str(key): encode(item) for key, item in value.items()}


def _error(error: BaseException) -> dict[str, Any]:
    if isinstance(error, dbos_error.DBOSMaxStepRetriesExceeded) and error.errors:
        return _error(error.errors[-1])
    if isinstance(error, OvenbirdError):
        return error.to_json()
    text = f"{type(error).__name__}: {error}"
    hint = "This is a fault in ovenbird: report it with the words above"
    return {"error": "OvenbirdError", "message": text, "hint": hint, "facts": {}}


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    for module in MODULES:
        found = _declared(module, kind)
        if found is not None:
            return TypeAdapter(found)
    raise LookupError(f"No value of type `{kind}`: a newer version of ovenbird wrote it")


def _declared(module: ModuleType, kind: str) -> type | None:
    found = getattr(module, kind, None)
    return found if isinstance(found, type) and is_dataclass(found) else None
