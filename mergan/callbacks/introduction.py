"""Says what a run consists of before its first step."""

from __future__ import annotations

import logging

import lightning.pytorch as pl
import torch

from mergan.callbacks.evaluation import ContinualEvaluation
from mergan.data.datamodule import ClassIncrementalDataModule
from mergan.learners import ContinualLearner
from mergan.output import facts
from mergan.system import processes, said

log = logging.getLogger(__name__)


class Introduction(pl.Callback):
    """Logs classes, numbers of images and weights, device and length of the training before the first step.

    Args:
        evaluation: the callback that evaluates the generator.
    """

    def __init__(self, evaluation: ContinualEvaluation) -> None:
        self.evaluation = evaluation

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log them."""
        assert isinstance(pl_module, ContinualLearner)
        if not trainer.is_global_zero:
            return
        data: ClassIncrementalDataModule = trainer.datamodule  # type: ignore[attr-defined]
        told = {
            "classes": _classes(pl_module, data),
            "networks": _networks(pl_module),
            "device": _device(trainer),
            "training": _training(pl_module, data),
        }
        weak = self.evaluation.weak_judge(pl_module.scenario.classes)
        if weak is not None:
            told["judge"] = f"{100 * weak:.1f} % of real images recognised: read accuracy with care"
        for line in facts.lines(told):
            said.say(log, line)


def _classes(learner: ContinualLearner, data: ClassIncrementalDataModule) -> str:
    """The classes that the stream trains, and their images."""
    pool = data.pool
    labels = list(dict.fromkeys(label for task in learner.scenario.tasks for label in task.classes))
    training = sum(pool.counts(labels).values())
    measured = len(pool.evaluation_set.indices_of(labels))
    names = facts.listed([pool.class_names[label] for label in labels])
    return f"{names}; {training:,} images to train on, {measured:,} to measure with"


def _networks(learner: ContinualLearner) -> str:
    """The trained networks and their numbers of weights."""
    trained = [id(network) for network in learner.networks]
    sizes = {
        name: sum(weight.numel() for weight in network.parameters())
        for name, network in learner.named_children()
        if id(network) in trained
    }
    return ", ".join(f"{name} {size:,} weights" for name, size in sizes.items())


def _device(trainer: pl.Trainer) -> str:
    device, count = trainer.strategy.root_device, processes.me().count
    parts = [str(device)]
    if device.type == "cpu":
        parts.append(facts.counted(torch.get_num_threads(), "thread"))
    if device.type == "cuda":
        parts.append(torch.cuda.get_device_name(device))
    if trainer.precision != "32-true":
        parts.append(str(trainer.precision))
    if count > 1:
        parts.append(facts.counted(count, "process", "processes"))
    return ", ".join(parts)


def _training(learner: ContinualLearner, data: ClassIncrementalDataModule) -> str:
    tasks = learner.scenario.tasks
    steps = sum(task.epochs * data.steps_per_epoch_of(task) for task in tasks)
    epochs = sum(task.epochs for task in tasks)
    return (
        f"{facts.counted(steps, 'step')} in {facts.counted(epochs, 'epoch')}, batches of {learner.batch_size}"
    )
