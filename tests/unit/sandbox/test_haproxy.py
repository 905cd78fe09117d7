"""HAProxy's configuration is a pure function of the layout."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.sandbox.haproxy import (
    FACES,
    Condition,
    FixedResponse,
    Forward,
    Group,
    Layout,
    Listener,
    Redirect,
    Rule,
    Target,
    pattern,
    quoted,
    render,
    shape,
    thresholds,
)

TARGET = Target(name="i-1:80", address="172.31.0.4", port=80)
LAYOUT = Layout(
    listeners=(
        Listener(
            name="app:web:1:2",
            address="127.5.1.1",
            port=80,
            rules=(
                Rule(
                    name="r_1",
                    action=Forward(weights={"old:a": 95, "new:b": 5}),
                    conditions=(
                        Condition(test="path -m reg", values=(pattern("/api/*"),)),
                        Condition(
                            test="req.hdr(host),host_only -i -m reg",
                            values=(pattern("a.example"), pattern("b.example")),
                        ),
                    ),
                ),
                Rule(name="d_2", action=FixedResponse(status=404, body="No such app\n")),
            ),
        ),
    ),
    groups=(Group(name="old:a", targets=(TARGET,)), Group(name="new:b")),
)


def rendered(layout: Layout) -> list[str]:
    return render(layout, descriptors=[7], control=8).splitlines()


def section(head: str, lines: list[str]) -> list[str]:
    rest = lines[lines.index(head) + 1 :]
    end = next((i for i, line in enumerate(rest) if not line.startswith(" ")), len(rest))
    return [line.strip() for line in rest[:end]]


def test_the_first_rule_that_fits_wins_and_forwards_by_weight() -> None:
    found = section("frontend app:web:1:2", rendered(LAYOUT))

    assert found == [
        "bind fd@7",
        "http-response set-var(txn.answered) bool(true)",
        "http-after-response set-header Server awselb/2.0 if !{ var(txn.answered) -m found }",
        (
            "http-request set-var(txn.rule) str(r_1) if !{ var(txn.rule) -m found } "
            r"{ path -m reg ^/api/.*\x24 } "
            r"{ req.hdr(host),host_only -i -m reg ^a\x5c.example\x24 ^b\x5c.example\x24 }"
        ),
        "http-request set-var(txn.rule) str(d_2) if !{ var(txn.rule) -m found }",
        (
            r"http-request return status 404 content-type text/plain string No\x20such\x20app\x0a "
            "if { var(txn.rule) -m str d_2 }"
        ),
        "http-request set-header X-Forwarded-Proto http",
        "http-request set-header X-Forwarded-Port 80",
        "http-request set-var(txn.dice) rand(1000000)",
        (
            "use_backend old:a if { var(txn.rule) -m str r_1 } "
            "{ var(proc.w_r_1),field(1,:),sub(txn.dice) gt 0 }"
        ),
        (
            "use_backend new:b if { var(txn.rule) -m str r_1 } "
            "{ var(proc.w_r_1),field(2,:),sub(txn.dice) gt 0 }"
        ),
    ]


def test_nothing_is_tried_twice_and_weights_are_variables() -> None:
    lines = rendered(LAYOUT)

    assert "set-var proc.w_r_1 str(950000:1000000)" in section("global", lines)
    assert "stats socket fd@8 level admin" in section("global", lines)
    assert {"retries 0", "no option redispatch"} <= set(section("defaults", lines))


def test_a_cookie_comes_before_the_dice() -> None:
    (listener,) = LAYOUT.listeners
    forward, default = listener.rules
    sticky = replace(forward, action=Forward(weights={"old:a": 100, "new:b": 0}, sticky_s=60))
    layout = replace(LAYOUT, listeners=(replace(listener, rules=(sticky, default)),))

    lines = [line for line in rendered(layout) if "use_backend" in line or "Set-Cookie" in line]

    assert ["AWSALBTG" in line for line in lines] == [True, True, True, False, False]
    assert "Max-Age=60" in lines[2]


def test_only_targets_that_take_traffic_are_servers() -> None:
    lines = rendered(LAYOUT)

    assert section("backend old:a", lines)[-1] == "server i-1:80 172.31.0.4:80"
    assert not [line for line in section("backend new:b", lines) if line.startswith("server")]


def test_weights_and_targets_do_not_change_the_shape_but_rules_do() -> None:
    (listener,) = LAYOUT.listeners
    forward, default = listener.rules
    heavier = replace(forward, action=Forward(weights={"old:a": 0, "new:b": 7}))
    turned = replace(forward, action=Forward(weights={"new:b": 5, "old:a": 95}))

    def with_rule(rule: Rule) -> Layout:
        return replace(LAYOUT, listeners=(replace(listener, rules=(rule, default)),))

    assert shape(with_rule(heavier)) == shape(LAYOUT)
    empty = replace(LAYOUT, groups=(Group(name="old:a"), Group(name="new:b")))
    assert shape(empty) == shape(LAYOUT)
    assert shape(with_rule(turned)) != shape(LAYOUT)
    sticky = replace(forward, action=Forward(weights={"old:a": 0, "new:b": 7}, sticky_s=60))
    assert shape(with_rule(sticky)) != shape(LAYOUT)
    assert shape(with_rule(replace(forward, conditions=()))) != shape(LAYOUT)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((95, 5), "950000:1000000"),
        ((0, 1), "0:1000000"),
        ((1, 0), "1000000:1000000"),
        ((1, 1, 1), "333333:666667:1000000"),
        ((0, 0), "0:0"),
        ((), "0"),
    ],
)
def test_thresholds(weights: tuple[int, ...], expected: str) -> None:
    assert thresholds(weights) == expected


@given(st.lists(st.integers(0, 999), min_size=1, max_size=5), st.integers(0, FACES - 1))
def test_a_group_of_weight_0_is_never_taken_and_some_group_is(
    weights: list[int], dice: int
) -> None:
    taken = next((i for i, t in enumerate(thresholds(weights).split(":")) if int(t) > dice), None)

    assert (taken is None) == (sum(weights) == 0)
    assert taken is None or weights[taken] > 0


def test_shares_follow_the_weights() -> None:
    dice = random.Random(1)  # noqa: S311 - repeatable on purpose
    bounds = [int(bound) for bound in thresholds((95, 5)).split(":")]
    thrown = [dice.randrange(FACES) for _ in range(20_000)]

    assert 0.045 < sum(bounds[0] <= one for one in thrown) / 20_000 < 0.055


@given(st.text())
def test_a_quoted_word_stays_one_word(text: str) -> None:
    word = quoted(text)

    assert all(0x20 < ord(char) < 0x7F and char not in "#'\"$" for char in word)
    decoded, rest = bytearray(), word
    while rest:
        if rest.startswith("\\x"):
            decoded.append(int(rest[2:4], 16))
            rest = rest[4:]
        else:
            decoded.append(ord(rest[0]))
            rest = rest[1:]
    assert decoded.decode() == text


def test_a_redirect_keeps_what_it_does_not_name() -> None:
    (listener,) = LAYOUT.listeners
    rule = Rule(
        name="d_2",
        action=Redirect(status=301, location="https://#{host}:443/#{path}?#{query}"),
    )
    layout = Layout(listeners=(replace(listener, rules=(rule,)),))

    assert (
        "http-request redirect location "
        "https://%[req.hdr(host),host_only]:443%[pathq] code 301 if { var(txn.rule) -m str d_2 }"
    ) in section("frontend app:web:1:2", rendered(layout))
