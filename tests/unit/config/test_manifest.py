from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.config.manifest import load_committed, load_manifest
from ovenbird.domain.apps import (
    DEFAULT_ALARM,
    AllAtOnce,
    AppSpec,
    BlueGreen,
    Canary,
    CapacityFrom,
    Highlander,
    Keep,
    OnFailure,
    Rolling,
    Strategy,
)
from ovenbird.domain.errors import InvalidRequest, NotFound
from ovenbird.domain.packages import ContentKind, PackageFormat, RelationKind
from ovenbird.domain.sources import Source
from ovenbird.domain.traffic import MarkedRequests

ROOT = Path(__file__).resolve().parents[3]
MANIFEST = """\
app: hello
maintainer: Hello Team <hello@example.com>
package:
  formats: [deb]
  build: make dist
  contents:
    - {from: dist/, to: /opt/hello}
    - {from: conf/hello.toml, to: /etc/hello/, kind: config, mode: '0640'}
  depends: {deb: [python3, nginx]}
  services:
    web: {command: /opt/hello/bin/hello, user: hello, config_reload: SIGHUP}
image:
  base: debian-12
  recipe:
    - shell: [apt-get install -y nginx]
deploy:
  port: 80
  health: {path: /healthz, interval_s: 5}
  dev: {capacity: {min: 1, desired: 1, max: 2}, strategy: all_at_once}
  prod:
    capacity: {min: 2, desired: 3, max: 6}
    strategy: {canary: {steps_percent: [5, 25, 50], observe_s: 300}}
    alarms: []
    approval: required
"""


@pytest.fixture
def write(tmp_path: Path) -> Path:
    path = tmp_path / "ovenbird.yaml"
    path.write_text(MANIFEST)
    return path


def refusal(path: Path, old: str, new: str) -> InvalidRequest:
    assert old in MANIFEST
    path.write_text(MANIFEST.replace(old, new))
    with pytest.raises(InvalidRequest) as caught:
        load_manifest(path)
    assert caught.value.hint
    return caught.value


def test_a_manifest_becomes_an_app(write: Path) -> None:
    app = load_manifest(write)

    assert (app.app, app.port, app.image.base) == ("hello", 80, "debian-12")
    depends = app.package.relations_of(PackageFormat.DEB, RelationKind.DEPENDS)
    assert [[atom.name for atom in one.atoms] for one in depends] == [["python3"], ["nginx"]]
    assert [environment.name for environment in app.environments] == ["dev", "prod"]
    dev, prod = app.environments
    assert (dev.strategy, dev.approval, dev.alarms) == (AllAtOnce(), False, (DEFAULT_ALARM,))
    assert prod.strategy == Canary(steps_percent=(5, 25, 50), observe_s=300.0)
    assert (prod.approval, prod.alarms, prod.capacity.desired) == (True, (), 3)


def test_testers_and_stickiness_are_read(write: Path) -> None:
    more = "  testers: {by: cookie, name: canary, value: please}\n  stickiness_s: 600\n"
    write.write_text(MANIFEST.replace("  port: 80\n", f"  port: 80\n{more}"))

    app = load_manifest(write)

    assert (app.testers, app.stickiness_s) == (MarkedRequests(cookie="canary", value="please"), 600)


def test_testers_that_cannot_be_told_are_refused_with_the_way_out(write: Path) -> None:
    more = "  testers: {by: header, name: X Canary, value: please}\n"
    write.write_text(MANIFEST.replace("  port: 80\n", f"  port: 80\n{more}"))

    with pytest.raises(InvalidRequest, match=r"no name of a header or cookie\. Up to 40"):
        load_manifest(write)


def test_a_slash_at_the_end_means_a_tree_or_a_file_in_a_directory(write: Path) -> None:
    tree, config = load_manifest(write).package.contents

    assert (tree.origin, tree.destination, tree.kind) == ("dist", "/opt/hello", ContentKind.TREE)
    assert (config.destination, config.mode) == ("/etc/hello/hello.toml", 0o640)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("blue_green", BlueGreen()),
        ("{blue_green: {look_s: 5, manual: true}}", BlueGreen(look_s=5.0, manual=True)),
        ("rolling", Rolling()),
        (
            "{rolling: {steps_percent: [50], observe_s: 0}}",
            Rolling(steps_percent=(50,), observe_s=0.0),
        ),
        ("{highlander: {confirm: hello-prod}}", Highlander(confirm="hello-prod")),
        (
            "{canary: {steps_percent: [5, 50], manual_steps: [50], baseline: true, pause_s: 9}}",
            Canary(steps_percent=(5, 50), manual_steps=(50,), baseline=True, pause_s=9.0),
        ),
    ],
)
def test_strategies(write: Path, written: str, meant: Strategy) -> None:
    canary = "{canary: {steps_percent: [5, 25, 50], observe_s: 300}}"
    write.write_text(MANIFEST.replace(canary, written))

    assert load_manifest(write).environments[1].strategy == meant


def test_how_long_the_old_group_is_kept(write: Path) -> None:
    more = "keep: {enabled_s: 60, rollback_window_s: 90, groups: 1}\n    on_failure: stop\n"
    write.write_text(MANIFEST.replace("alarms: []\n", f"{more}    capacity_from: old\n"))

    prod = load_manifest(write).environments[1]

    assert (prod.keep, prod.rollback_window_s) == (Keep(enabled_s=60.0, groups=1), 90.0)
    assert (prod.on_failure, prod.capacity_from) == (OnFailure.STOP, CapacityFrom.OLD)


def test_one_rollback_window_is_enough(write: Path) -> None:
    twice = "rollback_window_s: 9\n    keep: {rollback_window_s: 9}"

    assert "given twice" in str(refusal(write, "alarms: []", twice))


def test_a_directory_stands_for_the_manifest_in_it(write: Path) -> None:
    assert load_manifest(write.parent) == load_manifest(write)


def test_the_example_is_a_good_manifest() -> None:
    example = load_manifest(ROOT / "examples/hello")

    assert isinstance(example, AppSpec)
    assert not any(environment.approval for environment in example.environments)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("build:", "biuld:", 5, "`package.biuld`: unknown key; did you mean `build`?"),
        ("  health:", "  helth:", 18, "`deploy.helth`: unknown key; did you mean `health`?"),
        ("observe_s", "observe", 22, "did you mean `observe_s`?"),
        ("  port: 80", '  port: "80"', 17, '`deploy.port`: must be a valid integer, not `"80"`'),
        ("  port: 80", "  prt: 80", 17, "`deploy.prt`: unknown key; did you mean `port`?"),
        ("desired: 3", "desired: 9", 21, "must be `min` <= `desired` <= `max`"),
        ("[5, 25, 50]", "[25, 5]", 22, "must rise, each between 1 and 99"),
        ("[deb]", "[exe]", 4, "`package.formats[0]`: must be 'deb', 'rpm', 'apk' or 'archlinux'"),
        ("shell: [apt-get install -y nginx]", "x: 1", 15, "known here: `shell`, `file`, "),
        ("observe_s: 300", "manual_steps: [7]", 22, "names 7, which is none of its steps"),
        ("300}}", "300}, rolling: {}}", 22, "must be one strategy of `all_at_once`"),
        ("alarms: []", "keep: {groups: 3}", 23, "less than or equal to 2, not `3`"),
        ("alarms: []", "on_failure: panic", 23, "must be 'rollback' or 'stop'"),
        ("alarms: []", "min_healthy_percent: 0", 23, "greater than or equal to 1"),
        ("app: hello", "app: hello-web", 1, "is not an app's name"),
        ("dist/,", "../dist/,", 7, "`from` must stay inside the checkout"),
        ("'0640'", "0640", 8, "needs quotes, as '0644'"),
        ("user: hello", "user: Hello", 11, "is not a user's name"),
        ("/opt/hello/bin/hello", "bin/hello", 11, "must begin with an absolute path"),
        ("strategy: all_at_once", "strategy: red_black", 19, "is not a strategy"),
        ("approval: required", "approval: true", 24, "`deploy.prod.approval`: must be"),
        ("interval_s: 5", "interval_s: 1", 18, "greater than or equal to 5, not `1`"),
        ("  base: debian-12\n", "", 12, "`image.base`: is missing"),
        ("  prod:", f"  {'p' * 33}:", 16, "is not an environment's name"),
        ("approval: required", f"environment: {{A: '{'x' * 17_000}'}}", 24, "User data would have"),
        ("app: hello", "app: hello\napp: x", 2, 'duplicate key "app"'),
        ("app: hello", "app: [hello", 2, "expected"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    write: Path, old: str, new: str, line: int, words: str
) -> None:
    error = refusal(write, old, new)

    assert f"{write}:{line}: " in str(error)
    assert words in str(error)


def test_all_mistakes_are_told_at_once(write: Path) -> None:
    error = refusal(write, "app: hello\nmaintainer:", "ap: hello\nmaintainr:")

    assert str(error).startswith("4 mistakes:\n")
    assert error.facts["mistakes"] == 4


def test_a_manifest_that_is_missing_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        load_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "- a\n", "hello\n", "\x00", "a: b: c\n"])
def test_what_is_no_manifest_at_all_is_refused(write: Path, text: str) -> None:
    write.write_text(text)

    with pytest.raises(InvalidRequest):
        load_manifest(write)


@given(key=st.text(string.ascii_lowercase, min_size=1, max_size=12))
def test_no_unknown_key_is_ever_ignored(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(MANIFEST + f"x{key}: 1\n")

    with pytest.raises(InvalidRequest, match=f"`x{key}`: unknown key"):
        load_manifest(path)


def test_the_manifest_of_a_commit_is_called_as_git_calls_it(tmp_path: Path) -> None:
    source = Source(
        url="/srv/apps", ref="main", commit="a" * 40, committed_at_epoch_s=0, directory="apps/hello"
    )

    with pytest.raises(NotFound) as missing:
        load_committed(source, tmp_path)
    (tmp_path / "ovenbird.yaml").write_text("app: hello\nmaintainr: Ann <ann@example.com>\n")
    with pytest.raises(InvalidRequest) as wrong:
        load_committed(source, tmp_path)

    assert str(missing.value) == "`apps/hello/ovenbird.yaml` does not exist"
    assert "apps/hello/ovenbird.yaml:2: `maintainr`: unknown key" in str(wrong.value)
    assert str(tmp_path) not in str(wrong.value)
    assert "commit it" in wrong.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!!set x", "cannot be read as YAML"),
        ("app: " + "9" * 5000, "cannot be read as YAML"),
        ("app: " + "[" * 700, "ovenbird.yaml"),
        ("&a\napp: *a", "an alias holds itself"),
        ("? [a, b]\n: c", "cannot be understood"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(
                f"{to}: &{to} [{', '.join([f'*{of}'] * 9)}]\n"
                for of, to in zip("abcdefgh", "bcdefghi", strict=True)
            ),
            "more than 100000 values",
        ),
    ],
)
def test_documents_that_no_one_writes_by_hand_are_refused_at_once(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "ovenbird.yaml").write_text(text)

    with pytest.raises(InvalidRequest, match=said) as refused:
        load_manifest(tmp_path, shown="ovenbird.yaml")

    assert str(refused.value).startswith("ovenbird.yaml:")
    assert len(str(refused.value)) < 500
