"""YAML files that people write: read with line numbers, checked, refused in words.

    file ──ruamel──▶ data with lines ──pydantic──▶ model, or one InvalidRequest that
                                                   names each wrong place as FILE:LINE

Both the manifest and the settings are read through :func:`read`.
"""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ovenbird.domain.errors import InvalidRequest, NotFound

Place = tuple[int | str, ...]
"""Keys and indices from the top of a document to one value."""

SHOWN_CHARS = 60  # of a wrong value
MOST_VALUES = 100_000  # of a document; aliases of aliases can stand for millions
# What ruamel and json raise of their own accord for odd documents (found by fuzzing with
# ruamel.yaml 0.19): `!!set x`, an integer of 5,000 digits, a list as a key.
_ODD = (ValueError, TypeError, AttributeError, LookupError, RecursionError, OverflowError)

M = TypeVar("M", bound=BaseModel)


class Strict(BaseModel):
    """A part of a document: unknown keys and wrong types are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


MEND = "Correct the file and ask again"


def read(
    path: Path,
    model: type[M],
    *,
    later: Mapping[str, str],
    missing: str,
    shown: str = "",
    mend: str = MEND,
) -> M:
    """Read and check one document.

    Args:
        path: The file.
        model: What it must look like.
        later: Keys that are known but not built yet, dotted without indices, as
            ``deploy.prod.baseline`` → what to do instead.
        missing: Hint for the reader when the file does not exist.
        shown: What errors call the file; its path by default.
        mend: Hint for the reader when something in it is wrong.

    Raises:
        NotFound: The file does not exist.
        InvalidRequest: It is not YAML, or something in it is wrong; each place is named.
    """
    name = shown or str(path)
    data = parse(path, name, missing=missing)
    text = _as_json(data, name)
    try:
        return model.model_validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        found = _complaints(error, model, data, later)
        raise _refusal(name, data, found, mend=mend) from error


def parse(path: Path, name: str, *, missing: str = "") -> CommentedMap:
    """Read a document with its lines; what it means is not looked at.

    Args:
        path: The file.
        name: What errors call it.
        missing: Hint for the reader when it does not exist.

    Raises:
        NotFound: The file does not exist.
        InvalidRequest: It is not YAML.
    """
    try:
        data = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NotFound(f"`{name}` does not exist", hint=missing) from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{name}: not text in UTF-8", hint="Save it as UTF-8") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark else 1
        problem = str(error.problem or "not YAML").strip()
        raise InvalidRequest(
            f"{name}:{line}: {problem}", hint="Check indentation, colons and quotes on that line"
        ) from error
    except YAMLError as error:
        raise InvalidRequest(f"{name}: not YAML: {error}", hint="Check the file") from error
    except _ODD as error:
        raise InvalidRequest(
            f"{name}: cannot be read as YAML: {str(error)[:SHOWN_CHARS]}",
            hint="Look for tags as `!!set`, numbers of thousands of digits and deep nesting",
        ) from error
    if not isinstance(data, CommentedMap):
        raise InvalidRequest(f"{name}:1: must be a mapping of keys to values", hint=missing)
    return data


def _as_json(data: CommentedMap, name: str) -> str:
    """Return a document as JSON, each alias with all that it stands for."""
    try:
        if _size(data, {}) > MOST_VALUES:
            raise InvalidRequest(
                f"{name}: an alias holds itself, or there are more than {MOST_VALUES} values",
                hint="Look at what `&` and `*` name",
            )
        return json.dumps(data, default=str)
    except _ODD as error:
        raise InvalidRequest(
            f"{name}: cannot be understood: {str(error)[:SHOWN_CHARS]}",
            hint="Keys are words; look for deep nesting and numbers of thousands of digits",
        ) from error


def _size(value: object, known: dict[int, int]) -> int:
    """Return how many values there are, those of an alias each time that it is named."""
    if not isinstance(value, CommentedMap | CommentedSeq):
        return 1
    if id(value) not in known:
        known[id(value)] = MOST_VALUES + 1  # meets itself only where it holds itself
        inner = value.values() if isinstance(value, CommentedMap) else value
        known[id(value)] = 1 + sum(_size(one, known) for one in inner)
    return known[id(value)]


def _refusal(
    name: str, data: CommentedMap, found: Sequence[tuple[Place, str]], *, mend: str
) -> InvalidRequest:
    placed = sorted({(line_of(data, place), _dotted(place), text) for place, text in found})
    lines = [f"{name}:{line}: `{dotted}`: {text}" for line, dotted, text in placed]
    count = "" if len(lines) == 1 else f"{len(lines)} mistakes:\n"
    return InvalidRequest(
        count + "\n".join(lines),
        hint=mend,
        file=name,
        line=placed[0][0],
        mistakes=len(lines),
    )


def _complaints(
    error: pydantic.ValidationError, model: type[BaseModel], data: object, later: Mapping[str, str]
) -> list[tuple[Place, str]]:
    """Return place and words of each mistake; one that follows from another is left out."""
    found: dict[Place, str] = {}
    for detail in error.errors(include_url=False):
        place, text = _complaint(detail, model, data, later)
        found.setdefault(place, text)
    return [(place, text) for place, text in found.items() if not _follows(place, found)]


def _follows(place: Place, found: Mapping[Place, str]) -> bool:
    """Tell whether something inside of a place is wrong, so that the place cannot be right."""
    return any(len(other) > len(place) and other[: len(place)] == place for other in found)


def _complaint(
    detail: ErrorDetails, model: type[BaseModel], data: object, later: Mapping[str, str]
) -> tuple[Place, str]:
    place: Place = detail["loc"]
    if (stray := _stray(place, model, data)) is not None:
        return stray, _unknown(stray, model, later)
    match detail["type"]:
        case "extra_forbidden":
            return place, _unknown(place, model, later)
        case "missing":
            return place, "is missing"
        case "value_error":
            return place, detail["msg"].removeprefix("Value error, ")
        case _:
            return place, _words(detail)


def _stray(place: Place, model: type[BaseModel], data: object) -> Place | None:
    """Return the key that was meant as one of the known ones though any name is allowed there.

    Where people choose names beside fixed keys (environments beside ``health``), a
    misspelt key looks like a name: it is taken for one only with a mapping of its own keys.
    """
    for depth, key in enumerate(place):
        parent = _annotation(model, place[:depth])
        extra = _extra(parent)
        if extra is None or key in _keys(parent):
            continue
        value = _value(data, place[: depth + 1])
        if not isinstance(value, Mapping) or not set(value) & set(_keys(extra)):
            return place[: depth + 1]
    return None


def _unknown(place: Place, model: type[BaseModel], later: Mapping[str, str]) -> str:
    words = [part for part in place if isinstance(part, str)]
    dotted = ".".join(words)
    if dotted in later or f"*.{words[-1]}" in later:
        instead = later.get(dotted) or later[f"*.{words[-1]}"]
        return f"`{words[-1]}` is known but not built yet; {instead}"
    known = _keys(_annotation(model, place[:-1]))
    near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
    if near:
        return f"unknown key; did you mean `{near[0]}`?"
    return "unknown key; known here: " + ", ".join(f"`{key}`" for key in known)


def _words(detail: ErrorDetails) -> str:
    shown = _shown(detail["input"])
    if detail["type"] == "string_type" and isinstance(detail["input"], int | float):
        return f"must be text: put {shown} in quotes"
    return f"{_plain(detail['msg'])}, not {shown}"


def _plain(message: str) -> str:
    return message.replace("Input should be", "must be").replace(
        "String should match pattern", "must match"
    )


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return f"`{text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + '…'}`"


def _dotted(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "the file"


def _value(data: object, place: Place) -> object:
    for key in place:
        try:
            data = data[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def line_of(data: object, place: Place) -> int:
    """Return the line of a place, or of the nearest thing around it that is there."""
    line = 0
    for key in place:
        if isinstance(data, CommentedMap) and key in data:
            line = data.lc.key(key)[0]
        elif isinstance(data, CommentedSeq) and isinstance(key, int) and key < len(data):
            line = data.lc.item(key)[0]
        else:
            break
        data = data[key]
    return int(line) + 1


def _annotation(annotation: Any, place: Place) -> Any:
    """Return the type that stands at a place."""
    for key in place:
        annotation = _step(annotation, key)
    return annotation


def _step(annotation: Any, key: int | str) -> Any:
    if (model := _model(annotation)) is not None:
        named = {(field.alias or name): field for name, field in model.model_fields.items()}
        return named[str(key)].annotation if str(key) in named else _extra(model)
    inner = [_container(part) for part in _alternatives(annotation)]
    return next((part for part in inner if part is not None), None)


def _alternatives(annotation: Any) -> Iterator[Any]:
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        yield from typing.get_args(annotation)
    else:
        yield annotation


def _container(annotation: Any) -> Any:
    """Return what a list, tuple or mapping holds, or None for other types."""
    if typing.get_origin(annotation) is tuple:
        return typing.get_args(annotation)[0]
    return typing.get_args(annotation)[-1] if typing.get_args(annotation) else None


def _model(annotation: Any) -> type[BaseModel] | None:
    for part in _alternatives(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return None


def _extra(annotation: Any) -> Any:
    """Return the type of values under names that people choose, or None where none are."""
    model = _model(annotation)
    if model is None or model.model_config.get("extra") != "allow":
        return None
    hints = typing.get_type_hints(model)
    return typing.get_args(hints["__pydantic_extra__"])[-1]


def _keys(annotation: Any) -> list[str]:
    model = _model(annotation)
    if model is None:
        return []
    return [field.alias or name for name, field in model.model_fields.items()]
