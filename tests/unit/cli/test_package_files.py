from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ovenbird.cli.app import invoke
from ovenbird.cli.package import package
from ovenbird.domain.packages import PackageFormat
from tests.unit.packaging.samples import samples, written


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[PackageFormat, Path]:
    return samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an apk, for which there is no linter, with many world-writable files."""
    top = tmp_path_factory.mktemp("faulty")
    (top / "x").write_text("x")
    config = {
        "name": "hello",
        "arch": "all",
        "version": "1.0",
        "contents": [
            {"src": str(top / "x"), "dst": f"/opt/hello/{name}", "file_info": {"mode": 0o666}}
            for name in "abcde"
        ],
    }
    return written(config, PackageFormat.APK, top / "hello.apk")


def call(words: Sequence[str | Path], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = invoke(package, [str(word) for word in words])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.parametrize("format_", PackageFormat)
def test_inspect_shows_what_a_package_is(
    files: dict[PackageFormat, Path],
    format_: PackageFormat,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, _ = call(["inspect", files[format_], "--files", "--scripts"], capsys)

    lines = out.splitlines()
    assert status == 0
    assert lines[0].startswith("Package hello 1")
    assert lines[0].endswith(f"({format_.value}, amd64)")
    assert "  by" in lines[2]
    assert any("python3, nginx" in line for line in lines)
    assert any(line.endswith("/opt/hello/bin/again -> hello") for line in lines)
    assert any(line.startswith("-rwxr-xr-x  root") for line in lines)
    assert "  set -e" in lines


def test_inspect_as_json_has_everything(
    files: dict[PackageFormat, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = call(["inspect", files[PackageFormat.DEB], "--json"], capsys)

    found: dict[str, Any] = json.loads(out)
    assert (found["name"], found["relations"]["Depends"]) == ("hello", ["python3", "nginx"])
    assert found["scripts"]["postinst"].startswith("#!/bin/sh")
    assert "/opt/hello/bin/hello" in [one["path"] for one in found["files"]]


def test_a_file_that_is_no_package_is_an_error_in_json_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x").write_text("x")

    status, out, err = call(["inspect", tmp_path / "x", "--json"], capsys)

    assert (status, json.loads(out)["error"]) == (2, "InvalidRequest")
    assert "is not a deb, rpm, apk or Arch Linux package" in err


def test_lint_says_errors_and_ends_with_status_1(
    faulty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = call(["lint", faulty], capsys)

    assert out.splitlines() == [
        "hello.apk: 1 error",
        "  error    /opt/hello/a: everyone may write to it (and 4 more) (world-writable)",
    ]
    assert (status, err.splitlines()[0]) == (1, "error: 1 error in 1 package")


def test_lint_as_json_is_one_document_also_with_errors(
    faulty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = call(["lint", faulty, "--json"], capsys)

    (found,) = json.loads(out)
    assert (status, found["errors"], found["format"]) == (1, 1, "apk")
    assert [one["code"] for one in found["findings"]] == ["world-writable"]


def test_warnings_count_when_they_are_asked_to(
    files: dict[PackageFormat, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    apk = files[PackageFormat.APK]

    assert call(["lint", apk], capsys)[0] == 0
    assert call(["lint", apk, "--strict"], capsys)[0] == 1


def test_a_channel_without_a_publication_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = call(["build", "--channel", "release"], capsys)

    assert (status, out) == (2, "")
    assert "add `--publish`" in err
