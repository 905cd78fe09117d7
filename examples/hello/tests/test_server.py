"""Tests of the app, with what Python brings."""

# ruff: noqa: PT009 - unittest: the app has no dependencies

from __future__ import annotations

import http.client
import json
import threading
import unittest

from hello.server import VERSION_HEADER, Server


class Serving(unittest.TestCase):
    """Requests to a real server on a free port."""

    def setUp(self) -> None:
        """Start the server."""
        self.server = Server(("127.0.0.1", 0), "Hello")
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.client = http.client.HTTPConnection(*self.server.server_address[:2], timeout=5)

    def tearDown(self) -> None:
        """Stop it as SIGTERM does."""
        self.server.stop()
        self.thread.join()
        self.server.server_close()
        self.client.close()

    def ask(self, path: str) -> tuple[int, str, str]:
        """Return status, version header and body."""
        self.client.request("GET", path)
        answer = self.client.getresponse()
        return answer.status, answer.headers[VERSION_HEADER], answer.read().decode()

    def test_it_says_hello_and_its_version(self) -> None:
        """All pages come over one connection."""
        status, marked, text = self.ask("/")

        self.assertEqual((status, marked), (200, self.server.version))
        self.assertTrue(text.startswith("Hello, world"))
        self.assertEqual(json.loads(self.ask("/version")[2])["app"], "hello")
        self.assertEqual(self.ask("/healthz")[0], 200)
        self.assertEqual(self.ask("/nothing")[0], 404)

    def test_a_stop_ends_connections_that_wait(self) -> None:
        """The tear-down would hang otherwise."""
        self.assertEqual(self.ask("/healthz")[0], 200)


if __name__ == "__main__":
    unittest.main()
