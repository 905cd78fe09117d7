"""What a guest is given so that it tells how its boot went, and how it is waited for.

    a number, a program that watches the init system ─▶ its disk
    its console ─▶ what it says, in rounds ─▶ judged by domain.boot_checks
    its app's health path, asked meanwhile ──┘

The files are on the check's own copy of the disk; the image knows nothing of them.

Source: systemctl(1); systemd.service(5), `Type=simple` (a program that waits for the boot to
finish must not be part of it); cloud-init, "NoCloud".
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ovenbird.domain.boot_checks import (
    BootReport,
    Probe,
    is_good,
    is_settled,
    last_round,
    proof_of,
    without_rounds,
)
from ovenbird.system.clock import SystemClock
from ovenbird.system.rooms.image_paths import make_directories, resolved, within

INSIDE = "etc/ovenbird-boot-check"
UNIT = "etc/systemd/system/ovenbird-boot-check.service"
WANTED = "etc/systemd/system/multi-user.target.wants/ovenbird-boot-check.service"
SEED = "var/lib/cloud/seed/nocloud"
CLOUD = "etc/cloud/cloud.cfg.d"
LOOK_EVERY_S = 0.1
ASK_WITHIN_S = 2.0
CONSOLE_CHARS = 4000  # that a report keeps
_UNIT_TEXT = f"""\
[Unit]
Description=Tell how the boot went
[Service]
ExecStart=/bin/sh /{INSIDE}/watch
"""
_CLOUD_TEXT = "datasource_list: [NoCloud, None]\n"
_WATCH_TEXT = r"""
proof=$(sha256sum < /etc/ovenbird-boot-check/nonce | cut -c 1-32)
say() { echo "ovenbird-boot $proof $*"; }
state=
while :; do
  state=$(systemctl is-system-running 2>/dev/null)
  case $state in initializing | starting | '') sleep 0.2 ;; *) break ;; esac
done
round=0 told=
while :; do
  round=$((round + 1))
  said=$(
    echo
    say begin "$state"
    systemctl list-units --failed --plain --no-legend --full --no-pager |
      while read -r unit rest; do say failed "$unit"; done
    { systemctl show --property=Id --property=NRestarts '*.service'; echo; } |
      while IFS='=' read -r key value; do
        case $key in
          Id) id=$value ;;
          NRestarts) times=$value ;;
          '') [ "${times:-0}" = 0 ] || say restarted "$id" "$times"; id= times= ;;
        esac
      done
  )
  for unit in $(echo "$said" | sed -n 's/.* failed \([^ ]*\)$/\1/p'); do
    case " $told " in *" $unit "*) continue ;; esac
    told="$told $unit"
    echo
    systemctl status --full --no-pager --lines=12 "$unit"
  done > /dev/console 2>&1
  { echo "$said"; say end "$round"; } > /dev/console
  sleep 1
  state=$(systemctl is-system-running 2>/dev/null)
done
"""


def furnish(root: Path, nonce: str) -> None:
    """Put the number and the program that watches into a guest's root file system.

    cloud-init finds an empty seed on the disk, so that it does what it does at each first
    boot, as making the keys of the SSH server.
    """
    files = {
        f"{INSIDE}/nonce": nonce,
        f"{INSIDE}/watch": _WATCH_TEXT,
        UNIT: _UNIT_TEXT,
    }
    if resolved(root, "/etc/cloud").is_dir():
        files |= {
            f"{CLOUD}/zz-ovenbird-boot-check.cfg": _CLOUD_TEXT,
            f"{SEED}/meta-data": f"instance-id: boot-check-{proof_of(nonce)}\n",
            f"{SEED}/user-data": "#cloud-config\n{}\n",
        }
    for name, text in files.items():
        path = resolved(root, f"/{name}")  # no link of the image leads out of it
        make_directories(path.parent)
        path.write_text(text)
    link = within(root, f"/{WANTED}")
    make_directories(link.parent)
    link.symlink_to(f"/{UNIT}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A guest that was started.

    Args:
        engine: What runs it.
        nonce: The number on its disk.
        console: File to which its console goes.
        has_ended: Tells whether it runs no more.
        ask: Asks its app; returns an HTTP status, 0 without an answer.
    """

    engine: str
    nonce: str
    console: Path
    has_ended: Callable[[], bool]
    ask: Callable[[], int]

    def watched(self, probe: Probe, *, within_s: float) -> BootReport:
        """Wait until the guest can be judged, or its time is over."""
        begun, proof = time.monotonic(), proof_of(self.nonce)
        status = answered_in = 0
        while True:
            has_ended = self.has_ended()  # before the last look: what it said is read after it
            last = last_round(self._said(), proof)
            if probe.port and not is_good(status):
                status = self.ask()
            if is_good(status) and last and not answered_in:
                answered_in = last.number
            settled = is_settled(last, probe, answered_in=answered_in, status=status)
            seconds = time.monotonic() - begun
            if has_ended or settled or seconds > within_s:
                return BootReport(
                    engine=self.engine,
                    last=last,
                    ended=has_ended,
                    status=status,
                    seconds=round(seconds, 1),
                    console=without_rounds(self._said(), proof)[-CONSOLE_CHARS:],
                )
            SystemClock().sleep(LOOK_EVERY_S)

    def _said(self) -> str:
        return self.console.read_bytes().decode(errors="replace")


def ask(port: int, path: str) -> int:
    """Return the HTTP status that this host's own address gives; 0 without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_WITHIN_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
