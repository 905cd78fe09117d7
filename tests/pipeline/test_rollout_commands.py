"""`ovenbird rollout` as a person uses it, on a world; each process may die."""

from __future__ import annotations

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from ovenbird.domain.images import BOOT_CHECK_TAG, UNFIT
from tests.pipeline.conftest import Line, Wait
from tests.pipeline.installation import Said, apart, begun, here
from tests.pipeline.processes import Begun
from tests.pipeline.worlds import World

TO_PROD = ("hello", "--environment", "prod", "--image")


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, apps: dict[str, Path]) -> Path:
    """A directory of a world in which 1.1.0 serves and 1.0.0 rests."""
    line = Line(World(tmp_path_factory.mktemp("past") / "state"), apps["patient"])
    with line.running() as engine:
        line.run(engine, "v1.0.0")
        line.run(engine, "v1.1.0")
    return line.world.directory


@pytest.fixture
def served(line: Line, past: Path) -> Line:
    """A world of its own with that past; its canaries are observed for 2 s a step."""
    shutil.copytree(past, line.world.directory, dirs_exist_ok=True)
    return line


def start(line: Line, *words: str) -> Said:
    return here(line.world, "rollout", "start", *TO_PROD, *words)


def begin(line: Line, *words: str, **environment: str) -> Begun:
    return begun(line.world, "rollout", "start", *TO_PROD, *words, "--yes", **environment)


def prod(line: Line) -> dict[str, int]:
    groups = line.world.look().groups
    return {name[-4:]: group.weight for name, group in groups.items() if "prod" in name}


def shown(line: Line, *words: str) -> Said:
    return here(line.world, "rollout", "show", *words)


def state_of(line: Line) -> str:
    return str(shown(line, "hello-prod", "--json").data["phase"])


def ended(process: Begun) -> tuple[int | None, str]:
    _, err = process.communicate(timeout=120)
    return process.returncode, err


def test_an_image_of_the_past_is_rolled_out_by_its_version(served: Line) -> None:
    said = start(served, "1.0.0", "--yes")

    assert said.status == 0, said.err
    assert prod(served) == {"v001": 0, "v002": 0, "v003": 100}
    assert served.world.look().groups["hello-prod-v003"].version == "1.0.0"
    assert said.out.split()[1] == "promoted"
    shows = shown(served).out
    assert shows.startswith(f"Rollout {said.out.split()[0]}: promoted\n")
    assert "verdict at 10 %: pass" in shows
    again = here(served.world, "cluster", "rollback", "hello-prod", "--yes")
    assert (again.status, prod(served)["v002"]) == (0, 100), again.err


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (("9.9.9",), 3, "No baked image `9.9.9`"),
        (("ami-0", "--app", "/nowhere"), 3, "/nowhere"),
        (("ami-00",), 3, "No baked image"),
    ],
)
def test_what_is_not_there_is_not_found(
    served: Line, words: tuple[str, ...], status: int, what: str
) -> None:
    said = start(served, *words, "--yes")

    assert (said.status, what in said.err) == (status, True), said.err


def test_what_does_not_fit_is_refused_before_anything_is_done(served: Line) -> None:
    before = served.world.look().log
    nowhere = here(
        served.world, "rollout", "start", "hello", "--image", "1.0.0", "--environment", "moon"
    )
    unasked = start(served, "1.0.0")
    with served.world.state() as state:
        image = state.images[0]
        state.images[0] = replace(image, tags={**image.tags, BOOT_CHECK_TAG: UNFIT})
    unfit = start(served, "1.0.0", "--yes")

    assert (nowhere.status, unasked.status, unfit.status) == (3, 2, 4)
    assert "did not pass its boot check" in unfit.err
    assert served.world.look().log == before


def test_the_manifest_of_a_directory_counts_when_it_is_named(
    served: Line, tmp_path: Path, apps: dict[str, Path]
) -> None:
    text = (apps["hello"] / "ovenbird.yaml").read_text()
    (tmp_path / "ovenbird.yaml").write_text(text.replace("t3.micro", "t3.large"))

    plan = here(
        served.world, "rollout", "plan", "--app", str(tmp_path), "--image", "1.0.0",
        "--environment", "prod", "--json",
    )  # fmt: skip

    assert plan.status == 0, plan.err
    judged = [one for one in plan.data["actions"] if one["action"] == "Judge"]
    assert [one["observe_s"] for one in judged] == [0.2, 0.2]
    assert plan.data["manifest"] == f"`{tmp_path}`"
    other = text.replace("app: hello", "app: other")
    (tmp_path / "ovenbird.yaml").write_text(other)
    words = ("--app", str(tmp_path), "--image", "ami-0", "--environment", "prod")
    assert here(served.world, "rollout", "plan", *words).status == 3


def test_a_plan_says_what_changes_and_what_it_costs_and_does_nothing(served: Line) -> None:
    before = served.world.look().log
    with served.world.state() as state:
        state.launched["hello-prod-v002"].update({"environment.MODE": "old", "EbsOptimized": "1"})

    text = here(served.world, "rollout", "plan", *TO_PROD, "1.0.0").out
    dry = start(served, "1.0.0", "--dry-run", "--json").data

    assert "  at most   6 (2 of hello-prod-v001, 2 of hello-prod-v002, 2 of" in text
    assert "cost      up to 0.0208 more per hour" in text
    assert "image     ami-1 (1.1.0) → ami-0 (1.0.0)" in text
    assert "packages  not known: no evidence is kept of both images" in text
    assert "values    MODE: old → none" in text
    assert "template  EbsOptimized: 1 → none" in text
    assert dry["instances"]["after"]["hello-prod-v003"] == 2
    assert served.world.look().log == before
    assert here(served.world, "rollout", "list", "--json").data["rollouts"][0]["release_id"]


def test_a_cost_without_a_price_is_not_known(served: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.pipeline.installation.PRICES", {})

    text = here(served.world, "rollout", "plan", *TO_PROD, "1.0.0").out

    assert "cost      not known: no price of `t3.micro` in the settings" in text


def test_a_paused_rollout_stands_and_goes_on_where_it_is_told_to(served: Line, wait: Wait) -> None:
    first = begin(served, "1.0.0")
    wait(lambda: 10 in prod(served).values())
    paused = here(served.world, "rollout", "pause", "hello-prod")
    again = here(served.world, "rollout", "pause", "hello-prod", "--json")
    status, err = ended(first)

    assert (paused.status, again.status, status) == (0, 0, 0), err
    assert "waits for a person; go on with\n  ovenbird rollout continue hello-prod-" in err
    assert prod(served) == {"v001": 0, "v002": 90, "v003": 10}
    assert "waits    Paused by" in shown(served, "hello-prod").out
    would = here(served.world, "rollout", "continue", "--dry-run")
    assert "would go on" in would.out
    assert prod(served)["v003"] == 10

    continued = apart(served.world, "rollout", "continue", "hello-prod")

    assert (continued.status, continued.out.split()[1]) == (0, "promoted"), continued.err
    assert prod(served) == {"v001": 0, "v002": 0, "v003": 100}
    assert here(served.world, "rollout", "continue", "hello-prod").status == 4
    assert here(served.world, "rollout", "pause", "hello-prod").status == 4


def test_a_rollout_is_paused_twice_and_continued_from_elsewhere(served: Line, wait: Wait) -> None:
    first = begin(served, "1.0.0")
    wait(lambda: 10 in prod(served).values())
    for step in (50, 100):
        here(served.world, "rollout", "pause", "hello-prod")
        ended(first)
        assert step not in prod(served).values()
        first = begun(served.world, "rollout", "continue", "hello-prod")
        wait(lambda step=step: step in prod(served).values())  # type: ignore[misc]
        assert state_of(served) in {"running", "promoted"}, "it goes on in another process"
    ended(first)

    assert state_of(served) == "promoted"


def test_a_promotion_leaves_out_what_is_left_and_judges_no_more(served: Line, wait: Wait) -> None:
    with served.world.state() as state:
        state.silent = True  # judged, it would not pass
    first = begin(served, "1.0.0")
    wait(lambda: 10 in prod(served).values())

    promoted = here(served.world, "rollout", "promote", "hello-prod", "--yes")
    again = here(served.world, "rollout", "promote", "hello-prod", "--dry-run")
    status, err = ended(first)

    assert (promoted.status, again.status in {0, 4}, status) == (0, True, 0), err
    assert "Another process works on" in promoted.err
    assert prod(served) == {"v001": 0, "v002": 0, "v003": 100}
    log = served.world.look().log
    assert "weights hello-prod-v002 50, hello-prod-v003 50" not in log
    assert "Left out, promoted by" in shown(served).out
    assert here(served.world, "rollout", "promote", "hello-prod", "--yes").status == 4


def test_alarms_take_a_promoted_rollout_back(served: Line, wait: Wait) -> None:
    first = begin(served, "1.0.0")
    wait(lambda: 10 in prod(served).values())
    here(served.world, "rollout", "pause", "hello-prod")
    ended(first)
    with served.world.state() as state:
        state.fires_after = "weights hello-prod-v002 90, hello-prod-v003 10"

    said = apart(served.world, "rollout", "promote", "hello-prod", "--yes")

    assert said.status == 6, said.err
    assert prod(served) == {"v001": 0, "v002": 100}


def test_an_abort_takes_a_paused_rollout_back(served: Line, wait: Wait) -> None:
    first = begin(served, "1.0.0")
    wait(lambda: 10 in prod(served).values())
    here(served.world, "rollout", "pause", "hello-prod")
    ended(first)

    would = here(served.world, "rollout", "abort", "hello-prod", "--dry-run")
    aborted = apart(served.world, "rollout", "abort", "hello-prod")

    assert "1. Send 100 % to `hello-prod-v002`" in would.out
    assert (aborted.status, aborted.out.split()[1]) == (0, "aborted"), aborted.err
    assert prod(served) == {"v001": 0, "v002": 100}
    assert apart(served.world, "rollout", "abort", "hello-prod").status == 4


def test_a_killed_rollout_is_completed_by_resume(served: Line) -> None:
    status, _ = ended(begin(served, "1.0.0", OVENBIRD_DIE_AFTER="prod/set_weights"))
    taken = start(served, "1.1.0", "--yes")

    resumed = apart(served.world, "release", "resume", "--json")

    assert status == -signal.SIGKILL
    assert taken.status == 0, taken.err  # the other one was completed first
    assert (resumed.status, resumed.data) == (0, [])
    made = [what for what in served.world.look().log if what.startswith("create hello-prod-v00")]
    assert len(made) == len(set(made))
    assert state_of(served) == "promoted"


def test_a_second_rollout_of_a_cluster_is_refused_and_told_who_works(
    served: Line, wait: Wait
) -> None:
    first = begin(served, "1.0.0")
    wait(lambda: 10 in prod(served).values())
    refused = start(served, "1.1.0", "--yes", "--json")
    shows = here(served.world, "cluster", "show", "hello-prod").out
    status, err = ended(first)

    assert status == 0, err
    assert (refused.status, refused.data["error"]) == (4, "Conflict")
    assert "A rollout is under way" in refused.err
    assert "second" in refused.err.partition("(")[2]
    assert "--queue" in refused.err
    assert "under way  A rollout is under way (`hello-prod-rollout-" in shows


def test_a_queued_rollout_waits_for_its_turn_and_is_seen(served: Line, wait: Wait) -> None:
    first = begin(served, "1.0.0")
    wait(lambda: 10 in prod(served).values())
    second = begin(served, "1.1.0", "--queue")
    wait(lambda: state_of(served) == "queued")
    listed = here(served.world, "rollout", "list", "--json").data["rollouts"]
    early = here(served.world, "rollout", "pause", "hello-prod")

    assert [one["phase"] for one in listed[:2]] == ["queued", "running"]
    assert early.status == 4
    assert ended(first)[0] == 0
    status, err = ended(second)
    assert status == 0, err
    assert "Waiting for its turn on cluster hello-prod in prod, behind `hello-prod-rollout-" in err
    assert prod(served)["v004"] == 100


def test_a_queued_rollout_completes_what_the_one_before_it_left_when_it_died(
    served: Line, wait: Wait
) -> None:
    first = begin(served, "1.0.0")
    wait(lambda: 10 in prod(served).values())
    second = begin(served, "1.1.0", "--queue")
    wait(lambda: state_of(served) == "queued")
    first.kill()
    ended(first)

    status, err = ended(second)

    assert status == 0, err
    rollouts = here(served.world, "rollout", "list", "--json").data["rollouts"]
    assert [one["phase"] for one in rollouts[:2]] == ["promoted", "promoted"]


def test_a_queued_rollout_that_was_killed_keeps_its_place(served: Line, wait: Wait) -> None:
    first = begin(served, "1.0.0")
    wait(lambda: 10 in prod(served).values())
    second = begin(served, "1.1.0", "--queue")
    wait(lambda: state_of(served) == "queued")
    second.kill()
    ended(second)
    status, err = ended(first)
    assert status == 0, err

    third = start(served, "1.0.0", "--yes")

    assert third.status == 0, third.err
    groups = served.world.look().groups
    versions = [groups[f"hello-prod-v00{n}"].version for n in (4, 5)]
    assert versions == ["1.1.0", "1.0.0"]


def test_a_newer_rollout_takes_the_place_of_one_that_waits(served: Line, wait: Wait) -> None:
    first = begin(served, "1.0.0")
    wait(lambda: 10 in prod(served).values())
    second = begin(served, "1.1.0", "--queue")
    wait(lambda: state_of(served) == "queued")
    third = begin(served, "1.1.0", "--supersede")
    status, err = ended(second)

    assert status == 130, err
    assert "Superseded by `hello-prod-rollout-" in err
    assert ended(first)[0] == 0
    status, err = ended(third)
    assert status == 0, err
    rollouts = here(served.world, "rollout", "list", "--json").data["rollouts"]
    assert [one["phase"] for one in rollouts[:3]] == ["promoted", "superseded", "promoted"]


def test_what_waits_behind_a_rollout_that_stands_holds_nobody_up(served: Line, wait: Wait) -> None:
    first = begin(served, "1.0.0")
    wait(lambda: 10 in prod(served).values())
    here(served.world, "rollout", "pause", "hello-prod")
    ended(first)
    second = begin(served, "1.1.0", "--queue")
    wait(lambda: state_of(served) == "queued")
    second.kill()
    ended(second)

    def listed(key: str) -> list[str]:
        rollouts = here(served.world, "rollout", "list", "--json").data["rollouts"]
        return [one[key] for one in rollouts[:3]]

    refused = start(served, "1.1.0", "--yes")
    third = begin(served, "1.1.0", "--supersede")

    assert refused.status == 4
    assert "holds cluster hello-prod" in refused.err
    wait(lambda: listed("phase") == ["queued", "superseded", "waiting"])
    assert apart(served.world, "rollout", "continue", listed("rollout_id")[2]).status == 0
    status, err = ended(third)
    assert status == 0, err
    assert listed("phase") == ["promoted", "superseded", "promoted"]


def test_watch_follows_to_the_end_and_says_how_it_was(served: Line, wait: Wait) -> None:
    with served.world.state() as state:
        state.bad.append("1.0.0")
    first = begin(served, "1.0.0")
    wait(lambda: 10 in prod(served).values())
    watched = apart(served.world, "rollout", "watch", "hello-prod")
    status, _ = ended(first)

    assert (status, watched.status) == (6, 6)
    assert watched.out.endswith("  rolled back\n")
    assert "prod: Rolling back: The canary" in watched.err
    lines = here(served.world, "rollout", "watch", "--json", "hello-prod").out.splitlines()
    assert lines[0].startswith('{"sequence": ')


def test_what_is_asked_of_no_rollout_is_not_found(line: Line) -> None:
    for words in (("show",), ("pause",), ("watch",), ("abort", "hello-prod")):
        assert here(line.world, "rollout", *words).status == 3
    assert here(line.world, "rollout", "list", "--json").data == {
        "rollouts": [], "releases_queued": [],
    }  # fmt: skip


def test_a_lock_is_taken_from_an_owner_whose_process_died(served: Line) -> None:
    assert ended(begin(served, "1.0.0", OVENBIRD_DIE_AFTER="prod/set_weights"))[0] == -9

    dry = here(served.world, "cluster", "unlock", "hello-prod", "--dry-run")
    asked = here(served.world, "cluster", "unlock", "hello-prod")
    done = apart(served.world, "cluster", "unlock", "hello-prod", "--yes", "--json")
    again = here(served.world, "cluster", "unlock", "hello-prod", "--yes")

    assert (dry.status, asked.status, done.status, again.status) == (0, 2, 0, 3), done.err
    assert "The traffic stays divided: `hello-prod-v002` 90 %, `hello-prod-v003` 10 %" in dry.out
    assert "stays pinned" in dry.out
    assert done.data["alive"] is False
    assert state_of(served) == "aborted"
    assert apart(served.world, "release", "resume").err == "Nothing was left unfinished\n"
    back = here(served.world, "cluster", "rollback", "hello-prod", "--yes")
    assert (back.status, prod(served)["v002"]) == (0, 100), back.err


def test_a_lock_of_a_living_process_is_taken_only_by_force(served: Line, wait: Wait) -> None:
    first = begin(served, "1.0.0")
    wait(lambda: 10 in prod(served).values())
    refused = here(served.world, "cluster", "unlock", "hello-prod", "--yes")
    forced = apart(served.world, "cluster", "unlock", "hello-prod", "--yes", "--force")
    status, err = ended(first)

    assert (refused.status, forced.status) == (4, 0), forced.err
    assert "A living process works on" in refused.err
    assert status != 0
    assert "Its lock was taken away by a person" in err
    assert "Traceback" not in err
    assert prod(served)["v003"] < 100


def test_clusters_are_shown_with_the_addresses_of_their_instances(served: Line) -> None:
    assert "healthy      10.0.0.1" in here(served.world, "cluster", "show", "hello-prod").out


@pytest.fixture
def manual(line: Line, apps: dict[str, Path]) -> Line:
    """A line on which 1.0.0 serves, and whose canaries wait for a word at 10 %."""
    found = Line(line.world, apps["manual"])
    assert _release(found, "v1.0.0").status == 0
    return found


def _release(line: Line, ref: str, **environment: str) -> Said:
    words = ("release", "start", "--app", str(line.app), "--ref", ref)
    return apart(line.world, *words, **environment)


def test_a_manual_step_waits_for_a_word_whoever_dies(manual: Line) -> None:
    waits = _release(manual, "v1.1.0")
    shows = here(manual.world, "release", "show", "latest", "--json").data
    resumed = apart(manual.world, "release", "resume", "latest")
    killed = apart(
        manual.world, "rollout", "continue", "hello-prod", OVENBIRD_DIE_AFTER="prod/await_word"
    )
    assert prod(manual) == {"v001": 90, "v002": 10}

    done = apart(manual.world, "rollout", "continue", "hello-prod")

    assert (waits.status, shows["phase"], resumed.status) == (0, "waiting", 0), waits.err
    assert f"ovenbird rollout continue {shows['release_id']}-prod" in waits.err
    assert killed.status == -signal.SIGKILL
    assert (done.status, done.out.split()[1]) == (0, "promoted"), done.err
    made = [what for what in manual.world.look().log if what.startswith(("create", "register"))]
    assert len(made) == len(set(made))


def test_an_alarm_ends_a_rollout_that_waits_for_a_word(manual: Line, wait: Wait) -> None:
    with manual.running() as engine:
        request = manual.request("v1.1.0")
        manual.begin(engine, request)
        wait(lambda: engine.ports.store.get_release(request.release_id).phase == "waiting")
        with manual.world.state() as state:
            state.fires_after = "weights hello-prod-v001 90, hello-prod-v002 10"
        phase = engine.result(request.release_id).phase

    assert phase == "rolled_back"
    assert prod(manual) == {"v001": 100}


@pytest.mark.chaos
def test_a_promotion_killed_after_each_step_in_turn_is_completed(manual: Line) -> None:
    _release(manual, "v1.1.0")
    names = ["prod/await_word", "prod/judge", "prod/resize", "prod/set_weights", "prod/finish"]
    words: tuple[str, ...] = ("rollout", "promote", "hello-prod", "--yes")
    for name in names:
        said = apart(manual.world, *words, OVENBIRD_DIE_AFTER=name)
        assert (name, said.status) == (name, -signal.SIGKILL), said.err
        words = ("release", "resume")

    done = apart(manual.world, "release", "resume", "--json")

    assert (done.status, [one["phase"] for one in done.data]) == (0, ["promoted"]), done.err
    assert prod(manual) == {"v001": 0, "v002": 100}
    log = manual.world.look().log
    assert "weights hello-prod-v001 50, hello-prod-v002 50" not in log


def test_a_newer_release_takes_the_place_of_one_that_waits_for_approval(asking: Line) -> None:
    first = _release(asking, "v1.0.0")
    refused = _release(asking, "v1.1.0")
    would = here(asking.world, "release", "approve", "--dry-run")
    words = ("release", "start", "--app", str(asking.app), "--ref", "v1.1.0")
    second = apart(asking.world, *words, "--supersede")

    assert (first.status, refused.status, second.status) == (0, 4, 0), second.err
    assert "`--supersede`" in refused.err
    assert "would roll out in `prod`" in would.out
    phases = [one["phase"] for one in here(asking.world, "release", "list", "--json").data]
    assert phases == ["waiting", "superseded"]


def test_a_queued_release_waits_for_its_turn(asking: Line, wait: Wait) -> None:
    first = _release(asking, "v1.0.0")
    words = ("release", "start", "--app", str(asking.app), "--ref", "v1.1.0", "--queue")
    second = begun(asking.world, *words)
    wait(lambda: bool(here(asking.world, "rollout", "list", "--json").data["releases_queued"]))
    rejected = apart(asking.world, "release", "reject", asking.request("v1.0.0").release_id)
    status, err = ended(second)

    assert (first.status, rejected.status, status) == (0, 0, 0), err
    phases = [one["phase"] for one in here(asking.world, "release", "list", "--json").data]
    assert phases == ["waiting", "rejected"]
