"""The names of the recorded steps, in order.

They are stored in databases that live on: a change here needs a new ``runtime.VERSION``.
"""

from __future__ import annotations

from dbos import DBOS

from tests.pipeline.conftest import Line

STAGES = ["manifest", "build", "publish", "bake", "boot", "share"]
DEV = [
    "dev/plan", "dev/pin", "dev/create_server_group", "dev/await_healthy", "dev/set_weights",
    "dev/disable", "dev/unpin", "dev/finish",
]  # fmt: skip
LOOK = ["DBOS.sleep", "prod/look"]
SMALL = ["prod/plan", "prod/pin", "prod/create_server_group", "prod/await_healthy",
         "prod/set_weights", "prod/judge"]  # fmt: skip
CANARY = [
    *STAGES, *DEV, *SMALL, "prod/look", "prod/judged", "prod/resize",
    "prod/await_healthy", "prod/set_weights", "prod/disable", "prod/unpin", "prod/finish",
    "offer", "finish",
]  # fmt: skip
RETREAT = ["prod/judge", "prod/look", "prod/retreat", "prod/retreat/set_weights",
           "prod/retreat/unpin", "prod/retreat/decommission"]  # fmt: skip


def names(release_id: str) -> list[str]:
    """Return the steps of a release with those of its rollouts in their place."""
    found = []
    for step in DBOS.list_workflow_steps(release_id):
        child = step["child_workflow_id"]
        if child and step["function_name"] == "rollout":
            found += names(child)
        elif step["function_name"] != "DBOS.getResult":
            found.append(step["function_name"])
    return found


def test_the_steps_of_releases_keep_their_names_and_order(line: Line) -> None:
    with line.running() as engine:
        line.run(engine, "v1.0.0")
        line.run(engine, "v1.1.0")
        first, second = (names(line.request(ref).release_id) for ref in ("v1.0.0", "v1.1.0"))

    assert first == [
        *STAGES,
        *(f"{where}/{step}" for where in ("dev", "prod")
          for step in ("plan", "create_server_group", "await_healthy", "set_weights", "finish")),
        "offer", "finish",
    ]  # fmt: skip
    looks = [*LOOK * 3]  # of four that the time has: three periods are enough
    assert second == [
        *STAGES, *DEV, *SMALL, *looks, "prod/judged", "prod/await_healthy", "prod/set_weights",
        "prod/judge", *looks, "prod/judged", "prod/resize", "prod/await_healthy",
        "prod/set_weights", "prod/disable", "prod/unpin", "prod/finish", "offer", "finish",
    ]  # fmt: skip
