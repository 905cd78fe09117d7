from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.domain.catalog import Finding
from ovenbird.domain.packages import PackageFormat
from ovenbird.operations.inspecting import lint_app, lint_files
from ovenbird.operations.opening import Installation
from ovenbird.operations.packages import Wanted
from ovenbird.packaging.checking.linters import Linted
from ovenbird.system.commands import run
from tests.unit.packaging.samples import samples

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[PackageFormat, Path]:
    return samples(tmp_path_factory.mktemp("samples"))


class Linter:
    """Says one thing of each file, and keeps whom it was asked about."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, PackageFormat]] = []

    def __call__(self, path: Path, format_: PackageFormat) -> Linted:
        self.asked.append((path.name, format_))
        mild, bad = (
            Finding(tool="lintian", code=level, level=level, text="said")
            for level in ("warning", "error")
        )
        return Linted(tool="lintian", is_installed=True, findings=(mild, bad))


def absent(path: Path, format_: PackageFormat) -> Linted:
    return Linted(tool="rpmlint")


def test_files_are_checked_and_their_linters_have_their_say(
    files: dict[PackageFormat, Path],
) -> None:
    linter = Linter()

    deb, rpm = lint_files([files[PackageFormat.DEB], files[PackageFormat.RPM]], lint=linter)

    assert linter.asked == [("debx", PackageFormat.DEB), ("rpmx", PackageFormat.RPM)]
    assert [(one.tool, one.code) for one in deb.findings] == [
        ("ovenbird", "unknown-owner"),
        ("lintian", "error"),
        ("lintian", "warning"),
    ]
    assert (deb.errors, deb.missing_tool, rpm.identity.name) == (1, "", "hello")


def test_a_linter_that_is_missing_is_named(files: dict[PackageFormat, Path]) -> None:
    (report,) = lint_files([files[PackageFormat.RPM]], lint=absent)

    assert report.missing_tool == "rpmlint"


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("app") / "hello"
    run(["python3", ROOT / "examples/hello/make_repository.py", path], timeout_s=60)
    return path


def test_the_example_has_nothing_that_our_checks_find(hello: Path) -> None:
    said: list[str] = []

    reports = lint_app(
        Installation(), Wanted(app=str(hello), ref="v1.1.0"), progress=said.append, lint=absent
    )

    assert reports
    assert [report.findings for report in reports] == [()] * len(reports)
    assert "Checking `hello_1.1.0_all.deb`" in said


def test_an_app_s_packages_are_checked_against_its_manifest(hello: Path, tmp_path: Path) -> None:
    top = tmp_path / "app"
    run(["git", "clone", "--quiet", hello, top], timeout_s=60)
    manifest = top / "ovenbird.yaml"
    manifest.write_text(
        manifest.read_text().replace("command: /opt/hello/bin/hello", "command: /opt/hello/bin/no")
    )
    as_someone = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    run(["git", "-C", top, *as_someone, "commit", "-qam", "break it"], timeout_s=60)

    (report,) = lint_app(Installation(), Wanted(app=str(top)), progress=print, lint=absent)

    assert [one.code for one in report.findings] == ["missing-command"]
