"""Records of states: ``states/candidate/0000007.json`` and what is in it.

A record says all that is needed to write a state's files again: the digests of its shards, and
for each index the digests of its files and how much of them each shard made. It is written once;
whoever creates the next number has made the next state.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ovenbird.domain.errors import InvalidRequest
from ovenbird.packaging.repositories import apt_index
from ovenbird.packaging.repositories.indexes import FileRecord, IndexRecord, MemberRecord
from ovenbird.packaging.repositories.members import Encoding
from ovenbird.packaging.repositories.shards import BROKEN, SHARDS, count, damaged

FORMAT = 1
_CHANNEL = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")
_COMPONENT = re.compile(r"[a-z0-9][a-z0-9_+-]{0,63}")
_NUMBERED = re.compile(r"-[0-9]+$")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(
    rf"apt/{_COMPONENT.pattern}/(amd64|arm64)|yum/(x86_64|aarch64)/(primary|filelists|other)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRecord:
    """One state of a channel.

    Args:
        number: From 1; 0 for the empty one that the first state grows from.
        parent: The number that it grew from.
        at: The time that its signed files carry.
        shards: Number of the shard → digest; shards without rows are not there.
        indexes: Key → index; apt's and yum's are there from the first deb and rpm on.
    """

    channel: str
    number: int
    parent: int
    at: datetime
    shards: Mapping[int, str] = field(default_factory=dict)
    indexes: Mapping[str, IndexRecord] = field(default_factory=dict)

    @property
    def suite(self) -> str:
        """The name of this very state."""
        return f"{self.channel}-{self.number}"


def components_text(record: StateRecord) -> str:
    """Return the components of a state, with spaces between, as sources.list takes them."""
    return " ".join(apt_index.components(record.indexes)) or "main"


def checked_channel(channel: str) -> str:
    """Return the channel's name when it can be one.

    Raises:
        InvalidRequest: It has other characters, or ends as the name of a state does.
    """
    if not _CHANNEL.fullmatch(channel) or _NUMBERED.search(channel):
        raise InvalidRequest(
            f"`{channel}` is no name for a channel",
            hint="Lower-case letters, digits, `.`, `_`, `+`, `-`; no number after a last `-`, "
            "as states have",
        )
    return channel


def checked_component(component: str) -> str:
    """Return the component's name when it can be one.

    Raises:
        InvalidRequest: It has other characters.
    """
    if not _COMPONENT.fullmatch(component):
        raise InvalidRequest(
            f"`{component}` is no name for a component",
            hint="Lower-case letters, digits, `_`, `+`, `-`",
        )
    return component


def record_name(channel: str, number: int) -> str:
    """Return where a record is stored."""
    return f"states/{channel}/{number:07d}.json"


def pointer_name(channel: str) -> str:
    """Return where the number of a channel's newest served state is stored."""
    return f"channels/{channel}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """The newest state that readers of a channel are pointed to.

    Args:
        number: 0 for none.
        keys: Fingerprints of the keys that signed it.
    """

    number: int = 0
    keys: tuple[str, ...] = ()


def render_pointer(pointer: Pointer) -> bytes:
    """Write a channel's pointer."""
    return json.dumps({"number": pointer.number, "keys": pointer.keys}).encode()


def parse_pointer(data: bytes, *, place: str) -> Pointer:
    """Read a channel's pointer.

    Raises:
        OvenbirdError: It is damaged.
    """
    try:
        found = json.loads(data)
        keys = tuple(found["keys"])
        if not all(isinstance(key, str) for key in keys):
            raise TypeError("a key is no text")
        return Pointer(number=count(found, "number"), keys=keys)
    except BROKEN as error:
        raise damaged(place, error) from error


def render(record: StateRecord) -> bytes:
    """Write a record; the same state gives the same bytes."""
    found = {
        "format": FORMAT,
        "channel": record.channel,
        "number": record.number,
        "parent": record.parent,
        "at": record.at.astimezone(UTC).isoformat(),
        "shards": {f"{number:02x}": digest for number, digest in record.shards.items()},
        "indexes": {key: _index_json(index) for key, index in record.indexes.items()},
    }
    return json.dumps(found, sort_keys=True, separators=(",", ":")).encode()


def parse(data: bytes, *, channel: str, number: int) -> StateRecord:
    """Read a record.

    Raises:
        OvenbirdError: It is damaged, or another state's.
    """
    place = record_name(channel, number)
    try:
        found = json.loads(data)
        if (found["format"], found["channel"], found["number"]) != (FORMAT, channel, number):
            raise ValueError("it is another state's, or of another version of Ovenbird")
        return StateRecord(
            channel=channel,
            number=number,
            parent=count(found, "parent"),
            at=_moment(found["at"]),
            shards={_shard(key): _digest(text) for key, text in found["shards"].items()},
            indexes={_key(key): _index(value) for key, value in found["indexes"].items()},
        )
    except BROKEN as error:
        raise damaged(place, error) from error


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("`at` has no time zone")
    return moment


def _index_json(index: IndexRecord) -> dict[str, Any]:
    encodings = list(index.files)
    return {
        "text": [index.text.sha256, index.text.size],
        "files": [[e, file.sha256, file.size, file.head] for e, file in index.files.items()],
        "members": {
            f"{number:02x}": [found.rows, found.text, *(found.sizes[e] for e in encodings)]
            for number, found in index.members.items()
        },
    }


def _index(found: Mapping[str, Any]) -> IndexRecord:
    sha256, size = found["text"]
    files = {
        Encoding(encoding): FileRecord(sha256=_digest(digest), size=_count(size), head=_count(head))
        for encoding, digest, size, head in found["files"]
    }
    if Encoding.ZST not in files:
        raise ValueError("an index has no zstd file")
    members = {_shard(key): _member(values, files) for key, values in found["members"].items()}
    return IndexRecord(
        text=FileRecord(sha256=_digest(sha256), size=_count(size)),
        files=files,
        members=dict(sorted(members.items())),
    )


def _member(values: list[int], files: Mapping[Encoding, FileRecord]) -> MemberRecord:
    if set(map(type, values)) != {int} or min(values) < 0:
        raise TypeError("what a shard adds is not given in counts")
    rows, text, *sizes = values
    return MemberRecord(rows=rows, text=text, sizes=dict(zip(files, sizes, strict=True)))


def _shard(key: str) -> int:
    number = int(key, 16)
    if key != f"{number:02x}" or number >= SHARDS:
        raise ValueError(f"`{key[:20]}` is no shard")
    return number


def _key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"`{key[:80]}` is no index")
    return key


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise ValueError("a digest is none")
    return text


def _count(value: int) -> int:
    return count({"size": value}, "size")
