"""Build the parts of a run from its configuration."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from mergan import config
from mergan.callbacks.evaluation import ContinualEvaluation
from mergan.callbacks.interruption import StopBetweenSteps
from mergan.callbacks.snapshot import GeneratorSnapshot
from mergan.checkpoints.file import AtomicCheckpointIO
from mergan.config import TrainConfig, slots
from mergan.config.instantiate import arguments_of, check_types, instantiate
from mergan.data.balance import remarks
from mergan.data.datamodule import ClassIncrementalDataModule
from mergan.data.pool import ImagePool
from mergan.evaluation.classifiers import Classifier
from mergan.evaluation.evaluator import Evaluator
from mergan.evaluation.features import FeatureSpace
from mergan.evaluation.judge import load_or_train
from mergan.evaluation.metrics import Metric
from mergan.learners import ContinualLearner
from mergan.output.folder import RunFolder
from mergan.scenarios.base import Scenario, Task
from mergan.strategies import Strategy
from mergan.system.errors import ConfigError

log = logging.getLogger(__name__)


def build_pool(
    settings: TrainConfig, max_per_class: int | None = None, classes: Sequence[str] | None = None
) -> ImagePool:
    """The real images of a run.

    Args:
        settings: the configuration.
        max_per_class: maximum number of training images per class, None for all.
        classes: the names of the classes to keep, in this order; None for all.
    """
    size = settings.data.image_size
    if size is None:
        raise ConfigError("data.image_size=null: was not chosen from the data; set it")
    pool = ImagePool(
        instantiate(settings.data.source, "data.source"),
        image_size=size,
        cache_dir=settings.cache_dir,
        split="val" if settings.evaluation.split is config.Split.val else "test",
        val_fraction=settings.data.val_fraction,
        max_per_class=max_per_class,
        classes=classes,
    )
    if settings.data.num_classes not in (None, pool.num_classes):
        raise ConfigError(
            f"data.num_classes={settings.data.num_classes}: {pool.source.name} has {pool.num_classes} classes"
        )
    return pool


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
        log.info("%s", line)


def build_evaluator(settings: TrainConfig, pool: ImagePool) -> Evaluator:
    """The evaluator, with its judge trained or read from the cache.

    Raises:
        ConfigError: a metric refuses its settings, or is not a Metric.
        DataError: the Inception weights are needed, but missing or broken.
    """
    measures = settings.evaluation
    metrics = {
        name: instantiate(node, f"evaluation.metrics.{name}")
        for name, node in measures.metrics.items()
        if node is not None
    }
    for name, metric in metrics.items():
        if not isinstance(metric, Metric):
            raise ConfigError(f"evaluation.metrics.{name}: {type(metric).__name__} is not a Metric")
    for group, nodes in (("spaces", measures.spaces), ("classifiers", measures.classifiers)):
        for name, node in nodes.items():
            if node is not None:
                check_types(node, f"evaluation.{group}.{name}")  # also of those that are not in use
    source = pool.source
    shape = f"{pool.image_size}|{source.channels}"
    part = measures.split.name if measures.split.name == "test" else f"val {settings.data.val_fraction}"
    name = measures.classifier or ""
    node = measures.classifiers[name]
    fresh = functools.partial(instantiate, node, f"evaluation.classifiers.{name}", **pool.shape)
    judge = load_or_train(
        pool.train_set,
        fresh,
        key=f"{source.name}|{pool.fingerprint()}|{shape}|{part}|{json.dumps(node, sort_keys=True)}",
        cache_dir=Path(settings.cache_dir),
        max_steps=measures.classifier_steps,
    )
    return Evaluator(
        judge,
        fresh,
        pool.evaluation_set,
        latent_dim=settings.embedding_dim,
        metrics=metrics,
        samples_per_class=measures.samples_per_class,
        references_per_class=measures.references_per_class,
        spaces=_build_spaces(settings, judge) if metrics else {},
        reverse_per_class=measures.reverse_per_class,
        reverse_steps=measures.reverse_steps,
        seed=measures.seed,
    )


def _build_spaces(settings: TrainConfig, judge: Classifier) -> dict[str, FeatureSpace]:
    """The feature spaces of `evaluation.features`, by name."""
    offered = {"judge": judge, "cache_dir": settings.cache_dir}
    nodes = settings.evaluation.spaces
    return {
        name: _offer(nodes[name], f"evaluation.spaces.{name}", offered)
        for name in settings.evaluation.features
    }


def build_trainer(
    settings: TrainConfig,
    folder: RunFolder,
    scenario: Scenario,
    evaluation: ContinualEvaluation,
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
    slurm = [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []
    return instantiate(
        settings.trainer,
        "trainer",
        default_root_dir=str(folder.path),
        max_epochs=scenario.total_epochs,
        callbacks=[StopBetweenSteps(), GeneratorSnapshot(), evaluation, *callbacks],
        logger=loggers,
        plugins=[checkpoints, *slurm],
        reload_dataloaders_every_n_epochs=1,
        enable_checkpointing=True,
        enable_progress_bar=False,  # the bar of the whole stream is a callback
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _offer_each(group: str, nodes: dict[str, Any], offered: dict[str, Any]) -> list[Any]:
    """Instantiate the parts of a group with those of the offered values that their constructors ask for."""
    return [_offer(node, f"{group}.{name}", offered) for name, node in nodes.items() if node is not None]


def _offer(node: dict[str, Any], key: str, offered: dict[str, Any]) -> Any:
    if node.get("_partial_"):
        part = instantiate(node, key)
        own = {name: offered[name] for name in ("folder", "resume_step")}
        return part if isinstance(part, Logger) else part(**own)
    asked = arguments_of(node, key)
    return instantiate(node, key, **{name: value for name, value in offered.items() if name in asked})
