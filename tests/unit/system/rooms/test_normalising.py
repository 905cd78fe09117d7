"""What differs between two bakes by chance, made the same."""

from __future__ import annotations

import hashlib
import os
import py_compile
import stat
import struct
from pathlib import Path

import pytest

from ovenbird.system.disks.debugfs import EPOCH_S
from ovenbird.system.rooms import normalising

DAY = EPOCH_S // 86_400


class Trees:
    """A base and what a bake wrote over it; the upper tree stands for the merged view, too."""

    def __init__(self, home: Path) -> None:
        self.lower, self.upper = home / "lower", home / "upper"
        self.lower.mkdir()
        self.upper.mkdir()

    def write(self, name: str, data: str | bytes, *, below: bool = False) -> Path:
        path = (self.lower if below else self.upper) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def normalise(self) -> tuple[str, ...]:
        return normalising.normalise(self.upper, upper=self.upper, lower=self.lower)


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(tmp_path)


def store(*names: str, at_ms: int, opened_by: str = "changeit", tag: int = 2) -> bytes:
    """Return a Java trust store."""
    body = struct.pack(">III", 0xFEEDFEED, 2, len(names))
    for name in names:
        certificate = f"certificate of {name}".encode()
        body += struct.pack(">IH", tag, len(name)) + name.encode() + struct.pack(">Q", at_ms)
        body += struct.pack(">H", 5) + b"X.509" + struct.pack(">I", len(certificate)) + certificate
    salted = opened_by.encode("utf-16-be") + b"Mighty Aphrodite"
    return body + hashlib.sha1(salted + body).digest()  # noqa: S324


def test_passwords_set_in_the_bake_are_of_the_epochs_day(trees: Trees) -> None:
    trees.write("etc/shadow", "root:*:19000:0:99999:7:::\nasks:x:100::::::\n", below=True)
    path = trees.write(
        "etc/shadow",
        "root:*:19000:0:99999:7:::\nasks:x:0::::::\nnew:!:20777::::::\nold:!:::::::\n",
    )
    path.chmod(0o640)

    assert trees.normalise() == ()
    assert path.read_text() == (
        f"root:*:19000:0:99999:7:::\nasks:x:0::::::\nnew:!:{DAY}::::::\nold:!:::::::\n"
    )
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_java_trust_store_does_not_say_when_it_was_made(trees: Trees) -> None:
    one = trees.write("etc/ssl/certs/java/cacerts", store("b", "a", at_ms=1_790_000_000_123))
    two = trees.write("etc/pki/java/cacerts", store("a", "b", at_ms=1_790_086_400_456))

    assert trees.normalise() == ()
    assert one.read_bytes() == two.read_bytes() == store("a", "b", at_ms=EPOCH_S * 1000)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (store("a", at_ms=1, opened_by="another"), "another password"),
        (store("a", at_ms=1, tag=1), "of keys"),
        (b"\x30\x82\x01\x00 a PKCS #12 store", "salts made by chance"),
    ],
)
def test_a_store_that_cannot_be_mended_is_named(trees: Trees, data: bytes, words: str) -> None:
    path = trees.write("etc/app/trust.jks", data)

    (note,) = trees.normalise()

    assert note.startswith("`/etc/app/trust.jks` ")
    assert words in note
    assert path.read_bytes() == data


def test_a_store_that_is_cut_short_is_named(trees: Trees) -> None:
    trees.write("etc/app/trust.jks", store("a", at_ms=1)[:40])

    assert len(trees.normalise()) == 1


def test_a_compiled_module_is_of_a_source_as_old_as_the_image(trees: Trees) -> None:
    source = trees.write("opt/app/module.py", "x = 1\n")
    made = trees.upper / "opt/app/__pycache__/module.cpython-311.pyc"
    mode = py_compile.PycInvalidationMode
    checked = trees.upper / "opt/app/checked.pyc"
    py_compile.compile(str(source), cfile=str(made), invalidation_mode=mode.TIMESTAMP)
    py_compile.compile(str(source), cfile=str(checked), invalidation_mode=mode.CHECKED_HASH)
    before = checked.read_bytes()

    trees.normalise()

    assert struct.unpack_from("<II", made.read_bytes(), 4) == (0, EPOCH_S)
    assert checked.read_bytes() == before


def test_sockets_and_indexes_of_pages_go(trees: Trees) -> None:
    index = trees.write("var/cache/man/de/index.db", "x")
    page = trees.write("var/cache/man/de/cat1/ls.1", "x")
    made = trees.upper / "old.socket"
    os.mknod(made, stat.S_IFSOCK | 0o600)

    trees.normalise()

    assert not index.exists()
    assert not made.exists()
    assert page.exists()


def test_a_private_key_that_the_bake_made_is_named(trees: Trees) -> None:
    text = "-----BEGIN {}PRIVATE KEY-----\nx\n"
    trees.write("etc/ssl/private/made.key", text.format(""))
    trees.write("etc/app/other.pem", text.format("EC "))
    trees.write("etc/ssl/private/base.key", text.format(""))
    trees.write("etc/ssl/private/base.key", text.format(""), below=True)
    trees.write("etc/ssl/certs/public.pem", "-----BEGIN CERTIFICATE-----\n")

    assert trees.normalise() == (
        "`/etc/app/other.pem` is a private key: every instance of this image has it",
        "`/etc/ssl/private/made.key` is a private key: every instance of this image has it",
    )


def test_a_database_of_rpm_is_named(trees: Trees) -> None:
    trees.write("var/lib/rpm/rpmdb.sqlite", "x")

    assert trees.normalise() == (
        "rpm's database has the time of each installation: it differs in each bake",
    )
