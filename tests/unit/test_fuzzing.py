"""Each reader meets a few inputs that nobody should write; `make fuzz` tries many more."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import Target, manifest_targets, repository_targets, seed

BUDGET = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def fed(target: Target, data: st.DataObject) -> None:
    assert target.feed(data.draw(target.inputs)) in {"understood", "refused"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> tuple[Target, ...]:
    return repository_targets(seed(tmp_path_factory.mktemp("fuzzing")))


@pytest.mark.parametrize("target", manifest_targets(), ids=lambda target: target.name)
@BUDGET
@given(data=st.data())
def test_any_manifest_is_understood_or_refused(target: Target, data: st.DataObject) -> None:
    fed(target, data)


@pytest.mark.parametrize("number", range(7))
@BUDGET
@given(data=st.data())
def test_any_repository_is_understood_or_refused(
    repository: tuple[Target, ...], number: int, data: st.DataObject
) -> None:
    assert len(repository) == 7
    fed(repository[number], data)
