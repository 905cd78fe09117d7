"""Whether an image boots: what a guest says of itself, and what is made of it.

A guest writes on its console, in rounds, what its init system says. Each line carries an
answer to a number that was put on its disk: a digest, so that no echo of the number counts.

    ovenbird-boot 0f3a… begin degraded
    ovenbird-boot 0f3a… failed web.service
    ovenbird-boot 0f3a… restarted web.service 5
    ovenbird-boot 0f3a… end 3

Source: systemctl(1), `is-system-running`; org.freedesktop.systemd1(5), NRestarts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ovenbird.domain.images import (
    BASE_IMAGE_TAG,
    BOOT_CHECK_TAG,
    BUILDER_TAG,
    FIT,
    BootCheck,
    Image,
)

BEGUN = ("running", "degraded")  # states of a boot that is finished
_PROOF_CHARS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What is asked of a guest.

    Args:
        port: At which the app answers; 0 for an app that is not asked.
        path: Of its health.
        ignored: Units that may fail.
    """

    port: int = 0
    path: str = "/"
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a guest has said last.

    Args:
        number: Counts from 1.
        state: Of the whole system, as ``running`` or ``degraded``.
        failed: Units that failed.
        restarted: Unit → how often it was started again.
    """

    number: int
    state: str
    failed: tuple[str, ...]
    restarted: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BootReport:
    """What came of one boot.

    Args:
        engine: ``container`` or ``qemu``.
        last: What the guest has said last; None when it has said nothing.
        ended: Whether it ended by itself.
        status: HTTP status of the health path; 0 without an answer.
        seconds: From the start until the verdict.
        console: The last that it wrote.
    """

    engine: str
    last: Round | None
    ended: bool = False
    status: int = 0
    seconds: float = 0.0
    console: str = ""


def proof_of(nonce: str) -> str:
    """Return what a guest answers to a number that it found on its disk."""
    return hashlib.sha256(nonce.encode()).hexdigest()[:_PROOF_CHARS]


def last_round(console: str, proof: str) -> Round | None:
    """Return the last round that a guest has said to its end.

    Args:
        console: All that it wrote; other programs write between its lines.
        proof: The right answer; lines with another one do not count.
    """
    lines = re.findall(rf"ovenbird-boot {proof} (\w+) ([^\r\n]*)", console)
    found, words = None, list[tuple[str, str]]()
    for word, rest in lines:
        if word == "begin":
            words = []
        words.append((word, rest.strip()))
        if word == "end" and words[0][0] == "begin" and rest.strip().isdigit():
            found = _round(words)
    return found


def without_rounds(console: str, proof: str) -> str:
    """Return what other programs wrote to a console; the rounds' own lines are taken out."""
    said = re.sub(rf"ovenbird-boot {proof} [^\r\n]*[\r\n]*", "\n", console)
    return re.sub(r"\n[\r\n]*\n", "\n\n", said).strip("\r\n")


def is_needed(policy: BootCheck, image: Image, earlier: Iterable[Image]) -> bool:
    """Tell whether an image is to be booted.

    Args:
        policy: What the manifest says.
        image: Its own tag counts, too.
        earlier: Images of the same app. By the policy ``first`` one that was made from the
            same base by the same builder and has booted is enough.
    """
    if policy is BootCheck.OFF or image.tags.get(BOOT_CHECK_TAG) == FIT:
        return False
    if image.is_unfit:
        return True
    alike = (BASE_IMAGE_TAG, BUILDER_TAG)
    return policy is BootCheck.ALWAYS or not any(
        one.tags.get(BOOT_CHECK_TAG) == FIT
        and all(one.tags.get(tag) == image.tags.get(tag) for tag in alike)
        for one in earlier
    )


def is_settled(last: Round | None, probe: Probe, *, answered_in: int, status: int) -> bool:
    """Tell whether a guest needs no more time to be judged.

    Args:
        last: What it has said last.
        probe: What is asked of it.
        answered_in: Round in which it first answered well; 0 for never.
        status: What it answered last.
    """
    if last is None or last.state not in BEGUN:
        return False
    if _wrong(last.failed, probe.ignored):
        return True
    if not probe.port:
        return last.number >= 2  # what fails right after the boot is in the second
    return is_good(status) and 0 < answered_in < last.number


def why_unfit(report: BootReport, probe: Probe) -> str:
    """Return why an image must not be offered; empty when it may."""
    last = report.last
    if last is None:
        how = "ended without a word" if report.ended else "has said nothing"
        return f"The guest {how} within {report.seconds:.0f} s: it did not boot"
    wrong = ""
    if failed := _wrong(last.failed, probe.ignored):
        wrong = f"{_listed(failed)} failed"
    elif report.ended:
        wrong = "The guest ended after its boot"
    elif last.state not in BEGUN:
        wrong = f"The boot was still `{last.state}` after {report.seconds:.0f} s"
    elif probe.port and not is_good(report.status):
        wrong = _unhealthy(report, last, probe)
    return wrong


def _unhealthy(report: BootReport, last: Round, probe: Probe) -> str:
    said = f"answered with status {report.status}" if report.status else "did not answer"
    restarted = [f"`{name}` ({times} times)" for name, times in last.restarted]
    why = f"; started again: {', '.join(restarted)}" if restarted else ""
    return f"`{probe.path}` at port {probe.port} {said} after {report.seconds:.0f} s{why}"


def is_good(status: int) -> bool:
    """Tell whether an HTTP status means health."""
    return 200 <= status < 400


def _wrong(failed: Collection[str], ignored: Collection[str]) -> tuple[str, ...]:
    return tuple(unit for unit in failed if unit not in ignored)


def _listed(units: Iterable[str]) -> str:
    return ", ".join(f"`{unit}`" for unit in units)


def _round(words: list[tuple[str, str]]) -> Round:
    restarts = (rest.split() for word, rest in words if word == "restarted")
    return Round(
        number=int(words[-1][1]),
        state=words[0][1],
        failed=tuple(sorted({rest for word, rest in words if word == "failed"})),
        restarted=tuple(
            (parts[0], int(parts[1]))
            for parts in restarts
            if len(parts) == 2 and parts[1].isdigit()
        ),
    )
