"""Bad input: a clear error with place and hint, the documented status, and 1.0.0 serves on."""

from __future__ import annotations

import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import CLI, Branch, Kept

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

DEAD = "http://127.0.0.1:9"
QUICK = ("interval_s: 5}", "interval_s: 5, startup_s: 12}")


@pytest.fixture(autouse=True)
def still_served(kept: Kept) -> Iterator[None]:
    """Whatever was done, production answers as before and nothing half-made is left."""
    yield
    url = kept.ask("sandbox", "status")["urls"]["prod"]
    with urllib.request.urlopen(f"{url}/version", timeout=5) as answer:  # noqa: S310 - loopback
        assert answer.headers["X-Hello-Version"] == "1.0.0"
    for cluster in kept.ask("cluster", "list"):
        assert sum(group["weight"] for group in cluster["groups"]) == 100
        assert len([g for g in cluster["groups"] if not g["weight"]]) <= 2


def release(kept: Kept, ref: str, status: int, *words: str) -> str:
    """Start a release that must end with *status*; return what it said to people."""
    argv = ("release", "start", "--app", str(kept.app), "--ref", ref, "--yes")
    done = kept.run(*argv, *words, status=status)
    assert "error: " in done.stderr
    return done.stderr


def test_an_unknown_key_is_named_with_its_line(kept: Kept, branch: Branch) -> None:
    said = release(kept, branch("typo", {"ovenbird.yaml": ("maintainer:", "maintainr:")}), 2)

    assert "ovenbird.yaml:2" in said
    assert "`maintainer`" in said


def test_a_build_that_fails_shows_its_last_lines(kept: Kept, branch: Branch) -> None:
    said = release(
        kept, branch("broken", {"Makefile": ("dist:", "dist:\n\techo ouch; false\n\nx:")}), 5
    )

    assert "ouch" in said


def test_a_commit_that_does_not_exist(kept: Kept) -> None:
    said = release(kept, "v9.9.9", 3)

    assert "`v9.9.9`" in said


def test_a_base_image_that_is_missing(kept: Kept, branch: Branch) -> None:
    said = release(
        kept, branch("base", {"ovenbird.yaml": ("base: debian-12", "base: debian-99")}), 3
    )

    assert "`debian-99`" in said
    assert "hint: Known: `debian-12`" in said


def test_a_service_that_never_starts_is_taken_back(kept: Kept, branch: Branch) -> None:
    dead = branch("dead", {"ovenbird.yaml": QUICK, "bin/hello": ("#!", "#!/bin/false ")})
    said = release(kept, dead, 6)

    assert "0 of 1 instances healthy" in said
    (failed,) = (r for r in kept.ask("release", "list") if r["ref"] == dead)
    assert failed["phase"] == "rolled_back"
    groups = kept.ask("cluster", "show", "hello-dev")["groups"]
    assert failed["release_id"] not in {group["release_id"] for group in groups}


def test_two_releases_at_once_are_refused(kept: Kept, branch: Branch) -> None:
    slow = branch("slow", {"Makefile": ("dist:", "dist:\n\tsleep 8; false\n\nx:")})
    argv = [CLI, "release", "start", "--app", str(kept.app), "--ref", slow, "--yes"]
    first = threading.Thread(target=lambda: kept.try_run(*map(str, argv[1:])))
    first.start()
    try:
        said = _refused(kept)
    finally:
        first.join()

    assert "another release" in said.lower() or "under way" in said


def _refused(kept: Kept) -> str:
    for _ in range(40):
        if any(r["phase"] == "running" for r in kept.ask("release", "list")):
            return release(kept, "v1.1.0", 4)
        threading.Event().wait(0.2)
    pytest.fail("the first release did not begin")


def test_without_a_sandbox_the_hint_says_how_to_start_it(kept: Kept) -> None:
    nowhere = kept.run("cluster", "list", status=2, OVENBIRD_HOME=str(kept.home / "elsewhere"))
    settings = kept.home / "dead.yaml"
    text = (kept.home / "sandbox/settings.yaml").read_text()
    settings.write_text(text.replace(kept.ask("sandbox", "status")["endpoint_url"], DEAD))
    silent = kept.try_run("--settings", str(settings), "cluster", "list")

    assert "ovenbird sandbox up" in nowhere.stderr
    assert silent.returncode != 0
    assert "ovenbird sandbox up" in silent.stderr


def test_a_disk_without_room_is_refused_before_anything_is_done(kept: Kept) -> None:
    full, settings = kept.home / "full", kept.home / "full.yaml"
    full.mkdir()
    text = (kept.home / "sandbox/settings.yaml").read_text()
    settings.write_text(text.replace(str(kept.home / "state"), str(full / "state")))
    subprocess.run(  # noqa: S603
        ["/bin/mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(full)], check=True
    )
    try:
        said = release(kept, "v1.1.0", 1, "--settings", str(settings))
    finally:
        subprocess.run(["/bin/umount", str(full)], check=True)  # noqa: S603

    assert f"The disk with `{full / 'state'}` is nearly full" in said


def test_the_module_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ovenbird", "--version"], capture_output=True, text=True, check=True
    )

    assert "ovenbird" in done.stdout
