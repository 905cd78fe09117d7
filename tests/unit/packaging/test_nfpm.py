"""Whole packages in every format: what is asked for is in them, and always the same bytes."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from ovenbird.domain.errors import CommandFailed, InvalidRequest
from ovenbird.domain.packages import (
    Content,
    Init,
    Override,
    PackageFormat,
    PackageSpec,
    RelationKind,
    ScriptMoment,
)
from ovenbird.domain.relations import parse
from ovenbird.packaging.reading.inspection import inspect
from ovenbird.packaging.writing import nfpm
from ovenbird.system.commands import run
from tests.unit.packaging.writing import checkout, content, queried, service, spec, written

FORMATS = tuple(PackageFormat)
DEB, RPM, APK, ARCH = FORMATS
each_format = pytest.mark.parametrize("format_", FORMATS)

EVERYTHING = spec(
    description="Costs $5 of ${HOME}\nand more",
    homepage="https://example.com/",
    vendor="Hello & Co",
    license="MIT",
    section="web",
    priority="extra",
    architecture="amd64",
    contents=(
        content("dist", "/opt/hello", "tree"),
        content("hello.toml", "/etc/hello/hello.toml", "config", owner="hello", mode=0o640),
        content("hello.toml", "/etc/hello/replaced.toml", "config_replaced"),
        content("hello.toml", "/etc/hello/missing.toml", "config_missing_ok"),
        content("README.md", "/usr/share/doc/hello/README.md", "readme"),
        content("README.md", "/usr/share/doc/hello/LICENSE", "license"),
        content("README.md", "/usr/share/doc/hello/more", "doc"),
        content("", "/var/spool/hello", "dir", owner="hello", group="mail", mode=0o1770),
        content("/opt/hello/bin/hello", "/usr/bin/hello", "symlink"),
        content("dist/bin/hello", "/opt/hello/bin/root", mode=0o4755, group="adm"),
        content("", "/var/log/hello.log", "ghost"),
    ),
    services=(
        service(config_reload="SIGHUP", environment={"A": "b c"}),
        service(name="nightly", oneshot=True, schedule="daily"),
    ),
    init=tuple(Init),
    changelog="changelog.yaml",
    relations={
        RelationKind.DEPENDS: (parse("nginx (>= 1.20)"), parse("python3")),
        RelationKind.RECOMMENDS: (parse("curl"),),
        RelationKind.SUGGESTS: (parse("jq"),),
        RelationKind.CONFLICTS: (parse("goodbye (<< 2.0)"),),
        RelationKind.REPLACES: (parse("hullo"),),
        RelationKind.PROVIDES: (parse("greeter (= 1.0)"),),
    },
    overrides={
        DEB: Override(relations={RelationKind.DEPENDS: (parse("nginx | caddy (>= 2)"),)}),
        RPM: Override(contents=(content("README.md", "/usr/share/hello/rpm"),)),
    },
    specifics={DEB: {"fields": {"Bugs": "https://bugs.example.com/$1"}}, RPM: {"group": "Web"}},
)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[PackageFormat, Path]:
    """The whole app in every format, which tests only read."""
    work = tmp_path_factory.mktemp("packages")
    top = checkout(work / "checkout")
    return {format_: written(EVERYTHING, format_, top, work) for format_ in FORMATS}


@each_format
def test_contents_have_their_modes_owners_and_targets(
    packages: dict[PackageFormat, Path], format_: PackageFormat
) -> None:
    _, facts = inspect(packages[format_])
    files = {file.path: file for file in facts.files}
    seen = {
        path: (f"{files[path].mode & 0o7777:o}", files[path].owner, files[path].group)
        for path in (
            "/opt/hello/bin", "/opt/hello/bin/hello", "/opt/hello/share/empty",
            "/opt/hello/share/$HOME é.txt", "/var/spool/hello", "/usr/share/doc/hello/README.md",
            "/usr/share/doc/hello/LICENSE", "/usr/share/doc/hello/more",
        )
    }  # fmt: skip

    assert seen == {
        "/opt/hello/bin": ("755", "root", "root"),
        "/opt/hello/bin/hello": ("755", "root", "root"),
        "/opt/hello/share/empty": ("755", "root", "root"),
        "/opt/hello/share/$HOME é.txt": ("644", "root", "root"),
        "/var/spool/hello": ("1770", "hello", "mail"),
        "/usr/share/doc/hello/README.md": ("644", "root", "root"),
        "/usr/share/doc/hello/LICENSE": ("644", "root", "root"),
        "/usr/share/doc/hello/more": ("644", "root", "root"),
    }
    assert f"{files['/opt/hello/bin/root'].mode & 0o7777:o}" == "4755"
    assert files["/opt/hello/bin/again"].target == "hello"
    assert files["/usr/bin/hello"].target == "/opt/hello/bin/hello"
    assert ("/var/log/hello.log" in files) == (format_ is RPM)
    assert ("/usr/share/hello/rpm" in files) == (format_ is RPM)


@each_format
def test_links_do_not_hang_on_what_this_host_has_at_their_ends(
    tmp_path: Path, format_: PackageFormat
) -> None:
    ends = ("/etc", "/etc/passwd", "../../../../../../../../etc", "/nowhere", "/etc/{a,b}*")
    links = [
        content(end, f"/opt/hello/{number}", "symlink", place=f"package.contents[{number}]")
        for number, end in enumerate(ends)
    ]
    asked = spec(contents=tuple(links), specifics={RPM: {"packager": "A $HOME"}})
    made = written(asked, format_, tmp_path, tmp_path)
    _, facts = inspect(made)

    found = {file.path: file for file in facts.files if stat.S_ISLNK(file.mode)}
    assert [found[f"/opt/hello/{number}"].target for number in range(len(ends))] == list(ends)
    assert len({file.mode for file in found.values()}) == 1
    if format_ is RPM:
        assert queried(made, "--queryformat", "%{PACKAGER}") == "A $HOME"


@each_format
def test_files_of_an_account_lie_in_directories_of_roots(
    packages: dict[PackageFormat, Path], format_: PackageFormat
) -> None:
    _, facts = inspect(packages[format_])
    files = {file.path: file for file in facts.files}

    assert (files["/etc/hello"].owner, files["/etc/hello"].mode & 0o7777) == ("root", 0o755)
    config = files["/etc/hello/hello.toml"]
    if format_ is ARCH:  # nfpm leaves owners of files out there: a script gives them
        assert "chown -h hello:root /etc/hello/hello.toml" in "".join(facts.scripts.values())
        assert "chmod 4755 /opt/hello/bin/root" in "".join(facts.scripts.values())
    else:
        assert (config.owner, config.mode & 0o7777) == ("hello", 0o640)


@each_format
def test_configuration_is_known_as_such(
    packages: dict[PackageFormat, Path], format_: PackageFormat
) -> None:
    _, facts = inspect(packages[format_])

    own = {f"/etc/hello/{name}.toml" for name in ("hello", "missing", "replaced")}
    older = {"/etc/cron.d/hello-nightly", "/etc/init.d/hello", "/etc/init/hello.conf"}
    assert set(facts.configs) == (set() if format_ is APK else own | older)


def test_rpm_tells_kinds_of_files_apart(packages: dict[PackageFormat, Path]) -> None:
    query = "[%{FILEFLAGS:fflags} %{FILENAMES}\n]"
    lines = queried(packages[RPM], "--queryformat", query).splitlines()

    parts = (line.partition(" ") for line in lines if not line.startswith(" "))
    flags = {path: flag for flag, _, path in parts}
    assert {path: flag for path, flag in flags.items() if "/init" not in path} == {
        "/etc/cron.d/hello-nightly": "cn",
        "/etc/hello/hello.toml": "cn",
        "/etc/hello/missing.toml": "cm",
        "/etc/hello/replaced.toml": "c",
        "/usr/share/doc/hello/LICENSE": "l",
        "/usr/share/doc/hello/README.md": "r",
        "/usr/share/doc/hello/more": "d",
        "/var/log/hello.log": "g",
    }


RELATIONS = {
    DEB: {
        "Pre-Depends": ("passwd",),
        "Depends": ("nginx | caddy (>= 2)",),
        "Recommends": ("curl", "cron | cron-daemon"),
        "Suggests": ("jq",),
        "Conflicts": ("goodbye (<< 2.0)",),
        "Replaces": ("hullo",),
        "Provides": ("greeter (= 1.0)",),
    },
    APK: {
        "depend": ("nginx>=1.20", "python3", "!goodbye<2.0"),
        "replaces": ("hullo",),
        "provides": ("greeter=1.0",),
    },
    ARCH: {
        "depend": ("nginx>=1.20", "python3"),
        "optdepend": ("curl", "cronie", "jq"),
        "conflict": ("goodbye<2.0",),
        "replaces": ("hullo",),
        "provides": ("greeter=1.0",),
    },
}


@pytest.mark.parametrize("format_", RELATIONS)
def test_relations_are_in_the_words_of_the_format(
    packages: dict[PackageFormat, Path], format_: PackageFormat
) -> None:
    _, facts = inspect(packages[format_])

    assert facts.relations == RELATIONS[format_]


def test_relations_of_rpm_are_what_rpm_reads(packages: dict[PackageFormat, Path]) -> None:
    def asked(word: str) -> set[str]:
        lines = queried(packages[RPM], f"--{word}").splitlines()
        return {line for line in lines if not line.startswith("rpmlib(")}

    assert asked("requires") == {"/usr/sbin/useradd", "nginx >= 1.20", "python3"}
    assert asked("recommends") == {"curl", "cronie"}
    assert asked("suggests") == {"jq"}
    assert asked("conflicts") == {"goodbye < 2.0"}
    assert asked("obsoletes") == {"hullo"}
    assert "greeter = 1.0" in asked("provides")


def test_descriptions_are_taken_as_they_are(packages: dict[PackageFormat, Path]) -> None:
    query = "%{SUMMARY}|%{VENDOR}|%{LICENSE}|%{URL}|%{GROUP}|%{ARCH}|%{BUILDHOST}|%{CHANGELOGTEXT}"
    said = queried(packages[RPM], "--queryformat", query)
    fields = run(["dpkg-deb", "--field", packages[DEB]], timeout_s=20)

    assert said == (
        "Costs $5 of ${HOME}|Hello & Co|MIT|https://example.com/|Web|x86_64|localhost|- Says hello"
    )
    assert "Description: Costs $5 of ${HOME}\n and more\n" in fields
    assert "Bugs: https://bugs.example.com/$1\n" in fields
    assert "Section: web\nPriority: extra\nArchitecture: amd64\n" in fields


def test_debian_has_the_changelog(packages: dict[PackageFormat, Path]) -> None:
    _, facts = inspect(packages[DEB])

    assert "/usr/share/doc/hello/changelog.Debian.gz" in {file.path for file in facts.files}


def test_a_deb_says_its_license(tmp_path: Path) -> None:
    top = checkout(tmp_path / "c")
    (top / "LICENSE").write_text("Permission is granted.\n\nWithout warranty.\n")
    file = content("LICENSE", "/usr/share/doc/hello/LICENSE", "license")
    where = "./usr/share/doc/hello/copyright"

    def read(asked: PackageSpec, work: str) -> str:
        made = written(asked, DEB, top, tmp_path / work)
        script = 'dpkg-deb --fsys-tarfile "$1" | tar --extract --to-stdout "$2"'
        return run(["sh", "-c", script, "sh", made, where], timeout_s=20)

    assert read(spec(license="MIT", vendor="Hello & Co", contents=(file,)), "a").endswith(
        "\nFiles: *\nCopyright: Hello & Co\nLicense: MIT\n"
        " Permission is granted.\n .\n Without warranty.\n"
    )
    assert "/usr/share/common-licenses/Apache-2.0" in read(spec(license="Apache-2.0"), "b")
    own = content("README.md", "/usr/share/doc/hello/copyright")
    assert read(spec(license="MIT", contents=(own,)), "c") == "Hello\n"


def aged(top: Path) -> None:
    """Give files other times, and other modes but for what git would keep."""
    for path in [top, *top.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() or os.access(path, os.X_OK) else 0o600)
            os.utime(path, (1, 1))


@each_format
def test_the_same_inputs_give_the_same_bytes(
    packages: dict[PackageFormat, Path],
    format_: PackageFormat,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    before = os.umask(0o077)
    try:
        top = checkout(tmp_path / "some/other/place")
        aged(top)
        again = written(EVERYTHING, format_, top, tmp_path / "elsewhere")
    finally:
        os.umask(before)

    assert again.read_bytes() == packages[format_].read_bytes()


NAMES = {
    DEB: ("hello_1.2.0~rc1-2_all.deb", "hello_1.2.0_amd64.deb"),
    RPM: ("hello-1.2.0~rc1-2.noarch.rpm", "hello-1.2.0-1.x86_64.rpm"),
    APK: ("hello_1.2.0_rc1-r2_noarch.apk", "hello_1.2.0_x86_64.apk"),
    ARCH: ("hello-1.2.0rc1-2-any.pkg.tar.zst", "hello-1.2.0-1-x86_64.pkg.tar.zst"),
}


@pytest.mark.parametrize("format_", NAMES)
def test_files_are_called_by_their_formats_conventions(format_: PackageFormat) -> None:
    amd64 = spec(architecture="amd64")

    assert (
        nfpm.file_name(spec(), "1.2.0~rc1-2", format_),
        nfpm.file_name(amd64, "1.2.0", format_),
    ) == NAMES[format_]
    assert nfpm.format_of(Path(NAMES[format_][0])) is format_


def test_an_epoch_is_no_part_of_a_debs_name() -> None:
    assert nfpm.file_name(spec(), "1:2.0", DEB) == "hello_2.0_all.deb"
    assert nfpm.file_name(spec(), "1:2.0", ARCH) == "hello-1:2.0-1-any.pkg.tar.zst"
    with pytest.raises(InvalidRequest, match="does not end as a package does"):
        nfpm.format_of(Path("hello.zip"))


@each_format
@pytest.mark.parametrize("architecture", ["all", "amd64", "arm64"])
def test_architectures_are_those_that_were_asked_for(
    format_: PackageFormat, architecture: str, tmp_path: Path
) -> None:
    made = written(spec(architecture=architecture), format_, tmp_path, tmp_path / "w")
    identity, _ = inspect(made)

    assert identity.architecture == architecture


@each_format
def test_a_version_is_in_the_words_of_the_format(format_: PackageFormat, tmp_path: Path) -> None:
    version = "1.2.0~rc1+3.gabcdef0-2" if format_ is APK else "1:1.2.0~rc1+3.gabcdef0-2"
    identity, _ = inspect(written(spec(), format_, tmp_path, tmp_path / "w", version))

    assert (
        identity.version
        == {
            DEB: "1:1.2.0~rc1+3.gabcdef0-2",
            RPM: "1:1.2.0~rc1+3.gabcdef0-2",
            APK: "1.2.0_rc1_git3-r2",
            ARCH: "1:1.2.0rc1.r3.gabcdef0-2",
        }[format_]
    )


def test_older_machines_get_what_they_can_read(tmp_path: Path) -> None:
    older = spec(init=(Init.SYSV,))
    query = "%{PAYLOADCOMPRESSOR}"
    made = written(older, RPM, tmp_path, tmp_path / "w")
    members = run(["ar", "t", written(older, DEB, tmp_path, tmp_path / "d")], timeout_s=20)

    assert queried(made, "--queryformat", query) == "gzip"
    assert "data.tar.gz" in members


def test_a_format_has_scripts_of_its_own(tmp_path: Path) -> None:
    for name in ("config", "posttrans", "general", "rpms", "up"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name}\n")
    asked = spec(
        scripts={ScriptMoment.POSTINSTALL: "general"},
        overrides={RPM: Override(scripts={ScriptMoment.POSTINSTALL: "rpms"})},
        specifics={
            DEB: {"scripts": {"config": "config"}},
            RPM: {"scripts": {"posttrans": "posttrans"}},
            APK: {"scripts": {"postupgrade": "up"}},
        },
    )
    texts = {
        format_: inspect(written(asked, format_, tmp_path, tmp_path / "w"))[1].scripts
        for format_ in FORMATS
    }

    assert "echo general" in texts[DEB]["postinst"]
    assert "echo config" in texts[DEB]["config"]
    said = queried(tmp_path / "w" / nfpm.file_name(asked, "1.2.0", RPM), "--scripts")
    assert ("echo rpms" in said, "echo posttrans" in said, "echo general" in said) == (
        True, True, False,
    )  # fmt: skip
    assert "echo up" in texts[APK]["post-upgrade"]
    assert "echo general" in texts[APK]["post-install"]
    assert texts[ARCH]["install"].count("echo general") == 2  # at installations and upgrades


def refused(asked: PackageSpec, top: Path, work: Path) -> str:
    with pytest.raises(InvalidRequest) as caught:
        written(asked, DEB, top, work)
    assert list(work.glob("*.deb*")) == []
    return str(caught.value)


def test_what_a_service_is_made_of_cannot_be_a_content_too(tmp_path: Path) -> None:
    top = checkout(tmp_path / "c")
    unit = content("README.md", "/lib/systemd/system/hello.service", place="package.contents[3]")

    assert refused(spec(contents=(unit,), services=(service(),)), top, tmp_path / "w") == (
        "services.web: `/lib/systemd/system/hello.service` is there already, by package.contents[3]"
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"changelog": "no.yaml"}, "package.changelog: `no.yaml` does not exist"),
        ({"changelog": "../no.yaml"}, "package.changelog: `../no.yaml` is outside"),
        (
            {"scripts": {ScriptMoment.PREINSTALL: "no.sh"}},
            "package.scripts.preinstall: `no.sh` does not exist",
        ),
        (
            {"overrides": {DEB: Override(scripts={ScriptMoment.PREREMOVE: "/etc/passwd"})}},
            "package.overrides.deb.scripts.preremove: `/etc/passwd` is outside",
        ),
        (
            {"specifics": {DEB: {"scripts": {"config": "no.sh"}}}},
            "package.deb.scripts.config: `no.sh` does not exist",
        ),
        (
            {"scripts": {ScriptMoment.POSTREMOVE: "broken.sh"}},
            "package.scripts.postremove: a shell cannot read it",
        ),
        (
            {"scripts": {ScriptMoment.POSTREMOVE: "binary"}},
            "package.scripts.postremove: `binary` is no script",
        ),
        (
            {"scripts": {ScriptMoment.POSTINSTALL: "windows.sh"}},
            "package.scripts.postinstall: the lines of `windows.sh` end as on Windows",
        ),
        ({"services": (service(user="Not One"),)}, "`Not One` is not a name for an account"),
    ],
)
def test_bad_input_is_refused_with_its_place(
    more: dict[str, object], said: str, tmp_path: Path
) -> None:
    top = checkout(tmp_path / "c")
    (top / "broken.sh").write_text("#!/bin/sh\nif true; then\n")
    (top / "windows.sh").write_bytes(b"#!/bin/sh\r\necho hi\r\n")
    (top / "binary").write_bytes(b"\x7fELF\xff\xfe")

    assert refused(spec(**more), top, tmp_path / "w").startswith(said)


def test_what_nfpm_refuses_leaves_nothing(tmp_path: Path) -> None:
    wrong = dataclasses.replace(spec(), specifics={DEB: {"compression": "none-such"}})

    with pytest.raises(CommandFailed, match="nfpm"):
        written(wrong, DEB, tmp_path, tmp_path / "w")
    assert list((tmp_path / "w").glob("*.deb*")) == []


def test_accounts_of_contents_are_made_too(tmp_path: Path) -> None:
    top = checkout(tmp_path / "c")
    owned = Content(
        origin="README.md", destination="/srv/hello/README", owner="writer", group="www-data"
    )
    _, facts = inspect(written(spec(contents=(owned,)), DEB, top, tmp_path / "w"))

    made = [line.split()[-1] for line in facts.scripts["preinst"].splitlines() if "add " in line]
    assert made == ["www-data", "writer", "writer"]
