"""Build the parts of a run from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from mergan import config
from mergan.callbacks.counted_costs import CountedCosts
from mergan.callbacks.evaluation import ContinualEvaluation
from mergan.callbacks.interruption import StopBetweenSteps
from mergan.callbacks.introduction import Introduction
from mergan.callbacks.snapshot import GeneratorSnapshot
from mergan.checkpoints.file import AtomicCheckpointIO
from mergan.config import TrainConfig, slots
from mergan.config.instantiate import arguments_of, instantiate, instantiate_offering
from mergan.data.balance import remarks
from mergan.data.datamodule import ClassIncrementalDataModule
from mergan.data.pool import ImagePool
from mergan.learners import ContinualLearner
from mergan.output.folder import RunFolder
from mergan.run import together
from mergan.scenarios.base import Scenario, Task
from mergan.strategies import Strategy
from mergan.system import processes, said
from mergan.system.errors import ConfigError

log = logging.getLogger(__name__)


def build_pool(
    settings: TrainConfig, strategy: Strategy | None = None, classes: Sequence[str] | None = None
) -> ImagePool:
    """The real images of a run.

    Args:
        settings: the configuration.
        strategy: says how many training images of each class to keep, and which; None for all.
        classes: the names of the classes to keep, in this order; None for all.
    """
    size = settings.data.image_size
    if size is None:
        raise ConfigError("data.image_size=null: was not chosen from the data; set it")
    source = instantiate(settings.data.source, "data.source")
    _check_num_classes(settings, source.name, len(source.class_names if classes is None else classes))
    return ImagePool(
        source,
        image_size=size,
        cache_dir=settings.cache_dir,
        split="val" if settings.evaluation.split is config.Split.val else "test",
        val_fraction=settings.data.val_fraction,
        max_per_class=None if strategy is None else strategy.max_per_class,
        takes_first=strategy is not None and strategy.takes_first,
        classes=classes,
    )


def _check_num_classes(settings: TrainConfig, source: str, count: int) -> None:
    """Refuse a `data.num_classes` that the data does not have, before any image is decoded."""
    if settings.data.num_classes not in (None, count):
        raise ConfigError(
            f"data.num_classes={settings.data.num_classes}: {source} has {count} classes; use "
            f"data.num_classes={count} (scenario.tasks names the classes to learn)"
        )


def build_learner(
    settings: TrainConfig, pool: ImagePool, strategy: Strategy, scenario: Scenario
) -> ContinualLearner:
    """The learner with fresh weights, for the images of a pool.

    Its constructor gets what it has arguments for, matched by name: the networks, `objective`,
    `augmentation`, and `num_classes`, `channels` and `image_size` of the images.
    """
    asked = arguments_of(settings.learner, "learner")
    parts: dict[str, Any] = {
        name: instantiate(node, f"network.{name}", **pool.shape)
        for name, node in settings.network.items()
        if name in asked and isinstance(node, dict)
    }
    parts["generator"] = complete_generator(
        settings.learner, parts["generator"], pool.num_classes, settings.embedding_dim
    )
    strategy.build(parts["generator"], **pool.shape)
    parts |= {name: value for name, value in pool.shape.items() if name in asked}
    if "augmentation" in asked:
        parts["augmentation"] = instantiate(settings.augmentation, "augmentation")
    if "objective" in asked:
        parts["objective"] = instantiate(settings.objective, "objective")
    else:
        log.info(
            "objective is not used: %s has a loss of its own", settings.learner["_target_"].rpartition(".")[2]
        )
    return instantiate(
        settings.learner,
        "learner",
        **parts,
        strategy=strategy,
        scenario=scenario,
        lr_scale=settings.recovery.lr_factor**settings.recovery.used,
    )


def complete_generator(
    learner: Mapping[str, Any], generator: nn.Module, num_classes: int, latent_dim: int
) -> nn.Module:
    """The module that a learner trains and samples, built from the network of `network.generator`.

    Args:
        learner: the node of the learner.
        generator, num_classes, latent_dim: see ContinualLearner.complete.
    """
    located: Any = slots.locate("learner._target_", learner["_target_"])
    whole = isinstance(located, type) and issubclass(located, ContinualLearner)
    return located.complete(generator, num_classes, latent_dim) if whole else generator


def build_data(
    settings: TrainConfig, pool: ImagePool, learner: ContinualLearner
) -> ClassIncrementalDataModule:
    """The data module; the strategy decides how many real images a batch holds."""

    def real_per_step(task: Task) -> float:
        return learner.strategy.real_per_step(task, settings.batch_size, pool.counts(task.classes))

    return ClassIncrementalDataModule(
        pool,
        learner.scenario,
        batch_size=settings.batch_size,
        steps_per_epoch=settings.steps_per_epoch,
        seed=settings.seed,
        balanced=settings.data.balance,
        batches_per_step=learner.batches_per_step,
        real_per_step=real_per_step,
    )


@rank_zero_only
def say_counts(settings: TrainConfig, pool: ImagePool, scenario: Scenario) -> None:
    """Log what the user should know about the numbers of training images of the classes."""
    for line in remarks(pool.counts(scenario.classes), pool.class_names, settings.data.balance):
        said.say(log, line)


def build_trainer(
    settings: TrainConfig,
    folder: RunFolder,
    scenario: Scenario,
    evaluation: ContinualEvaluation,
    costs: CountedCosts,
    checkpoints: AtomicCheckpointIO,
    links: dict[str, str],
    resume_step: int,
) -> pl.Trainer:
    """Lightning's trainer with the callbacks and loggers of the configuration.

    A callback or a logger gets each of these if its constructor has an argument of that name: `folder`, the
    path of the run folder; `resume_step`, the step from which a run resumes, -1 for a new one; `config`, the
    resolved configuration as plain values; `links`, how it was composed (mergan.config.links).

    Args:
        settings: the configuration.
        folder: the run folder.
        scenario: the stream.
        evaluation: the callback that evaluates the generator.
        costs: the callback that keeps what the updates have taken.
        checkpoints: how checkpoints are written and read.
        links: how the configuration was composed.
        resume_step: see above.
    """
    offered = {
        "folder": folder.path,
        "resume_step": resume_step,
        "config": config.plain(settings),
        "links": links,
    }
    callbacks = _offer_each("callbacks", settings.callbacks, offered)
    loggers = _offer_each("logger", settings.logger, offered)
    # Lightning must not requeue under Slurm: its checkpoint in the middle of an epoch would not resume
    # bit for bit. Requeueing by Slurm or submitit does, with resume=auto.
    alone = processes.me().count == 1
    slurm = [SLURMEnvironment(auto_requeue=False)] if alone and SLURMEnvironment.detect() else []
    return instantiate(
        settings.trainer,
        "trainer",
        default_root_dir=str(folder.path),
        max_epochs=scenario.total_epochs,
        callbacks=[
            StopBetweenSteps(),
            Introduction(evaluation),
            GeneratorSnapshot(),
            evaluation,
            costs,
            *callbacks,
        ],
        logger=loggers,
        plugins=[checkpoints, *slurm],
        reload_dataloaders_every_n_epochs=1,
        enable_checkpointing=True,
        enable_progress_bar=False,  # the bar of the whole stream is a callback
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **together.trainer_arguments(settings.trainer),
    )


def _offer_each(group: str, nodes: dict[str, Any], offered: dict[str, Any]) -> list[Any]:
    """Instantiate the parts of a group with those of the offered values that their constructors ask for."""
    return [offer(node, f"{group}.{name}", offered) for name, node in nodes.items() if node is not None]


def offer(node: dict[str, Any], key: str, offered: dict[str, Any]) -> Any:
    """Instantiate a callback or a logger with those of the offered values that its constructor asks for. A
    `_partial_` of a callback gets the two that all take.
    """
    if node.get("_partial_"):
        part = instantiate(node, key)
        own = {name: offered[name] for name in ("folder", "resume_step")}
        return part if isinstance(part, Logger) else part(**own)
    return instantiate_offering(node, key, offered)
