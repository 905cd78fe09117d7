"""Up and down: one sandbox for each home, started once, and gone without a trace.

    up    look at the machine ─▶ sweep left-overs ─▶ spawn the server ─▶ wait for its settings
    down  SIGTERM ─▶ wait for its end ─▶ sweep ─▶ remove the files, but the log

The server holds a lock on its pid file for as long as it lives, so that a stale file, or
a number that another process has since been given, is never taken for it.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ovenbird.config.settings import load_settings
from ovenbird.domain.errors import CommandFailed, Conflict, InvalidRequest, NotFound
from ovenbird.sandbox import leftovers
from ovenbird.sandbox.places import Places
from ovenbird.system.clock import SystemClock, await_true
from ovenbird.system.commands import end_group, spawn
from ovenbird.system.locks import file_lock

STATUS_PATH = "/_ovenbird/status"
SWITCHES = ("faults", "throttle", "machineless")
UP_WITHIN = timedelta(minutes=20)  # a base image is made from slow mirrors
DOWN_WITHIN = timedelta(seconds=30)
EVERY_S = 0.1
ASK_S = 10.0
LOG_TAIL = 3000  # characters
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_WANTED = 8192  # 128 are enough for about 24 machines (measured on 2026-11-23)
PROGRAMS = {
    "haproxy": "haproxy",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "mount": "mount",
    "losetup": "mount",
    "mmdebstrap": "mmdebstrap",
    "sgdisk": "gdisk",
    "mke2fs": "e2fsprogs",
    "mformat": "mtools",
    "grub-mkimage": "grub-common",
}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A sandbox that is up.

    Args:
        urls: Environment → where people reach its load balancer; only those that are reachable.
    """

    pid: int
    endpoint_url: str
    settings: Path
    urls: tuple[tuple[str, str], ...] = ()


def up(places: Places, progress: Progress, *, switches: Sequence[str] = ()) -> tuple[Running, bool]:
    """Start the sandbox unless it is up; return it, and whether it was started now.

    Args:
        places: Its home.
        progress: Told what is being done.
        switches: What it is other than usual in, each of :data:`SWITCHES`.

    Raises:
        InvalidRequest: Not root, or programs are missing.
        Conflict: Another `up` or `down` of this home is under way.
        CommandFailed: The server did not start; nothing is left behind but its log.
    """
    check_machine()
    with _alone(places):
        if found := find(places):
            return found, False
        _remove(places, progress)
        places.home.mkdir(parents=True, exist_ok=True)
        raise_inotify()
        try:
            _start(places, progress, switches)
        except BaseException:
            _remove(places, progress)
            raise
        return get(places), True


def down(places: Places, progress: Progress) -> bool:
    """Stop the sandbox and remove what it made but its log; return whether it was up.

    Raises:
        Conflict: Another `up` or `down` of this home is under way.
    """
    with _alone(places):
        return _remove(places, progress)


def find(places: Places) -> Running | None:
    """Return the sandbox of this home if it is up."""
    pid = server_pid(places)
    if pid is None or not places.settings.exists():
        return None
    environments = load_settings(places.settings).environments
    urls = tuple((name, found.url) for name, found in environments.items() if found.url)
    endpoint_url = environments["dev"].endpoint_url or ""
    return Running(pid=pid, endpoint_url=endpoint_url, settings=places.settings, urls=urls)


def get(places: Places) -> Running:
    """Return the sandbox of this home.

    Raises:
        NotFound: It is not up.
    """
    if found := find(places):
        return found
    raise NotFound("The sandbox is not running", hint="Run `ovenbird sandbox up`")


def status(running: Running) -> dict[str, Any]:
    """Ask the server what there is.

    Raises:
        CommandFailed: It does not answer.
    """
    connection = http.client.HTTPConnection(urlsplit(running.endpoint_url).netloc, timeout=ASK_S)
    try:
        connection.request("GET", STATUS_PATH)
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    except OSError as error:
        raise CommandFailed(
            f"The sandbox at `{running.endpoint_url}` does not answer: {error}",
            hint="Look at `ovenbird sandbox logs`",
        ) from error
    finally:
        connection.close()
    return found


def server_pid(places: Places) -> int | None:
    """Return the process id of the server that lives, if one does."""
    if not places.pid.exists():
        return None
    try:
        with file_lock(places.pid, wait=False):
            return None
    except Conflict:
        text = places.pid.read_text().strip()
        return int(text) if text else None


def check_machine() -> None:
    """Look at once for what the sandbox cannot do without.

    Raises:
        InvalidRequest: Something is missing; all of it is named.
    """
    if os.geteuid() != 0:
        raise InvalidRequest(
            "Not root: the sandbox needs network namespaces, loop mounts and systemd-nspawn",
            hint="Run it with sudo",
        )
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if missing := [name for name in PROGRAMS if not shutil.which(name, path=path)]:
        wanted = " ".join(sorted({PROGRAMS[name] for name in missing}))
        raise InvalidRequest(
            f"Missing: {', '.join(missing)}", hint=f"Run `apt-get install {wanted}`"
        )


def raise_inotify(path: Path = INOTIFY) -> None:
    """Let the kernel watch files for many machines; each systemd needs several instances."""
    try:
        if int(path.read_text()) < INOTIFY_WANTED:
            path.write_text(f"{INOTIFY_WANTED}\n")
    except OSError:  # read-only in some containers: then there can be fewer machines
        return


@contextmanager
def _alone(places: Places) -> Iterator[None]:
    places.home.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(places.home.with_suffix(".lock"), wait=False):
        yield


def _start(places: Places, progress: Progress, switches: Sequence[str]) -> None:
    """Spawn the server and wait until it has written its settings."""
    argv = [sys.executable, "-m", leftovers.SERVER]
    argv += ["--home", str(places.home), "--cache", str(places.cache)]
    argv += [f"--{switch}" for switch in switches]
    with places.log.open("ab") as log:
        server = spawn(argv, output=log, cwd=places.home)
    try:
        _await_settings(places, server.poll, progress)
    except BaseException:
        server.terminate()  # not yet known by its lock
        with suppress(TimeoutError):
            await_true(lambda: server.poll() is not None, within=DOWN_WITHIN)
        end_group(server)
        raise
    server.returncode = 0  # it outlives this process on purpose: Popen shall not complain


def _await_settings(places: Places, poll: Callable[[], int | None], progress: Progress) -> None:
    """Wait until the server has written its settings, and pass its progress on."""
    clock, said = SystemClock(), 0
    end = clock.now() + UP_WITHIN
    while not places.settings.exists():
        said = _tell(places, said, progress)
        if (ended := poll()) is not None:
            raise _failed(places, f"The sandbox's server ended with status {ended}")
        if clock.now() > end:
            raise _failed(places, f"The sandbox was not ready within {UP_WITHIN}")
        clock.sleep(EVERY_S)
    _tell(places, said, progress)


def _tell(places: Places, said: int, progress: Progress) -> int:
    """Pass on the whole lines of the progress file that are new; return how many there are."""
    if not places.progress.exists():
        return said
    lines = places.progress.read_text().splitlines()
    for line in lines[said:]:
        progress(line)
    return len(lines)


def _failed(places: Places, message: str) -> CommandFailed:
    tail = places.log.read_text(errors="replace")[-LOG_TAIL:]
    return CommandFailed(message, hint=f"The whole log is `{places.log}`", stderr=tail)


def _remove(places: Places, progress: Progress) -> bool:
    """Stop the server, sweep, remove the files; return whether it was up.

    The server is stopped before the sweep: its loops would make again what is swept.
    """
    was_up = _stop(places)
    if swept := leftovers.sweep(places):
        progress(f"Removed {len(swept)} left-overs: {', '.join(swept[:5])}")
    if places.home.exists():
        for path in places.home.iterdir():
            if path != places.log:
                _delete(path)
    return was_up


def _stop(places: Places) -> bool:
    pid = server_pid(places)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    with suppress(TimeoutError):  # the sweep kills it, and takes down what it could not
        await_true(lambda: not leftovers.has_server(places), within=DOWN_WITHIN, every_s=EVERY_S)
    return True


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
