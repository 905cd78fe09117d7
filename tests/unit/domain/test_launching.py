from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.apps import AlarmSpec, AllAtOnce, EnvironmentSpec, guards_of
from ovenbird.domain.clusters import Capacity
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.launching import USER_DATA_BYTES, InstanceMix, LaunchSpec, user_data
from ovenbird.domain.names import ServerGroupName

VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60)


def written(environment: dict[str, str]) -> str:
    text = user_data(environment)
    head, _, body = text.partition("\n")
    assert head == "#cloud-config"
    (file,) = json.loads(body)["write_files"]
    assert file["path"] == "/etc/ovenbird/environment"
    return str(file["content"])


@given(value=VALUES)
def test_a_value_is_one_line_that_reads_back(value: str) -> None:
    content = written({"GREETING": value})

    assert content.count("\n") == 1
    # systemd unquotes a double-quoted value as a shell does (systemd.exec(5)).
    assert shlex.split(content) == [f"GREETING={_by_shell(value)}"]


def _by_shell(value: str) -> str:
    """Python's shlex keeps the backslash before `$` and a backtick, a shell takes it away."""
    return value.replace("$", "\\$").replace("`", "\\`")


@pytest.mark.parametrize(
    "value", ["$(touch HERE)", "`touch HERE`", '"; touch HERE; "', "\\", "a\\nb", "$HOME", "'"]
)
def test_a_shell_that_reads_the_file_runs_nothing_of_it(tmp_path: Path, value: str) -> None:
    file = tmp_path / "environment"
    file.write_text(written({"VALUE": value}))

    told = subprocess.run(  # noqa: S603 - a shell reads the file, as apps' scripts do
        ["/bin/sh", "-c", f'. {file}; printf %s "$VALUE"'],
        capture_output=True, text=True, check=True, cwd=tmp_path, timeout=10,
    )  # fmt: skip

    assert told.stdout == value
    assert [path.name for path in tmp_path.iterdir()] == ["environment"]


@pytest.mark.parametrize("value", ["a\nB=c", "a\rb", "\0", "\x7f"])
def test_a_value_that_is_no_line_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest, match="`A` has a line break"):
        user_data({"A": value})


def test_too_much_user_data_is_refused_by_its_longest_value() -> None:
    fits = USER_DATA_BYTES - len(user_data({"A": "", "LONG": ""}).encode())
    assert len(user_data({"A": "", "LONG": "x" * fits}).encode()) == USER_DATA_BYTES
    with pytest.raises(InvalidRequest, match=f"{USER_DATA_BYTES + 1} bytes") as caught:
        user_data({"A": "", "LONG": "x" * (fits + 1)})

    assert "`LONG` is the longest" in caught.value.hint


def test_what_looks_short_and_is_long_when_escaped_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="User data would have"):
        user_data({"A": '"' * 6000})


def test_the_types_are_those_of_the_mix_or_the_one() -> None:
    assert LaunchSpec().types("t3.micro") == ("t3.micro",)
    assert not LaunchSpec().instances.mixed
    mix = InstanceMix(types=("m5.large", "m6i.large"))
    assert (LaunchSpec(instances=mix).types("t3.micro"), mix.mixed) == (mix.types, True)


def test_guards_are_own_alarms_and_those_of_others() -> None:
    environment = EnvironmentSpec(
        name="prod",
        capacity=Capacity(min=1, desired=1, max=1),
        strategy=AllAtOnce(),
        alarms=(
            AlarmSpec(name="5xx", metric="error_rate_percent", threshold=1),
            AlarmSpec(name="busy", metric="m", threshold=1, guard=False),
        ),
        guards=("checkout",),
    )

    found = guards_of(ServerGroupName.parse("hello-prod-v002"), environment)

    assert found == ("hello-prod-v002-5xx", "checkout")
