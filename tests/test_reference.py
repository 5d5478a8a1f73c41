"""The metrics against what other programs gave: tests/reference/make.py wrote metrics.json."""

from __future__ import annotations

import json

import pytest
import torch
from reference.cases import CASES, NEIGHBOURS, OUT
from tiny import metric_of

from mergan.evaluation.metrics import Comparison, FeatureSet

REFERENCE = json.loads(OUT.read_text(encoding="utf-8"))["values"]
# whose definition each metric follows where there are several: of closed balls, and of open ones
FOLLOWED = {"precision": "torch-fidelity", "recall": "torch-fidelity", "density": "prdc", "coverage": "prdc"}
TIES = ("tied", "copies")


def compare(case: str, most: int | None = None) -> Comparison:
    return Comparison(*(FeatureSet(torch.from_numpy(part)[:most]) for part in CASES[case]()))


@pytest.mark.parametrize("case", CASES)
def test_neighbour_metrics_have_the_values_of_prdc_and_torch_fidelity(case: str) -> None:
    pair = compare(case)
    for k in NEIGHBOURS:
        for name, program in FOLLOWED.items():
            plain = {"balanced": False} if name == "coverage" else {}
            value = metric_of(name, k=k, **plain)(pair)
            expected = REFERENCE[case][f"{name} k={k}"]
            assert value == pytest.approx(expected[program], abs=1e-6), (name, k)
            if case not in TIES:  # without equal distances open and closed balls are the same
                assert value == pytest.approx(expected["prdc"], abs=1e-6), (name, k)


def test_closed_and_open_balls_differ_where_distances_are_equal() -> None:
    """Why precision and recall are not those of prdc, nor density and coverage those of closed balls."""
    for k in NEIGHBOURS:
        for name in ("precision", "recall"):
            closed, opened = (REFERENCE["copies"][f"{name} k={k}"][one] for one in ("torch-fidelity", "prdc"))
            assert (closed, opened) == (1, 0)
        assert REFERENCE["copies"][f"coverage k={k}"] == {"prdc": 0}


@pytest.mark.parametrize("case", CASES)
def test_fid_has_the_value_of_torch_fidelity_and_of_scipy(case: str) -> None:
    value = metric_of("fid", min_references=2)(compare(case))
    assert value == pytest.approx(REFERENCE[case]["fid"]["torch-fidelity"], rel=1e-6, abs=1e-6)
    assert value == pytest.approx(REFERENCE[case]["fid"]["scipy"], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_kid_has_the_value_of_torch_fidelity_and_of_all_pairs(case: str) -> None:
    most = min(map(len, CASES[case]()))  # torch-fidelity compares equally many features
    expected = REFERENCE[case]["kid of the first ones, equally many"]["torch-fidelity"]
    for metric in (metric_of("kid"), metric_of("kid", subsets=1, subset_size=most)):
        assert metric(compare(case, most)) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert metric_of("kid")(compare(case)) == pytest.approx(REFERENCE[case]["kid"]["numpy"], rel=1e-9)
