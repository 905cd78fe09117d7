from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.domain.catalog import Finding
from ovenbird.domain.packages import PackageFormat
from ovenbird.packaging.checking.linters import LINTERS, argv_of, lint, parse
from tests.unit.packaging.samples import configuration, tree, written

# Written by lintian 2.116.3 and rpmlint 2.4.0 on 2026-11-25.
LINTIAN = """\
E: hello: dir-or-file-in-opt [opt/hello/bin/hello]
E: hello: missing-dependency-on-libc needed by opt/hello/bin/true
E: hello: no-copyright-file
E: hello: file-in-etc-not-marked-as-conffile [etc/nginx/conf.d/hello.conf]
W: hello: maintainer-script-empty [postinst]
W: hello: non-standard-dir-perm 0700 != 0755 [etc/hello/]
W: hello: maintainer-script-lacks-debhelper-token
running with root privileges is not recommended!
"""
RPMLINT = """\
============================ rpmlint session starts ============================
rpmlint: 2.4.0
configuration:
    /usr/lib/python3/dist-packages/rpmlint/configdefaults.toml
checks: 26, packages: 1

hello.x86_64: W: obsolete-not-provided oldhello
hello.x86_64: E: zero-perms /opt/hello/x 0
hello.x86_64: W: no-url-tag
hello.x86_64: E: dir-or-file-in-opt /opt/hello
 1 packages and 0 specfiles checked; 11 errors, 11 warnings, 11 badness; has taken 0.1 s
"""


def finding(tool: str, code: str, level: str, text: str, place: str = "") -> Finding:
    return Finding(tool=tool, code=code, level=level, text=text, place=place)


def test_lintian_s_lines_are_read_and_what_apps_do_on_purpose_is_left_out() -> None:
    assert list(parse("lintian", LINTIAN)) == [
        finding("lintian", "missing-dependency-on-libc", "error", "needed by opt/hello/bin/true"),
        finding(
            "lintian",
            "file-in-etc-not-marked-as-conffile",
            "error",
            "file in etc not marked as conffile",
            "/etc/nginx/conf.d/hello.conf",
        ),
        finding(
            "lintian", "maintainer-script-empty", "warning", "maintainer script empty", "postinst"
        ),
        finding("lintian", "non-standard-dir-perm", "warning", "0700 != 0755", "/etc/hello"),
        finding(
            "lintian",
            "maintainer-script-lacks-debhelper-token",
            "warning",
            "maintainer script lacks debhelper token",
        ),
    ]


def test_rpmlint_s_lines_are_read_and_what_apps_do_on_purpose_is_left_out() -> None:
    assert list(parse("rpmlint", RPMLINT)) == [
        finding("rpmlint", "obsolete-not-provided", "warning", "oldhello"),
        finding("rpmlint", "zero-perms", "error", "0", "/opt/hello/x"),
        finding("rpmlint", "no-url-tag", "warning", "no url tag"),
    ]


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (
            "lintian",
            ["lintian", "--no-cfg", "--color", "never", "--tag-display-limit", "0", "--", "/x.deb"],
        ),
        ("rpmlint", ["rpmlint", "--ignore-unused-rpmlintrc", "/x.deb"]),
    ],
)
def test_linters_are_called_by_their_words(tool: str, expected: list[str]) -> None:
    assert argv_of(tool, Path("/x.deb")) == expected


@pytest.mark.parametrize("format_", PackageFormat)
def test_a_linter_that_is_not_there_is_told(format_: PackageFormat, tmp_path: Path) -> None:
    linted = lint(tmp_path / "none", format_, find=lambda _: None)

    assert (linted.tool, linted.is_installed) == (LINTERS.get(format_, ""), False)
    assert linted.findings == ()


@pytest.mark.parametrize(
    ("format_", "ending", "expected"),
    [
        (PackageFormat.DEB, "deb", ("maintainer-script-empty", "postinst")),
        (PackageFormat.RPM, "rpm", ("arch-independent-package-contains-binary-or-object", "")),
    ],
)
def test_the_real_linters_say_what_is_wrong(
    tmp_path: Path, format_: PackageFormat, ending: str, expected: tuple[str, str]
) -> None:
    architecture = "all" if format_ is PackageFormat.RPM else "amd64"
    config = configuration(tree(tmp_path / "app"), arch=architecture)
    path = written(config, format_, tmp_path / f"hello.{ending}")

    linted = lint(path, format_)

    found = {one.code: one for one in linted.findings}
    assert linted.is_installed
    assert found[expected[0]].place in {expected[1], "/opt/hello/bin/native"}
    assert "dir-or-file-in-opt" not in found
