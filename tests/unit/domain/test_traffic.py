"""Testers are told by a header or a cookie, in what a load balancer can compare."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.traffic import MarkedRequests


@given(st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True), st.integers(0, 10**6))
def test_a_cookie_is_found_among_others(name: str, number: int) -> None:
    testers = MarkedRequests(cookie=name, value=str(number))
    header = f"theme=dark; {name}={number}; lang=en"

    assert testers.field == "Cookie"
    assert fnmatch.fnmatchcase(header, testers.pattern)
    assert not fnmatch.fnmatchcase(f"theme=dark; {name}=x{number}y; lang=en", testers.pattern)


def test_a_header_s_value_is_the_pattern() -> None:
    testers = MarkedRequests(header="X-Canary", value="qa-*")

    assert (testers.field, testers.pattern) == ("X-Canary", "qa-*")


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"value": "x"}, "by a `header` or by a `cookie`"),
        ({"header": "X", "cookie": "y", "value": "x"}, "by a `header` or by a `cookie`"),
        ({"header": "X Y", "value": "x"}, "no name of a header"),
        ({"cookie": "a;b", "value": "x"}, "no name of a header"),
        ({"header": "X", "value": ""}, "empty, too long"),
        ({"header": "X", "value": "v" * 129}, "empty, too long"),
        ({"cookie": "c", "value": "v" * 126}, "empty, too long"),
        ({"header": "X", "value": "a\nb"}, "not printable"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(given_: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        MarkedRequests(**given_)

    assert caught.value.hint
