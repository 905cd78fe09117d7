"""The book of targets: what is draining is forgotten in time."""

from __future__ import annotations

from ovenbird.sandbox.targets import DRAINING, HEALTHY, HealthBook

KEY = ("arn:tg", "i-1", 80)


def test_a_target_drains_until_its_time_is_over() -> None:
    now = [0.0]
    book = HealthBook(clock=lambda: now[0])
    book.write(*KEY, HEALTHY)
    book.drain(*KEY, within_s=10)

    assert (book.find(*KEY), book.draining("arn:tg"), book.draining("arn:other")) == (
        DRAINING, (KEY,), (),
    )  # fmt: skip
    assert book.is_draining("i-1")
    now[0] = 10.0
    assert (book.find(*KEY), book.draining(), book.is_draining("i-1")) == (None, (), False)


def test_a_target_that_is_registered_again_drains_no_more() -> None:
    book = HealthBook(clock=lambda: 0.0)
    book.drain(*KEY, within_s=10)
    book.write(*KEY, HEALTHY)

    assert not book.is_draining("i-1")
    assert book.find(*KEY) == HEALTHY
    book.forget(*KEY)
    assert book.find(*KEY) is None
