from __future__ import annotations

import json

import pytest

from ovenbird.domain.errors import (
    CommandFailed,
    OvenbirdError,
    Throttled,
    every,
    from_json,
    is_retryable,
)


@pytest.mark.parametrize("cls", [*every(OvenbirdError)], ids=lambda cls: cls.__name__)
def test_every_error_travels_as_json(cls: type[OvenbirdError]) -> None:
    error = cls("it broke", hint="mend it", image_id="ami-1")

    copy = from_json(json.loads(json.dumps(error.to_json())))

    assert (type(copy), str(copy), copy.hint, copy.facts) == (
        cls, "it broke", "mend it", {"image_id": "ami-1"},
    )  # fmt: skip


def test_an_error_of_a_newer_version_comes_back_as_the_root() -> None:
    copy = from_json({"error": "FromTheFuture", "message": "m", "hint": "h", "facts": {}})

    assert (type(copy), str(copy), copy.hint) == (OvenbirdError, "m", "h")


def test_only_the_class_decides_whether_to_try_again() -> None:
    assert is_retryable(Throttled("slow down"))
    assert not is_retryable(CommandFailed("no"))
    assert not is_retryable(ValueError("no"))
