"""Network namespaces, and threads that step into them.

Source: setns(2), network_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_CLONE_NEWNET = 0x40000000

Result = TypeVar("Result")


def enter(namespace: Path) -> None:
    """Move the calling thread into a namespace, for good; sockets made before stay outside.

    Args:
        namespace: As ``/run/netns/NAME`` or ``/proc/PID/ns/net``.
    """
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(namespace))
    finally:
        os.close(descriptor)


def within(namespace: Path, work: Callable[[], Result]) -> Result:
    """Do *work* in a namespace, on a thread of its own, and return what it returned.

    A socket that is made there stays there, whoever uses it later.
    """
    found: list[Result] = []
    errors: list[BaseException] = []

    def step_in() -> None:
        try:
            enter(namespace)
            found.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=step_in, name=f"in-{namespace.name}", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return found[0]
