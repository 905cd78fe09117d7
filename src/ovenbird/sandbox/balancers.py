"""Load balancers, listeners and rules, as ELBv2 has them, carrying real requests.

A load balancer's DNS name is an address of this host, so that its listeners can be reached.
A forward action takes at most five target groups with weights of 0 to 999, a load balancer
at most a hundred, a target group one load balancer. Creating the same thing twice returns
it; deleting what is gone succeeds; rules may exchange their priorities.
moto 5.2.5 takes any weights and any number of groups, checks nothing in ModifyListener,
lets two listeners have one port, makes a second load balancer of the same name, and refuses
to make a target group twice, to delete one that is gone, or to exchange priorities.
Targets and their health stand in ``target_groups``.

Source: moto/elbv2/models.py; ELBv2 API reference; Elastic Load Balancing, "Quotas for your
Application Load Balancers".
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moto.elbv2.exceptions import (
    DuplicateListenerError,
    DuplicateLoadBalancerName,
    DuplicatePriorityError,
    DuplicateTargetGroupName,
    ELBClientError,
    PriorityInUseError,
)
from moto.elbv2.models import (
    ELBv2Backend,
    FakeAction,
    FakeListener,
    FakeListenerRule,
    FakeLoadBalancer,
    FakeRule,
    FakeTargetGroup,
)

from ovenbird.sandbox import balancer_rules, data_plane, target_groups
from ovenbird.sandbox.places import ACCOUNTS, Places

GROUPS_IN_ACTION, GROUPS_OF_BALANCER = 5, 100
HEAVIEST = 999
LAST_PRIORITY = 50_000
REDIRECTS = ("HTTP_301", "HTTP_302")
WAKING = (
    "create_listener",
    "create_rule",
    "delete_listener",
    "delete_load_balancer",
    "delete_rule",
    "modify_listener",
    "modify_rule",
    "modify_target_group",
    "set_rule_priorities",
)

_NAME = re.compile(r"(?!internal-)[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?")

Call = Callable[..., Any]

running = data_plane.running


def install(places: Places) -> None:
    """Put our versions in moto's place."""
    target_groups.install()
    wraps: dict[str, Callable[[Call], Call]] = {
        "create_load_balancer": functools.partial(_create_load_balancer, places),
        "create_listener": _create_listener,
        "create_rule": _create_rule,
        "modify_listener": _modify_listener,
        "modify_rule": _modify_rule,
        "create_target_group": _create_target_group,
        "delete_target_group": _delete_target_group,
    }
    for name, wrap in wraps.items():
        original = getattr(ELBv2Backend, name)
        setattr(ELBv2Backend, name, functools.wraps(original)(wrap(original)))
    ELBv2Backend.set_rule_priorities = set_rule_priorities
    for name in WAKING:
        setattr(ELBv2Backend, name, _waking(getattr(ELBv2Backend, name)))


def address(places: Places, account_id: str, taken: Sequence[str]) -> str:
    """Return a free loopback address for a load balancer of an account.

    Two sandboxes on one host have addresses of their own, made from their tokens.

    Args:
        places: Of the sandbox.
        account_id: Whose load balancer it is.
        taken: Addresses of the account's other load balancers.
    """
    seed = int(places.token, 16)
    second, third = 1 + seed % 254, 1 + 2 * (seed // 254 % 126) + ACCOUNTS.index(account_id)
    names = (f"127.{second}.{third}.{last}" for last in range(1, 255))
    return next(name for name in names if name not in taken)


def set_rule_priorities(
    self: ELBv2Backend, rule_priorities: Sequence[Mapping[str, Any]]
) -> list[FakeRule]:
    """Stand in for SetRulePriorities: the named rules may exchange theirs."""
    wanted = {one["RuleArn"]: int(one["Priority"]) for one in rule_priorities}
    priorities = list(wanted.values())
    for priority in priorities:
        if priorities.count(priority) > 1:
            raise DuplicatePriorityError(str(priority))
    rules: list[FakeRule] = self.describe_rules(listener_arn=None, rule_arns=list(wanted))
    for rule in rules:
        for other in _listener(self, rule.listener_arn).rules.values():
            if other.arn not in wanted and other.priority == wanted[rule.arn]:
                raise PriorityInUseError
    for rule in rules:
        rule.priority = wanted[rule.arn]
    return rules


def _create_load_balancer(places: Places, original: Call) -> Call:
    def create(self: ELBv2Backend, name: str, *words: Any, **named: Any) -> FakeLoadBalancer:
        if not _NAME.fullmatch(name):
            limits = "at most 32 letters, digits and hyphens, no hyphen at an end"
            raise ELBClientError("ValidationError", f"Load balancer name '{name}': {limits}")
        others = list(self.load_balancers.values())
        balancer: FakeLoadBalancer = original(self, name, *words, **named)
        for other in others:
            if other.name == name:
                del self.load_balancers[balancer.arn]
                if _settings(other) != _settings(balancer):
                    raise DuplicateLoadBalancerName
                return other
        taken = [other.dns_name for other in others]
        balancer.dns_name = address(places, self.account_id, taken)
        return balancer

    return create


def _settings(balancer: FakeLoadBalancer) -> tuple[Any, ...]:
    subnets = {subnet.id for subnet in balancer.subnets}
    groups = set(balancer.security_groups or ())
    return balancer.type, balancer.scheme or "internet-facing", subnets, groups


def _create_listener(original: Call) -> Call:
    def create(self: ELBv2Backend, *words: Any, **named: Any) -> FakeListener:
        given = _given(original, self, *words, **named)
        balancer = self.load_balancers.get(given["load_balancer_arn"])
        for other in balancer.listeners.values() if balancer else ():
            if str(other.port) == str(given["port"]):
                raise DuplicateListenerError
        _check(self, given["load_balancer_arn"], given["actions"])
        return original(self, *words, **named)

    return create


def _create_rule(original: Call) -> Call:
    def create(self: ELBv2Backend, *words: Any, **named: Any) -> FakeListenerRule:
        given = _given(original, self, *words, **named)
        if not 1 <= int(given["priority"]) <= LAST_PRIORITY:
            limits = f"must be between '1' and '{LAST_PRIORITY}'"
            raise ELBClientError("ValidationError", f"Priority '{given['priority']}' {limits}")
        balancer_arn = _listener(self, given["listener_arn"]).load_balancer_arn
        _check_conditions(given["conditions"])
        _check(self, balancer_arn, given["actions"])
        return original(self, *words, **named)

    return create


def _modify_listener(original: Call) -> Call:
    def modify(self: ELBv2Backend, *words: Any, **named: Any) -> FakeListener:
        given = _given(original, self, *words, **named)
        listener, actions = _listener(self, given["arn"]), given.get("actions") or []
        self._validate_actions([FakeAction(action) for action in actions])
        default = listener._default_rule[0]
        _check(self, listener.load_balancer_arn, actions, instead_of=default.arn)
        return original(self, *words, **named)

    return modify


def _modify_rule(original: Call) -> Call:
    def modify(self: ELBv2Backend, *words: Any, **named: Any) -> FakeRule:
        given = _given(original, self, *words, **named)
        rule = self.describe_rules(listener_arn=None, rule_arns=[given["rule_arn"]])[0]
        if rule.is_default:
            raise ELBClientError(
                "OperationNotPermitted", f"Default rule '{rule.arn}' cannot be modified"
            )
        balancer_arn = _listener(self, rule.listener_arn).load_balancer_arn
        _check_conditions(given["conditions"] or [])
        _check(self, balancer_arn, given["actions"] or [], instead_of=rule.arn)
        return original(self, *words, **named)

    return modify


def _given(original: Call, *words: Any, **named: Any) -> dict[str, Any]:
    """Return the arguments of a call by name."""
    return inspect.signature(original).bind(*words, **named).arguments


def _create_target_group(original: Call) -> Call:
    def create(self: ELBv2Backend, name: str, **named: Any) -> FakeTargetGroup:
        settings = {key: value for key, value in named.items() if key != "tags"}
        for group in self.target_groups.values():
            if group.name == name:
                if getattr(group, "settings", None) != settings:
                    raise DuplicateTargetGroupName
                return group
        group = original(self, name, **named)
        group.settings = settings
        return group

    return create


def _delete_target_group(original: Call) -> Call:
    def delete(self: ELBv2Backend, target_group_arn: str) -> FakeTargetGroup | None:
        if target_group_arn not in self.target_groups:
            return None
        group: FakeTargetGroup = original(self, target_group_arn)
        target_groups.forget(group)
        return group

    return delete


def _waking(original: Call) -> Call:
    @functools.wraps(original)
    def call(self: ELBv2Backend, *words: Any, **named: Any) -> Any:
        done = original(self, *words, **named)
        data_plane.wake(self.account_id)
        return done

    return call


def _listener(backend: ELBv2Backend, arn: str) -> FakeListener:
    return backend.describe_listeners(None, [arn])[0]


def _check(
    backend: ELBv2Backend,
    balancer_arn: str,
    actions: Sequence[Mapping[str, Any]],
    *,
    instead_of: str = "",
) -> None:
    """Refuse actions beyond the limits.

    Args:
        backend: Of moto.
        balancer_arn: Load balancer that shall have the actions.
        actions: As the caller gave them.
        instead_of: ARN of the rule whose actions they replace.

    Raises:
        ELBClientError: Too heavy, too many, or used by another load balancer.
    """
    new: dict[str, int] = {}
    for action in actions:
        if action.get("RedirectConfig", {}).get("StatusCode", "HTTP_301") not in REDIRECTS:
            raise ELBClientError("ValidationError", f"A redirect is one of {REDIRECTS}")
        new |= balancer_rules.weights(action)
        if len(balancer_rules.weights(action)) > GROUPS_IN_ACTION:
            words = "You have reached the maximum number of target groups per action"
            raise ELBClientError("TooManyTargetGroups", words)
    if any(not 0 <= weight <= HEAVIEST for weight in new.values()):
        words = f"The weight for each target group must be between 0 and {HEAVIEST}, inclusive"
        raise ELBClientError("ValidationError", words)
    if balancer := backend.load_balancers.get(balancer_arn):
        _check_balancer(backend, balancer, new, instead_of)


def _check_conditions(conditions: Sequence[Mapping[str, Any]]) -> None:
    if not all("Field" in condition for condition in conditions):
        raise ELBClientError("ValidationError", "A condition field must be specified")


def _check_balancer(
    backend: ELBv2Backend, balancer: FakeLoadBalancer, new: Mapping[str, int], instead_of: str
) -> None:
    used = balancer_rules.in_use(backend)
    elsewhere = [arn for arn in new if used.get(arn, balancer.arn) != balancer.arn]
    if elsewhere:
        words = (
            "The following target groups cannot be associated with more than one load balancer: "
            + ", ".join(elsewhere)
        )
        raise ELBClientError("TargetGroupAssociationLimit", words)
    if len(balancer_rules.groups_of(balancer, without=instead_of) | dict(new)) > GROUPS_OF_BALANCER:
        words = "You have reached the maximum number of unique target groups per load balancer"
        raise ELBClientError("TooManyUniqueTargetGroupsPerLoadBalancer", words)
