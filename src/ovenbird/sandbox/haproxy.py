"""HAProxy's configuration, made from listeners, rules and target groups; pure.

    listener ──▶ frontend: which rule? ──▶ which target group, by weight? ──▶ backend: servers

What may change while HAProxy runs is kept apart from what may not: weights stand in one
``proc.`` variable for each rule, servers are added and deleted by name, and
:func:`shape` is all the rest. A balancer decides for each request by chance, like an ALB.
Failures are shown as an ALB shows them: no retries, no redispatch.

Source: HAProxy 2.6 configuration manual; Application Load Balancer user guide, "Listener
rules", "Troubleshoot your Application Load Balancers".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ovenbird.sandbox.traffic_log import FORMAT

FACES = 1_000_000  # of the dice: one weight in a million is still told apart

COOKIE = "AWSALBTG"  # names the target group; an ALB's is encrypted, too
SERVER = "awselb/2.0"  # signs the answers that no target gave
CONNECT_S, IDLE_S = 10, 60  # Source: ALB user guide: connection and idle time-out
SILENCE_MS = 1_000  # a refusal comes sooner; "no route to host" later, as does the time-out
_PLAIN = re.compile(r"[A-Za-z0-9_./:,;<>()*+?^\[\]|&=@!~{}%-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One server of a target group.

    Args:
        name: Of the server, unique in its group; without ``/`` and spaces.
        address: IPv4, in the account's network.
    """

    name: str
    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A target group, with the targets that take traffic now."""

    name: str
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a request must have.

    Args:
        test: HAProxy's sample fetch and matching method.
        values: One of them must match.
    """

    test: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Choose a target group by weight; all weights 0 is a 503.

    Args:
        weights: Group name → weight, in the action's order.
        sticky_s: Seconds for which a client stays with its group, whatever the weights are;
            0 for not at all.
    """

    weights: Mapping[str, int]
    sticky_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedResponse:
    """Answer without a target."""

    status: int
    content_type: str = "text/plain"
    body: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Send the client elsewhere.

    Args:
        location: In ELBv2's words, with ``#{host}`` and the like.
    """

    status: int
    location: str


Action = Forward | FixedResponse | Redirect


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a listener does with the requests that fulfil all conditions.

    Args:
        name: Unique in the account; letters, digits and ``_``.
    """

    name: str
    action: Action
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """An address and port with rules, the first that fits wins; the last one takes all."""

    name: str
    address: str
    port: int
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All that one account's HAProxy does."""

    listeners: tuple[Listener, ...] = ()
    groups: tuple[Group, ...] = ()

    def sockets(self) -> tuple[tuple[str, int], ...]:
        """Return the addresses to listen on."""
        return tuple((listener.address, listener.port) for listener in self.listeners)

    def weights(self) -> dict[str, Mapping[str, int]]:
        """Return the weights of each rule that forwards."""
        return {
            rule.name: rule.action.weights
            for listener in self.listeners
            for rule in listener.rules
            if isinstance(rule.action, Forward)
        }


def shape(layout: Layout) -> str:
    """Return what cannot be changed while HAProxy runs, to be compared."""
    listeners = tuple(
        replace(listener, rules=tuple(_weightless(rule) for rule in listener.rules))
        for listener in layout.listeners
    )
    groups = tuple(replace(group, targets=()) for group in layout.groups)
    bare = Layout(listeners=listeners, groups=groups)
    return render(bare, descriptors=range(len(listeners)), control=-1)


def thresholds(weights: Iterable[int]) -> str:
    """Return the dice's cumulative thresholds, as the rule's variable holds them.

    A group is taken when the dice shows less than its threshold and not less than the one
    before; a group of weight 0 is never taken.
    """
    sums = list(itertools.accumulate(weights))
    total = sums[-1] if sums else 0
    return ":".join(str(round(FACES * part / total) if total else 0) for part in sums) or "0"


def variable(rule: str) -> str:
    """Return the name of the variable with a rule's thresholds."""
    return f"proc.w_{rule}"


def render(layout: Layout, *, descriptors: Sequence[int], control: int) -> str:
    """Return the configuration file.

    Args:
        layout: What to do.
        descriptors: Of the listening sockets, in the order of the listeners.
        control: Descriptor of the listening socket of the runtime API.
    """
    parts = zip(layout.listeners, descriptors, strict=True)
    sections = [
        _global(layout, control),
        _defaults(),
        *(_frontend(listener, descriptor) for listener, descriptor in parts),
        *(_backend(group) for group in layout.groups),
    ]
    return "\n".join(line for section in sections for line in section) + "\n"


def pattern(text: str) -> str:
    """Return the regular expression of an ELBv2 pattern: ``*`` any, ``?`` one character."""
    wild = {"*": ".*", "?": "."}
    return "^" + "".join(wild.get(char) or re.escape(char) for char in text) + "$"


def quoted(text: str) -> str:
    r"""Return one word of the configuration file that means exactly *text*.

    Everything that could mean something else is written as ``\xNN``.
    """
    return "".join(
        char if _PLAIN.fullmatch(char) else "".join(f"\\x{byte:02x}" for byte in char.encode())
        for char in text
    )


def _weightless(rule: Rule) -> Rule:
    if isinstance(rule.action, Forward):
        action = replace(rule.action, weights=dict.fromkeys(rule.action.weights, 0))
        return replace(rule, action=action)
    return rule


def _global(layout: Layout, control: int) -> Iterator[str]:
    yield "global"
    yield " log stdout format raw local0"
    yield f" stats socket fd@{control} level admin"
    yield " stats timeout 1m"
    yield " nbthread 1"  # one order of events: a command is in force when it is answered
    # The listening sockets are shared with the HAProxy before and the one after this one;
    # epoll would go on to report them after they were closed here.
    yield " noepoll"
    yield " maxconn 4000"
    yield " user nobody"
    yield " group nogroup"
    for rule, weights in layout.weights().items():
        yield f" set-var {variable(rule)} str({thresholds(weights.values())})"


def _defaults() -> Iterator[str]:
    yield "defaults"
    yield " mode http"
    yield " log global"
    yield f' log-format "{FORMAT}"'
    yield " retries 0"
    yield " no option redispatch"
    yield " option forwardfor"
    yield " option dontlognull"  # a connection without a request is none
    yield " option http-ignore-probes"
    # A connection that the target closes just when it is used again is a lost request, as
    # there are no retries; so each request has one of its own.
    yield " option http-server-close"
    yield " option idle-close-on-response"  # a client's idle connection outlives our change
    yield f" timeout connect {CONNECT_S}s"
    for kind in ("client", "server", "http-keep-alive"):
        yield f" timeout {kind} {IDLE_S}s"
    words = quoted("No answer from a target\n")
    for status in (502, 503, 504):
        yield f" http-error status {status} content-type text/plain string {words}"


def _frontend(listener: Listener, descriptor: int) -> Iterator[str]:
    yield f"frontend {listener.name}"
    yield f" bind fd@{descriptor}"
    yield " http-response set-var(txn.answered) bool(true)"  # by a target
    yield f" http-after-response set-header Server {SERVER} if !{{ var(txn.answered) -m found }}"
    for rule in listener.rules:
        tests = "".join(f" {{ {_test(condition)} }}" for condition in rule.conditions)
        first = "!{ var(txn.rule) -m found }"
        yield f" http-request set-var(txn.rule) str({rule.name}) if {first}{tests}"
    for rule in listener.rules:
        if not isinstance(rule.action, Forward):
            yield f" http-request {_answer(rule.action)} if {_chosen(rule)}"
    yield " http-request set-header X-Forwarded-Proto http"
    yield f" http-request set-header X-Forwarded-Port {listener.port}"
    yield f" http-request set-var(txn.dice) rand({FACES})"
    for rule in listener.rules:
        if isinstance(rule.action, Forward):
            yield from _forwarding(rule, rule.action)


def _forwarding(rule: Rule, action: Forward) -> Iterator[str]:
    """Yield how a rule's requests find their group: by cookie first, then by chance.

    A cookie is heeded before any weight, also when nobody is there to answer. Source: AWS
    re:Post, "alb to automatically redirect traffic" (accepted answer); ALB user guide,
    "Target group stickiness".
    """
    if action.sticky_s:
        for group in action.weights:
            yield f" use_backend {group} if {_chosen(rule)} {{ req.cook({COOKIE}) -m str {group} }}"
        cookie = f'"{COOKIE}=%[var(txn.group)]; Max-Age={action.sticky_s}; Path=/"'
        yield f" http-response add-header Set-Cookie {cookie} if {_chosen(rule)}"
    for place, group in enumerate(action.weights, start=1):
        dice = f"var({variable(rule.name)}),field({place},:),sub(txn.dice)"
        yield f" use_backend {group} if {_chosen(rule)} {{ {dice} gt 0 }}"


def _backend(group: Group) -> Iterator[str]:
    yield f"backend {group.name}"
    yield " balance roundrobin"
    yield f" http-request set-var(txn.group) str({group.name})"
    yield " http-request return status 503 if { nbsrv eq 0 }"
    # HAProxy says 503 when it cannot connect; an ALB says 502 when the target refuses and
    # 504 when it keeps silent.
    yield " http-request set-var(txn.sent) date(0,ms)"
    failed = "if { status 503 } { var(txn.sent) -m found } !{ var(txn.answered) -m found }"
    waited = f"{{ date(0,ms),sub(txn.sent) ge {SILENCE_MS} }}"
    yield f' http-after-response set-status 504 reason "Gateway Timeout" {failed} {waited}'
    yield f' http-after-response set-status 502 reason "Bad Gateway" {failed}'
    for target in group.targets:
        yield f" server {target.name} {target.address}:{target.port}"


def _test(condition: Condition) -> str:
    return " ".join([condition.test, *(quoted(value) for value in condition.values)])


def _chosen(rule: Rule) -> str:
    return f"{{ var(txn.rule) -m str {rule.name} }}"


def _answer(action: FixedResponse | Redirect) -> str:
    if isinstance(action, Redirect):
        return f"redirect location {_location(action.location)} code {action.status}"
    body = (
        f" content-type {action.content_type} string {quoted(action.body)}" if action.body else ""
    )
    return f"return status {action.status}{body}"


def _location(text: str) -> str:
    """Translate ELBv2's place holders into HAProxy's."""
    known = {
        "/#{path}?#{query}": "%[pathq]",
        "/#{path}": "%[path]",
        "#{protocol}": "http",
        "#{host}": "%[req.hdr(host),host_only]",
        "#{port}": "%[dst_port]",
        "#{query}": "%[query]",
    }
    words = re.split("(" + "|".join(re.escape(key) for key in known) + ")", text)
    return "".join(known.get(word) or quoted(word.replace("%", "%%")) for word in words)
