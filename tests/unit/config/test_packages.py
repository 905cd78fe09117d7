"""What a manifest may say about packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovenbird.config.manifest import load_manifest
from ovenbird.domain.apps import AppSpec
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import (
    BuildKind,
    BuildSpec,
    ContentKind,
    Init,
    Isolation,
    PackageFormat,
    RelationKind,
    ScriptMoment,
    VersionSpec,
)
from ovenbird.domain.relations import Relation

HEAD = """\
app: hello
maintainer: Hello Team <hello@example.com>
"""
TAIL = """\
image: {base: debian-12}
deploy:
  port: 80
  dev: {capacity: {min: 1, desired: 1, max: 1}}
"""
FULL = """\
package:
  name: hello-web
  formats: [deb, rpm, apk, archlinux]
  architecture: [amd64, arm64]
  tag_prefix: web/v
  epoch: 1
  revision: "2"
  build:
    kind: python
    into: /opt/hello/venv/
    requirements: requirements.txt
    isolation: chroot
    depends: [gcc]
    environment: {LEVEL: high}
    timeout_s: 60
  contents:
    - {from: "bin/{architecture}/hello", to: /usr/bin/}
    - {from: dist/, to: /opt/hello}
    - {to: /var/lib/hello, kind: dir, owner: hello, mode: "0750"}
    - {from: conf/a.toml, to: /etc/hello/a.toml, kind: config_replaced, formats: [rpm]}
    - {to: /var/log/hello.log, kind: ghost}
  depends: {all: ["nginx (>= 1.20) | httpd"], rpm: [/usr/bin/python3]}
  conflicts: [goodbye]
  init: [systemd, sysv]
  scripts: {postinstall: pkg/post.sh}
  services:
    web:
      command: /usr/bin/hello --port 80
      user: hello
      limits: {LimitNOFILE: 1024, MemoryMax: 512M}
      unit: {Service: {ProtectSystem: "", PrivateTmp: false, ReadWritePaths: [/a, /b]}}
    report: {command: /usr/bin/report, oneshot: true, schedule: daily, enabled: false}
  overrides:
    rpm: {depends: [python3 (>= 3.11)], contents: [{from: x, to: /opt/hello/x}], umask: "027"}
    deb: {scripts: {postinstall: pkg/deb.sh}}
  deb: {compression: xz, fields: {Bugs: "mailto:a@example.com"}, breaks: [old]}
  rpm: {group: Web, scripts: {verify: pkg/verify.sh}}
  allow: [foreign-path]
packages:
  hello-worker:
    description: Works
    architecture: all
    contents: [{from: dist/worker/, to: /opt/hello-worker}]
    depends: [hello-web]
"""


def app(tmp_path: Path, text: str) -> AppSpec:
    (tmp_path / "ovenbird.yaml").write_text(HEAD + text + TAIL)
    return load_manifest(tmp_path)


def test_everything_reaches_the_package(tmp_path: Path) -> None:
    found = app(tmp_path, FULL)

    assert [(p.name, p.architecture) for p in found.packages] == [
        ("hello-web", "amd64"), ("hello-web", "arm64"), ("hello-worker", "all"),
    ]  # fmt: skip
    assert found.version == VersionSpec(tag_prefix="web/v", epoch=1, revision="2")
    assert found.build == BuildSpec(
        kind=BuildKind.PYTHON, into="/opt/hello/venv", requirements="requirements.txt",
        isolation=Isolation.CHROOT, depends=("gcc",), environment={"LEVEL": "high"}, timeout_s=60,
    )  # fmt: skip
    web, arm, worker = found.packages
    assert (web.contents[0].origin, arm.contents[0].origin) == (
        "bin/amd64/hello",
        "bin/arm64/hello",
    )
    assert web.contents[0].destination == "/usr/bin/hello"
    assert [content.kind for content in web.contents] == [
        ContentKind.FILE, ContentKind.TREE, ContentKind.DIR, ContentKind.CONFIG_REPLACED,
        ContentKind.GHOST,
    ]  # fmt: skip
    assert web.contents[2].place == "package.contents[2]"
    assert (web.init, web.allowed) == ((Init.SYSTEMD, Init.SYSV), ("foreign-path",))
    assert (worker.description, worker.formats) == ("Works", web.formats)
    assert found.image.packages == ("hello-web", "hello-worker")


def test_one_format_may_differ(tmp_path: Path) -> None:
    web = app(tmp_path, FULL).packages[0]

    def depends(format_: PackageFormat) -> list[list[str]]:
        found = web.relations_of(format_, RelationKind.DEPENDS)
        return [[atom.name for atom in one.atoms] for one in found]

    assert depends(PackageFormat.DEB) == [["nginx", "httpd"]]
    assert depends(PackageFormat.RPM) == [["python3"]]
    assert len(web.contents_of(PackageFormat.RPM)) == 6
    assert len(web.contents_of(PackageFormat.DEB)) == 4
    assert web.script_of(PackageFormat.DEB, ScriptMoment.POSTINSTALL) == "pkg/deb.sh"
    assert web.script_of(PackageFormat.APK, ScriptMoment.POSTINSTALL) == "pkg/post.sh"
    assert web.specifics[PackageFormat.RPM] == {
        "group": "Web", "scripts": {"verify": "pkg/verify.sh"},
    }  # fmt: skip


def test_an_override_may_have_words_of_its_format(tmp_path: Path) -> None:
    own = "{all: [b], rpm: ['(c if d)']}"
    found = app(
        tmp_path,
        f"package: {{depends: {{deb: ['a:any']}}, overrides: {{rpm: {{depends: {own}}}}}}}\n",
    ).package

    assert found.relations_of(PackageFormat.DEB, RelationKind.DEPENDS) == (Relation(raw="a:any"),)
    one, raw = found.relations_of(PackageFormat.RPM, RelationKind.DEPENDS)
    assert (one.atoms[0].name, raw) == ("b", Relation(raw="(c if d)"))


def test_the_words_of_one_format_are_passed_on(tmp_path: Path) -> None:
    text = "package:\n  depends: {all: [nginx], rpm: [/usr/bin/python3, '(a if b)']}\n"
    found = app(tmp_path, text).package

    rpm = found.relations_of(PackageFormat.RPM, RelationKind.DEPENDS)

    assert rpm[1:] == (Relation(raw="/usr/bin/python3"), Relation(raw="(a if b)"))
    assert len(found.relations_of(PackageFormat.DEB, RelationKind.DEPENDS)) == 1


def test_services_are_jobs_or_run_for_ever(tmp_path: Path) -> None:
    web, report = app(tmp_path, FULL).packages[0].services

    assert web.limits == {"LimitNOFILE": "1024", "MemoryMax": "512M"}
    assert web.overrides == {
        "Service": {"ProtectSystem": "", "PrivateTmp": "no", "ReadWritePaths": "/a\n/b"}
    }
    assert (report.oneshot, report.schedule, report.restart) == (True, "daily", "no")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  build: {kind: python}\n  depends: [a]", "`into` is missing"),
        ("  build: {kind: binary, into: /usr/bin/a}\n  depends: [a]", "`target` is missing"),
        ("  build: {kind: rust}\n  depends: [a]", "must be 'command', 'make'"),
        ("  build: {comand: x}\n  depends: [a]", "did you mean `command`?"),
        ("  build: {depends: [gcc]}\n  depends: [a]", "is for `isolation: chroot`"),
        ("  name: hello", "the package holds nothing"),
        ("  depends: ['a >= 1']", "is not a relation"),
        ("  depends: {debian: [a]}", "did you mean `deb`?"),
        ("  depends: [a]\n  architecture: sparc", "must be 'all', 'amd64' or 'arm64'"),
        ("  depends: [a]\n  version: 1_0-2", "is not a version"),
        ("  depends: [a]\n  scripts: {postinstall: ../x}", "must stay inside the checkout"),
        ("  depends: [a]\n  umask: 22", "`package.umask`: needs quotes, as '0644'"),
        ("  depends: [a]\n  vendor: 'a\n\n    B: c'", "`package.vendor`: must be one line"),
        (f"  depends: [a]\n  description: {'x' * 10_001}", "a line of more than 10000 characters"),
        ('  depends: [a]\n  description: "a\\eb"', "must not hold control characters"),
        ("  depends: [a]\n  version: 1.2", "must be text: put `1.2` in quotes"),
        (
            "  depends: [a]\n  services: {w: {command: /x, environment: {PORT: 80}}}",
            "services.w.environment.PORT`: must be text: put `80` in quotes",
        ),
        ("  contents: [{from: a, to: /a, mode: 0644}]", "needs quotes, as '0644'"),
        ("  depends: {deb: ['a >= 1']}", "is not a relation of Debian's"),
        ("  depends: {deb: ['a, b']}", "is not a relation of Debian's"),
        ("  depends: [a]\n  deb: {breaks: ['a (1)']}", "is not a relation of Debian's"),
        ("  depends: [a]\n  deb: {predepends: ['a (>= x)']}", "is not a relation of Debian's"),
        ("  depends: [a]\n  deb: {fields: {A: 'x\n\n    B: c'}}", "must be one line"),
        ("  depends: [a]\n  deb: {fields: {'a b': x}}", "is not a field's name"),
        (
            "  depends: [a]\n  overrides: {rpm: {depends: {deb: [b]}}}",
            "`depends` of `rpm` cannot have a list for `deb`",
        ),
        ("  depends: [a]\n  deb: {compression: brotli}", "must be 'gzip', 'xz', 'zstd' or 'none'"),
        ("  depends: [a]\n  services: {w: {command: /x, schedule: daily}}", "add `oneshot: true`"),
        (
            "  depends: [a]\n  services: {w: {command: /x, unit: {Service: {User: other}}}}",
            "say `user: ...` of the service",
        ),
        (
            "  depends: [a]\n  services: {w: {command: /x, unit: {Service: {no-such: 1}}}}",
            "is not a directive of systemd's",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=r":[0-9]+: `package") as caught:
        app(tmp_path, f"package:\n{text}\n")

    assert words in str(caught.value)


def test_names_of_packages_must_be_known_and_apart(tmp_path: Path) -> None:
    package = "package: {depends: [a]}\npackages: {hello: {depends: [a]}}\n"
    with pytest.raises(InvalidRequest, match="is the name of `package` itself"):
        app(tmp_path, package)
