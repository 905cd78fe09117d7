"""What OpenSSH is asked for, and how its words are read; real machines are in tests/boot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ovenbird.domain.errors import CommandFailed, Unhealthy
from ovenbird.system.clock import SystemClock
from ovenbird.system.rooms import ssh
from ovenbird.system.rooms.live_rooms import apt_options
from ovenbird.system.rooms.ssh_hands import in_a_unit


class Clock:
    """A clock of which each look is half a minute later."""

    def __init__(self) -> None:
        self.looks = 0

    def now(self) -> datetime:
        self.looks += 1
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=30 * self.looks)

    def sleep(self, seconds: float) -> None:
        SystemClock().sleep(min(seconds, 0.02))


def option(words: list[str], name: str) -> str:
    return next(word.partition("=")[2] for word in words if word.startswith(f"{name}="))


def test_nothing_of_the_callers_own_ssh_is_used() -> None:
    words = ssh.options(ssh.Reach(host="10.0.0.1"))

    assert words[:3] == ["-F", "none", "-T"]
    assert words[-4:] == ["-p", "22", "-l", "root"]
    assert option(words, "BatchMode") == "yes"
    assert option(words, "IdentityAgent") == "none"
    assert option(words, "UserKnownHostsFile") == "known_hosts"
    assert option(words, "StrictHostKeyChecking") == "yes"
    assert option(words, "PermitRemoteOpen") == "none"


def test_a_host_key_is_taken_from_the_first_who_answers_only_when_that_is_wanted() -> None:
    reach = ssh.Reach(host="h", user="admin", pins_host=False, open_to=("a:80", "b:443"))
    words = ssh.options(reach)

    assert option(words, "StrictHostKeyChecking") == "accept-new"
    assert option(words, "PermitRemoteOpen") == "a:80 b:443"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("root@10.0.0.1: Permission denied (publickey).", "does not take the key"),
        ("Host key verification failed.", "has another host key than the one that was sent to it"),
        ("connect to host 10.0.0.1 port 22: Connection refused", ""),
        ("", ""),
    ],
)
def test_a_refusal_is_told_from_silence(said: str, why: str) -> None:
    assert ssh.refusal(said) == why


def test_keys_are_made_for_their_owner_only_and_the_host_is_known(tmp_path: Path) -> None:
    ssh.make_keys(tmp_path)

    assert {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("key", "host_key")} == {
        "key": 0o600,
        "host_key": 0o600,
    }
    host = ssh.public(tmp_path, ssh.HOST_KEY)
    assert (tmp_path / "known_hosts").read_text() == f"builder {host}\n"
    assert host != ssh.public(tmp_path)


@pytest.mark.parametrize(
    ("says", "error", "words"),
    [
        ("Connection refused", Unhealthy, "did not answer within 120 s"),
        ("Permission denied (publickey)", CommandFailed, "does not take the key"),
    ],
)
def test_what_never_lets_us_in_is_given_up(
    tmp_path: Path, says: str, error: type[Exception], words: str
) -> None:
    """The proxy command stands for the machine: it says something and ends."""
    reach = ssh.Reach(host="10.0.0.1", proxy_command=f"sh -c \"echo '{says}' >&2\"")

    with (
        pytest.raises(error, match=words) as caught,
        ssh.connected(tmp_path, reach, within=timedelta(minutes=2), clock=Clock()),
    ):
        raise AssertionError("connected to nothing")

    assert says in caught.value.facts["stderr"]  # type: ignore[attr-defined]


def test_a_command_runs_in_a_unit_and_keeps_its_dollars() -> None:
    line = in_a_unit(
        ["sh", "-c", 'echo "${HOME}" $X'], unit="u-1", environment={"X": "a b"}, timeout_s=1830.0
    )

    assert line == [
        "systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--unit=u-1",
        "--property=KillSignal=SIGKILL", "--property=RuntimeMaxSec=1830", "--setenv=X=a b",
        "--", "sh", "-c", 'echo "$${HOME}" $$X',
    ]  # fmt: skip


def test_package_managers_go_through_this_host_only_where_they_must() -> None:
    through = apt_options(1080)

    assert apt_options(None) == ['DPkg::Lock::Timeout "300";']
    assert 'Acquire::http::Proxy "socks5h://127.0.0.1:1080";' in through
    assert through[-1] == 'Acquire::http::Proxy::127.0.0.1 "DIRECT";'
