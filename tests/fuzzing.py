"""What readers are fed with, and what they may do: understand it, or say what is wrong with it.

A target draws an input and gives it to a reader; the reader's own errors are its answer, any
other exception is a mistake of ours. The unit lane tries a few hundred inputs of each;
`python -m bench.fuzz --seconds N` goes on for as long as it is told.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ovenbird.config.manifest import load_manifest
from ovenbird.domain.catalog import CatalogEntry, Finding, PackageFacts, PackageFile
from ovenbird.domain.errors import InvalidRequest, NotFound, OvenbirdError
from ovenbird.domain.packages import Package, PackageFormat
from ovenbird.domain.sources import Source
from ovenbird.packaging.repositories import apt_index, repository_states, shards, yum_index
from ovenbird.packaging.repositories.members import Encoding, cut, zstd_texts
from ovenbird.packaging.repositories.provenance import Provenance
from ovenbird.packaging.repositories.repository import PackageRepository
from tests.unit.packaging.repositories import NOW, MemoryStorage, PlainSigner, built

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/reference/manifest.md"
UNDERSTOOD, REFUSED = "understood", "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One reader and what it is fed with.

    Args:
        inputs: Draws one input.
        feed: Gives it to the reader; tells `understood` or `refused`, and raises what is neither.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    feed: Callable[[Any], str]


# ── Inputs ───────────────────────────────────────────────────────────────────
SIGNS = (
    "\t", "\n", "\r", "\0", "\x85", "\u2028", "\ufeff", " ", "  ", "- ", "? ", ": ", ":", "#",
    "&a ", "*a", "<<: *a", "!!binary ", "!!set ", "!!omap ", "!!timestamp ", "!!int ", "!!float ",
    "!x ", "!!python/object:os.system ", "|\n", ">-\n", "'", '"', "{", "}", "[", "]", ",", "%",
    "---\n", "...\n", "%YAML 1.1\n", "~", "null", "yes", "0x1f", "0o17", "1e999", ".nan", ".inf",
    "-.inf", "1_000", "190:20:30", "2026-11-25", "2026-11-25T01:02:03Z", "9" * 30, "9" * 5000,
    "\\u0000", "..", "/", "../../etc", "$HOME", "`id`", "(>= 1)", "|", "<<", "=", "\ud7ff", "é",
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(SIGNS)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return all containers and keys in a value as JSON has them."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = [(value, key) for key, _ in items]
    for container, key in list(found):
        if isinstance(container[key], dict | list):
            found += places(container[key])
    return found


@st.composite
def edited(draw: st.DrawFn, value: Any, words: tuple[str, ...] = ()) -> Any:
    """Change a value at some places: other values, keys that go, come, or change their names."""
    copy = json.loads(json.dumps(value))
    names = st.sampled_from(words) if words else st.text(max_size=8)
    for _ in range(draw(st.integers(1, 4))):
        found = places(copy)
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        match draw(st.sampled_from(["other", "gone", "moved", "more"])):
            case "other":
                container[key] = draw(VALUES)
            case "gone":
                del container[key]
            case "moved":
                source, name = draw(st.sampled_from(found))
                container[key] = json.loads(json.dumps(_at(source, name)))
            case _:
                if isinstance(container, dict):
                    container[draw(names | st.text(max_size=8))] = draw(VALUES)
    return copy


def _at(container: Any, key: Any) -> Any:
    try:
        return container[key]
    except (KeyError, IndexError):
        return None


@st.composite
def mangled(draw: st.DrawFn, data: bytes, signs: tuple[str, ...] = SIGNS) -> bytes:
    """Change bytes: some cut out, doubled, replaced by signs that mean something, or any others."""
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 40)))
        sign = st.sampled_from(signs).map(lambda text: text.encode(errors="surrogatepass"))
        piece = draw(sign | st.binary(max_size=4) | st.just(data[at:end] * 2) | st.just(b""))
        data = data[:at] + piece + data[end:]
    return data


# ── The manifest ─────────────────────────────────────────────────────────────
def manifests() -> tuple[str, ...]:
    """Return manifests that are right: the example's, and the one with every key."""
    page = "\n".join(re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL))
    return (ROOT / "examples/hello/ovenbird.yaml").read_text(), page


def _values() -> tuple[Any, ...]:
    return tuple(YAML(typ="safe").load(text) for text in manifests())


def _words(value: Any) -> tuple[str, ...]:
    return tuple(sorted({key for _, key in places(value) if isinstance(key, str)}))


def read_manifest(data: bytes) -> str:
    """Read bytes as a manifest."""
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(data)
        file.flush()
        try:
            load_manifest(Path(file.name), shown="ovenbird.yaml")
        except (InvalidRequest, NotFound) as error:
            return _refused(error, place="ovenbird.yaml")
    return UNDERSTOOD


def _refused(error: OvenbirdError, *, place: str = "") -> str:
    """Tell that an input was refused; the error must say where, and what to do next."""
    assert str(error)
    assert place in str(error)
    assert error.hint
    return REFUSED


def _as_yaml(value: Any) -> bytes:
    return json.dumps(value).encode()  # YAML holds JSON


def manifest_targets() -> tuple[Target, ...]:
    """Return the targets of the manifest's reader."""
    texts, values = manifests(), _values()
    signs = st.lists(st.sampled_from(SIGNS) | st.text(max_size=5), max_size=30).map("".join)
    whole = st.one_of([edited(value, _words(values[1])) for value in values])
    return (
        Target(name="manifest, any bytes", inputs=st.binary(), feed=read_manifest),
        Target(
            name="manifest, any YAML signs",
            inputs=signs.map(lambda text: text.encode(errors="surrogatepass")),
            feed=read_manifest,
        ),
        Target(
            name="manifest, a right one mangled",
            inputs=st.one_of([mangled(text.encode()) for text in texts]),
            feed=read_manifest,
        ),
        Target(
            name="manifest, a right one with other values",
            inputs=whole.map(_as_yaml),
            feed=read_manifest,
        ),
    )


# ── The repository ───────────────────────────────────────────────────────────
CHANNEL = "candidate"
ENTRY = CatalogEntry(
    package=Package(
        name="hello",
        version="1.0.0",
        architecture="all",
        format=PackageFormat.DEB,
        path="hello_1.0.0_all.deb",
        digest_sha256="d" * 64,
        size_bytes=3,
        app="hello",
        commit="c" * 40,
    ),
    source=Source(url="/src", ref="v1", commit="c" * 40, committed_at_epoch_s=1, directory="x"),
    channel=CHANNEL,
    state_number=1,
    published_at=NOW,
    published_by="ci",
    facts=PackageFacts(
        files=(PackageFile(path="/opt/hello/x", mode=0o100644, size_bytes=3),),
        relations={"Depends": ("nginx",)},
        findings=(Finding(tool="lintian", code="x", level="warning", text="y"),),
        sbom="{}",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A repository of a deb and an rpm in two states, and a package that it does not have."""

    objects: Mapping[str, bytes]
    more: Package


def seed(work: Path) -> Seed:
    """Make one; its package files stay in the directory."""
    storage = MemoryStorage()
    for kind in ("deb", "rpm"):
        _opened(storage).publish([built(work / kind, "hello", kind=kind)], channel=CHANNEL, at=NOW)
    Provenance(storage).put(ENTRY)
    return Seed(objects=storage.found, more=built(work / "more", "more"))


def _opened(storage: MemoryStorage) -> PackageRepository:
    signer = PlainSigner(Path("/nowhere"))
    return PackageRepository(storage, name="main", signer=signer, parallel=1)


def reading(read: Callable[[bytes], object]) -> Callable[[bytes], str]:
    """Return what feeds a reader of bytes."""

    def feed(data: bytes) -> str:
        try:
            read(data)
        except OvenbirdError as error:
            return _refused(error)
        return UNDERSTOOD

    return feed


def _read_record(data: bytes) -> None:
    found = repository_states.parse(data, channel=CHANNEL, number=2)
    again = repository_states.render(found)
    assert repository_states.parse(again, channel=CHANNEL, number=2) == found


def _read_pointer(data: bytes) -> None:
    found = repository_states.parse_pointer(data, place="channels/candidate.json")
    again = repository_states.render_pointer(found)
    assert repository_states.parse_pointer(again, place="again") == found


def _read_shard(data: bytes) -> None:
    found = shards.parse(data, place="shards/00/0")
    assert shards.parse(shards.render(found.values()), place="again") == found


def _read_provenance(data: bytes) -> None:
    found = Provenance(MemoryStorage({"catalog/hello/1.0/hello.deb.json": data})).every()
    storage = MemoryStorage()
    for entry in found:
        Provenance(storage).put(entry)
    assert len(Provenance(storage).every()) == len(found)


def _read_numbers(data: bytes) -> None:
    assert apt_index.state_number(data) >= 0
    assert yum_index.state_number(data) >= 0


def _read_members(asked: tuple[bytes, dict[int, tuple[int, int]], int]) -> str:
    data, sizes, head = asked
    try:
        pieces = cut(Encoding.ZST, data, sizes, head_bytes=head).values()
        texts = list(zstd_texts(pieces))
    except ValueError:  # `splice` says so of itself; who calls it names the index
        return REFUSED
    assert [len(text) for text in texts] == [text_bytes for _, text_bytes in sizes.values()]
    return UNDERSTOOD


def _compressed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


Operation = Callable[[PackageRepository, Package], object]
OPERATIONS: Mapping[str, Operation] = {
    "state": lambda repository, _: repository.state(CHANNEL),
    "states": lambda repository, _: repository.states(CHANNEL),
    "unserved": lambda repository, _: repository.unserved(CHANNEL),
    "packages": lambda repository, _: repository.list_packages(CHANNEL),
    "packages of 1": lambda repository, _: repository.list_packages(CHANNEL, 1),
    "publish": lambda repository, more: repository.publish([more], channel=CHANNEL, at=NOW),
    "withdraw": lambda repository, more: repository.withdraw([more], channel=CHANNEL, at=NOW),
    "repair": lambda repository, _: repository.repair(CHANNEL),
    "rebuild": lambda repository, _: repository.rebuild(CHANNEL, at=NOW),
    "verify": lambda repository, _: repository.verify_files(CHANNEL),
    "plan pruning": lambda repository, _: repository.plan_pruning({CHANNEL: 2}),
}


@st.composite
def damaged(draw: st.DrawFn, objects: Mapping[str, bytes]) -> tuple[dict[str, bytes | None], str]:
    """Draw what some of a repository's objects are instead, or None, and what is asked of it."""
    found: dict[str, bytes | None] = {}
    records = [name for name in objects if name.endswith(".json")]
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(objects)) | st.sampled_from(sorted(records)))
        match draw(st.sampled_from(["mangled", "gone", "other", "edited"])):
            case "gone":
                found[name] = None
            case "other":
                found[name] = objects[draw(st.sampled_from(sorted(objects)))]
            case "edited" if name in records:
                value = draw(edited(json.loads(objects[name])))
                found[name] = json.dumps(value).encode()
            case _:
                found[name] = draw(mangled(objects[name]))
    return found, draw(st.sampled_from(sorted(OPERATIONS)))


def repository_targets(made: Seed) -> tuple[Target, ...]:
    """Return the targets of what reads a repository."""
    record = made.objects["states/candidate/0000002.json"]
    pointer = made.objects["channels/candidate.json"]
    shard = next(data for name, data in made.objects.items() if name.startswith("shards/"))
    rows = zstandard.ZstdDecompressor().decompress(shard)
    entry = next(data for name, data in made.objects.items() if name.startswith("catalog/"))
    member = _compressed(b"Package: hello\n\n" * 9)
    signed = [
        data
        for name, data in sorted(made.objects.items())
        if name.endswith(("InRelease", "mirrorlist"))
    ]
    sizes = st.dictionaries(
        st.integers(0, 255), st.tuples(st.integers(0, 60), st.integers(0, 200)), max_size=4
    )

    def use(asked: tuple[dict[str, bytes | None], str]) -> str:
        changes, operation = asked
        objects = {**made.objects, **changes}
        there = {name: data for name, data in objects.items() if data is not None}
        repository = _opened(MemoryStorage(there))
        try:
            OPERATIONS[operation](repository, made.more)
        except OvenbirdError as error:
            return _refused(error)
        return UNDERSTOOD

    def json_of(data: bytes) -> st.SearchStrategy[bytes]:
        other = edited(json.loads(data)).map(lambda value: json.dumps(value).encode())
        return other | mangled(data) | st.binary()

    return (
        Target(name="state's record", inputs=json_of(record), feed=reading(_read_record)),
        Target(name="channel's pointer", inputs=json_of(pointer), feed=reading(_read_pointer)),
        Target(
            name="shard",
            inputs=json_of(rows).map(_compressed) | mangled(shard),
            feed=reading(_read_shard),
        ),
        Target(name="provenance", inputs=json_of(entry), feed=reading(_read_provenance)),
        Target(
            name="members of an index",
            inputs=st.tuples(mangled(member * 3) | st.just(member * 3), sizes, st.integers(0, 30)),
            feed=_read_members,
        ),
        Target(
            name="numbers in signed files",
            inputs=st.sampled_from(signed).flatmap(mangled),
            feed=reading(_read_numbers),
        ),
        Target(name="whole repository, damaged", inputs=damaged(made.objects), feed=use),
    )


def targets(work: Path) -> tuple[Target, ...]:
    """Return all targets.

    Args:
        work: A directory for package files, which lasts as long as they are used.
    """
    return (*manifest_targets(), *repository_targets(seed(work)))
