"""The process behind a room without root: it is root in namespaces of its own.

It is told over a socket what to open, then what to do, one request after the other, and tells
each line that programs print meanwhile. When the socket ends, it does too, at once; it is the
first process of its namespace, so that all that it started and mounted goes with it.

    → (directory, cache, disk, key, repository), then (method, arguments, named arguments) …
    → (directory, cache, disk), and nothing more: only what is on the disk is asked
    ← ("line", text) … then ("done", value) or ("failed", an error as JSON)
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ovenbird.domain.errors import OvenbirdError
from ovenbird.system.rooms.workshop import Room, Workshop

METHODS = frozenset(
    {"perform", "install", "clean", "check", "changed_blocks", "total_blocks", "contents", "notes"}
)


def serve(connection: Connection) -> None:
    """Open the room that is asked for and do what is asked in it, until the socket ends."""
    asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, asked), daemon=True).start()
    directory, cache, disk, *room_of = asked.get()

    def tell(line: str) -> None:
        connection.send(("line", line))

    workshop = Workshop(Path(directory), cache=Path(cache))
    try:
        if not room_of:
            connection.send(("done", workshop.contents(disk)))
            return
        key, repository = room_of
        with workshop.open(disk, key=key, repository=repository, progress=tell) as room:
            connection.send(("done", None))
            while (request := asked.get()) is not None:
                connection.send(_answer(room, *request))
    except OvenbirdError as error:
        connection.send(("failed", error.to_json()))
        return
    connection.send(("done", None))


def _answer(room: Room, method: str, words: tuple[Any, ...], named: dict[str, Any]) -> Any:
    if method not in METHODS:
        raise ValueError(method)
    try:
        return "done", getattr(room, method)(*words, **named)
    except OvenbirdError as error:
        return "failed", error.to_json()


def _listen(connection: Connection, asked: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            asked.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)  # whoever asked is gone, and nobody waits for what is under way


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
