"""The metrics on given features: by hand, against torch-fidelity, against loops, and at their ceilings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import metric_of
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from mergan.evaluation.metrics import Comparison, FeatureSet, Metric, kid
from mergan.evaluation.metrics.diversity import Diversity
from mergan.system.errors import ConfigError

ALL: list[Metric] = [
    metric_of(name) for name in ("precision", "recall", "density", "coverage", "fid", "kid", "diversity")
]


def compare(real: Tensor, generated: Tensor) -> Comparison:
    return Comparison(FeatureSet(real), FeatureSet(generated))


def line(*values: float) -> Tensor:
    """Features of one dimension."""
    return torch.tensor(values, dtype=torch.float64)[:, None]


def normal(count: int, dimensions: int = 16, seed: int = 0, shift: float = 0.0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimensions, generator=rng, dtype=torch.float64) + shift


# ---------------------------------------------------------------- by hand

# Real 0 1 3 7, k = 1: radii 1 1 2 4, so their balls are [-1, 1] [0, 2] [1, 5] [3, 11].
# Generated 0.5 4 20, k = 1: radii 3.5 3.5 16, so their balls are [-3, 4] [0.5, 7.5] [4, 36].
HAND = compare(line(0, 1, 3, 7), line(0.5, 4, 20))


def test_radii_reach_to_the_nearest_other_sample() -> None:
    assert HAND.real.radii(1).tolist() == [1, 1, 2, 4]
    assert HAND.real.radii(3).tolist() == [7, 6, 4, 7]
    assert FeatureSet(line(2, 2, 5)).radii(1).tolist() == [0, 0, 3]  # a twin is another sample


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (metric_of("precision", k=1), 2 / 3),  # 0.5 and 4 lie in balls, 20 does not
        (metric_of("recall", k=1), 1.0),
        (metric_of("density", k=1), 4 / 3),  # 0.5 lies in two balls, 4 in two, 20 in none
        (metric_of("coverage", k=1), 1.0),  # every ball holds 0.5 or 4
    ],
)
def test_nearest_neighbour_metrics_by_hand(metric: Metric, expected: float) -> None:
    assert metric(HAND) == pytest.approx(expected)


def test_what_is_far_away_is_neither_precise_nor_covered() -> None:
    far = compare(line(0, 1, 3, 7), line(-10, -11, 0.9))
    # generated radii: 1, 1, 10.9; balls [-11, -9] [-12, -10] [-10, 11.8] hold all real samples
    assert metric_of("precision", k=1)(far) == pytest.approx(1 / 3)
    assert metric_of("recall", k=1)(far) == 1
    assert metric_of("density", k=1)(far) == pytest.approx(2 / 3)  # 0.9 lies in the balls of 0 and 1
    assert metric_of("coverage", k=1)(far) == 0.5


def test_fid_of_two_gaussians_of_one_dimension_by_hand() -> None:
    # means 0 and 3, unbiased variances 2 and 8: (0 - 3)^2 + 2 + 8 - 2 sqrt(16) = 11
    assert metric_of("fid", min_references=2)(compare(line(-1, 1), line(1, 5))) == pytest.approx(11)


def test_kid_by_hand() -> None:
    # (xy + 1)^3 of real 0, 1 and generated 2, 3: between real ones 1; between generated ones 343;
    # across 1, 1, 27, 64, mean 23.25
    pair = compare(line(0, 1), line(2, 3))
    assert metric_of("kid", subsets=3)(pair) == pytest.approx(1 + 343 - 2 * 23.25)


def test_diversity_by_hand() -> None:
    pair = compare(torch.tensor([[0.0, 0], [2, 0], [1, 3]]), torch.tensor([[5.0, 0], [5, 2]]))
    assert Diversity()(pair) == pytest.approx(2 / (1 + 3))  # total variances: 0 + 2 against 1 + 3


# ---------------------------------------------------------------- against independent values


@pytest.fixture(scope="module")
def clouds() -> Comparison:
    """150 real and 90 generated features of 16 dimensions that overlap in part."""
    return compare(normal(150), normal(90, seed=1, shift=0.3) * 0.8)


def test_precision_and_recall_are_those_of_torch_fidelity(clouds: Comparison) -> None:
    theirs = prc_features_to_metric(
        clouds.generated.features, clouds.real.features, prc_neighborhood=3, verbose=False
    )
    assert metric_of("precision", k=3)(clouds) == theirs["precision"]
    assert metric_of("recall", k=3)(clouds) == theirs["recall"]
    assert 0.1 < theirs["recall"] < theirs["precision"] <= 1


def test_fid_is_that_of_torch_fidelity(clouds: Comparison) -> None:
    ours = metric_of("fid", min_references=2)(clouds)
    statistics = [fid_features_to_statistics(part.features) for part in (clouds.real, clouds.generated)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert ours == pytest.approx(theirs, rel=1e-9)
    assert ours > 1


def test_kid_is_that_of_torch_fidelity(clouds: Comparison) -> None:
    pair = compare(clouds.real.features[:90], clouds.generated.features)  # whole sets leave nothing to chance
    theirs = kid_features_to_metric(
        pair.real.features, pair.generated.features, kid_subsets=1, kid_subset_size=90, verbose=False
    )
    mean = pytest.approx(theirs["kernel_inception_distance_mean"])
    assert metric_of("kid", subsets=1, subset_size=90)(pair) == mean
    assert metric_of("kid", subsets=2, subset_size=1000)(pair) == mean


@pytest.mark.parametrize("k", [1, 5])
def test_metrics_of_neighbours_agree_with_loops(clouds: Comparison, k: int) -> None:
    real, generated = clouds.real.features.numpy(), clouds.generated.features.numpy()

    def radius(samples: np.ndarray, index: int) -> float:
        return sorted(np.linalg.norm(other - samples[index]) for other in samples)[k]

    def holds(samples: np.ndarray, others: np.ndarray) -> np.ndarray:
        balls = [(centre, radius(samples, index)) for index, centre in enumerate(samples)]
        return np.array([[np.linalg.norm(point - c) <= r for point in others] for c, r in balls])

    in_real, in_generated = holds(real, generated), holds(generated, real)
    assert metric_of("precision", k=k)(clouds) == pytest.approx(in_real.any(axis=0).mean())
    assert metric_of("recall", k=k)(clouds) == pytest.approx(in_generated.any(axis=0).mean())
    assert metric_of("density", k=k)(clouds) == pytest.approx(in_real.sum() / (k * len(generated)))
    assert metric_of("coverage", k=k)(clouds) == pytest.approx(in_real.any(axis=1).mean())


# ---------------------------------------------------------------- ceilings and failures


def test_samples_of_the_same_distribution_are_near_every_ceiling() -> None:
    pair = compare(normal(600, 6), normal(600, 6, seed=1))
    precision, recall, density, coverage, fid, kernel, diversity = (metric(pair) for metric in ALL)
    assert min(precision, recall) > 0.9
    assert density == pytest.approx(1, abs=0.1)
    # Naeem et al. 2020, lemma 2: 1 - ((N - 1) ... (N - k)) / ((N + M - 1) ... (N + M - k)), about 1 - 2^-k
    assert coverage == pytest.approx(1 - 2**-5, abs=0.03)
    assert 0 < fid < 0.5
    assert abs(kernel) < 0.05
    assert diversity == pytest.approx(1, abs=0.05)


def test_collapse_to_one_real_sample_shows_everywhere_but_in_precision() -> None:
    real = normal(600)
    pair = compare(real, real[:1].expand(500, -1))
    precision, recall, density, coverage, fid, kernel, diversity = (metric(pair) for metric in ALL)
    assert precision == 1
    assert recall == pytest.approx(1 / 600)
    assert coverage < 0.1
    assert diversity == 0
    assert fid > 5 and kernel > 0.5
    assert density > 0  # blind too: all the samples lie in real balls


def test_noise_is_diverse_and_nothing_else() -> None:
    pair = compare(normal(600), normal(500, seed=1) * 20)
    precision, _, density, coverage, fid, _, diversity = (metric(pair) for metric in ALL)
    assert precision == density == coverage == 0
    assert diversity > 300 and fid > 100


def test_metrics_know_which_way_is_better() -> None:
    close, far = (compare(normal(600), normal(500, seed=1, shift=shift)) for shift in (0.1, 1.0))
    for metric in ALL[:-1]:  # a shift leaves the variance as it is
        better = metric(close) > metric(far)
        assert better == metric.higher_is_better, type(metric).__name__


def test_coverage_looks_at_no_more_generated_than_real_samples() -> None:
    pair = compare(line(0, 1, 10, 11), line(0.5, 0.6, 0.7, 0.8, 10.5))
    assert metric_of("coverage", k=1)(pair) == 0.5
    assert metric_of("coverage", k=1, balanced=False)(pair) == 1
    few = compare(normal(100, 6), normal(500, 6, seed=1))
    assert metric_of("coverage")(few) < metric_of("coverage", balanced=False)(few)


# ---------------------------------------------------------------- where there are too few


@pytest.mark.parametrize(
    ("metric", "real", "generated"),
    [
        (metric_of("precision", k=5), 6, 6),
        (metric_of("recall", k=5), 6, 6),
        (metric_of("density", k=5), 6, 1),
        (metric_of("coverage", k=5), 6, 1),
        (metric_of("fid"), 500, 4),  # as many generated ones as dimensions
        (metric_of("fid", min_references=20), 20, 4),
        (metric_of("kid"), 2, 2),
        (Diversity(), 2, 2),
    ],
)
def test_metric_says_what_it_needs_and_works_with_that(metric: Metric, real: int, generated: int) -> None:
    pair = compare(normal(real, 4), normal(generated, 4, seed=1))
    assert metric.measurable(pair)
    assert np.isfinite(metric(pair))
    assert not metric.measurable(compare(normal(real - 1, 4), normal(generated, 4)))
    assert not metric.measurable(compare(normal(real, 4), normal(generated - 1, 4)))


def test_diversity_needs_real_images_that_differ() -> None:
    assert not Diversity().measurable(compare(line(2, 2, 2), line(1, 2)))


@pytest.mark.parametrize(
    ("build", "culprit"),
    [
        (lambda: metric_of("recall", k=0), "k=0"),
        (lambda: metric_of("coverage", k=2.5), "k=2.5"),
        (lambda: metric_of("fid", min_references=1), "min_references=1"),
        (lambda: metric_of("kid", subsets=0), "subsets=0"),
        (lambda: metric_of("kid", subset_size=1), "subset_size=1"),
    ],
)
def test_settings_out_of_range_are_refused(build, culprit: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=culprit):
        build()


def test_kid_of_all_pairs_is_the_middle_of_what_subsets_scatter_around() -> None:
    pair = compare(normal(4000, 24) * 4, normal(1000, 24, seed=1) * 4)  # one distribution: the truth is 0
    few = [metric_of("kid", subsets=5, subset_size=100, seed=seed)(pair) for seed in range(12)]
    assert max(few) - min(few) > 1
    whole = metric_of("kid")(pair)
    assert abs(whole) < 0.3
    many = metric_of("kid", subsets=300, subset_size=100)(pair)
    assert abs(many - whole) < abs(max(few) - min(few)) / 4


def test_kid_computes_every_pair_once(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = 0
    kernel = kid.poly_kernel

    def counted(first: Tensor, second: Tensor) -> Tensor:
        nonlocal entries
        entries += len(first) * len(second)
        return kernel(first, second)

    monkeypatch.setattr(kid, "poly_kernel", counted)
    metric_of("kid")(compare(normal(700), normal(300, seed=1)))
    assert entries == 700**2 + 300**2 + 700 * 300


def test_kid_draws_from_its_own_seed() -> None:
    pair = compare(normal(300), normal(300, seed=1))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = metric_of("kid", subsets=2, subset_size=20)(pair)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert metric_of("kid", subsets=2, subset_size=20)(pair) == first
    assert metric_of("kid", subsets=2, subset_size=20, seed=1)(pair) != first
