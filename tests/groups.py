"""Which tests stay together, which begin, and which make room, when lanes run side by side."""

from __future__ import annotations

LANES = ("acceptance", "boot")
"""Lanes that one process runs from end to end: nothing of theirs runs beside itself."""
SPREAD = (
    "pipeline/test_chaos.py",
    "pipeline/test_release.py",
    "pipeline/test_release_commands.py",
)
"""Modules whose tests make everything for themselves, so that each is a group of its own."""
ORDER = (
    "acceptance/",
    "boot/test_machines.py",
    "boot/test_balancers.py",
    "boot/test_bake.py",
    "boot/test_disks.py",
    "boot/",  # whole sandboxes, when the acceptance lane bakes no more
    "pipeline/test_chaos.py",
    "sandbox/test_bake_faults.py",
    "pipeline/",
    "sandbox/",
    "house/",
    "unit/",
)
"""The longest first: what is short fills up the end. A test belongs to the first that fits."""
PATIENT = ("pipeline/", "sandbox/", "house/", "unit/")
"""Lanes that wait as long as it takes: they make room for those that carry requests."""
PATIENT_NICE = 3


def group(nodeid: str) -> str:
    """Return the group of a test: its lane, its module, or itself."""
    place = _place(nodeid)
    if place in SPREAD:
        return nodeid
    lane = place.split("/", maxsplit=1)[0]
    return lane if lane in LANES else place


def rank(nodeid: str) -> int:
    """Return where in the order of a run the test is."""
    place = _place(nodeid)
    return next((n for n, begin in enumerate(ORDER) if place.startswith(begin)), len(ORDER))


def nice(nodeid: str) -> int:
    """Return the priority with which a test runs beside others; 0 is the highest."""
    return PATIENT_NICE if _place(nodeid).startswith(PATIENT) else 0


def _place(nodeid: str) -> str:
    """Return a test's file, below `tests`."""
    return nodeid.split("::", maxsplit=1)[0].removeprefix("tests/")
