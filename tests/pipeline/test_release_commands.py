"""`ovenbird release` as a person uses it, on a world; each process may die."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from threading import Thread

import pytest

from ovenbird.domain.releases import Phase
from ovenbird.operations.work import Watch
from tests.pipeline.conftest import Line, Wait
from tests.pipeline.installation import Said, apart, begun, here


def start(line: Line, ref: str, *words: str) -> Said:
    return here(line.world, "release", "start", "--app", str(line.app), "--ref", ref, *words)


def weights(line: Line, environment: str) -> dict[str, int]:
    groups = line.world.look().groups
    return {name: group.weight for name, group in groups.items() if environment in name}


def test_a_release_is_told_live_and_ends_with_one_line_of_data(line: Line) -> None:
    said = start(line, "v1.0.0")

    assert said.status == 0, said.err
    release_id = line.request("v1.0.0").release_id
    assert said.out == f"{release_id}  promoted  1.0.0  ami-0\n"
    lines = said.err.splitlines()
    assert next(line for line in lines if line.startswith("bake")).endswith("2 of 900 blocks")
    assert "prod: Send 100 % to `hello-prod-v001`" in lines
    assert lines[-1] == f"Release `{release_id}` promoted"


def test_a_release_that_failed_its_canary_has_the_status_of_the_unhealthy(line: Line) -> None:
    start(line, "v1.0.0")
    with line.world.state() as state:
        state.bad.append("1.2.0")

    said = start(line, "v1.2.0", "--json")

    assert said.status == 6
    assert said.data["phase"] == "rolled_back"
    assert [stage["name"] for stage in said.data["stages"]][-1] == "rollout prod"
    assert said.data["rollouts"][1]["verdicts"][0]["outcome"] == "fail"
    assert "failed at 10 %" in said.err
    shown = here(line.world, "release", "show")
    assert "verdict at 10 %: fail, " in shown.out
    listed = here(line.world, "release", "list", "--json").data
    assert [found["phase"] for found in listed] == ["rolled_back", "promoted"]


def test_a_dry_run_shows_the_plans_and_changes_nothing(line: Line) -> None:
    said = start(line, "v1.0.0", "--dry-run")

    assert (said.status, line.world.look().log) == (0, [])
    assert "image to be baked" in said.out
    assert "3. Send 100 % to `hello-prod-v001`" in said.out
    assert (
        start(line, "v1.0.0", "--dry-run", "--json").data["rollouts"][1]["cluster"] == "hello-prod"
    )
    assert here(line.world, "release", "list", "--json").data == []


def test_a_commit_that_is_not_there_is_not_found(line: Line) -> None:
    said = start(line, "v9.9.9", "--json")

    assert said.status == 3
    assert said.data["error"] == "NotFound"
    assert "v9.9.9" in said.data["message"]


def test_a_commit_can_be_released_again_when_its_release_has_ended(line: Line) -> None:
    start(line, "v1.0.0")

    said = start(line, "v1.0.0")

    built = next(line for line in said.err.splitlines() if line.startswith("build"))
    assert built.endswith("Found `hello` 1.0.0, published before from this commit")
    assert said.out.startswith(f"{line.request('v1.0.0').release_id[:-1]}2  promoted")
    assert line.world.look().log.count("register 1.0.0") == 1


def test_a_second_release_of_an_app_under_way_is_refused_and_named(line: Line, wait: Wait) -> None:
    start(line, "v1.0.0")
    with line.world.state() as state:
        state.silent = True  # the canary is observed for longer
    first = begun(line.world, "release", "start", "--app", str(line.app), "--ref", "v1.1.0")
    try:
        wait(lambda: 10 in weights(line, "prod").values())
        said = start(line, "v1.2.0", "--json")
        taken = here(line.world, "cluster", "rollback", "hello-prod", "--yes")
    finally:
        first.communicate(timeout=120)

    release_id = line.request("v1.1.0").release_id
    assert (said.status, said.data["facts"]["owner"]) == (4, release_id)
    assert taken.status == 4
    assert f"ovenbird release abort {release_id}" in taken.err


def test_an_abort_from_another_process_takes_the_canary_back(line: Line, wait: Wait) -> None:
    start(line, "v1.0.0")
    with line.world.state() as state:
        state.silent = True
    first = begun(line.world, "release", "start", "--app", str(line.app), "--ref", "v1.1.0")
    wait(lambda: 10 in weights(line, "prod").values())

    said = here(line.world, "release", "abort")
    first.communicate(timeout=120)

    assert said.status == 0
    assert "Another process works on" in said.err
    assert first.returncode == 130
    assert weights(line, "prod") == {"hello-prod-v001": 100}


def test_an_abort_does_not_wait_for_instances_that_never_get_healthy(
    line: Line, wait: Wait
) -> None:
    with line.world.state() as state:
        state.sick = True
    first = begun(line.world, "release", "start", "--app", str(line.app), "--ref", "v1.0.0")
    wait(lambda: bool(line.world.look().groups))

    here(line.world, "release", "abort")
    first.communicate(timeout=120)

    assert first.returncode == 130
    assert line.world.look().groups == {}


def test_a_release_waits_in_no_process_and_goes_on_where_it_is_approved(asking: Line) -> None:
    release_id = asking.request("v1.0.0").release_id

    waits = apart(asking.world, "release", "start", "--app", str(asking.app), "--ref", "v1.0.0")
    again = apart(asking.world, "release", "start", "--app", str(asking.app), "--ref", "v1.1.0")
    resumed = apart(asking.world, "release", "resume", release_id[:10])
    wrong = apart(asking.world, "release", "approve", "--environment", "dev")
    approved = apart(asking.world, "release", "approve", "--json")

    assert (waits.status, waits.out.split()[:2]) == (0, [release_id, "waiting"])
    assert f"ovenbird release approve {release_id}" in waits.err
    assert again.status == 4
    assert f"ovenbird release reject {release_id}" in again.err
    assert (resumed.status, wrong.status) == (0, 4)
    assert (approved.status, approved.data["phase"]) == (0, "promoted")
    assert weights(asking, "prod") == {"hello-prod-v001": 100}
    assert apart(asking.world, "release", "approve").status == 4


@pytest.mark.parametrize(("word", "phase"), [("reject", "rejected"), ("abort", "aborted")])
def test_a_word_ends_a_release_that_waits_and_frees_its_app(
    asking: Line, word: str, phase: str
) -> None:
    apart(asking.world, "release", "start", "--app", str(asking.app), "--ref", "v1.0.0")

    said = apart(asking.world, "release", word, "--json")
    again = apart(asking.world, "release", "start", "--app", str(asking.app), "--ref", "v1.1.0")

    assert (said.status, said.data["phase"]) == (0, phase), said.err
    assert (again.status, again.out.split()[1]) == (0, "waiting")


@pytest.mark.parametrize("name", ["build", "bake", "prod/set_weights", "finish"])
def test_what_a_killed_process_left_is_completed_by_resume(line: Line, name: str) -> None:
    words = ("release", "start", "--app", str(line.app), "--ref", "v1.0.0")
    killed = apart(line.world, *words, OVENBIRD_DIE_AFTER=name)

    resumed = apart(line.world, "release", "resume", "--json")

    assert killed.status == -signal.SIGKILL
    assert (resumed.status, [one["phase"] for one in resumed.data]) == (0, ["promoted"])
    assert line.world.look().log.count("create hello-prod-v001") == 1
    assert apart(line.world, "release", "resume").err == "Nothing was left unfinished\n"


def test_the_next_start_of_the_same_commit_goes_on_with_what_was_killed(line: Line) -> None:
    words = ("release", "start", "--app", str(line.app), "--ref", "v1.0.0")
    apart(line.world, *words, OVENBIRD_DIE_BEFORE="prod/plan")

    said = apart(line.world, *words)

    assert said.out.startswith(f"{line.request('v1.0.0').release_id}  promoted")
    assert line.world.look().log.count("register 1.0.0") == 1


def test_the_next_start_of_another_commit_completes_the_first_one_before(line: Line) -> None:
    words = ("release", "start", "--app", str(line.app), "--ref")
    apart(line.world, *words, "v1.0.0", OVENBIRD_DIE_BEFORE="prod/plan")

    said = apart(line.world, *words, "v1.1.0")

    assert said.status == 0, said.err
    phases = [one["phase"] for one in here(line.world, "release", "list", "--json").data]
    assert phases == ["promoted", "promoted"]
    assert weights(line, "prod") == {"hello-prod-v001": 0, "hello-prod-v002": 100}


def test_a_start_that_died_before_its_workflow_began_blocks_nothing(line: Line) -> None:
    request = line.request("v1.0.0")
    ports = line.world.ports()
    now = ports.clock.now()
    ports.store.lock("app hello", owner=request.release_id, reason="-", at=now)
    with line.running() as engine:
        engine.ports.store.put_release(line.record(request, now))

    said = start(line, "v1.0.0")

    assert said.out.startswith(f"{request.release_id[:-1]}2  promoted"), said.err
    listed = here(line.world, "release", "list", "--json").data
    assert [one["phase"] for one in listed] == ["promoted", "failed"]


@pytest.fixture
def foreign(asking: Line) -> str:
    """A release that waits for an approval, begun by another version of the program."""
    apart(asking.world, "release", "start", "--app", str(asking.app), "--ref", "v1.0.0")
    with closing(sqlite3.connect(asking.world.directory / "workflows.sqlite")) as database:
        database.execute("update workflow_status set application_version = '0'")
        database.commit()
    return asking.request("v1.0.0").release_id


def test_what_another_version_began_is_left_to_it(asking: Line, foreign: str) -> None:
    approved = apart(asking.world, "release", "approve")
    again = apart(asking.world, "release", "start", "--app", str(asking.app), "--ref", "v1.1.0")

    assert (approved.status, again.status) == (4, 4)
    assert f"Another version of ovenbird began `{foreign}`" in approved.err
    assert f"`ovenbird release abort {foreign}`" in approved.err
    assert f"`{foreign}` holds app hello" in again.err


def test_what_another_version_began_can_be_ended(asking: Line, foreign: str) -> None:
    aborted = apart(asking.world, "release", "abort", "--json")
    again = apart(asking.world, "release", "start", "--app", str(asking.app), "--ref", "v1.1.0")

    assert (aborted.status, aborted.data["phase"]) == (0, "aborted"), aborted.err
    assert "nothing was taken back" in aborted.data["error"]
    assert (again.status, again.out.split()[1]) == (0, "waiting"), again.err


@pytest.mark.parametrize("most", [150_000, 450_000, 600_000])  # before, at, in the canary
def test_a_full_disk_lets_a_release_stand_still_until_there_is_room(line: Line, most: int) -> None:
    start(line, "v1.0.0")
    words = ("release", "start", "--app", str(line.app), "--ref", "v1.1.0")

    full = apart(line.world, *words, FILE_BYTES=str(most))
    resumed = apart(line.world, "release", "resume", "--json")

    assert full.status == 1
    assert "cannot be kept" in full.err or "could not be recorded" in full.err
    assert "`ovenbird release resume`" in full.err
    assert (resumed.status, [one["phase"] for one in resumed.data]) == (0, ["promoted"])
    assert weights(line, "prod") == {"hello-prod-v001": 0, "hello-prod-v002": 100}


def test_what_a_process_took_over_and_dropped_goes_on_where_it_is_watched(
    line: Line, wait: Wait
) -> None:
    start(line, "v1.0.0")
    with line.world.state() as state:
        state.silent = True
    words = ("release", "start", "--app", str(line.app), "--ref", "v1.1.0")
    first = begun(line.world, *words)
    wait(lambda: 10 in weights(line, "prod").values())
    release_id = line.request("v1.1.0").release_id
    with line.running() as engine:
        watching = Thread(target=Watch(engine, lambda _event: None).until_done, args=[[release_id]])
        watching.start()
        first.kill()
        first.communicate(timeout=120)
        watching.join(timeout=120)
        phase = engine.ports.store.get_release(release_id).phase

    assert phase is Phase.ROLLED_BACK


def test_an_interrupted_release_says_how_it_goes_on_and_is_not_lost(
    patient: Line, wait: Wait
) -> None:
    start(patient, "v1.0.0")
    with patient.world.state() as state:
        state.silent = True
    first = begun(patient.world, "release", "start", "--app", str(patient.app), "--ref", "v1.1.0")
    wait(lambda: 10 in weights(patient, "prod").values())
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=120)
    with patient.world.state() as state:
        state.silent = False

    resumed = apart(patient.world, "release", "resume", "latest")

    assert first.returncode == 130
    assert "ovenbird release resume" in err
    assert (resumed.status, resumed.out.split()[1]) == (0, "promoted"), resumed.err


def test_logs_tell_everything_and_follow_to_the_end(line: Line) -> None:
    start(line, "v1.0.0")

    events = here(line.world, "release", "logs", "--json").data
    followed = here(line.world, "release", "logs", "--follow", "latest")

    assert [event["sequence"] for event in events] == sorted(e["sequence"] for e in events)
    assert events[-2]["text"].endswith("promoted")
    assert "Release `" in followed.out


def test_an_id_may_be_cut_short_but_not_be_ambiguous(line: Line) -> None:
    start(line, "v1.0.0")
    start(line, "v1.1.0")

    assert here(line.world, "release", "show", "hello-").status == 2
    assert here(line.world, "release", "show", "nothing").status == 3
    short = line.request("v1.0.0").release_id[:-2]
    assert here(line.world, "release", "show", short, "--json").data["version"] == "1.0.0"
