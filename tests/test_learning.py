"""Training works: it learns, forgets without a remedy and forgets less with one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tiny
from omegaconf import DictConfig

from mergan.run import experiment

# 32 images a step, 100 steps an epoch, networks of some ten thousand weights
LEARNING = [
    "data.source.train_per_class=100",
    "network.generator.width=8",
    "network.discriminator.width=8",
    "network.discriminator.spectral=true",
    "network.discriminator.projection=false",
    "batch_size=32",
    "lr=2e-3",
    "steps_per_epoch=100",
    "evaluation.samples_per_class=50",
    "evaluation.classifier_steps=100",
    "learner.log_every_n_steps=50",
]


def learn(
    compose: Callable[..., DictConfig], folder: Path, *overrides: str
) -> tuple[dict[int, float], list[dict[str, str]]]:
    """Accuracy of every class at the end of a run, by the judge, and the rows of its log."""
    experiment.run(compose(*LEARNING, *overrides), folder)
    row = tiny.csv_rows(folder, "accuracy_matrix.csv")[-1]
    return {int(key): float(value) for key, value in row.items() if key != "task"}, tiny.csv_rows(folder)


def test_joint_training_learns_all_classes(compose: Callable[..., DictConfig], tmp_path: Path) -> None:
    accuracies, rows = learn(compose, tmp_path, "strategy=joint", "scenario.classes_per_task=4", "epochs=3")
    assert sum(accuracies.values()) / 4 > 0.6  # chance is 0.25
    # the discriminator tells real images apart, too
    losses = [row for row in rows if "class_accuracy/real" in row]
    assert float(losses[-1]["class_accuracy/real"]) > 0.8
    assert float(losses[-1]["d/classifier"]) < 0.5 * float(losses[0]["d/classifier"])


def test_replay_keeps_what_fine_tuning_forgets(compose: Callable[..., DictConfig], tmp_path: Path) -> None:
    learned, _ = learn(compose, tmp_path / "first", "strategy=finetune", "scenario.tasks=[[0,1]]", "epochs=2")
    assert sum(learned.values()) / 2 > 0.7
    kept = {}
    second = [f"init_from={tmp_path / 'first' / 'checkpoints' / 'last.ckpt'}", "scenario.tasks=[[2,3]]"]
    for strategy in ("finetune", "joint_retrain"):
        settings = [f"strategy={strategy}", *second, "epochs=1"]
        accuracies, _ = learn(compose, tmp_path / strategy, *settings)
        kept[strategy] = (accuracies[0] + accuracies[1]) / 2
    assert kept["finetune"] < 0.3
    assert kept["joint_retrain"] > kept["finetune"] + 0.3
