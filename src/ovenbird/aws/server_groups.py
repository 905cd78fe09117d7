"""Server groups: Auto Scaling groups with what belongs to them, and clusters read back.

made      target group ─▶ in the rule at 0 ─▶ launch template ─▶ Auto Scaling group ─▶ alarms
destroyed drained, still in the rule at 0 ─▶ Auto Scaling group ─▶ out of the rule ─▶ the rest

AWS is the truth: nothing is remembered here. Everything carries the server group's tags.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ovenbird.aws.alarms import Alarms
from ovenbird.aws.auto_scaling import (
    AutoScalingGroups,
    instances,
    suspended,
    tags_of,
    target_group_of,
)
from ovenbird.aws.clients import Account
from ovenbird.aws.errors import cloud_errors
from ovenbird.aws.group_details import GroupDetails
from ovenbird.aws.group_reading import (
    IMAGE_TAG,
    Health,
    half_made,
    oldest_first,
    server_group,
    weight_of,
)
from ovenbird.aws.launch_requests import Surroundings
from ovenbird.aws.launch_settings import LaunchSettings, flat
from ovenbird.aws.launch_templates import LaunchTemplates
from ovenbird.aws.listeners import Listeners
from ovenbird.aws.networks import Networks, NetworkSpec
from ovenbird.aws.reads import POLLED_S
from ovenbird.aws.scaling import Scaling
from ovenbird.aws.traffic import Rule
from ovenbird.domain.clusters import (
    CLUSTER_TAG,
    DISABLED_AT_TAG,
    ENVIRONMENT_TAG,
    PINNED_DESIRED_TAG,
    PINNED_MIN_TAG,
    Capacity,
    Cluster,
    Details,
    Instance,
    InstanceId,
    ServerGroup,
)
from ovenbird.domain.errors import Conflict, InvalidRequest
from ovenbird.domain.images import RELEASE_TAG, TAG
from ovenbird.domain.names import ClusterName, ServerGroupName
from ovenbird.domain.plans import NEW_PLAN, CreateServerGroup, Mend, Weight
from ovenbird.domain.ports import Clock
from ovenbird.domain.traffic import MarkedRequests

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef

SCHEDULES = "ScheduledActions"  # Auto Scaling's process
PAUSED_TAG = TAG + "paused"  # the process that a pin lets rest


class ServerGroups:
    """The :class:`ovenbird.domain.ports.ServerGroups` that asks AWS.

    Permissions: those of ``AutoScalingGroups``, ``GroupDetails``, ``Traffic``,
    ``LaunchTemplates``, ``Networks``, ``Scaling`` and ``Alarms``; ec2:GetConsoleOutput.

    Args:
        account: The environment's account.
        network: The environment's network.
        clock: For waiting.
        period_s: Period of the load balancer's metrics, for alarms.
    """

    def __init__(
        self, account: Account, network: NetworkSpec, *, clock: Clock, period_s: float = 60.0
    ) -> None:
        listener = network.listener_arn
        self._ec2 = account.ec2
        self._groups = AutoScalingGroups(account, clock=clock)
        self._details = GroupDetails(account)
        self._settings = LaunchSettings(account)
        self._network = network
        self._clock = clock
        self._traffic = Listeners(
            account,
            vpc_id=network.vpc_id,
            listener_arns=(listener, *network.more_listener_arns),
        )
        self._templates = LaunchTemplates(account)
        self._networks = Networks(account, network)
        self._alarms = Alarms(
            account, listener_arn=listener, period_s=period_s, topics=network.topics
        )
        self._scaling = Scaling(
            account,
            alarms=self._alarms,
            clock=clock,
            target_group_of=self._traffic.find_target_group,
        )

    def get_cluster(self, name: ClusterName, environment: str, *, health: bool = True) -> Cluster:
        """Return a cluster; it may have no groups.

        Without *health*, the load balancer is not asked: it is what Auto Scaling says.
        """
        raws = self._groups.of_cluster(name)
        rule = self._traffic.find_rule(name)
        made = [server_group(raw, rule, self._health(raw) if health else None) for raw in raws]
        return Cluster(
            name=name,
            environment=environment,
            groups=oldest_first([*made, *self._half_made(rule, made)]),
            rule=rule.arn if rule else "",
        )

    def list_clusters(self, environment: str) -> tuple[Cluster, ...]:
        """Return an environment's clusters by name.

        The load balancer is asked about groups in traffic only; of those that rest the
        health is what Auto Scaling says.
        """
        rules = self._traffic.rules()
        found: defaultdict[str, list[ServerGroup]] = defaultdict(list)
        for raw in self._groups.tagged(ENVIRONMENT_TAG, environment):
            cluster = tags_of(raw).get(CLUSTER_TAG, "")
            if cluster:
                rule = rules.get(cluster)
                health = self._health(raw) if weight_of(rule, raw) else None
                found[cluster].append(server_group(raw, rule, health))
        for cluster, rule in rules.items():
            half = self._half_made(rule, found.get(cluster, ()))
            if mine := [one for one in half if one.tags.get(ENVIRONMENT_TAG) == environment]:
                found[cluster] += mine
        return tuple(
            Cluster(
                name=ClusterName.parse(name),
                environment=environment,
                groups=oldest_first(groups),
                rule=rules[name].arn if name in rules else "",
            )
            for name, groups in sorted(found.items())
        )

    def list_instances(self, name: ServerGroupName) -> tuple[Instance, ...]:
        """Return a group's instances as the load balancer sees them; none without the group."""
        raw = self._groups.find(name, max_age_s=POLLED_S)
        if raw is None:
            return ()
        return instances(raw, self._health(raw))

    def console(self, instance_id: InstanceId) -> str:
        """Return what an instance wrote on its console, as far as EC2 has it by now."""
        with cloud_errors(f"reading the console of `{instance_id}`"):
            answer = self._ec2.get_console_output(InstanceId=instance_id)
        return answer.get("Output", "")

    def create(self, wanted: CreateServerGroup) -> None:
        """Make a server group out of traffic, or what of it is not there yet.

        An Auto Scaling group that is there keeps its size. Left-overs of the same name
        that belong to another release, without an Auto Scaling group, are removed first.

        Raises:
            Conflict: The name belongs to a server group of another release.
        """
        tags = {**wanted.tags, IMAGE_TAG: wanted.image_id}
        raw = self._groups.find(wanted.name)
        self._refuse_or_clear(wanted, raw)
        arn = self._traffic.ensure_target_group(wanted, tags)
        # In the rule before the first instance: unused targets are never found healthy.
        self._traffic.ensure_in_rule(arn, wanted)
        version = self._templates.ensure(
            wanted, tags, security_groups=self._networks.security_group_ids(wanted.launch)
        )
        if raw is None:
            self._groups.create(
                wanted,
                tags,
                subnet_ids=self._networks.subnet_ids(wanted.launch),
                target_group=arn,
                template_version=version,
            )
        where = Surroundings(
            name=wanted.name,
            target_group=arn,
            listener=self._network.listener_arn,
            tags=tags,
        )
        # Policies before alarms, which name what they set off.
        policies = self._scaling.ensure(where, wanted)
        self._alarms.ensure(where, wanted.alarms, policies=policies)

    def pin(self, name: ServerGroupName) -> None:
        """Raise the minimum to the desired size, and let schedules rest: they set it too.

        The tags that say what it was are written first.
        """
        raw = self._groups.get(name)
        if PINNED_MIN_TAG not in tags_of(raw):
            size = str(raw["DesiredCapacity"])
            marks = {PINNED_MIN_TAG: str(raw["MinSize"]), PINNED_DESIRED_TAG: size}
            if SCHEDULES not in suspended(raw):
                marks[PAUSED_TAG] = SCHEDULES
            self._groups.tag(name, marks)
        if SCHEDULES not in suspended(raw):
            self._groups.suspend(name, SCHEDULES)
        if raw["MinSize"] != raw["DesiredCapacity"]:
            self._groups.set_minimum(name, raw["DesiredCapacity"])

    def unpin(self, name: ServerGroupName) -> None:
        """Give the old minimum back; the tags go last, so that this can be repeated."""
        raw = self._groups.get(name)
        tags = tags_of(raw)
        old = tags.get(PINNED_MIN_TAG)
        if old is None:
            return
        self._groups.set_minimum(name, min(int(old), raw["DesiredCapacity"]))
        if PAUSED_TAG in tags:
            self._groups.resume(name, SCHEDULES)
        self._groups.untag(name, PINNED_MIN_TAG, PINNED_DESIRED_TAG, PAUSED_TAG)

    def resize(self, name: ServerGroupName, capacity: Capacity) -> None:
        """Set a group's capacity."""
        self._groups.get(name)
        self._groups.set_capacity(name, capacity)

    def set_weights(self, weights: Sequence[Weight], *, sticky_s: int = 0) -> None:
        """Divide the traffic of the cluster to which the named groups belong."""
        percents = {weight.name: weight.percent for weight in weights}
        clusters = {name.cluster for name in percents}
        if len(clusters) != 1 or sum(percents.values()) != 100:
            raise InvalidRequest("Weights are those of one cluster and sum up to 100")
        self._traffic.set_weights(clusters.pop(), percents, sticky_s=sticky_s)

    def open_to_testers(self, name: ServerGroupName, testers: MarkedRequests) -> None:
        """Let testers reach a server group at any weight.

        Raises:
            Conflict: It has no target group, or there is no room for a rule.
        """
        arn = self._traffic.find_target_group(name)
        if arn is None:
            raise Conflict(f"`{name}` has no target group", hint=NEW_PLAN)
        self._traffic.open_to_testers(name.cluster, arn, testers)

    def close_to_testers(self, name: ServerGroupName) -> None:
        """Let testers of a server group go where everybody goes."""
        arn = self._traffic.find_target_group(name)
        if arn is not None:
            self._traffic.close_to_testers(name.cluster, arn)

    def disable(self, name: ServerGroupName, *, at: datetime) -> None:
        """Tag a group as out of traffic; the first time counts."""
        if DISABLED_AT_TAG not in tags_of(self._groups.get(name)):
            self._groups.tag(name, {DISABLED_AT_TAG: at.isoformat()})

    def enable(self, name: ServerGroupName) -> None:
        """Take the tag away that :meth:`disable` set."""
        if DISABLED_AT_TAG in tags_of(self._groups.get(name)):
            self._groups.untag(name, DISABLED_AT_TAG)

    def destroy(self, name: ServerGroupName, *, release_id: str = "") -> None:
        """Remove a server group and all that belongs to it, from whatever state.

        With *release_id*, nothing is done when what is there bears another mark, or none.

        Raises:
            Unhealthy: Its instances did not go away in time; the next call goes on.
        """
        if release_id and self._owner(name, self._groups.find(name)) not in {None, release_id}:
            return
        arn = self._traffic.find_target_group(name)
        if arn is not None:
            self._traffic.close_to_testers(name.cluster, arn)
        # Emptied while it is in the rule: targets of a group that no rule uses are `unused`
        # and leave at once, and the requests that they still work on would be lost.
        if self._groups.find(name) is not None:
            self._groups.empty_and_delete(name)
        if arn is not None:
            self._traffic.leave_rule(name.cluster, arn)
        # Alarms before the target group that they look at, templates after their group.
        self._alarms.delete(name)
        self._templates.delete(name)
        if arn is not None:
            self._traffic.delete_target_group(arn)

    def mend(self, wanted: Mend) -> None:
        """Give a group back what was taken by hand."""
        self._groups.get(wanted.name)
        self._details.mend(wanted)

    def details(self, names: Sequence[ServerGroupName]) -> Mapping[ServerGroupName, Details]:
        """Return what is asked only when somebody looks for changes by hand."""
        return self._details.read(names)

    def addresses(self, instances: Sequence[InstanceId]) -> Mapping[InstanceId, str]:
        """Return the private addresses of those instances that are there."""
        return self._details.addresses(instances)

    def launch_settings(self, name: ServerGroupName) -> Mapping[str, str]:
        """Return what a group's instances are launched with; nothing when that is gone."""
        return self._settings.read(name)

    def settings_to_be(self, wanted: CreateServerGroup) -> Mapping[str, str]:
        """Return what a new group's instances would be launched with; nothing is made.

        Raises:
            InvalidRequest: They cannot be launched so.
        """
        groups = self._networks.security_group_ids(wanted.launch)
        return flat(self._templates.data(wanted, {}, security_groups=groups))

    def _refuse_or_clear(
        self, wanted: CreateServerGroup, raw: AutoScalingGroupTypeDef | None
    ) -> None:
        owner = self._owner(wanted.name, raw)
        if owner in {None, wanted.release_id}:
            return
        if raw is not None:
            raise Conflict(f"`{wanted.name}` belongs to release `{owner}`", hint=NEW_PLAN)
        self.destroy(wanted.name)

    def _owner(self, name: ServerGroupName, raw: AutoScalingGroupTypeDef | None) -> str | None:
        """Return whose release made what has this name; empty when unmarked, None for nothing."""
        if raw is not None:
            return tags_of(raw).get(RELEASE_TAG, "")
        arn = self._traffic.find_target_group(name)
        left = self._traffic.tags([arn]).get(arn) if arn else self._templates.find_tags(name)
        return None if left is None else left.get(RELEASE_TAG, "")

    def _half_made(self, rule: Rule | None, made: Sequence[ServerGroup]) -> list[ServerGroup]:
        """Return groups that have a place in the rule, but no Auto Scaling group (yet)."""
        if rule is None:
            return []
        known = {group.target_group for group in made}
        tags = self._traffic.tags(arn for arn in rule.weights if arn not in known)
        return half_made(rule, tags, now=self._clock.now())

    def _health(self, raw: AutoScalingGroupTypeDef) -> Health | None:
        """Return what the load balancer says of those in service; None without one."""
        if not (arn := target_group_of(raw)):
            return None
        served = any(one["LifecycleState"] == "InService" for one in raw["Instances"])
        return self._traffic.health(arn) if served else {}
