"""What the engine stores comes back, whatever is inside."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

import pytest

from ovenbird.domain.relations import Atom, Relation
from ovenbird.pipeline import codec

STORED = [
    kind
    for module in codec.MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module.__name__
]


def kinds_in(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for inner in typing.get_args(hint):
        yield from kinds_in(inner)


@pytest.mark.parametrize("kind", STORED, ids=lambda kind: kind.__name__)
def test_all_that_is_inside_of_a_value_can_be_read_back(kind: type) -> None:
    inside = {found for hint in typing.get_type_hints(kind).values() for found in kinds_in(hint)}

    assert [found for found in inside if codec._adapter(found.__name__)._type is not found] == []


def test_what_a_package_needs_comes_back() -> None:
    relation = Relation(atoms=(Atom(name="python3", operator=">=", version="3.11"),))

    assert codec.decode(codec.encode(relation)) == relation
