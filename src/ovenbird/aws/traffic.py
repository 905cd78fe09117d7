"""Traffic: one target group for each server group, one listener rule for each cluster.

The rule forwards by weight. A target group that no rule uses has targets that are
``unused`` and not checked, so a new one enters the rule at weight 0 and leaves it before
it is deleted. The listener's default action is never touched.

Source: ELBv2 API reference, CreateRule, ModifyRule, ForwardActionConfig, TargetHealth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.reads import JUST_NOW_S, TAGS_KEPT_S
from ovenbird.aws.shared_reads import KEPT_S
from ovenbird.aws.tags import to_aws
from ovenbird.domain.clusters import CLUSTER_TAG, ENVIRONMENT_TAG, InstanceState
from ovenbird.domain.errors import Conflict
from ovenbird.domain.images import APP_TAG
from ovenbird.domain.names import ClusterName, ServerGroupName, target_group_name
from ovenbird.domain.plans import NEW_PLAN, CreateServerGroup
from ovenbird.domain.traffic import TESTERS_TAG, MarkedRequests

if TYPE_CHECKING:
    from mypy_boto3_elbv2.type_defs import RuleTypeDef

LAST_PRIORITY = 50_000  # Source: CreateRule, Priority
_ATTEMPTS = 10  # to take a free priority; as many clusters may be made at once
_NOT_IN_TAGS = re.compile(r"[^\w\s.:/=+@-]")
_STATES = {
    "initial": InstanceState.STARTING,
    "healthy": InstanceState.HEALTHY,
    "unhealthy": InstanceState.UNHEALTHY,
    "draining": InstanceState.DRAINING,
    "unused": InstanceState.STARTING,
    "unavailable": InstanceState.UNHEALTHY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A cluster's listener rule.

    Args:
        weights: Target group ARN → weight, in the rule's order.
    """

    arn: str
    weights: Mapping[str, int]
    priority: int = 0
    conditions: tuple[Any, ...] = ()
    sticky_s: int = 0


class Traffic:
    """Target groups and rules of one listener.

    Permissions: elasticloadbalancing:DescribeTargetGroups, DescribeRules, DescribeTags,
    DescribeTargetHealth, CreateTargetGroup, ModifyTargetGroupAttributes,
    DeleteTargetGroup, CreateRule, ModifyRule, DeleteRule, AddTags.
    """

    def __init__(self, account: Account, *, vpc_id: str, listener_arn: str) -> None:
        self._elbv2, self._reads = account.elbv2, account.reads
        self._vpc_id = vpc_id
        self._listener = listener_arn

    def find_target_group(self, name: ServerGroupName) -> str | None:
        """Return the ARN of a server group's target group, if it is there."""
        return self._reads.target_groups.find(target_group_name(name))

    def ensure_target_group(self, wanted: CreateServerGroup, tags: Mapping[str, str]) -> str:
        """Return the ARN of the server group's target group, made unless it is there."""
        arn = self.find_target_group(wanted.name) or self._create_target_group(wanted, tags)
        with cloud_errors(f"setting the draining time of `{wanted.name}`"):
            self._elbv2.modify_target_group_attributes(
                TargetGroupArn=arn,
                Attributes=[
                    {
                        "Key": "deregistration_delay.timeout_seconds",
                        "Value": str(wanted.draining_s),
                    }
                ],
            )
        return arn

    def ensure_in_rule(self, arn: str, wanted: CreateServerGroup) -> None:
        """Bring a target group into its cluster's rule at weight 0; make the rule if needed.

        Raises:
            Conflict: The priority that was asked for is taken, or no free one stayed free.
        """
        for left in reversed(range(_ATTEMPTS)):
            rule = self.find_rule(wanted.name.cluster, max_age_s=JUST_NOW_S)
            try:
                if rule is None:
                    self._create_rule(arn, wanted)
                elif arn not in rule.weights:
                    weights = {**rule.weights, arn: 0}
                    self._write(rule, weights, sticky_s=rule.sticky_s)
            except Conflict:
                # Another cluster took the free priority between our look and our call.
                if wanted.rule_priority or not left:
                    raise
            else:
                return

    def follow(self, cluster: ClusterName, rule: Rule) -> None:
        """Have a rule with the conditions and target groups of another listener's."""
        there = self.find_rule(cluster)
        if there is not None:
            if set(there.weights) != set(rule.weights):
                self._write(there, rule.weights, sticky_s=rule.sticky_s)
            return
        creating = cloud_errors(f"creating the listener rule of `{cluster}`")
        with self._reads.making_rule(self._listener), self._changing(), creating:
            self._elbv2.create_rule(
                ListenerArn=self._listener,
                Priority=self._free_priority(),
                Conditions=list(rule.conditions),
                Actions=forward(rule.weights, sticky_s=rule.sticky_s),
                Tags=to_aws({CLUSTER_TAG: str(cluster)}),
            )

    def set_weights(
        self,
        cluster: ClusterName,
        percents: Mapping[ServerGroupName, int],
        *,
        sticky_s: int = 0,
    ) -> None:
        """Divide a cluster's traffic; target groups that are not named get 0.

        Args:
            cluster: Whose rule.
            percents: Server group → weight.
            sticky_s: How long a client stays with a group, while more than one has a weight:
                an ALB heeds its cookie also when the weight is 0 or nobody is healthy there.

        Raises:
            Conflict: A named server group is not in the rule.
        """
        rule = self.find_rule(cluster, max_age_s=JUST_NOW_S)
        wanted = self._by_arn(percents, max_age_s=KEPT_S)
        if rule is not None and not set(rule.weights).issuperset(wanted):
            wanted = self._by_arn(percents)  # one may have been made anew by somebody else
        if rule is None or not set(rule.weights).issuperset(wanted):
            names = ", ".join(f"`{name}`" for name in percents)
            raise Conflict(
                f"The listener rule of `{cluster}` does not have all of {names}",
                hint=NEW_PLAN,
            )
        weights = {arn: wanted.get(arn, 0) for arn in rule.weights}
        sticky_s = sticky_s if sum(map(bool, weights.values())) > 1 else 0
        if (weights, sticky_s) != (rule.weights, rule.sticky_s):
            self._write(rule, weights, sticky_s=sticky_s)

    def leave_rule(self, cluster: ClusterName, arn: str) -> None:
        """Take a target group out of the rule; the last one takes the rule along."""
        rule = self.find_rule(cluster)
        if rule is None or arn not in rule.weights:
            return
        rest = {other: weight for other, weight in rule.weights.items() if other != arn}
        if rest:
            self._write(rule, rest, sticky_s=rule.sticky_s)
        else:
            self._delete(rule)

    def open_to_testers(self, cluster: ClusterName, arn: str, testers: MarkedRequests) -> None:
        """Let testers reach a target group by a rule of their own, right before the cluster's.

        Raises:
            Conflict: The cluster has no rule, or no priority before it is free.
        """
        rule, there = self.find_rule(cluster), self._testers_rule(cluster)
        if rule is None:
            raise Conflict(f"`{cluster}` has no listener rule", hint=NEW_PLAN)
        header = {"HttpHeaderName": testers.field, "Values": [testers.pattern]}
        conditions = [*rule.conditions, {"Field": "http-header", "HttpHeaderConfig": header}]
        what: Any = {"Conditions": conditions, "Actions": forward({arn: 1})}
        with self._changing(), cloud_errors(f"letting testers into `{cluster}`"):
            if there is not None:
                self._elbv2.modify_rule(RuleArn=there.arn, **what)
                return
            self._elbv2.create_rule(
                ListenerArn=self._listener,
                Priority=self._priority_before(rule),
                Tags=to_aws({TESTERS_TAG: str(cluster)}),
                **what,
            )

    def close_to_testers(self, cluster: ClusterName, arn: str) -> None:
        """Take the way of testers to a target group away; one to another group stays."""
        rule = self._testers_rule(cluster)
        if rule is not None and arn in rule.weights:
            self._delete(rule)

    def _delete(self, rule: Rule) -> None:
        with self._changing(), cloud_errors(f"deleting listener rule `{rule.arn}`"):
            self._elbv2.delete_rule(RuleArn=rule.arn)

    def _testers_rule(self, cluster: ClusterName) -> Rule | None:
        return self.rules(TESTERS_TAG).get(str(cluster))

    def delete_target_group(self, arn: str) -> None:
        """Delete a target group that no rule uses; one that is gone is none."""
        self._reads.target_groups.forget(arn.split("/")[-2])
        with cloud_errors(f"deleting target group `{arn}`"):
            self._elbv2.delete_target_group(TargetGroupArn=arn)

    def find_rule(self, cluster: ClusterName, *, max_age_s: float = 0.0) -> Rule | None:
        """Return the rule of one cluster, if it is there.

        Args:
            cluster: Whose.
            max_age_s: How old the answer may be; never from before a change of ours.
        """
        return self.rules(max_age_s=max_age_s).get(str(cluster))

    def rules(self, key: str = CLUSTER_TAG, *, max_age_s: float = 0.0) -> dict[str, Rule]:
        """Return our rules on the listener by the name of their cluster.

        Args:
            key: The tag that names it: of rules for everybody, or of those for testers.
            max_age_s: How old the answer may be; never from before a change of ours.
        """
        raws = self._reads.rules.get(self._listener, max_age_s=max_age_s)
        found = {rule["RuleArn"]: rule for rule in raws}
        tags = self.tags(found, max_age_s=TAGS_KEPT_S)
        return {tags[arn][key]: _rule(rule) for arn, rule in found.items() if key in tags[arn]}

    def tags(self, arns: Iterable[str], *, max_age_s: float = 0.0) -> dict[str, dict[str, str]]:
        """Return the tags of rules or target groups by ARN; none of what is gone."""
        wanted = tuple(arns)
        found = self._reads.tags.find_all(wanted, max_age_s=max_age_s)
        return {arn: found.get(arn, {}) for arn in wanted}

    def health(self, arn: str) -> dict[str, tuple[InstanceState, str]]:
        """Return what the load balancer says of each target: instance id → state, reason."""
        found = {}
        for item in self._reads.health.get(arn):
            health = item.get("TargetHealth", {})
            state = _STATES.get(str(health.get("State")), InstanceState.STARTING)
            reason = health.get("Description") or str(health.get("Reason", ""))
            found[item["Target"]["Id"]] = (state, reason)
        return found

    def _by_arn(
        self, percents: Mapping[ServerGroupName, int], *, max_age_s: float = 0.0
    ) -> dict[str | None, int]:
        """Return the percents by the ARN of the target group; None for those without one."""
        names = {target_group_name(name): percent for name, percent in percents.items()}
        arns = self._reads.target_groups.find_all(tuple(names), max_age_s=max_age_s)
        return {arns.get(name): percent for name, percent in names.items()}

    def _create_target_group(self, wanted: CreateServerGroup, tags: Mapping[str, str]) -> str:
        health = wanted.health
        with cloud_errors(f"creating the target group of `{wanted.name}`"):
            answer = self._elbv2.create_target_group(
                Name=target_group_name(wanted.name),
                Protocol="HTTP",
                Port=wanted.port,
                VpcId=self._vpc_id,
                TargetType="instance",
                HealthCheckProtocol="HTTP",
                HealthCheckPort="traffic-port",
                HealthCheckPath=health.path,
                HealthCheckIntervalSeconds=health.interval_s,
                HealthCheckTimeoutSeconds=health.timeout_s,
                HealthyThresholdCount=health.healthy_after,
                UnhealthyThresholdCount=health.unhealthy_after,
                Matcher={"HttpCode": "200"},
                Tags=to_aws(_allowed(tags)),
            )
        return answer["TargetGroups"][0]["TargetGroupArn"]

    def _create_rule(self, arn: str, wanted: CreateServerGroup) -> None:
        cluster = wanted.name.cluster
        keys = {APP_TAG, CLUSTER_TAG, ENVIRONMENT_TAG}
        tags = {key: value for key, value in wanted.tags.items() if key in keys}
        conditions: list[Any] = [
            {"Field": "path-pattern", "PathPatternConfig": {"Values": list(wanted.path_patterns)}}
        ]
        if wanted.host_names:
            hosts = {"Values": list(wanted.host_names)}
            conditions.append({"Field": "host-header", "HostHeaderConfig": hosts})
        # One at a time: all who look at once would find the same priority free.
        creating = cloud_errors(f"creating the listener rule of `{cluster}`")
        with self._reads.making_rule(self._listener), self._changing(), creating:
            self._elbv2.create_rule(
                ListenerArn=self._listener,
                Priority=wanted.rule_priority or self._free_priority(),
                Conditions=conditions,
                Actions=forward({arn: 0}),
                Tags=to_aws(tags | {CLUSTER_TAG: str(cluster)}),
            )

    def _free_priority(self) -> int:
        """Return a priority after all others, so that no rule of others is hidden.

        One before it stays free, for testers.
        """
        taken = self._priorities()
        last = max(taken, default=0)
        if last < LAST_PRIORITY:
            return min(last + 2, LAST_PRIORITY)
        return next(number for number in range(LAST_PRIORITY, 0, -1) if number not in taken)

    def _priority_before(self, rule: Rule) -> int:
        taken = self._priorities()
        for number in range(rule.priority - 1, 0, -1):
            if number not in taken:
                return number
        raise Conflict(
            f"No priority before that of listener rule `{rule.arn}` ({rule.priority}) is free",
            hint="Testers need one: give the rule a greater priority, or free one",
        )

    def _priorities(self) -> set[int]:
        texts = (rule.get("Priority", "") for rule in self._raw_rules())
        return {int(text) for text in texts if text.isdigit()}

    def _write(self, rule: Rule, weights: Mapping[str, int], *, sticky_s: int = 0) -> None:
        with self._changing(), cloud_errors(f"changing listener rule `{rule.arn}`"):
            self._elbv2.modify_rule(RuleArn=rule.arn, Actions=forward(weights, sticky_s=sticky_s))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let nobody take an answer from before a change of the listener's rules."""
        try:
            yield
        finally:
            self._reads.rules.forget(self._listener)

    def _raw_rules(self) -> list[RuleTypeDef]:
        return self._reads.rules.get(self._listener)


def _allowed(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags in the letters that ELBv2 takes: a version as `1.0~rc1` has others.

    Source: ELBv2 API reference, Tag, Value: letters, digits, spaces and `_.:/=+-@`.
    """
    return {key: _NOT_IN_TAGS.sub("-", value) for key, value in tags.items()}


def _weights(rule: RuleTypeDef) -> dict[str, int]:
    groups = [
        group
        for action in rule.get("Actions", [])
        for group in action.get("ForwardConfig", {}).get("TargetGroups", [])
    ]
    return {group["TargetGroupArn"]: int(group.get("Weight", 1)) for group in groups}


def _rule(raw: RuleTypeDef) -> Rule:
    priority = raw.get("Priority", "")
    return Rule(
        arn=raw["RuleArn"],
        weights=_weights(raw),
        priority=int(priority) if priority.isdigit() else 0,
        conditions=tuple(_condition(one) for one in raw.get("Conditions", [])),
        sticky_s=_sticky_s(raw),
    )


def _condition(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a condition as it may be given: DescribeRules also repeats values beside it."""
    has_config = any(key.endswith("Config") for key in raw)
    return {key: value for key, value in raw.items() if key != "Values" or not has_config}


def _sticky_s(rule: RuleTypeDef) -> int:
    found = [
        action.get("ForwardConfig", {}).get("TargetGroupStickinessConfig", {})
        for action in rule.get("Actions", [])
    ]
    return sum(int(one.get("DurationSeconds", 0)) for one in found if one.get("Enabled"))


def forward(weights: Mapping[str, int], *, sticky_s: int = 0) -> list[Any]:
    """Return the action that forwards by weight.

    Args:
        weights: Target group's ARN → weight.
        sticky_s: How long a client stays with a target group; 0 for not at all.
    """
    groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.items()]
    config: dict[str, Any] = {"TargetGroups": groups}
    if sticky_s:
        config["TargetGroupStickinessConfig"] = {"Enabled": True, "DurationSeconds": sticky_s}
    return [{"Type": "forward", "Order": 1, "ForwardConfig": config}]
