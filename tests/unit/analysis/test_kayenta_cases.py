"""Kayenta's own known answers: classifiers, detectors, transforms, statistics."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovenbird.analysis.kayenta import Class, Classified, by_means, classified
from ovenbird.analysis.series import Floats, cleaned, iqr_outliers, sigma_outliers, without_missing
from ovenbird.analysis.summaries import (
    cohens_d,
    common_language_effect,
    mean_ratio,
    percentile,
    summary,
)
from ovenbird.domain.judging import (
    Direction,
    EffectSize,
    MetricSpec,
    NanStrategy,
    OutlierRule,
    PrometheusSource,
)

CASES = Path(__file__).parents[2] / "cases"
Case = Mapping[str, Any]


def read(name: str, *keys: str) -> list[Case]:
    data = json.loads((CASES / name).read_text())
    return [case for key in keys for case in data[key]]


def ids(case: Case) -> str:
    return str(case["id"])


def array(values: Sequence[float | None]) -> Floats:
    return np.array([math.nan if v is None else v for v in values], dtype=np.float64)


def spec(case: Case) -> MetricSpec:
    critical = case["critical_thresholds_decrease_increase"]
    return MetricSpec(
        name="metric",
        source=PrometheusSource(query="up"),
        direction=Direction(case["direction"]),
        nan=NanStrategy(case["nan_strategy"]),
        is_critical=case["critical_metric"],
        effect_size=EffectSize.CLES
        if case["effect_size_measure"] == "cles"
        else EffectSize.MEAN_RATIO,
        allowed=tuple(case["effect_size_thresholds_decrease_increase"] or (1.0, 1.0)),
        critical=tuple(critical) if critical else None,
    )


CLASSIFIED = read("kayenta_classifier.json", "cases")


def classify(case: Case) -> Classified:
    asked = spec(case)
    ours, theirs = (cleaned(array(case[side]), asked) for side in ("experiment", "control"))
    if case["classifier"] == "mean_inequality":
        return Classified(name=by_means(ours, theirs, asked))
    return classified(
        ours,
        theirs,
        asked,
        confidence=case["confidence_level"],
        tolerance=case["tolerance"],
    )


@pytest.mark.parametrize("case", CLASSIFIED, ids=ids)
def test_a_metric_is_classified_as_by_kayenta(case: Case) -> None:
    found, expect = classify(case), case["expect"]

    if "classification" in expect:
        assert found.name is Class(expect["classification"].lower())
    if "critical" in expect:
        assert found.is_critical is expect["critical"]
    if "deviation" in expect:
        assert found.effect == pytest.approx(float(expect["deviation"]), nan_ok=True)
    if expect.get("reason_nonempty"):
        assert found.name is Class.NODATA  # the verdict's reason: test_kayenta.py


DETECTED = read("kayenta_stats_outliers.json", "detectors")


@pytest.mark.parametrize("case", DETECTED, ids=ids)
def test_outliers_are_those_that_kayenta_finds(case: Case) -> None:
    detect = sigma_outliers if case["detector"] == "ksigma" else iqr_outliers

    assert detect(array(case["data"]), case["factor"]).tolist() == case["expect_outlier_mask"]


PLAIN = MetricSpec(name="metric", source=PrometheusSource(query="up"))
TRANSFORMS = {
    "Remove Single NaN": PLAIN,
    "Remove Multiple NaN": PLAIN,
    "Replace NANs": replace(PLAIN, nan=NanStrategy.REPLACE),
    "KSigma Outlier Removal": replace(PLAIN, outliers=3.0, outlier_rule=OutlierRule.SIGMA),
}


@pytest.mark.parametrize("case", read("kayenta_stats_outliers.json", "transforms"), ids=ids)
def test_numbers_are_cleaned_as_by_kayenta(case: Case) -> None:
    values = array(case["data"])
    if case["id"] == "IQR Outlier Removal":  # without reduced sensitivity, which a metric has
        found = values[~iqr_outliers(values, 1.5)]
    else:
        found = cleaned(values, TRANSFORMS[case["id"]])

    assert found.tolist() == case["expect"]


STATISTICS = read("kayenta_stats_outliers.json", "statistics")
SUMMARIES = [case for case in STATISTICS if "expect_min_max_mean_std_count" in case]
PERCENTILES = [case for case in STATISTICS if "expect_percentiles" in case]
EFFECTS = [case for case in STATISTICS if "experimentData" in case]


@pytest.mark.parametrize("case", SUMMARIES, ids=ids)
def test_summaries(case: Case) -> None:
    found = summary(array(case["data"]))

    values = (found.minimum, found.maximum, found.mean, found.std, found.count)
    assert values == pytest.approx(case["expect_min_max_mean_std_count"], abs=1e-4)


@pytest.mark.parametrize("case", PERCENTILES, ids=ids)
def test_percentiles(case: Case) -> None:
    values = array(case.get("testData") or case["data"])

    for expect in case["expect_percentiles"]:
        found = percentile(values, expect["percentile"])
        assert found == pytest.approx(expect["value"], abs=max(expect["tol"], 1e-9))


@pytest.mark.parametrize("case", EFFECTS, ids=ids)
def test_effect_sizes(case: Case) -> None:
    measure = mean_ratio
    if "CLES" in case["id"]:
        measure = common_language_effect
    elif "Cohen" in case["id"]:
        measure = cohens_d
    found, expect = (
        measure(array(case["experimentData"]), array(case["controlData"])),
        case["expect"],
    )

    value = float(expect["value"])
    assert found == pytest.approx(value, abs=expect.get("tol", 0), nan_ok=True)


def test_all_known_answers_are_asked() -> None:
    assert len(CLASSIFIED) > 35
    assert len(DETECTED) == 6
    assert len(SUMMARIES) + len(PERCENTILES) + len(EFFECTS) == len(STATISTICS)


def test_missing_numbers_are_removed_or_replaced() -> None:
    assert without_missing(array([None, 2.0]), NanStrategy.REMOVE).tolist() == [2.0]
    assert without_missing(array([None, 2.0]), NanStrategy.REPLACE).tolist() == [0.0, 2.0]
