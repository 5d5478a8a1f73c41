"""Writes metrics.json: what prdc, torch-fidelity and scipy give for the features of cases.py.

    pip install prdc scikit-learn scipy torch-fidelity
    cd tests && python -m reference.make

mergan is not imported. tests/test_reference.py compares its metrics with the file.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from prdc import compute_prdc
from reference.cases import CASES, NEIGHBOURS, OUT
from scipy import linalg
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric


def frechet(real: np.ndarray, generated: np.ndarray) -> float:
    """The squared Fréchet distance of two fitted Gaussians, by scipy's square root of a matrix."""
    (first, second) = (np.cov(part, rowvar=False) for part in (real, generated))
    root = linalg.sqrtm(first @ second).real
    shift = real.mean(axis=0) - generated.mean(axis=0)
    return float(shift @ shift + np.trace(first + second - 2 * root))


def discrepancy(real: np.ndarray, generated: np.ndarray) -> float:
    """The squared maximum mean discrepancy over all pairs of different samples, written out."""

    def kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.array([[(x @ y / len(x) + 1) ** 3 for y in second] for x in first])

    def within(part: np.ndarray) -> float:
        matrix = kernel(part, part)
        return float(matrix[~np.eye(len(part), dtype=bool)].mean())

    return within(real) + within(generated) - 2 * float(kernel(real, generated).mean())


def values(real: np.ndarray, generated: np.ndarray) -> dict[str, Any]:
    """The reference values of one case."""
    theirs, ours = (torch.from_numpy(part) for part in (generated, real))
    size = min(len(real), len(generated))
    statistics = [fid_features_to_statistics(part) for part in (ours, theirs)]
    kid = kid_features_to_metric(
        ours[:size], theirs[:size], kid_subsets=1, kid_subset_size=size, verbose=False
    )
    found: dict[str, Any] = {
        "fid": {
            "torch-fidelity": fid_statistics_to_metric(*statistics, verbose=False)[
                "frechet_inception_distance"
            ],
            "scipy": frechet(real, generated),
        },
        "kid of the first ones, equally many": {"torch-fidelity": kid["kernel_inception_distance_mean"]},
        "kid": {"numpy": discrepancy(real, generated)},
    }
    for k in NEIGHBOURS:
        closed = prc_features_to_metric(theirs, ours, prc_neighborhood=k, save_cpu_ram=False, verbose=False)
        opened = compute_prdc(real, generated, k)
        for name in ("precision", "recall"):
            found[f"{name} k={k}"] = {"torch-fidelity": closed[name], "prdc": float(opened[name])}
        for name in ("density", "coverage"):
            found[f"{name} k={k}"] = {"prdc": float(opened[name])}
    return found


def main() -> None:
    """Compute and write all values."""
    packages = ("prdc", "scikit-learn", "scipy", "torch-fidelity", "torch", "numpy")
    content = {
        "made with": {name: version(name) for name in packages},
        "values": {name: values(*make()) for name, make in CASES.items()},
    }
    OUT.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
