from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import pytest

from ovenbird.domain.errors import CloudError
from ovenbird.system.directory_storage import DirectoryStorage
from ovenbird.system.http_files import serving

Answer = tuple[int, str, bytes]


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    storage = DirectoryStorage(tmp_path / "store")
    storage.write("pool/a b+~.deb", b"0123456789")
    storage.write("empty", b"")
    return storage


@pytest.fixture
def connection(storage: DirectoryStorage) -> Iterator[http.client.HTTPConnection]:
    with serving(storage) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        yield connection
        connection.close()


def ask(
    connection: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str
) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=named)
    answer = connection.getresponse()
    return answer.status, answer.headers["Content-Length"], answer.read()


def test_files_are_served_over_one_connection(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "/pool/a%20b+~.deb") == (200, "10", b"0123456789")
    assert ask(connection, "/pool/a%20b+~.deb?x=1", "HEAD") == (200, "10", b"")
    assert ask(connection, "/empty") == (200, "0", b"")
    assert ask(connection, "/./pool//a%20b+~.deb") == (200, "10", b"0123456789")


@pytest.mark.parametrize("path", ["/none", "/", "/pool", "/pool/", "/../etc/passwd", "/%2e%2e/x"])
def test_what_is_not_there_is_404(path: str, connection: http.client.HTTPConnection) -> None:
    assert ask(connection, path)[0] == 404
    assert ask(connection, path, "HEAD")[::2] == (404, b"")
    assert ask(connection, "/empty")[0] == 200  # the connection is of use still


def test_a_part_is_sent_when_one_is_asked_for(connection: http.client.HTTPConnection) -> None:
    path = "/pool/a%20b+~.deb"

    assert ask(connection, path, Range="bytes=4-") == (206, "6", b"456789")
    assert ask(connection, path, Range="bytes=4-5") == (206, "2", b"45")
    assert ask(connection, path, Range="bytes=4-99") == (206, "6", b"456789")
    assert ask(connection, path, "HEAD", Range="bytes=4-5") == (206, "2", b"")
    assert ask(connection, path, Range="bytes=10-") == (416, "0", b"")
    assert ask(connection, "/empty", Range="bytes=0-")[0] == 416
    for whole in ("bytes=5-4", "bytes=-3", "bytes=0-1,3-4", "lines=1-2"):
        assert ask(connection, path, Range=whole) == (200, "10", b"0123456789")
    assert ask(connection, path, Range="bytes=4-", If_Range="x")[:2] == (200, "10")


def test_nothing_is_written(connection: http.client.HTTPConnection) -> None:
    assert ask(connection, "/new", "PUT")[0] == 501
    assert ask(connection, "/empty", "DELETE")[0] == 501


def test_connections_end_with_the_block(storage: DirectoryStorage) -> None:
    with serving(storage) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        assert ask(connection, "/empty")[0] == 200

    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(connection, "/empty")
    connection.close()
    with pytest.raises(ConnectionError):
        ask(connection, "/empty")


def test_a_storage_that_fails_is_a_bad_gateway(tmp_path: Path) -> None:
    class Refusing(DirectoryStorage):
        @contextmanager
        def open(self, name: str, *, start: int = 0) -> Iterator[tuple[BinaryIO, int]]:
            if name == "a":
                raise CloudError("AWS refused reading")
            yield BytesIO(), 0

    with serving(Refusing(tmp_path)) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        assert ask(connection, "/a")[::2] == (502, b"AWS refused reading\n")
        connection.close()


def test_a_storage_that_fails_on_the_way_ends_the_connection(tmp_path: Path) -> None:
    class Half(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise CloudError("reading failed")
            return super().read(5)

    class Failing(DirectoryStorage):
        @contextmanager
        def open(self, name: str, *, start: int = 0) -> Iterator[tuple[BinaryIO, int]]:
            yield Half(b"0123456789"), 10

    with serving(Failing(tmp_path)) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(connection, "/a")
        connection.close()

    assert caught.value.partial == b"01234"
