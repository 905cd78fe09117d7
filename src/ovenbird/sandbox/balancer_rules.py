"""ELBv2's listeners, rules and target groups in HAProxy's terms; read from moto's model.

    listener ARN  …:listener/app/NAME/ID/ID      ──▶ frontend  app:NAME:ID:ID
    target group  …:targetgroup/NAME/ID          ──▶ backend   NAME:ID
    target        i-0123…, port 80               ──▶ server    i-0123…:80

Only HTTP listeners carry traffic; the sandbox has no certificates.

Source: ELBv2 API reference, RuleCondition, Action, ForwardActionConfig; Application Load
Balancer user guide, "Health checks for your target groups" (all unhealthy: all are used).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from moto.elbv2.models import ELBv2Backend, FakeListener, FakeLoadBalancer, FakeTargetGroup

from ovenbird.sandbox.checks import Check
from ovenbird.sandbox.haproxy import (
    Action,
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
)
from ovenbird.sandbox.targets import (
    HEALTH,
    NOT_IN_USE,
    REGISTERING,
    Key,
    TargetHealth,
    invalid_state,
)


def layout(backend: ELBv2Backend) -> Layout:
    """Return what an account's HAProxy shall do now."""
    listeners = [
        _listener(balancer, listener)
        for balancer in backend.load_balancers.values()
        for listener in balancer.listeners.values()
        if listener.protocol == "HTTP"
    ]
    groups = {arn: backend.target_groups.get(arn) for arn in in_use(backend)}
    return Layout(
        listeners=tuple(listeners),
        groups=tuple(_group(group) for group in groups.values() if group),
    )


def in_use(backend: ELBv2Backend) -> dict[str, str]:
    """Return the target groups that a rule or default action uses: ARN → balancer's ARN."""
    return {
        arn: balancer.arn
        for balancer in backend.load_balancers.values()
        for arn in groups_of(balancer)
    }


def groups_of(balancer: FakeLoadBalancer, *, without: str = "") -> dict[str, None]:
    """Return the ARNs of the target groups that a load balancer forwards to, each once.

    Args:
        balancer: Of moto.
        without: ARN of a rule that is left out.
    """
    return {
        arn: None
        for listener in balancer.listeners.values()
        for rule in listener.rules.values()
        if rule.arn != without
        for action in rule.actions
        for arn in weights(action.data)
    }


def weights(action: Mapping[str, Any]) -> dict[str, int]:
    """Return the target groups of an action by ARN, with their weights, in their order."""
    if groups := action.get("ForwardConfig", {}).get("TargetGroups"):
        return {group["TargetGroupArn"]: int(group.get("Weight", 1)) for group in groups}
    return {action["TargetGroupArn"]: 1} if action.get("TargetGroupArn") else {}


def group_name(arn: str) -> str:
    """Return the name of a target group's backend."""
    return arn.split(":targetgroup/")[1].replace("/", ":")


def target_name(target: str, port: int) -> str:
    """Return the name of a target's server."""
    return f"{target}:{port}"


def keys(group: FakeTargetGroup) -> list[Key]:
    """Return the registered targets of a group."""
    return [(group.arn, target["Id"], target["Port"]) for target in group.targets.values()]


def health_of(group: FakeTargetGroup, key: Key, *, used: bool) -> TargetHealth:
    """Return the health of a registered target, as DescribeTargetHealth shows it."""
    if not used:
        return NOT_IN_USE
    instance = group.ec2_backend.get_instance_by_id(key[1])
    if instance and instance.state != "running":
        return invalid_state(instance.state)
    known = HEALTH.find(*key)
    return REGISTERING if known is None or known.state in {"unused", "draining"} else known


def checks(backend: ELBv2Backend) -> Iterator[Check]:
    """Yield the health checks of an account, and write down why the others are not checked."""
    used = in_use(backend)
    for group in backend.target_groups.values():
        for key in keys(group):
            health = health_of(group, key, used=group.arn in used)
            if HEALTH.find(*key) != health:
                HEALTH.write(*key, health)
            address = _address(group, key[1])
            if health.state != "unused" and address:
                yield _check(group, key, health, address)


def _check(group: FakeTargetGroup, key: Key, health: TargetHealth, address: str) -> Check:
    port = str(group.health_check_port)
    return Check(
        key=key,
        health=health,
        address=address,
        port=int(port) if port.isdigit() else key[2],  # or `traffic-port`
        path=group.health_check_path or "/",
        matcher=(group.matcher or {}).get("HttpCode") or "200",
        every_s=float(group.health_check_interval_seconds),
        timeout_s=float(group.health_check_timeout_seconds),
        healthy_after=int(group.healthy_threshold_count),
        unhealthy_after=int(group.unhealthy_threshold_count),
    )


def _group(group: FakeTargetGroup) -> Group:
    states = {key: health_of(group, key, used=True).state for key in keys(group)}
    taking = [key for key, state in states.items() if state == "healthy"]
    if not taking and set(states.values()) == {"unhealthy"}:
        taking = list(states)
    found = [(key, _address(group, key[1])) for key in taking]
    return Group(
        name=group_name(group.arn),
        targets=tuple(
            Target(name=target_name(key[1], key[2]), address=address, port=key[2])
            for key, address in found
            if address
        ),
    )


def _address(group: FakeTargetGroup, target: str) -> str | None:
    if group.target_type == "ip":
        return target
    instance = group.ec2_backend.get_instance_by_id(target)
    return instance.private_ip if instance else None


def _listener(balancer: FakeLoadBalancer, listener: FakeListener) -> Listener:
    rules = sorted(listener._non_default_rules.values(), key=lambda rule: int(rule.priority))
    default = Rule(name="d_" + listener.arn.rsplit("/", 1)[1], action=_action(listener))
    return Listener(
        name=listener.arn.split(":listener/")[1].replace("/", ":"),
        address=balancer.dns_name,
        port=int(listener.port),
        rules=(
            *(
                Rule(
                    name="r_" + rule.arn.rsplit("/", 1)[1],
                    action=_action(rule),
                    conditions=tuple(_condition(raw) for raw in rule.conditions),
                )
                for rule in rules
            ),
            default,
        ),
    )


def _action(holder: Any) -> Action:
    """Return the last action of a rule or listener: those before it only authenticate."""
    actions = holder.default_actions if isinstance(holder, FakeListener) else holder.actions
    data = actions[-1].data
    if data["Type"] == "fixed-response":
        fixed = data["FixedResponseConfig"]
        return FixedResponse(
            status=int(fixed["StatusCode"]),
            content_type=fixed.get("ContentType") or "text/plain",
            body=fixed.get("MessageBody") or "",
        )
    if data["Type"] == "redirect":
        return _redirect(data["RedirectConfig"])
    sticky = data.get("ForwardConfig", {}).get("TargetGroupStickinessConfig", {})
    return Forward(
        weights={group_name(arn): weight for arn, weight in weights(data).items()},
        sticky_s=int(sticky.get("DurationSeconds", 0)) if _is_true(sticky.get("Enabled")) else 0,
    )


def _is_true(value: object) -> bool:
    return str(value).lower() == "true"


def _redirect(config: Mapping[str, str]) -> Redirect:
    part = {
        "Protocol": "#{protocol}",
        "Host": "#{host}",
        "Port": "#{port}",
        "Path": "/#{path}",
        "Query": "#{query}",
    } | dict(config)
    where = f"{part['Protocol'].lower()}://{part['Host']}:{part['Port']}{part['Path']}"
    location = f"{where}?{part['Query']}" if part["Query"] else where
    return Redirect(status=int(part["StatusCode"].removeprefix("HTTP_")), location=location)


def _condition(raw: Mapping[str, Any]) -> Condition:
    """Return a condition; its old form has ``Values`` beside the field."""
    field = raw["Field"]
    config = next((value for key, value in raw.items() if key.endswith("Config")), raw)
    values = config.get("Values", [])
    if field == "query-string":
        texts = [_query(value) for value in values]
    elif field in {"http-request-method", "source-ip"}:
        texts = list(values)
    else:
        texts = [pattern(value) for value in values]
    header = re.sub(r"[^\w-]", "", config.get("HttpHeaderName", ""))
    tests = {
        "path-pattern": "path -m reg",
        "host-header": "req.hdr(host),host_only -i -m reg",
        "http-header": f"req.hdr({header}) -i -m reg",
        "http-request-method": "method -m str",
        "source-ip": "src -m ip",
        "query-string": "query -i -m reg",
    }
    return Condition(test=tests[field], values=tuple(texts))


def _query(value: Mapping[str, str]) -> str:
    """Return the regular expression of one key and value of a query."""
    text = f"{value['Key']}={value['Value']}" if value.get("Key") else f"*={value['Value']}"
    return "(^|&)" + pattern(text)[1:-1].replace(".*", "[^&]*") + "(&|$)"
