"""The parts of a run, from its configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from omegaconf import DictConfig, OmegaConf

from mergan import config
from mergan.callbacks.checkpoint import StreamCheckpoint
from mergan.callbacks.evaluation import ContinualEvaluation
from mergan.callbacks.interruption import StopBetweenSteps
from mergan.callbacks.snapshot import GeneratorSnapshot
from mergan.checkpoints import file as checkpoint
from mergan.config import slots
from mergan.config.inception_weights import find_weights
from mergan.config.instantiate import check_types, instantiate
from mergan.data.datamodule import ClassIncrementalDataModule
from mergan.evaluation import inception
from mergan.evaluation.classifier import load_or_train
from mergan.evaluation.evaluator import Evaluator
from mergan.evaluation.metrics import Metric
from mergan.learners.acgan import ACGAN
from mergan.learners.objectives import Objective
from mergan.scenarios.base import Scenario, Task
from mergan.strategies import Strategy
from mergan.system.errors import ConfigError


def build_parts(cfg: DictConfig) -> tuple[ACGAN, ClassIncrementalDataModule]:
    """The module with fresh weights, from the configuration's seed, and its data."""
    pl.seed_everything(cfg.seed, verbose=False)
    objective: Objective = instantiate(cfg.objective)
    strategy: Strategy = instantiate(cfg.strategy)
    data = build_data(cfg, strategy, objective.critic_steps)
    return build_module(cfg, data, objective, strategy), data


def build_data(
    cfg: DictConfig,
    strategy: Strategy | None = None,
    critic_steps: int = 1,
    classes: Sequence[str] | None = None,
) -> ClassIncrementalDataModule:
    """The data module, with its images loaded; a strategy decides how many real images a batch holds.

    Args:
        cfg: the configuration.
        strategy: the strategy of the run, None where nothing is trained.
        critic_steps: discriminator steps per generator step.
        classes: the names of the classes to keep, in their order; None for all.
    """
    if strategy is None:
        strategy = Strategy()

    def real_per_step(task: Task) -> float:
        return strategy.real_per_step(task, cfg.batch_size, data.counts(task.classes))

    data = ClassIncrementalDataModule(
        instantiate(cfg.data.source),
        image_size=cfg.data.image_size,
        batch_size=cfg.batch_size,
        cache_dir=cfg.cache_dir,
        steps_per_epoch=cfg.steps_per_epoch,
        seed=cfg.seed,
        split=cfg.evaluation.split.name,
        val_fraction=cfg.data.val_fraction,
        batches_per_step=critic_steps,
        real_per_step=real_per_step,
        max_per_class=strategy.max_per_class,
        classes=classes,
    )
    data.prepare_data()
    data.setup("fit")
    if cfg.data.num_classes not in (None, data.num_classes):
        raise ConfigError(
            f"data.num_classes={cfg.data.num_classes}: {data.source.name} has {data.num_classes} classes"
        )
    return data


def build_module(
    cfg: DictConfig, data: ClassIncrementalDataModule, objective: Objective, strategy: Strategy
) -> ACGAN:
    """The conditional GAN for the images of `data`."""
    shape = {"num_classes": data.num_classes, "channels": data.channels, "image_size": data.image_size}
    generator = instantiate(cfg.network.generator, **shape)
    discriminator = instantiate(cfg.network.discriminator, **shape)
    strategy.build(generator, **shape)
    return instantiate(
        cfg.learner,
        lr_scale=cfg.recovery.lr_factor**cfg.recovery.used,
        generator=generator,
        discriminator=discriminator,
        objective=objective,
        strategy=strategy,
    )


def build_evaluator(cfg: DictConfig, data: ClassIncrementalDataModule) -> Evaluator:
    """The evaluator, with its judge trained or read from the cache.

    Raises:
        ConfigError: a metric refuses its settings, or is none.
        DataError: the Inception weights are asked for and missing or broken.
    """
    settings = cfg.evaluation
    metrics = {name: instantiate(node) for name, node in settings.metrics.items() if node is not None}
    for name, metric in metrics.items():
        if not isinstance(metric, Metric):
            raise ConfigError(f"evaluation.metrics.{name}: {type(metric).__name__} is not a Metric")
    extract = None
    if settings.features is config.Features.inception:
        extract = inception.load(find_weights(settings.inception_weights, cfg.cache_dir))
    source = data.source
    shape = f"{data.image_size}|{source.channels}"
    part = settings.split.name if settings.split.name == "test" else f"val {cfg.data.val_fraction}"
    judge = load_or_train(
        data.train_set,
        data.num_classes,
        key=f"{source.name}|{data.fingerprint()}|{shape}|{part}",
        cache_dir=Path(cfg.cache_dir),
        max_steps=settings.classifier_steps,
    )
    return Evaluator(
        judge,
        data.evaluation_set,
        latent_dim=cfg.embedding_dim,
        metrics=metrics,
        samples_per_class=settings.samples_per_class,
        references_per_class=settings.references_per_class,
        features=settings.features.name,
        extract=extract,
        reverse_per_class=settings.reverse_per_class,
        reverse_steps=settings.reverse_steps,
        seed=settings.seed,
    )


def build_trainer(
    cfg: DictConfig,
    folder: Path,
    scenario: Scenario,
    evaluation: ContinualEvaluation,
    resume_step: int = -1,
    links: dict[str, str] | None = None,
    restored: Callable[[], dict[str, Any]] | None = None,
) -> pl.Trainer:
    """Lightning's trainer with the callbacks and loggers of the configuration.

    Args:
        cfg: the configuration.
        folder: the run folder.
        scenario: the stream.
        evaluation: the callback that measures.
        resume_step: the step that a resumed run is at, -1 for a new one.
        links: how the configuration was composed, where it does not say that itself any more.
        restored: gives what a run that goes on restores, see mergan.checkpoints.file.AtomicCheckpointIO.
    """
    callbacks = [instantiate(node) for node in cfg.callbacks.values() if node is not None]
    for callback in callbacks:
        if isinstance(callback, StreamCheckpoint):
            callback.links = config.links(cfg) if links is None else links
            callback.config = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)  # type: ignore[assignment]
    loggers = [_logger(node, folder, resume_step) for node in cfg.logger.values() if node is not None]
    return instantiate(
        cfg.trainer,
        default_root_dir=str(folder),
        max_epochs=scenario.total_epochs,
        callbacks=[StopBetweenSteps(), GeneratorSnapshot(), evaluation, *callbacks],
        logger=loggers,
        plugins=_plugins(restored),
        reload_dataloaders_every_n_epochs=1,
        enable_checkpointing=True,
        enable_progress_bar=False,  # the bar of the whole stream is a callback
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _logger(node: DictConfig, folder: Path, resume_step: int) -> Logger:
    """A logger; told the run folder and the step it goes on from, where its constructor asks for them."""
    own = {"folder": folder, "resume_step": resume_step}
    if node.get("_partial_"):
        part = instantiate(node)
        return part if isinstance(part, Logger) else part(**own)
    check_types(node)  # which refuses a target that is no word
    asked: set[Any] = set()
    with suppress(TypeError, ValueError):  # a constructor that tells nothing
        constructor = slots.locate(node._get_full_key("_target_"), node._target_)
        asked = set(inspect.signature(constructor).parameters) - set(node)
    return instantiate(node, **{key: value for key, value in own.items() if key in asked})


def _plugins(restored: Callable[[], dict[str, Any]] | None) -> list[Any]:
    """How checkpoints are written. Under Slurm also: no requeueing by Lightning, whose checkpoint in the
    middle of an epoch would not go on to the bit; that of Slurm or submitit does, with resume=auto.
    """
    plugins: list[Any] = [checkpoint.AtomicCheckpointIO(restored)]
    if SLURMEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))
    return plugins
