"""Benchmarks run, and their tables say what was measured; nothing here looks at the times."""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench import bake_report, fuzz, packaging, trees, upload
from bench.bake_packages import Published
from bench.packer_templates import template
from ovenbird.domain.catalog import RepositoryState
from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.images import PackagePin
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


BAKED: dict[str, Any] = {
    "size": "1mb", "baker": "ovenbird direct", "seconds": [1.0, 1.2, 1.1], "own_s": [0.6, 0.8, 0.7],
    "blocks": [17, 17, 17], "calls": [30, 30, 31], "phases": {"install": 0.4, "upload": 0.1},
    "failed": "",
}  # fmt: skip


def test_a_table_of_bakes_compares_with_ours() -> None:
    packer = BAKED | {
        "baker": "packer amazon-ebs", "seconds": [11.0], "blocks": [40], "calls": [99],
    }  # fmt: skip
    gone = BAKED | {"baker": "packer amazon-ebssurrogate", "seconds": [], "failed": "not installed"}
    rows = [BAKED, packer, gone]

    assert bake_report.table(rows).splitlines()[2:] == [
        "| 1mb | ovenbird direct | 1.10 s | 1.00 s | 17 | 30 | 1.0 |",
        "| 1mb | packer amazon-ebs | 11.00 s | 11.00 s | 40 | 99 | 10.0 |",
        "| 1mb | packer amazon-ebssurrogate | not run |  |  |  |  |",
    ]
    assert bake_report.summary(rows).splitlines() == [
        "1mb: 17 changed blocks (goal: 18)",
        "1mb: 0.70 s of ours without the package manager's own run (goal: 0.7 s)",
        "1mb: phases of the last bake, in seconds: install 0.40, upload 0.10",
        "1mb: 10.0 times as fast as Packer's amazon-ebs (goal: 8)",
    ]


def test_packer_is_told_to_install_the_same_package_on_the_surrogates_disk() -> None:
    state = RepositoryState(
        repository="main", channel="candidate", number=1, url="file:/r", suite="candidate-1",
        component="main", key_path="/keys/key.gpg",
    )  # fmt: skip
    pin = PackagePin(name="bench-1mb", version="1.0.0", architecture="all", digest_sha256="0")
    published = Published(pins={"1mb": pin}, state=state, directory=Path("/r"))
    told = {
        kind: json.loads(
            template(kind, access={"access_key": "k"}, base="ami-1", pin=pin, published=published)
        )
        for kind in ("amazon-ebs", "amazon-ebssurrogate")
    }

    for kind, found in told.items():
        (builder,) = found["builders"]
        script = "\n".join(found["provisioners"][1]["inline"])
        assert (builder["type"], builder["source_ami"], builder["access_key"]) == (
            kind,
            "ami-1",
            "k",
        )
        assert "bench-1mb=1.0.0" in script
        assert ("chroot /mnt" in script) == (kind == "amazon-ebssurrogate")
    extra = told["amazon-ebssurrogate"]["builders"][0]["launch_block_device_mappings"]
    assert [one["device_name"] for one in extra] == ["/dev/xvdf"]
