"""Benchmarks run, and their tables say what was measured; nothing here looks at the times."""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from pathlib import Path

import pytest

from bench import fuzz, packaging, trees, upload
from ovenbird.domain.errors import InvalidRequest
from tests.fuzzing import Target, manifest_targets

RESULT = {
    "size": "60mb",
    "format": "deb",
    "bytes": {"ovenbird": 2_000_000, "nfpm alone": 2_000_000},
    "seconds": {"ovenbird": [1.1, 1.3, 1.2], "nfpm alone": [1.0, 1.0, 1.2]},
    "processor_s": {"ovenbird": [1.0, 1.0, 1.0], "nfpm alone": [0.8, 0.8, 0.8]},
}


def test_a_table_says_who_did_not_run() -> None:
    lines = packaging.table([RESULT]).splitlines()[2:]

    assert lines == [
        "| 60mb deb | ovenbird | 1.100 s | 1.200 s | 1.000 s | 1.10 · 1.20 · 1.25 | 2.000 MB |",
        "| 60mb deb | nfpm alone | 1.000 s | 1.000 s | 0.800 s | 1.00 · 1.00 · 1.00 | 2.000 MB |",
        "| 60mb deb | dpkg-deb --build | not run |  |  |  |  |",
        "| 60mb deb | fpm | not run |  |  |  |  |",
    ]
    assert packaging.summary([RESULT]) == (
        "60mb deb: times nfpm alone: 1.10 by the fastest (+100 ms), 1.20 by medians, "
        "1.25 by processors; goal: 1.10"
    )


@pytest.mark.parametrize(("kind", "peer"), [("deb", "dpkg-deb --build"), ("rpm", "rpmbuild")])
def test_all_packagers_package_the_example(tmp_path: Path, kind: str, peer: str) -> None:
    asked = argparse.Namespace(rounds=1, formats=[kind], work=tmp_path)

    (result,) = packaging.measured("small", asked)

    assert {"ovenbird", "nfpm alone", peer} <= {*result["seconds"]}
    assert all(len(seconds) == 1 for seconds in result["seconds"].values())
    assert list(tmp_path.iterdir()) == []


def test_large_trees_are_the_same_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "FILES", 60)
    monkeypatch.setitem(trees.SIZES, "60mb", 50_000)
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        top = trees.make("60mb", tmp_path / name).checkout
        files = sorted(path for path in top.rglob("*") if path.is_file())
        found.append([(str(path.relative_to(top)), path.read_bytes()) for path in files])

    assert found[0] == found[1]
    assert len(found[0]) == 60
    assert 45_000 < sum(len(data) for _, data in found[0]) <= 50_000


def test_a_full_disk_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trees.SIZES, "1gb", shutil.disk_usage(tmp_path).total)

    with pytest.raises(InvalidRequest, match="GB free; packaging `1gb` takes"):
        trees.make("1gb", tmp_path)


def test_fuzzing_counts_inputs_and_shows_a_mistake() -> None:
    def broken(data: bytes) -> str:
        if len(data) > 2:
            raise KeyError("lost")
        return "understood"

    counted: Counter[str] = Counter()
    one = manifest_targets()[0]
    said = fuzz.fed(Target(name="broken", inputs=one.inputs, feed=broken), 1, counted)

    assert said.startswith("KeyError: 'lost'")
    assert "b'\\x00\\x00\\x00'" in said
    assert counted["understood"] > 0
    assert counted["mistaken"] > 0
    assert fuzz.table({"broken": counted}, 1).splitlines()[-1].startswith("| all (seed 1) |")


@pytest.mark.parametrize("kind", ["upload", "download"])
def test_blocks_are_carried_by_all_contenders(tmp_path: Path, kind: str) -> None:
    asked = argparse.Namespace(mib=1, rounds=1, work=tmp_path)

    found = upload.turns(kind, asked, 0.0)

    assert found.keys() == {contender.name for contender in upload.CONTENDERS}
    assert all(len(rounds) == 1 for rounds in found.values())
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_blocks_compares_with_the_best_of_boto3() -> None:
    rounds = {
        "ovenbird": [(2.0, 1.0), (1.0, 1.0), (4.0, 2.0)],
        "boto3, 16 threads": [(8.0, 8.0)],
        "boto3, 32 threads": [(4.0, 4.0)],
    }

    assert upload.table("upload", 512, {40.0: rounds}).splitlines()[2:] == [
        "| ovenbird | 40 ms | 256 | 512 | 2.0 | 2.00 | 0.50 |",
        "| boto3, 16 threads | 40 ms | 64 | 64 | 0.5 | 16.00 | 1.00 |",
        "| boto3, 32 threads | 40 ms | 128 | 128 | 1.0 | 8.00 | 1.00 |",
    ]
