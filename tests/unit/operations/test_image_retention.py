"""What uses images is asked for everywhere where it can be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from ovenbird.operations.image_retention import _elsewhere


def environment(account_id: str, region: str, asked: list[str]) -> Any:
    def list_uses() -> tuple[()]:
        asked.append(f"{account_id} {region}")
        return ()

    return SimpleNamespace(
        account_id=account_id,
        target=SimpleNamespace(region=region),
        uses=SimpleNamespace(list_uses=list_uses),
        images=SimpleNamespace(list_baked=lambda: ()),
    )


def test_an_account_is_asked_once_in_each_of_its_regions() -> None:
    asked: list[str] = []
    places = [("1", "north"), ("2", "north"), ("2", "south"), ("2", "north")]
    found = {str(number): environment(*place, asked) for number, place in enumerate(places)}
    installation = SimpleNamespace(ports=SimpleNamespace(environments=found))

    assert list(_elsewhere(cast("Any", installation))) == []
    assert asked == ["1 north", "2 north", "2 south"]
