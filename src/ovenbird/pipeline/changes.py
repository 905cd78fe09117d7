"""The workflow for what people do to clusters: rollback, resize, enable, disable, decommission.

    begin ─▶ action ─▶ action ─▶ ... ─▶ finish

The plan was shown to a person and comes with the request; what was confirmed is what runs.
"""

from __future__ import annotations

from dbos import DBOS, SetWorkflowID

from ovenbird.domain.errors import OvenbirdError
from ovenbird.domain.releases import ClusterChange, Ending, Phase
from ovenbird.pipeline import rollout_steps as work
from ovenbird.pipeline.rollout import step_name
from ovenbird.pipeline.steps import recorded, recorded_always


@DBOS.workflow(name="cluster_change")
def cluster_change(change: ClusterChange) -> Ending:
    """Carry out a confirmed plan; an action that fails ends it, and nothing is undone.

    Raises:
        OvenbirdError: The cluster is taken, or an action failed.
    """
    change_id, where = change.change_id, change.environment
    recorded(f"{where}/begin", change_id, work.begin_change, change)
    name = f"{where}/finish"
    try:
        for number, action in enumerate(change.plan.actions):
            place = (where, change.cluster, change_id)
            recorded(f"{where}/{step_name(action)}", change_id, work.perform, place, number, action)
    except OvenbirdError as error:
        ending = work.stopped(error)
        recorded_always(name, change_id, work.finish, change_id, ending)
        raise
    ending = Ending(phase=Phase.PROMOTED)
    recorded_always(name, change_id, work.finish, change_id, ending)
    return ending


def start(change: ClusterChange) -> None:
    """Start a change in this process and return at once."""
    with SetWorkflowID(change.change_id):
        DBOS.start_workflow(cluster_change, change)
