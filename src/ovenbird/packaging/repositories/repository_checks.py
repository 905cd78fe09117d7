"""Reading a repository again: is every stored byte what the records and signatures say?"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ovenbird.domain.catalog import Finding
from ovenbird.domain.errors import CommandFailed, NotFound, OvenbirdError
from ovenbird.domain.ports import Storage
from ovenbird.packaging.repositories import apt_index, yum_index
from ovenbird.packaging.repositories.indexes import IndexRecord
from ovenbird.packaging.repositories.repository_objects import Objects, each, kind_of
from ovenbird.packaging.repositories.repository_states import StateRecord
from ovenbird.packaging.repositories.shards import Rows
from ovenbird.system.commands import run

TIMEOUT_S = 60.0


def state_findings(storage: Storage, objects: Objects, record: StateRecord) -> list[Finding]:
    """Return what is wrong with a state's shards, package files and index files."""
    try:
        rows = objects.rows(record, record.shards)
    except OvenbirdError as error:
        return [finding("damaged-shard", str(error), record.suite)]
    files = sorted({(row.file, row.sha256) for found in rows.values() for row in found.values()})
    found = [problem for part in each(lambda f: _file(objects, *f), files) for problem in part]
    for key, index in record.indexes.items():
        found += _index_findings(storage, objects, record, key, index)
        found += _text_findings(key, index, rows, place=record.suite)
    return found


def signature_findings(storage: Storage, record: StateRecord, *, known: bytes) -> list[Finding]:
    """Return what is wrong with the signatures of a state and of the channel's ``InRelease``.

    Args:
        storage: Of the repository.
        record: The state.
        known: Public keys that count (binary).
    """
    found: list[Finding] = []
    if apt_index.components(record.indexes):
        place = f"dists/{record.suite}"
        found += _signature(storage, known, f"{place}/InRelease", "")
        found += _signature(storage, known, f"{place}/Release.gpg", f"{place}/Release")
        found += _signature(storage, known, f"dists/{record.channel}/InRelease", "")
    for architecture in yum_index.architectures(record.indexes):
        name = f"yum/{record.suite}/{architecture}/repodata/repomd.xml"
        found += _signature(storage, known, f"{name}.asc", name)
    return found


def finding(code: str, text: str, place: str) -> Finding:
    """Return a finding of our own that counts as an error."""
    return Finding(tool="ovenbird", code=code, level="error", text=text, place=place)


def _file(objects: Objects, name: str, digest: str) -> list[Finding]:
    try:
        found = objects.digest(name)
    except NotFound:
        return [finding("missing-file", "The package file is gone", name)]
    if found != digest:
        return [finding("changed-file", f"Its digest is `{found}`, not `{digest}`", name)]
    return []


def _index_findings(
    storage: Storage, objects: Objects, record: StateRecord, key: str, index: IndexRecord
) -> Iterator[Finding]:
    kind = kind_of(key)
    for encoding, file in index.files.items():
        names = (
            kind.by_digest(record.channel, encoding, file.sha256),
            kind.in_suite(record.suite, encoding, file.sha256),
        )
        for name in names:
            if not storage.exists(name):
                yield finding("missing-index", "The index file is gone", name)
            elif objects.digest(name) != file.sha256:
                yield finding("changed-index", "The index file's digest differs", name)


def _text_findings(
    key: str, index: IndexRecord, rows: Mapping[int, Rows], *, place: str
) -> Iterator[Finding]:
    """Compare an index with what the rows say that it should be."""
    kind = kind_of(key)
    before, after = kind.around(index.rows)
    texts: Iterable[bytes] = (kind.text(rows[number].values()) for number in sorted(rows))
    digest = hashlib.sha256(b"".join([before, *texts, after])).hexdigest()
    if digest != index.text.sha256:
        yield finding("other-index", f"`{key}` is not what the packages say", place)


def _signature(storage: Storage, known: bytes, signed: str, text: str) -> list[Finding]:
    """Verify one signature by gpgv, as apt does.

    Args:
        storage: Where both are.
        known: Public keys that count.
        signed: Name of the signature, or of the text with its signature.
        text: Name of the text that a signature alone is of; empty for none.
    """
    names = [signed, *([text] if text else [])]
    with tempfile.TemporaryDirectory() as directory:
        key, *paths = [Path(directory) / str(number) for number in range(len(names) + 1)]
        key.write_bytes(known)
        try:
            for name, path in zip(names, paths, strict=True):
                path.write_bytes(storage.read(name))
            run(["gpgv", "--homedir", directory, "--keyring", key, *paths], timeout_s=TIMEOUT_S)
        except NotFound:
            return [finding("missing-signature", "The signature or what it is of is gone", signed)]
        except CommandFailed as error:
            said = str(error.facts.get("stderr", error)).strip().splitlines()[-1:]
            return [finding("bad-signature", "; ".join(said) or str(error), signed)]
    return []
