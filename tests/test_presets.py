"""Every preset of conf/experiment/ runs, and says what its source says."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from omegaconf import DictConfig

from mergan import config
from mergan.run import experiment
from mergan.scenarios.base import Scenario

PRESETS = sorted(path.stem for path in (tiny.ROOT / "conf" / "experiment").glob("*.yaml"))
# those for SVHN are those for MNIST with its data, length and weight (test_reproduction.py): two suffice
RUN = [name for name in PRESETS if not name.startswith("paper_svhn") or name.endswith(("align", "joint"))]
EXPECTED = {
    "v2_offline",
    "v2_online_2",
    "v2_online_10",
    "v2_retrain_2x4000",
    "v2_retrain_2x2000",
    "v2_retrain_3x4000",
    "v2_retrain_3x2000",
    "v2_retrain_3x500",
    "v2_retrain_10x3000",
    "v2_align_2",
    "v2_align_3",
    "paper_mnist_joint",
    "paper_mnist_finetune",
    "paper_mnist_retrain",
    "paper_mnist_align",
    "paper_svhn_joint",
    "paper_svhn_finetune",
    "paper_svhn_retrain",
    "paper_svhn_align",
    *(f"paper_{data}_{kind}" for data in ("mnist", "svhn") for kind in ("ewc", "dgr", "joint_5")),
    *(f"paper_lsun_{kind}" for kind in ("joint", "finetune", "retrain", "align", "ewc", "dgr")),
}


def preset(name: str, *overrides: str) -> DictConfig:
    cfg = config.compose(f"experiment={name}", *overrides)
    config.check(cfg)
    return cfg


def stream_of(cfg: DictConfig) -> Scenario:
    return config.scenario(cfg, cfg.data.num_classes)


def test_every_preset_of_the_sources_is_there() -> None:
    assert set(PRESETS) >= EXPECTED


@pytest.mark.parametrize("name", RUN)
def test_preset_runs_with_debug_smoke(name: str, cache_dir: Path, tmp_path: Path) -> None:
    own = ["debug=smoke", f"cache_dir={cache_dir}", "trainer.accelerator=cpu", "logger.tensorboard=null"]
    if name.startswith("paper_lsun"):
        own.append("data.image_size=32")  # a quarter of the time
    cfg = preset(name, *own)
    for key in {"samples", "tries"} & set(cfg.strategy):  # what debug=smoke leaves long
        cfg.strategy[key] = 4
    metrics = experiment.run(config.apply_caps(cfg), tmp_path)
    assert {"accuracy", "reverse_accuracy", "train_seconds", "images_per_second"} <= metrics.keys()
    for file in (
        "config.yaml",
        "metrics.json",
        "accuracy_matrix.csv",
        "metrics.csv",
        "checkpoints/last.ckpt",
    ):
        assert (tmp_path / file).is_file(), file
    last_task = 0 if cfg.scenario.joined else min(3, len(config.scenario(cfg, 10).tasks)) - 1
    assert (tmp_path / "samples" / f"task_{last_task:02d}.png").is_file()


@pytest.mark.parametrize(
    ("name", "classes", "epochs"),
    [
        ("v2_offline", [10], [100]),
        ("v2_online_2", [5, 5], [100, 150]),
        ("v2_retrain_2x4000", [5, 5], [100, 100]),
        ("v2_retrain_3x500", [3, 3, 4], [100, 100, 150]),
        ("v2_retrain_10x3000", [1] * 10, [50] * 10),
        ("v2_align_3", [3, 3, 4], [100, 100, 150]),
        ("paper_mnist_align", [1] * 10, [40] * 10),
        ("paper_svhn_joint", [10], [80]),
        ("paper_mnist_joint_5", [5], [40]),
        ("paper_lsun_align", [1] * 4, [200] * 4),
    ],
)
def test_preset_has_the_stream_of_its_source(name: str, classes: list[int], epochs: list[int]) -> None:
    stream = stream_of(preset(name))
    assert [len(task.classes) for task in stream.tasks] == classes
    assert [task.epochs for task in stream.tasks] == epochs


def test_paper_iterations() -> None:
    """4,000 generator iterations per task on MNIST, 8,000 on SVHN, 20,000 on LSUN; joint training as many for
    every class.
    """

    def iterations(name: str) -> list[int]:
        cfg = preset(name)
        return [cfg.steps_per_epoch * task.span * task.epochs for task in stream_of(cfg).tasks]

    assert iterations("paper_mnist_retrain") == [4000] * 10
    assert iterations("paper_mnist_joint") == [40_000]
    assert iterations("paper_mnist_joint_5") == [20_000]
    assert iterations("paper_svhn_align") == [8000] * 10
    assert iterations("paper_svhn_joint") == [80_000]
    assert iterations("paper_lsun_retrain") == [20_000] * 4
    assert iterations("paper_lsun_joint") == [80_000]


def test_paper_alignment_weight_is_lambda_in_our_reduction() -> None:
    """lambda * sum(squares) / 2 over 64/K images of P values is lambda * 64 * P / (2 K) times the mean."""
    for name, scale, values in (
        ("paper_mnist_align", 1e-3, 32 * 32),
        ("paper_svhn_align", 1e-2, 3 * 32 * 32),
    ):
        strategy = preset(name).strategy
        assert strategy.divide_by_classes
        assert strategy.weight == pytest.approx(scale * 64 * values / 2)


def test_alignment_on_lsun_has_the_weight_of_a_batch_per_class() -> None:
    """lambda * sum(squares) / 2 over 64 images of each past class is lambda * 64 * P / 2 times each mean."""
    strategy = preset("paper_lsun_align").strategy
    assert not strategy.divide_by_classes
    assert strategy.weight == pytest.approx(1e-3 * 64 * (3 * 64 * 64) / 2)


def test_sources_constants() -> None:
    v2, paper = preset("v2_retrain_2x4000"), preset("paper_mnist_retrain")
    assert (v2.lr, v2.batch_size, v2.embedding_dim, v2.steps_per_epoch) == (7e-5, 32, 100, None)
    assert (v2.objective.scale_g, v2.objective.scale_d, v2.objective.lambda_cls_fake) == (0.5, 0.25, 1.0)
    assert not v2.learner.reset_optimizers and list(v2.learner.betas) == [0.5, 0.999]
    assert (v2.strategy.buffer_per_class, v2.strategy.max_per_class) == (4000, 4000)
    assert (paper.lr, paper.batch_size, paper.embedding_dim) == (1e-4, 64, 128)
    assert (paper.objective.gradient_penalty, paper.objective.critic_steps) == (10.0, 5)
    assert paper.learner.reset_optimizers and list(paper.learner.betas) == [0.0, 0.9]
    assert (paper.network.generator.moments, paper.strategy.mode) == ("class", "live")
