from __future__ import annotations

import dataclasses
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ovenbird.domain.catalog import Finding, PackageFacts, PackageFile
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import (
    Content,
    ContentKind,
    PackageFormat,
    PackageSpec,
    RelationKind,
    Service,
)
from ovenbird.domain.relations import parse
from ovenbird.packaging.checking.checks import (
    CODES,
    check,
    check_alone,
    check_relations,
    is_allowed,
    refuse,
    said,
)
from ovenbird.packaging.reading.examined import words_of
from ovenbird.packaging.reading.inspection import Identity

DEB, RPM, APK, ARCH = PackageFormat
FIELDS = {DEB: "Depends", RPM: "Requires", APK: "depend", ARCH: "depend"}


def file(path: str, mode: int = 0o644, **more: Any) -> PackageFile:
    return PackageFile(path=path, mode=stat.S_IFREG | mode, **more)


def program(path: str, **more: Any) -> PackageFile:
    return file(path, 0o755, **more)


def directory(path: str, mode: int = 0o755, **more: Any) -> PackageFile:
    return PackageFile(path=path, mode=stat.S_IFDIR | mode, **more)


def link(path: str, target: str) -> PackageFile:
    return PackageFile(path=path, mode=stat.S_IFLNK | 0o777, target=target)


APP = program("/opt/hello/bin/hello", interpreter="/bin/sh")


def facts(*files: PackageFile, depends: str = "", format_: PackageFormat = DEB) -> PackageFacts:
    relations = tuple(one.strip() for one in depends.split(",") if one)
    configs = tuple(one.path for one in files if one.path.startswith("/etc/hello/"))
    return PackageFacts(
        files=files or (APP,),
        relations={FIELDS[format_]: relations} if relations else {},
        configs=configs,
    )


def spec(command: str = "", **more: Any) -> PackageSpec:
    services = (Service(name="web", command=command, user="hello"),) if command else ()
    return PackageSpec(
        **{"name": "hello", "maintainer": "Hello <h@example.com>", "services": services, **more}
    )


def codes(
    found: PackageFacts, asked: PackageSpec | None = None, format_: PackageFormat = DEB
) -> list[str]:
    return [f"{one.level} {one.code}" for one in check(asked or spec(), format_, found)]


@pytest.mark.parametrize(
    ("command", "depends", "expected"),
    [
        ("/opt/hello/bin/hello --port 1", "", []),
        ("/opt/hello/bin/again", "", []),  # through a link to what the package has
        ("/opt/hello/current/hello", "", []),  # through a directory that is a link
        ("/opt/hello/bin/other", "python3", ["error missing-command"]),
        ("/opt/hello/README", "", ["error not-executable"]),
        ("-/bin/sh -c true", "", []),
        ("/usr/bin/bash /opt/hello/bin/hello", "", []),
        ("/usr/bin/python3 -m hello", "", ["error missing-command"]),
        ("/usr/bin/python3 -m hello", "nginx", ["error missing-command"]),
        ("/usr/bin/python3 -m hello", "python3 (>= 3.11)", []),
        ("/usr/bin/python3.11 -m hello", "python3-flask | x", []),
        ("/usr/bin/python3 /opt/hello/gone.py", "python3", ["error missing-command"]),
        ("/usr/bin/python3 -u /opt/hello/bin/hello", "python3", []),
        ("/usr/bin/node /opt/hello/README", "nodejs", []),
        ("/usr/bin/java -jar /opt/hello/x.jar", "default-jre-headless", ["error missing-command"]),
        ("/usr/sbin/nginx -g 'daemon off;'", "nginx-light", []),
        ("/usr/bin/env A=1 python3 -m hello", "", ["error missing-command"]),
        ("/usr/bin/env -S python3 -m hello", "python3", []),
        ("/usr/bin/consul agent", "", ["error missing-command"]),
        ("/usr/bin/consul agent", "vault", ["warning missing-command"]),
        ("/usr/bin/consul agent", "consul", []),
        ("/opt/other/bin/x", "other", []),  # in the directory of a dependency
        ("/opt/other/bin/x", "another", ["warning missing-command"]),
    ],
)
def test_a_service_s_command_must_be_there(command: str, depends: str, expected: list[str]) -> None:
    found = facts(
        APP,
        link("/opt/hello/bin/again", "hello"),
        link("/opt/hello/current", "bin"),
        file("/opt/hello/README"),
        depends=depends,
    )

    assert codes(found, spec(command)) == expected


@pytest.mark.parametrize(
    ("format_", "command", "depends", "expected"),
    [
        (APK, "/bin/bash -c true", "", ["error missing-command"]),
        (APK, "/bin/bash -c true", "bash", []),
        (APK, "/usr/bin/python3 -m x", "cmd:python3", []),
        (APK, "/usr/bin/python3 -m x", "python3~3.11", []),
        (RPM, "/usr/bin/python3 -m x", "/usr/bin/python3", []),
        (RPM, "/usr/bin/python3 -m x", "(python3.11 or python3.12)", []),
        (RPM, "/usr/bin/perl -e 1", "", ["error missing-command"]),
        (DEB, "/usr/bin/perl -e 1", "", []),
        (ARCH, "/usr/bin/python -m x", "python>=3.11", []),
    ],
)
def test_every_format_has_programs_and_relations_of_its_own(
    format_: PackageFormat, command: str, depends: str, expected: list[str]
) -> None:
    found = facts(APP, depends=depends, format_=format_)

    assert codes(found, spec(command), format_) == expected


@pytest.mark.parametrize(
    ("path", "line", "depends", "expected"),
    [
        ("/opt/hello/a", "/bin/sh -e", "", []),
        ("/opt/hello/a", "/usr/bin/env python3", "", ["error missing-interpreter"]),
        ("/opt/hello/a", "/usr/bin/env -S python3 -u", "python3", []),
        ("/opt/hello/a", "/usr/bin/env", "", []),
        ("/opt/hello/a", "/usr/bin/env own", "", []),  # /usr/bin/own is in the package
        ("/opt/hello/a", "/opt/hello/bin/hello", "", []),
        ("/opt/hello/a", "/mnt/dist/bin/python", "", ["error missing-interpreter"]),
        ("/opt/hello/a", "/mnt/dist/bin/python", "python3", ["warning missing-interpreter"]),
        ("/opt/hello/a", "/opt/hello/venv/bin/python", "python3", ["error missing-interpreter"]),
        ("/opt/hello/lib/site-packages/a", "/usr/bin/fish", "", ["warning missing-interpreter"]),
        ("/usr/share/doc/hello/a", "/usr/bin/fish", "", []),
        ("/opt/hello/a", "", "", []),
    ],
)
def test_a_script_s_interpreter_must_be_there(
    path: str, line: str, depends: str, expected: list[str]
) -> None:
    found = facts(APP, program("/usr/bin/own"), program(path, interpreter=line), depends=depends)

    assert codes(found) == expected


def test_scripts_that_are_not_run_need_no_interpreter_and_maintainer_scripts_do() -> None:
    silent = facts(APP, file("/opt/hello/x.py", interpreter="/usr/bin/env python3"))
    loud = PackageFacts(files=(APP,), scripts={"postinst": "#!/usr/bin/fish\n", "prerm": "true\n"})

    assert codes(silent) == []
    assert [(one.code, one.place) for one in check(spec(), DEB, loud)] == [
        ("missing-interpreter", "postinst")
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/default/hello", "warning not-a-config"),
        ("/usr/lib/hello/x", ""),
        ("/usr/share/doc/hello/copyright", ""),
        ("/var/lib/hello/x", ""),
        ("/lib/systemd/system/hello-web.service", ""),
        ("/usr/lib/systemd/system/hello.service.d/10.conf", ""),
        ("/etc/nginx/conf.d/hello.conf", "warning not-a-config"),
        ("/usr/lib/sysctl.d/60-hello.conf", ""),
        ("/usr/share/man/man1/hello.1.gz", ""),
        ("/usr/bin/anything", ""),
        ("/bin/anything", ""),
        ("/usr/lib/sysctl.d/60-helloween.conf", "warning foreign-path"),
        ("/usr/lib/systemd/system/nginx.service", "warning foreign-path"),
        ("/usr/lib/python3/dist-packages/x.py", "warning foreign-path"),
        ("/srv/www/x", "warning foreign-path"),
        ("/opt/other/x", "warning foreign-path"),
        ("/usr/local/bin/hello", "error foreign-path"),
        ("/home/hello/x", "error foreign-path"),
        ("/root/x", "error foreign-path"),
        ("/run/hello/x", "error foreign-path"),
        ("/var/tmp/x", "error foreign-path"),  # noqa: S108
        ("/dev/x", "error foreign-path"),
    ],
)
def test_a_package_keeps_to_its_own_directories(path: str, expected: str) -> None:
    assert codes(facts(file(path))) == ([expected] if expected else [])


def test_directories_on_the_way_are_nobody_s_and_empty_ones_are_a_package_s() -> None:
    way = [directory(path) for path in ("/opt", "/opt/hello", "/opt/hello/bin")]

    assert codes(facts(*way, APP)) == []
    assert codes(facts(APP, directory("/run/hello"))) == ["error foreign-path"]
    assert codes(facts(APP, directory("/srv/hello"))) == ["warning foreign-path"]


def test_a_place_that_a_content_names_is_asked_for() -> None:
    found = facts(file("/srv/www/index.html"), file("/usr/lib/udev/rules.d/9.rules"))
    exact = Content(origin="9", destination="/usr/lib/udev/rules.d/9.rules")
    tree = Content(origin="www", destination="/srv/www", kind=ContentKind.TREE)
    wide = Content(origin="root", destination="/usr", kind=ContentKind.TREE)

    assert codes(found, spec(contents=(exact, tree))) == []
    assert codes(found, spec(contents=(wide, tree))) == ["warning foreign-path"]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (file("/opt/hello/x", 0o666), ["error world-writable"]),
        (directory("/opt/hello/x", 0o777), ["error world-writable"]),
        (directory("/opt/hello/x", 0o1777), []),
        (link("/opt/hello/x", "bin/hello"), []),
        (program("/opt/hello/x", owner="root", group="root"), []),
        (file("/opt/hello/x", 0o4755), ["error set-uid"]),
        (file("/opt/hello/x", 0o2755), ["error set-gid"]),
        (directory("/opt/hello/x", 0o2755), ["warning set-gid"]),
    ],
)
def test_modes_that_give_much_must_be_asked_for(what: PackageFile, expected: list[str]) -> None:
    asking = Content(origin="x", destination="/opt/hello/x", mode=what.mode & 0o7777)
    tree = Content(origin="x", destination="/opt/hello/x", mode=0o7777, kind=ContentKind.TREE)

    assert codes(facts(APP, what)) == expected
    assert codes(facts(APP, what), spec(contents=(asking,))) == []
    assert codes(facts(APP, what), spec(contents=(tree,))) == expected


@pytest.mark.parametrize(
    ("architecture", "machine", "path", "expected"),
    [
        ("amd64", "amd64", "/opt/hello/x", []),
        ("amd64", "arm64", "/opt/hello/x", ["error wrong-architecture"]),
        ("all", "amd64", "/opt/hello/x", ["error wrong-architecture"]),
        ("all", "247", "/opt/hello/x.bpf.o", []),
        ("amd64", "arm64", "/opt/hello/node_modules/a/x.node", ["warning wrong-architecture"]),
        ("all", "arm64", "/opt/hello/node_modules/a/x.node", ["error wrong-architecture"]),
    ],
)
def test_programs_are_for_the_package_s_machine(
    architecture: str, machine: str, path: str, expected: list[str]
) -> None:
    found = facts(APP, program(path, machine=machine))

    assert codes(found, spec(architecture=architecture)) == expected


@pytest.mark.parametrize(
    ("format_", "expected"),
    [(DEB, ["warning not-a-config"]), (RPM, ["warning not-a-config"]), (APK, [])],
)
def test_what_lies_below_etc_is_configuration(format_: PackageFormat, expected: list[str]) -> None:
    kept = facts(APP, file("/etc/hello/kept.toml"))
    lost = PackageFacts(files=(APP, file("/etc/hello/lost.toml")))

    assert codes(kept, None, format_) == []
    assert codes(lost, None, format_) == expected


def test_a_package_holds_something_or_needs_something() -> None:
    bare = PackageFacts(files=(directory("/opt"), directory("/opt/hello")))
    meta = PackageFacts(relations={"Depends": ("nginx",)})

    assert codes(bare) == ["error empty-package"]
    assert codes(meta) == []


@pytest.mark.parametrize(
    ("target", "depends", "expected"),
    [
        ("bin/hello", "", []),
        ("/opt/hello/bin", "", []),
        ("gone", "python3", ["warning dangling-symlink"]),
        ("/opt/hello/gone", "python3", ["warning dangling-symlink"]),
        ("/usr/share/fonts/x.ttf", "", ["warning dangling-symlink"]),
        ("/usr/share/fonts/x.ttf", "fonts-x", []),
        ("/bin/sh", "", []),
        ("/run/hello/socket", "", []),
        ("/var/lib/hello/made-later", "", []),
        ("x", "", ["warning dangling-symlink"]),  # to itself
    ],
)
def test_links_lead_somewhere(target: str, depends: str, expected: list[str]) -> None:
    found = facts(APP, link("/opt/hello/x", target), depends=depends)

    assert codes(found) == expected


@pytest.mark.parametrize(
    ("owner", "depends", "script", "expected"),
    [
        ("www-data", "", "", []),
        ("hello", "", "", []),  # the service's own
        ("worker", "", "", ["error unknown-owner"]),
        ("worker", "", "useradd --system worker\n", []),
        ("worker", "", "useradd --system worker-2\n", ["error unknown-owner"]),
        ("worker", "", "chown worker /x\n", ["error unknown-owner"]),
        ("nginx", "nginx-core", "", []),
        ("1000", "", "", ["error unknown-owner"]),
    ],
)
def test_owners_are_made_by_something(
    owner: str, depends: str, script: str, expected: list[str]
) -> None:
    found = PackageFacts(
        files=(APP, file("/opt/hello/x", owner=owner)),
        relations={"Depends": (depends,)} if depends else {},
        scripts={"postinst": script},
    )

    assert codes(found, spec("/opt/hello/bin/hello")) == expected


def test_findings_alike_are_said_once_with_the_place_that_asks_for_them() -> None:
    names = ("a", "b", "c")
    found = facts(APP, *(file(f"/opt/hello/{name}", 0o666) for name in names))
    asked = spec(
        contents=(
            Content(origin="o", destination="/opt", place="package.contents[0]"),
            Content(origin="x", destination="/opt/hello", place="package.contents[1]"),
        )
    )

    (one,) = check(asked, DEB, found)

    assert said(one) == (
        "`/opt/hello/a`: everyone may write to it (and 2 more); see `package.contents[1]`"
        " (world-writable)"
    )


def test_a_manifest_accepts_by_code_and_by_place() -> None:
    found = facts(file("/opt/hello/a", 0o4755), file("/usr/local/x"))

    assert codes(found) == ["error foreign-path", "error set-uid"]
    assert codes(found, spec(allowed=("set-uid",))) == ["error foreign-path"]
    assert codes(found, spec(allowed=("set-uid:/opt/*", "foreign-path:/usr/local/x"))) == []
    assert len(codes(found, spec(allowed=("set-uid:/usr/*", "foreign", "set-uid:a")))) == 2


def test_errors_are_refused_all_at_once_and_warnings_are_not() -> None:
    found = check(spec(), DEB, facts(file("/opt/hello/a", 0o4755), file("/usr/local/x")))
    warning = Finding(tool="ovenbird", code="x", level="warning", text="mild")

    refuse([warning])
    with pytest.raises(InvalidRequest) as caught:
        refuse([*found, warning])
    with pytest.raises(InvalidRequest, match=r"^runs as"):
        refuse([Finding(tool="ovenbird", code="set-uid", level="error", text="runs as")])

    first, second, third = str(caught.value).splitlines()
    assert first == "2 mistakes in the package:"
    assert ("(foreign-path)" in second, "(set-uid)" in third) == (True, True)
    assert caught.value.hint.endswith("`allow: [foreign-path, set-uid]`")


def test_a_file_alone_is_checked_for_what_needs_no_manifest() -> None:
    identity = Identity(format=DEB, name="hello", version="1", architecture="all")
    found = facts(file("/opt/hello/a", 0o6755, owner="hello"), file("/usr/local/x"))

    assert [f"{one.level} {one.code}" for one in check_alone(identity, found)] == [
        "error foreign-path",
        "warning set-gid",
        "warning set-uid",
        "warning unknown-owner",
    ]


def related(name: str = "hello", **said_: str) -> PackageSpec:
    relations: Mapping[RelationKind, Any] = {
        RelationKind(kind): tuple(parse(one) for one in text.split(", "))
        for kind, text in said_.items()
    }
    return spec(name=name, relations=relations)


@pytest.mark.parametrize(
    ("depends", "conflicts", "expected"),
    [
        ("nginx", "apache2", []),
        ("hello (>= 1)", "apache2", ["depends-on-itself"]),
        ("hello | nginx", "apache2", []),
        ("a (>= 2), a (<< 1)", "x", ["unsatisfiable-relation"]),
        ("a (>= 2), a (<< 3)", "x", []),
        ("a (>= 2), a (<= 2)", "x", []),
        ("a (>> 2), a (<= 2)", "x", ["unsatisfiable-relation"]),
        ("a (>> 2), a (>= 2)", "x", []),
        ("a (= 2), a (= 2)", "x", []),
        ("a (= 2), a (= 2.0)", "x", ["unsatisfiable-relation"]),
        ("a (= 2), a (>= 2~rc1)", "x", []),
        ("a (>= 2), a (<< 2~rc1)", "x", ["unsatisfiable-relation"]),
        ("a (>= 2), a (<< 1) | b", "x", []),
        ("a (= 1), a", "x", []),
        ("nginx", "nginx", ["contradictory-relation"]),
        ("nginx (>= 2)", "nginx (<< 2)", []),
        ("nginx (>= 2)", "nginx (>= 1)", ["contradictory-relation"]),
        ("nginx (= 2)", "nginx (= 2)", ["contradictory-relation"]),
        ("nginx (>= 2)", "nginx (= 2)", []),
        ("nginx", "nginx (<< 2)", []),
    ],
)
def test_relations_that_no_machine_can_have_are_found(
    depends: str, conflicts: str, expected: list[str]
) -> None:
    found = check_relations([related(depends=depends, conflicts=conflicts)])

    assert [one.code for one in found] == expected


def test_packages_of_one_manifest_do_not_need_each_other_in_a_circle() -> None:
    circle = [
        related("a", depends="b, nginx"),
        related("b", depends="c"),
        related("c", depends="a (>= 1)"),
        related("d", depends="a"),
    ]

    (one,) = check_relations(circle)

    assert (one.code, one.level, one.place) == ("circular-relation", "error", "a: depends")
    assert one.text.endswith("`a` → `b` → `c` → `a`")
    assert check_relations([related("a", depends="b"), related("b", depends="a | x")]) == ()


def test_packages_of_one_manifest_have_files_of_their_own() -> None:
    def packages(**more: Any) -> list[PackageSpec]:
        web = Service(name="web", command="/opt/x")
        config = Content(origin="a", destination="/etc/a", kind=ContentKind.CONFIG)
        tree = Content(origin="t", destination="/opt/x", kind=ContentKind.TREE)
        worker = dataclasses.replace(web, name="worker")
        return [
            spec(services=(web, worker), contents=(config, tree)),
            spec(name="hello-worker", services=(web,), contents=(config, tree), **more),
        ]

    found = check_relations(packages())
    conflicts = related(conflicts="hello").relations

    assert [(one.code, one.place) for one in found] == [
        ("shared-path", "hello-worker: /etc/a"),
        ("shared-path", "hello-worker: /lib/systemd/system/hello-worker.service"),
    ]
    assert "is in `hello`, too" in found[0].text
    assert check_relations(packages(relations=conflicts)) == ()
    assert check_relations(packages(formats=(RPM,))) == ()
    assert check_relations(packages(allowed=("shared-path",))) == ()


def test_relations_of_each_format_are_checked_and_accepted_alike() -> None:
    both = related(depends="hello")
    rpm = spec(
        formats=(DEB, RPM),
        relations=both.relations,
        allowed=("depends-on-itself",),
    )

    assert len(check_relations([spec(formats=(DEB, RPM), relations=both.relations)])) == 1
    assert check_relations([rpm]) == ()


def test_a_code_that_is_none_is_told_with_the_nearest() -> None:
    (one,) = check_relations([spec(allowed=("set-uid:/opt/*", "foreign-paht"))])

    assert said(one) == (
        "`hello: allow`: `foreign-paht` is no finding; did you mean `foreign-path`? (unknown-code)"
    )


@pytest.mark.parametrize(
    ("relation", "expected"),
    [
        ("nginx (>= 1.20) | apache2:any", ["nginx", "apache2"]),
        ("(a >= 1 and b < 2)", ["a", "b"]),
        ("foo(x86-64) = 1:2.3-4", ["foo"]),
        ("/usr/bin/python3", ["/usr/bin/python3"]),
        ("cmd:python3", ["cmd:python3"]),
        ("libstdc++6 (>= 4~)", ["libstdc++6"]),
        ("g++>=4", ["g++"]),
    ],
)
def test_the_names_in_relations_of_every_format(relation: str, expected: list[str]) -> None:
    assert list(words_of(relation)) == expected


def test_every_code_is_explained() -> None:
    found = Finding(tool="ovenbird", code="set-uid", level="error", text="")

    assert all(is_allowed(Finding(tool="", code=c, level="", text=""), [c]) for c in CODES)
    assert not is_allowed(found, [code for code in CODES if code != "set-uid"])


def test_the_reference_has_every_code() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/reference/checks.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \| (.*) \|$", page, re.MULTILINE)

    assert rows == [(code, text) for code, text in CODES.items()]
