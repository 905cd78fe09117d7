from __future__ import annotations

import pytest

from ovenbird.sandbox.loops import for_each


def test_one_that_fails_holds_up_no_other() -> None:
    done: list[int] = []

    def act(number: int) -> None:
        if number % 2:
            raise ValueError(number)
        done.append(number)

    with pytest.raises(ExceptionGroup) as caught:
        for_each(range(5), act)

    assert done == [0, 2, 4]
    assert [str(error) for error in caught.value.exceptions] == ["1", "3"]
