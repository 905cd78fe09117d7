"""`ovenbird release start --set NAME=VALUE`: to the machines, and kept with the release."""

from __future__ import annotations

from tests.pipeline.conftest import Line
from tests.pipeline.installation import Said, here


def start(line: Line, *words: str) -> Said:
    return here(line.world, "release", "start", "--app", str(line.app), "--ref", "v1.0.0", *words)


def test_what_is_set_reaches_the_machines_and_is_told(line: Line) -> None:
    said = start(line, "--set", "LEVEL=debug", "--set", "URL=http://a?b=c", "--set", "LEVEL=info")

    assert said.status == 0, said.err
    created = [word for word in line.world.look().log if word.startswith("create hello-prod")]
    assert created == ["create hello-prod-v001 LEVEL=info URL=http://a?b=c"]
    logs = here(line.world, "release", "logs", "latest").out
    assert "Values given: `LEVEL=info`, `URL=http://a?b=c`" in logs


def test_what_cannot_be_set_is_refused_before_anything_is_done(line: Line) -> None:
    shapeless = start(line, "--set", "LEVEL")
    nameless = start(line, "--set", "1A=b")
    broken = start(line, "--set", "A=b\nc")
    long = start(line, "--set", f"A={'x' * 17_000}")

    assert [one.status for one in (shapeless, nameless, broken, long)] == [2, 2, 2, 2]
    assert "is not NAME=VALUE" in shapeless.err
    assert "`1A` is not a variable's name" in nameless.err
    assert "line break" in broken.err
    assert "EC2 takes 16384" in long.err
    assert line.world.look().log == []
