from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.frigga import by_cluster, find_name, has_push, is_reserved, labels, shards
from ovenbird.domain.names import ClusterName, ServerGroupName

CASES = json.loads((Path(__file__).parents[2] / "cases" / "frigga_names.json").read_text())
LABELS = {
    "countries": "countries", "devPhase": "dev_phase", "hardware": "hardware",
    "partners": "partners", "revision": "revision", "usedBy": "used_by",
    "redBlackSwap": "red_black_swap", "zone": "zone",
}  # fmt: skip


@pytest.mark.parametrize("case", CASES["parse"], ids=lambda case: str(case["name"]))
def test_names_are_taken_apart_as_frigga_does(case: dict[str, Any]) -> None:
    found, wanted = find_name(case["name"] or ""), case["expect"]
    if wanted["app"] is None:
        assert found is None
        return
    assert found is not None
    plain = {k: v for k, v in wanted.items() if k not in LABELS and k != "sequence"}
    assert {key: getattr(found, key) for key in plain} == {k: v or "" for k, v in plain.items()}
    assert found.sequence == wanted.get("sequence", found.sequence)
    mine = {theirs: found.labels.get(ours) for theirs, ours in LABELS.items() if theirs in wanted}
    assert mine == {key: wanted[key] for key in mine}


@pytest.mark.parametrize("case", CASES["parse_strict_must_reject"], ids=lambda case: case["why"])
def test_names_that_frigga_refuses_are_none(case: dict[str, Any]) -> None:
    assert find_name(case["name"]) is None
    with pytest.raises(InvalidRequest):
        ClusterName.parse(case["name"])


@pytest.mark.parametrize("case", CASES["validation"], ids=lambda c: f"{c['check']} {c['input']}")
def test_names_are_checked_as_frigga_does(case: dict[str, Any]) -> None:
    text = case["input"] or ""
    answers = {
        "checkName": lambda: _is_app(text),
        "checkNameWithHyphen": lambda: bool(text) and find_name(f"app-stack-{text}") is not None,
        "usesReservedFormat": lambda: is_reserved(text),
    }
    assert answers[case["check"]]() is case["expect"]


def _is_app(text: str) -> bool:
    try:
        return ClusterName(app=text).app == text
    except InvalidRequest:
        return False


def test_labelled_variables_are_found() -> None:
    for case in CASES["labeled_variables"]:
        if isinstance(case, dict) and "details" in case:
            assert labels(case["details"]) == case["expect"]
    assert labels("app-stack") == {}


@pytest.mark.parametrize("case", CASES["asg_name_builder"], ids=lambda c: f"{c['detail']}")
def test_clusters_are_built_as_frigga_does(case: dict[str, Any]) -> None:
    parts = {key: case[key] or "" for key in ("app", "stack", "detail")}
    if case.get("expect_error"):
        with pytest.raises(InvalidRequest, match="names a server group"):
            ClusterName(**parts)
    else:
        built = str(ClusterName(**parts))
        assert built == (case.get("expect") or built)


@pytest.mark.parametrize("case", CASES["sharding"], ids=lambda case: case["details"])
def test_shards_are_found(case: dict[str, Any]) -> None:
    found, rest = shards(case["details"])
    assert {str(number): value for number, value in found.items()} == (case["shards"] or {})
    assert rest == case["unprocessed"]


def test_groups_are_put_together_by_cluster() -> None:
    (case,) = CASES["cluster_grouping"]
    found = by_cluster([*case["asgs"], "not%a-name"])
    assert {name: list(groups) for name, groups in found.items()} == case["expect"]


WORDS = st.from_regex(r"[a-zA-Z0-9._]{1,12}", fullmatch=True)


@given(app=WORDS, stack=WORDS, detail=WORDS, version=st.integers(0, 999))
def test_what_we_name_frigga_reads(app: str, stack: str, detail: str, version: int) -> None:
    if has_push(stack) or has_push(detail):
        return
    cluster = ClusterName(app=app, stack=stack, detail=detail)
    name = ServerGroupName(cluster=cluster, version=version)
    found = find_name(str(name))
    assert found is not None
    assert (found.cluster, found.sequence) == (str(cluster), version)
    assert ServerGroupName.parse(str(name)) == name
