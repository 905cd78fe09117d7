"""What a guest says of its boot, and what is made of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovenbird.domain.boot_checks import (
    BootReport,
    Probe,
    Round,
    is_needed,
    is_settled,
    last_round,
    proof_of,
    why_unfit,
    without_rounds,
)
from ovenbird.domain.images import BootCheck
from tests.unit.domain.test_provenance import BASE

PROOF = proof_of("4711")
APP = Probe(port=80, path="/healthz")
GOOD = Round(number=2, state="running", failed=(), restarted=())
BAD = replace(GOOD, state="degraded", failed=("web.service",))


def said(*lines: str, proof: str = PROOF) -> str:
    return "".join(f"[  OK  ] Started one.\r\novenbird-boot {proof} {line}\r\n" for line in lines)


def test_what_a_person_reads_of_a_console_has_no_rounds() -> None:
    rounds = "".join(f"\r\novenbird-boot {PROOF} {line}\r\n" for line in ("begin running", "end 1"))
    console = f"Started one.\r\n{rounds * 60}web.service: it failed\r\n{rounds * 60}"

    said = without_rounds(console, PROOF).replace("\r", "")
    assert said == "Started one.\n\nweb.service: it failed"


def test_the_last_round_that_was_said_to_its_end_counts() -> None:
    console = said(
        "begin starting", "failed old.service", "end 1",
        "begin degraded", "failed b.service", "failed a.service", "restarted c.service 5", "end 2",
        "begin running",
    )  # fmt: skip

    assert last_round(console, PROOF) == Round(
        number=2, state="degraded", failed=("a.service", "b.service"),
        restarted=(("c.service", 5),),
    )  # fmt: skip


@pytest.mark.parametrize(
    "console",
    [
        "",
        "Welcome to Debian",
        said("begin running", "end 1", proof=proof_of("4712")),
        said("begin running", "end 1", proof="4711"),
        said("begin running"),
        said("end 1"),
        said("begin running", "end soon"),
    ],
)
def test_what_no_guest_can_have_said_does_not_count(console: str) -> None:
    assert last_round(console, PROOF) is None


@pytest.mark.parametrize(
    ("last", "answered_in", "status", "settled"),
    [
        (None, 0, 200, False),
        (replace(GOOD, state="maintenance"), 1, 200, False),
        (BAD, 0, 0, True),
        (GOOD, 0, 0, False),
        (GOOD, 0, 503, False),
        (GOOD, 2, 200, False),  # what fails with the first request is in the next round
        (GOOD, 1, 200, True),
    ],
)
def test_a_guest_is_judged_when_it_has_failed_or_answered(
    last: Round | None,
    answered_in: int,
    status: int,
    settled: bool,  # noqa: FBT001
) -> None:
    assert is_settled(last, APP, answered_in=answered_in, status=status) is settled


def test_a_guest_without_a_port_is_judged_in_the_second_round() -> None:
    first = replace(GOOD, number=1)

    assert not is_settled(first, Probe(), answered_in=0, status=0)
    assert is_settled(GOOD, Probe(), answered_in=0, status=0)


REPORT = BootReport(engine="container", last=GOOD, status=200, seconds=3.0)


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (REPORT, ""),
        (replace(REPORT, status=302), ""),
        (replace(REPORT, last=None),
         "The guest has said nothing within 3 s: it did not boot"),
        (replace(REPORT, last=None, ended=True),
         "The guest ended without a word within 3 s: it did not boot"),
        (replace(REPORT, last=BAD), "`web.service` failed"),
        (replace(REPORT, ended=True), "The guest ended after its boot"),
        (replace(REPORT, last=replace(GOOD, state="starting")),
         "The boot was still `starting` after 3 s"),
        (replace(REPORT, status=503), "`/healthz` at port 80 answered with status 503 after 3 s"),
        (replace(REPORT, status=0, last=replace(GOOD, restarted=(("web.service", 7),))),
         "`/healthz` at port 80 did not answer after 3 s; started again: `web.service` (7 times)"),
    ],
)  # fmt: skip
def test_a_report_says_why_an_image_is_not_fit(report: BootReport, reason: str) -> None:
    assert why_unfit(report, APP) == reason


def test_units_that_may_fail_do_not_count() -> None:
    probe = Probe(port=80, ignored=("web.service",))

    assert why_unfit(replace(REPORT, last=BAD), probe) == ""
    assert not is_settled(BAD, probe, answered_in=0, status=0)


def tagged(**tags: str) -> dict[str, str]:
    return {f"ovenbird:{name.replace('_', '-')}": value for name, value in tags.items()}


NEW = replace(BASE, tags=tagged(base_image="ami-1", builder="engine 2"))
PASSED = replace(BASE, tags=tagged(base_image="ami-1", builder="engine 2", boot_check="passed"))


@pytest.mark.parametrize(
    ("policy", "image", "earlier", "needed"),
    [
        (BootCheck.OFF, NEW, (), False),
        (BootCheck.ALWAYS, NEW, (PASSED,), True),
        (BootCheck.ALWAYS, PASSED, (), False),
        (BootCheck.FIRST, NEW, (), True),
        (BootCheck.FIRST, NEW, (NEW,), True),
        (BootCheck.FIRST, NEW, (PASSED,), False),
        (BootCheck.FIRST, NEW,
         (replace(PASSED, tags={**PASSED.tags, "ovenbird:base-image": "ami-2"}),), True),
        (BootCheck.FIRST, NEW,
         (replace(PASSED, tags={**PASSED.tags, "ovenbird:boot-check": "failed"}),), True),
    ],
)  # fmt: skip
def test_the_policy_says_which_images_are_booted(
    policy: BootCheck,
    image: object,
    earlier: tuple[object, ...],
    needed: bool,  # noqa: FBT001
) -> None:
    assert is_needed(policy, image, earlier) is needed  # type: ignore[arg-type]
