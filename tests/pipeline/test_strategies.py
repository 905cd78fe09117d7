"""Each strategy through the workflow: promoted, taken back, stopped, ended by a person."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.events import Event
from ovenbird.domain.releases import Ending, Phase
from tests.pipeline.apps import MANIFEST, make_app
from tests.pipeline.conftest import Line, Wait
from tests.pipeline.installation import apart, here
from tests.pipeline.processes import Begun
from tests.pipeline.test_step_names import names
from tests.pipeline.worker import main
from tests.pipeline.worlds import World

CANARY = "{canary: {steps_percent: [10, 50], observe_s: 0.2}}"
LOOK = "{blue_green: {look_s: 0.2}}"
BASELINE = "{canary: {steps_percent: [10, 50], observe_s: 0.2, baseline: true}}"
ROLLING = "{rolling: {steps_percent: [50], observe_s: 0}}"
Serve = Callable[[str], Line]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Make a line with another strategy in prod, on which 1.0.0 serves."""

    def made(strategy: str) -> Line:
        app = make_app(tmp_path / "app", MANIFEST.replace(CANARY, strategy))
        line = Line(World(tmp_path / "state"), app)
        with line.running() as engine:
            line.run(engine, "v1.0.0", confirmed=("hello-prod",))
        return line

    return made


def release(line: Line, **fields: object) -> Ending:
    with line.running() as engine:
        return line.run(engine, "v1.1.0", **fields)


def prod(line: Line) -> dict[str, tuple[int, int, bool]]:
    """Server group → its weight, its size, whether it is pinned."""
    return {
        name.removeprefix("hello-prod-"): (
            group.weight, group.capacity.desired, group.pinned_min is not None,
        )
        for name, group in line.world.look().groups.items()
        if "prod" in name
    }  # fmt: skip


def events(line: Line) -> tuple[Event, ...]:
    with line.running() as engine:
        return engine.ports.store.list_events(line.request("v1.1.0").release_id)


def acts(line: Line) -> list[str]:
    """What the second release did in prod."""
    log = [what for what in line.world.look().log if "hello-prod" in what]
    return [what.replace("hello-prod-", "") for what in log[2:]]


def test_blue_green_looks_before_the_old_group_rests(serve: Serve) -> None:
    line = serve(LOOK)
    with line.running() as engine:
        ending = line.run(engine, "v1.1.0")
        steps = [name for name in names(line.request("v1.1.0").release_id) if "prod/" in name]

    assert ending.phase is Phase.PROMOTED
    assert prod(line) == {"v001": (0, 2, False), "v002": (100, 2, False)}
    assert steps == [
        "prod/plan", "prod/pin", "prod/create_server_group", "prod/await_healthy",
        "prod/set_weights", "prod/observe", *["prod/guard"] * 4, "prod/observed", "prod/disable",
        "prod/unpin", "prod/finish",
    ]  # fmt: skip


def test_an_alarm_in_the_look_brings_the_old_group_back(serve: Serve) -> None:
    line = serve(LOOK)
    with line.world.state() as state:
        state.fires_after = "weights hello-prod-v002 100"

    ending = release(line)

    assert ending.phase is Phase.ROLLED_BACK
    assert "too many answers 5xx" in ending.error
    assert prod(line) == {"v001": (100, 2, False)}


def test_a_person_ends_the_look(serve: Serve, wait: Wait) -> None:
    line = serve("{blue_green: {look_s: 60}}")
    request = line.request("v1.1.0")
    with line.running() as engine:
        line.begin(engine, request)
        wait(lambda: "weights hello-prod-v002 100" in line.world.look().log)
        store, now = engine.ports.store, engine.ports.clock.now()
        store.say(request.release_id, "abort", actor="ben", at=now)
        ending = engine.result(request.release_id)

    assert ending.phase is Phase.ABORTED
    assert prod(line) == {"v001": (100, 2, False)}


@pytest.mark.parametrize(
    ("strategy", "weights"),
    [
        (
            "{canary: {steps_percent: [10, 50], observe_s: 0.2, manual_steps: [10]}}",
            {"v001": (90, 2, True), "v002": (10, 1, False)},
        ),
        (
            "{blue_green: {look_s: 0, manual: true}}",
            {"v001": (0, 2, True), "v002": (100, 2, False)},
        ),
    ],
)
def test_it_waits_for_a_person_where_the_manifest_says(
    serve: Serve, strategy: str, weights: dict[str, tuple[int, int, bool]]
) -> None:
    line = serve(strategy)

    started = apart(line.world, "release", "start", "--app", str(line.app), "--ref", "v1.1.0")
    waiting = prod(line)
    went_on = apart(line.world, "rollout", "continue", "hello-prod")

    assert (started.status, waiting) == (0, weights), started.err
    assert went_on.status == 0, went_on.err
    assert prod(line) == {"v001": (0, 2, False), "v002": (100, 2, False)}


def test_a_canary_is_compared_with_its_baseline_first(serve: Serve) -> None:
    line = serve(BASELINE)

    ending = release(line)

    assert ending.phase is Phase.PROMOTED
    assert acts(line) == [
        "create v002", "create v003", "weights v001 80, v002 10, v003 10",
        "weights v001 50, v002 50", "destroy v003", "resize v002 to 2", "weights v002 100",
    ]  # fmt: skip
    assert prod(line) == {"v001": (0, 2, False), "v002": (100, 2, False)}


def test_a_canary_worse_than_its_baseline_takes_it_along(serve: Serve) -> None:
    line = serve(BASELINE)
    with line.world.state() as state:
        state.bad.append("1.1.0")

    ending = release(line)

    assert ending.phase is Phase.ROLLED_BACK
    assert acts(line)[3:] == ["weights v001 100", "destroy v002", "destroy v003"]
    assert prod(line) == {"v001": (100, 2, False)}


def test_rolling_shrinks_the_old_group_as_the_new_one_grows(serve: Serve) -> None:
    line = serve(ROLLING)

    ending = release(line)

    assert ending.phase is Phase.PROMOTED
    assert acts(line) == [
        "create v002", "weights v001 50, v002 50", "resize v001 to 1", "resize v002 to 2",
        "weights v002 100",
    ]  # fmt: skip
    assert prod(line) == {"v001": (0, 1, False), "v002": (100, 2, False)}


def test_a_rolling_one_that_breaks_lets_the_old_group_grow_first(serve: Serve) -> None:
    line = serve(ROLLING)
    with line.world.state() as state:
        state.breaks_on = "resize hello-prod-v002 to 2"

    ending = release(line)

    assert ending.phase is Phase.ROLLED_BACK
    assert acts(line)[4:] == ["resize v001 to 2", "weights v001 100", "destroy v002"]
    assert prod(line) == {"v001": (100, 2, False)}


def test_highlander_is_refused_without_a_word_and_leaves_nothing_else_with_it(
    serve: Serve,
) -> None:
    line = serve("highlander")
    with line.running() as engine, pytest.raises(InvalidRequest, match="must be confirmed"):
        line.run(engine, "v1.2.0")
    assert prod(line) == {"v001": (100, 2, False)}

    ending = release(line, confirmed=("hello-prod",))

    assert ending.phase is Phase.PROMOTED
    assert prod(line) == {"v002": (100, 2, False)}


def test_highlander_is_asked_for_by_name_on_the_command_line(serve: Serve) -> None:
    line = serve("highlander")
    words = ("release", "start", "--app", str(line.app), "--ref", "v1.1.0")

    silent = here(line.world, *words)
    shown = here(line.world, *words, "--dry-run")
    slip = here(line.world, *words, "--confirm", "hello-dev")
    asked = here(line.world, *words, "--confirm", "hello-prod")

    assert (silent.status, shown.status, slip.status) == (2, 2, 2), silent.err
    assert "`--confirm hello-prod`" in silent.err
    assert "What can be confirmed: `hello-prod`" in slip.err
    assert asked.status == 0, asked.err
    assert prod(line) == {"v002": (100, 2, False)}


def test_a_rollout_that_is_to_stop_leaves_all_for_a_person(serve: Serve) -> None:
    line = serve(f"{CANARY}\n    on_failure: stop")
    with line.world.state() as state:
        state.bad.append("1.1.0")

    ending = release(line)

    assert ending.phase is Phase.FAILED
    assert "`ovenbird cluster rollback hello-prod`" in ending.hint
    assert prod(line) == {"v001": (90, 2, True), "v002": (10, 1, False)}
    (told,) = (event.text for event in events(line) if event.kind == "prod/stop.stopped")
    assert "`hello-prod-v001` is pinned" in told


def test_a_rollout_that_stops_before_it_has_traffic_says_what_to_remove(serve: Serve) -> None:
    line = serve(f"{LOOK}\n    on_failure: stop")
    with line.world.state() as state:
        state.breaks_on = "create hello-prod-v002"

    ending = release(line)

    assert "`ovenbird cluster decommission hello-prod-v002`" in ending.hint
    assert prod(line) == {"v001": (100, 2, True), "v002": (0, 2, False)}


def test_an_abort_is_the_way_back_also_where_a_failure_would_stop(serve: Serve, wait: Wait) -> None:
    line = serve("{blue_green: {look_s: 60}}\n    on_failure: stop")
    request = line.request("v1.1.0")
    with line.running() as engine:
        line.begin(engine, request)
        wait(lambda: "weights hello-prod-v002 100" in line.world.look().log)
        store, now = engine.ports.store, engine.ports.clock.now()
        store.say(request.release_id, "abort", actor="ben", at=now)
        engine.result(request.release_id)

    assert prod(line) == {"v001": (100, 2, False)}


@pytest.mark.chaos
def test_a_look_whose_process_dies_is_gone_on_with(serve: Serve) -> None:
    line = serve("{blue_green: {look_s: 0.3}}")
    words = (str(line.world.directory), str(line.app), "v1.1.0")
    killed = Begun(main, *words, OVENBIRD_DIE_AFTER="prod/guard")
    killed.communicate(timeout=120)

    with line.running() as engine:
        engine.adopt()
        request = line.request("v1.1.0")
        ending: Ending = engine.result(request.release_id)
        steps = names(request.release_id)

    assert (killed.returncode, ending.phase) == (-signal.SIGKILL, Phase.PROMOTED)
    assert steps.count("prod/guard") == 6
    assert prod(line) == {"v001": (0, 2, False), "v002": (100, 2, False)}
