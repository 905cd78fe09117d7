"""Traffic of a load balancer with several listeners, as HTTPS beside HTTP: changed as one.

Each cluster has a rule on every listener. Weights are changed one after another, on the
listener that is read back last: what dies in between is found undone, and done again. A
listener that came later gets the rules of clusters as they are, when they change next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ovenbird.aws.clients import Account
from ovenbird.aws.traffic import Traffic
from ovenbird.domain.names import ClusterName, ServerGroupName
from ovenbird.domain.plans import CreateServerGroup
from ovenbird.domain.traffic import MarkedRequests


class Listeners(Traffic):
    """Target groups, and rules of all listeners; what is read is the first listener's.

    Args:
        account: Whose load balancer.
        vpc_id: Network of the target groups.
        listener_arns: All of one load balancer; a target group belongs to one alone.
    """

    def __init__(self, account: Account, *, vpc_id: str, listener_arns: Sequence[str]) -> None:
        first, *others = listener_arns
        super().__init__(account, vpc_id=vpc_id, listener_arn=first)
        self._others = [Traffic(account, vpc_id=vpc_id, listener_arn=one) for one in others]

    def ensure_in_rule(self, arn: str, wanted: CreateServerGroup) -> None:
        """Bring a target group into its cluster's rules at weight 0; see Traffic."""
        super().ensure_in_rule(arn, wanted)
        self._let_others_follow(wanted.name.cluster)

    def set_weights(
        self,
        cluster: ClusterName,
        percents: Mapping[ServerGroupName, int],
        *,
        sticky_s: int = 0,
    ) -> None:
        """Divide a cluster's traffic on each listener; see Traffic."""
        self._let_others_follow(cluster)
        for other in self._others:
            other.set_weights(cluster, percents, sticky_s=sticky_s)
        super().set_weights(cluster, percents, sticky_s=sticky_s)

    def open_to_testers(self, cluster: ClusterName, arn: str, testers: MarkedRequests) -> None:
        """Let testers in on each listener; see Traffic."""
        for other in self._others:
            other.open_to_testers(cluster, arn, testers)
        super().open_to_testers(cluster, arn, testers)

    def close_to_testers(self, cluster: ClusterName, arn: str) -> None:
        """Take the way of testers away on each listener; see Traffic."""
        for other in self._others:
            other.close_to_testers(cluster, arn)
        super().close_to_testers(cluster, arn)

    def leave_rule(self, cluster: ClusterName, arn: str) -> None:
        """Take a target group out of the rules; see Traffic."""
        for other in self._others:
            other.leave_rule(cluster, arn)
        super().leave_rule(cluster, arn)

    def _let_others_follow(self, cluster: ClusterName) -> None:
        """Let each listener have the rule that the first one has; one may be new."""
        if self._others and (rule := self.find_rule(cluster)) is not None:
            for other in self._others:
                other.follow(cluster, rule)
