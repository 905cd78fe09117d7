"""The release workflow on a private database, in a world that writes down what happens."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ovenbird.domain.errors import Aborted, CommandFailed, Conflict
from ovenbird.domain.releases import Ending, Phase
from ovenbird.pipeline import signals
from tests.pipeline.conftest import Line, Wait


def test_a_commit_goes_to_both_environments(line: Line) -> None:
    with line.running() as engine:
        ending = line.run(engine, "v1.0.0")
        report = engine.ports.store.get_report(line.request("v1.0.0").release_id)

    assert ending == Ending(phase=Phase.PROMOTED)
    assert line.world.look().log == [
        "publish 1.0.0 to candidate", "install hello 1.0.0", "register 1.0.0",
        "share 1.0.0 with 222222222222",
        "create hello-dev-v001", "weights hello-dev-v001 100",
        "create hello-prod-v001", "weights hello-prod-v001 100",
        "publish 1.0.0 to release",
    ]  # fmt: skip
    names = [stage.name for stage in report.stages]
    assert names == ["build", "publish", "bake", "boot", "share", "rollout dev", "rollout prod"]
    release = report.release
    assert (release.phase, release.version, release.blocks_uploaded, release.blocks_total) == (
        Phase.PROMOTED, "1.0.0", 2, 900,
    )  # fmt: skip


def test_a_good_canary_is_promoted_step_by_step(line: Line) -> None:
    with line.running() as engine:
        line.run(engine, "v1.0.0")
        ending = line.run(engine, "v1.1.0")
        report = engine.ports.store.get_report(line.request("v1.1.0").release_id)

    assert ending.phase is Phase.PROMOTED
    steps = [(v.step_percent, v.outcome) for v in report.rollouts[1].verdicts]
    assert steps == [(10, "pass"), (50, "pass")]
    weights = {str(g.name): g.weight for g in line.world.look().groups.values()}
    assert (weights["hello-prod-v001"], weights["hello-prod-v002"]) == (0, 100)


def test_a_bad_canary_is_rolled_back_by_itself(line: Line) -> None:
    with line.running() as engine:
        line.run(engine, "v1.0.0")
        with line.world.state() as state:
            state.bad.append("1.2.0")
        ending = line.run(engine, "v1.2.0")
        report = engine.ports.store.get_report(line.request("v1.2.0").release_id)

    assert ending.phase is Phase.ROLLED_BACK
    assert "failed at 10 %" in ending.error
    assert report.release.phase is Phase.ROLLED_BACK
    assert [r.phase for r in report.rollouts] == [Phase.PROMOTED, Phase.ROLLED_BACK]
    prod = {n: g.weight for n, g in line.world.look().groups.items() if "prod" in n}
    assert prod == {"hello-prod-v001": 100}


def test_a_canary_that_nobody_calls_is_not_promoted(line: Line) -> None:
    with line.running() as engine:
        line.run(engine, "v1.0.0")
        with line.world.state() as state:
            state.silent = True
        ending = line.run(engine, "v1.1.0")

    assert ending.phase is Phase.ROLLED_BACK
    assert "Not enough data to promote" in ending.error


def test_an_alarm_stops_a_rollout_also_when_nobody_judges(line: Line) -> None:
    with line.running() as engine:
        line.run(engine, "v1.0.0")
        with line.world.state() as state:
            state.fires_after = "resize hello-prod-v002 to 2"  # after the last verdict
        ending = line.run(engine, "v1.1.0")
        verdicts = engine.ports.store.get_report(line.request("v1.1.0").release_id).rollouts[1]

    assert ending.phase is Phase.ROLLED_BACK
    assert "Alarm `hello-prod-v002-5xx` fires: too many answers 5xx" in ending.error
    assert [v.outcome for v in verdicts.verdicts] == ["pass", "pass"]
    prod = {n: g.weight for n, g in line.world.look().groups.items() if "prod" in n}
    assert prod == {"hello-prod-v001": 100}


def test_what_cannot_be_tidied_does_not_undo_a_promotion(line: Line) -> None:
    with line.running() as engine:
        line.run(engine, "v1.0.0")
        line.run(engine, "v1.1.0")
        with line.world.state() as state:
            state.breaks_on = "destroy hello-prod-v001"
            old = state.groups["hello-prod-v001"]
            assert old.disabled_at is not None
            rested = replace(old, disabled_at=old.disabled_at - timedelta(days=1))
            state.groups["hello-prod-v001"] = rested
        ending = line.run(engine, "v1.2.0")
        events = engine.ports.store.list_events(line.request("v1.2.0").release_id)

    assert ending.phase is Phase.PROMOTED
    assert line.world.look().groups["hello-prod-v003"].weight == 100
    (told,) = (event.text for event in events if event.kind.endswith(".warning"))
    assert told.startswith("Left undone: Decommission `hello-prod-v001`")
    assert told.endswith("`destroy hello-prod-v001` broke")


def test_a_failing_stage_ends_the_release_with_its_error_and_frees_the_app(line: Line) -> None:
    with line.world.state() as state:
        state.breaks_on = "install hello 1.0.0"
    request = line.request("v1.0.0")
    with line.running() as engine:
        engine.ports.store.lock(
            "app hello", owner=request.release_id, reason="-", at=engine.ports.clock.now()
        )
        with pytest.raises(CommandFailed, match="broke"):
            line.run(engine, "v1.0.0")
        release = engine.ports.store.get_release(request.release_id)
        lock = engine.ports.store.find_lock("app hello")

    assert (release.phase, release.hint, lock) == (Phase.FAILED, "Mend it", None)


def test_a_throttled_bake_is_tried_again(line: Line) -> None:
    with line.world.state() as state:
        state.throttled = 1
    with line.running() as engine:
        ending = line.run(engine, "v1.0.0")

    assert ending.phase is Phase.PROMOTED
    assert line.world.look().log.count("register 1.0.0") == 1


def test_a_taken_cluster_is_refused_and_left_alone(line: Line) -> None:
    with line.running() as engine:
        store, now = engine.ports.store, engine.ports.clock.now()
        store.lock(
            "cluster hello-dev in dev", owner="x-1", reason="A rollback is under way", at=now
        )
        with pytest.raises(Conflict, match="A rollback is under way: `x-1`"):
            line.run(engine, "v1.0.0")

        assert store.find_lock("cluster hello-dev in dev") is not None
    assert line.world.look().groups == {}


@pytest.mark.parametrize(("word", "phase"), [("reject", Phase.REJECTED), ("abort", Phase.ABORTED)])
def test_a_person_ends_a_release_that_waits(
    asking: Line, wait: Wait, word: str, phase: Phase
) -> None:
    request = asking.request("v1.0.0")
    with asking.running() as engine:
        asking.begin(engine, request)
        store = engine.ports.store
        wait(lambda: store.get_release(request.release_id).phase is Phase.WAITING)
        signals.send(
            request.release_id, environment="prod", word=word, actor="ben",
            state=asking.world.directory,
        )  # fmt: skip
        with pytest.raises(Aborted, match="by ben"):
            engine.result(request.release_id)
        release = store.get_release(request.release_id)

    assert release.phase is phase
    assert set(asking.world.look().groups) == {"hello-dev-v001"}


def test_an_approval_lets_the_release_go_on(asking: Line, wait: Wait) -> None:
    request = asking.request("v1.0.0")
    with asking.running() as engine:
        asking.begin(engine, request)
        store = engine.ports.store
        wait(lambda: store.get_release(request.release_id).phase is Phase.WAITING)
        for _ in range(2):
            signals.send(
                request.release_id, environment="prod", word="approve", actor="ben",
                state=asking.world.directory,
            )  # fmt: skip
        ending = engine.result(request.release_id)

    assert ending.phase is Phase.PROMOTED
    assert set(asking.world.look().groups) == {"hello-dev-v001", "hello-prod-v001"}


def test_nobody_s_word_is_a_no(asking: Line) -> None:
    with asking.running() as engine, pytest.raises(Aborted, match="without a word"):
        asking.run(engine, "v1.0.0", approval_within_s=0.1)


def test_an_abort_in_a_canary_takes_the_way_back(line: Line, wait: Wait) -> None:
    with line.running() as engine:
        line.run(engine, "v1.0.0")
        with line.world.state() as state:
            state.silent = True  # the canary is observed for longer
        request, store = line.request("v1.1.0"), engine.ports.store
        line.begin(engine, request)
        wait(lambda: "weights hello-prod-v001 90, hello-prod-v002 10" in _log(line))
        store.say(request.release_id, "abort", actor="ben", at=engine.ports.clock.now())
        ending = engine.result(request.release_id)

    assert (ending.phase, ending.error) == (Phase.ABORTED, "Aborted by ben")
    prod = {n: g.weight for n, g in line.world.look().groups.items() if "prod" in n}
    assert prod == {"hello-prod-v001": 100}


def _log(line: Line) -> list[str]:
    words = line.world.look().log
    return [", ".join(sorted(w.removeprefix("weights ").split(", "))) if w.startswith("weights ")
            else w for w in words] + words  # fmt: skip
