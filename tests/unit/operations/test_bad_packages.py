"""Manifests that are wrong in what they build: each mistake has file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.domain.errors import InvalidRequest
from ovenbird.operations.opening import Installation
from ovenbird.operations.packages import Wanted, build_packages
from ovenbird.system.commands import run

HEAD = """\
app: hello
maintainer: Hello Team <hello@example.com>
image: {base: debian-12}
deploy: {port: 80, dev: {capacity: {min: 1, desired: 1, max: 1}}}
package:
"""
AS = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "tag.gpgsign=false")
TWO = """\
  contents:
    - {from: file, to: /opt/hello/x}
    - {from: conf/a, to: /opt/hello/x}
"""
CIRCLE = """\
  depends: [nginx]
packages:
  one: {depends: [two]}
  two: {depends: [one]}
"""
CASES = [
    (
        "  contents: [{from: none, to: /opt/hello/x}]\n",
        "ovenbird.yaml:6: `package.contents[0]`: `none` does not exist after the build",
    ),
    (
        "  contents: [{from: out, to: /opt/hello/x}]\n",
        "ovenbird.yaml:6: `package.contents[0]`: `out` is outside of the checkout",
    ),
    (
        "  contents: [{from: loop, to: /opt/hello/x}]\n",
        (
            "ovenbird.yaml:6: `package.contents[0]`: `loop` is a link that leads nowhere, or in a"
            " circle"
        ),
    ),
    (
        TWO,
        (
            "ovenbird.yaml:8: `package.contents[1]`: `/opt/hello/x` is there already, by"
            " `package.contents[0]` (line 7)"
        ),
    ),
    (
        "  contents: [{from: conf, to: /etc/hello, kind: config}]\n",
        (
            "ovenbird.yaml:6: `package.contents[0]`: `conf` is a directory: configuration is kept"
            " by file"
        ),
    ),
    (
        "  contents: [{from: run, to: /opt/hello/bin/run}]\n",
        "that it depends on; see `package.contents[0]` (line 6) (missing-interpreter)",
    ),
    (
        "  formats: [apk]\n  epoch: 1\n  depends: [a]\n",
        "ovenbird.yaml:7: `package.epoch`: apk cannot say version `1:1.0.0`: it knows no epoch",
    ),
    (
        "  formats: [deb, apk]\n  depends: [a | b]\n",
        "ovenbird.yaml:7: `package.depends`: apk cannot say `a | b`: it knows no alternatives",
    ),
    (
        "  depends: [a (>= 2), a (<< 1)]\n",
        (
            "ovenbird.yaml:6: `package.depends`: no version is both `a (>= 2)` and `a (<< 1)`"
            " (unsatisfiable-relation)"
        ),
    ),
    (
        CIRCLE,
        (
            "ovenbird.yaml:8: `packages.one.depends`: packages depend on each other in a circle:"
            " `one` → `two` → `one` (circular-relation)"
        ),
    ),
]


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with files, links out and links in a circle, to be given a manifest."""
    top = tmp_path_factory.mktemp("bad")
    run(["git", "-C", top, "init", "--quiet"], timeout_s=20)
    (top / "file").write_text("x")
    (top / "run").write_text("#!/opt/none/sh\n")
    (top / "run").chmod(0o755)
    (top / "conf").mkdir()
    (top / "conf/a").write_text("y")
    (top / "out").symlink_to("/etc/passwd")
    (top / "loop").symlink_to("loop")
    return top


@pytest.mark.parametrize(("text", "words"), CASES, ids=range(len(CASES)))
def test_a_mistake_has_file_line_and_key(top: Path, tmp_path: Path, text: str, words: str) -> None:
    (top / "ovenbird.yaml").write_text(HEAD + text)
    for line in (
        ["add", "--all"],
        [*AS, "commit", "--quiet", "--message", "x"],
        ["tag", "--force", "v1.0.0"],
    ):
        run(["git", "-C", top, *line], timeout_s=20)

    with pytest.raises(InvalidRequest) as caught:
        build_packages(
            Installation(), Wanted(app=str(top)), into=tmp_path, progress=lambda _line: None
        )

    assert words in str(caught.value)
    assert list(tmp_path.glob("hello*.apk")) == []
