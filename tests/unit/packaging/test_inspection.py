from __future__ import annotations

import hashlib
import io
import lzma
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovenbird.domain.errors import InvalidRequest, NotFound
from ovenbird.domain.packages import PackageFormat
from ovenbird.packaging.reading.inspection import inspect
from ovenbird.packaging.reading.payloads import interpreter_of, machine_of, unpacked
from tests.unit.packaging.samples import samples

FORMATS = tuple(PackageFormat)
SCRIPT = "#!/usr/bin/env python3\nprint(1)\n"


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[PackageFormat, Path]:
    return samples(tmp_path_factory.mktemp("samples"))


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_says_who_it_is(
    files: dict[PackageFormat, Path], format_: PackageFormat
) -> None:
    identity, _ = inspect(files[format_])

    data = files[format_].read_bytes()
    versions = {PackageFormat.APK: "1.2.0~rc1-r2"}
    assert (identity.format, identity.name, identity.architecture) == (format_, "hello", "amd64")
    assert identity.version == versions.get(format_, "1:1.2.0~rc1-2")
    assert identity.description.split() == ["Says", "hello", "and", "more"]
    assert identity.maintainer == "Hello Team <hello@example.com>"
    assert identity.homepage == "https://example.com"
    assert identity.installed_bytes > 0
    assert not identity.is_signed
    assert identity.digest_sha256 == hashlib.sha256(data).hexdigest()
    assert identity.size_bytes == len(data)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_tells_its_files_alike(
    files: dict[PackageFormat, Path], format_: PackageFormat
) -> None:
    _, facts = inspect(files[format_])

    found = {file.path: file for file in facts.files}
    script, native = found["/opt/hello/bin/hello"], found["/opt/hello/bin/native"]
    link, config = found["/opt/hello/bin/again"], found["/etc/hello/c.toml"]
    assert (script.mode, script.size_bytes) == (stat.S_IFREG | 0o755, len(SCRIPT))
    assert script.digest_sha256 == hashlib.sha256(SCRIPT.encode()).hexdigest()
    assert (script.interpreter, script.machine) == ("/usr/bin/env python3", "")
    assert (native.interpreter, native.machine) == ("", "amd64")
    assert (link.mode, link.target, link.digest_sha256) == (stat.S_IFLNK | 0o777, "hello", "")
    assert config.mode == stat.S_IFREG | 0o640
    if format_ is not PackageFormat.ARCHLINUX:  # nfpm 2.48.0 writes root there
        assert (config.owner, config.group) == ("hello", "hello")
    assert found["/opt/hello/bin"].mode == stat.S_IFDIR | 0o755
    assert ("/var/log/hello.log" in found) == (format_ is PackageFormat.RPM)
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("format_", "depends", "script"),
    [
        (PackageFormat.DEB, "Depends", "postinst"),
        (PackageFormat.RPM, "Requires", "post"),
        (PackageFormat.APK, "depend", "post-install"),
        (PackageFormat.ARCHLINUX, "depend", "install"),
    ],
)
def test_every_format_tells_relations_scripts_and_configuration(
    files: dict[PackageFormat, Path], format_: PackageFormat, depends: str, script: str
) -> None:
    _, facts = inspect(files[format_])

    assert facts.relations[depends] == ("python3", "nginx")
    assert list(facts.scripts) == [script]
    assert "set -e\nexit 0" in facts.scripts[script]
    assert facts.configs == (() if format_ is PackageFormat.APK else ("/etc/hello/c.toml",))


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.4, 0.9])
def test_a_package_that_breaks_off_is_refused(
    files: dict[PackageFormat, Path], tmp_path: Path, format_: PackageFormat, share: float
) -> None:
    data = files[format_].read_bytes()
    path = tmp_path / "short"
    path.write_bytes(data[: int(len(data) * share)])

    with pytest.raises(InvalidRequest, match="short"):
        inspect(path)


def test_a_file_that_is_no_package_is_refused_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "hello.deb"
    path.write_text("hello\n")

    with pytest.raises(InvalidRequest, match="is not a deb, rpm, apk or Arch Linux package"):
        inspect(path)
    with pytest.raises(InvalidRequest, match="cannot be read"):
        inspect(tmp_path)
    with pytest.raises(NotFound, match="does not exist"):
        inspect(tmp_path / "none")


def arch_package(members: dict[str, str]) -> bytes:
    """Return a package as makepkg makes it: what describes it comes first."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()


def test_arch_linux_packs_with_xz_too_and_signs_beside(tmp_path: Path) -> None:
    about = "pkgname = hello\npkgver = 1-1\narch = any\n# a comment\n"
    path = tmp_path / "package"
    path.write_bytes(lzma.compress(arch_package({".PKGINFO": about, "opt/hello/x": "x"})))
    (tmp_path / "package.sig").touch()

    identity, facts = inspect(path)

    assert (identity.format, identity.architecture) == (PackageFormat.ARCHLINUX, "all")
    assert identity.is_signed
    assert [file.path for file in facts.files] == ["/opt/hello/x"]


def test_a_package_without_a_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "package"
    path.write_bytes(lzma.compress(arch_package({".PKGINFO": "arch = any\n"})))

    with pytest.raises(InvalidRequest, match="does not say its name"):
        inspect(path)


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_unpacked_are_the_files_that_are_wanted_and_no_links(
    files: dict[PackageFormat, Path], format_: PackageFormat
) -> None:
    with unpacked(files[format_], format_) as top:
        found = {str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir()}
    with unpacked(files[format_], format_, wanted=lambda path: path.endswith(".toml")) as few:
        (only,) = (path for path in few.rglob("*") if path.is_file())
        text = only.read_text()

    assert found == {"etc/hello/c.toml", "opt/hello/bin/hello", "opt/hello/bin/native"}
    assert text == "a = 1\n"
    assert (top.exists(), few.exists()) == (False, False)


@pytest.mark.parametrize("names", [["../../out"], ["a/../../out"], ["a", "a/b"]])
def test_a_hostile_package_writes_nothing_outside(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "package"
    path.write_bytes(lzma.compress(arch_package(dict.fromkeys(names, "x"))))

    with pytest.raises(InvalidRequest), unpacked(path, PackageFormat.ARCHLINUX) as top:
        raise AssertionError(top)
    assert [one.name for one in tmp_path.iterdir()] == ["package"]


@pytest.mark.parametrize(
    ("head", "interpreter", "machine"),
    [
        (b"#! /bin/sh -e\nls", "/bin/sh -e", ""),
        (b"\x7fELF\x02\x01" + bytes(12) + b"\xb7\x00", "", "arm64"),
        (b"\x7fELF\x02\x02" + bytes(12) + b"\x00\x16", "", "s390x"),
        (b"\x7fELF\x02\x01" + bytes(12) + b"\xf7\x00", "", "247"),
        (b"\x7fELF", "", ""),
        (b"", "", ""),
    ],
)
def test_first_bytes_tell_scripts_and_programs(head: bytes, interpreter: str, machine: str) -> None:
    assert (interpreter_of(head), machine_of(head)) == (interpreter, machine)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_package_with_a_bit_that_fell_over_is_refused(
    files: dict[PackageFormat, Path], tmp_path: Path, format_: PackageFormat
) -> None:
    data = bytearray(files[format_].read_bytes())
    data[-60] ^= 0x10  # in what it installs
    path = tmp_path / "altered"
    path.write_bytes(data)

    with pytest.raises(InvalidRequest):
        inspect(path)


@given(data=st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_is_given_is_read_or_refused(
    files: dict[PackageFormat, Path], tmp_path: Path, data: st.DataObject
) -> None:
    # rpm's own reader stands before ours, and is slow to start.
    format_ = data.draw(st.sampled_from([one for one in FORMATS if one is not PackageFormat.RPM]))
    content = bytearray(files[format_].read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    path = tmp_path / "altered"
    path.write_bytes(content)

    try:
        identity, _ = inspect(path)
    except InvalidRequest as error:
        assert str(path) in str(error)  # noqa: PT017 - either is right
    else:
        assert identity.name
