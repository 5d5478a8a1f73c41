"""The main flow: build, fit, evaluate, write the results."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import lightning.pytorch as pl
from hydra.errors import InstantiationException
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from omegaconf import DictConfig, OmegaConf
from tqdm.contrib.logging import logging_redirect_tqdm

from mergan import checkpoint, config, interrupts, plots, process, storage
from mergan.acgan import ACGAN
from mergan.callbacks.checkpoint import StreamCheckpoint
from mergan.callbacks.evaluation import ContinualEvaluation
from mergan.callbacks.interruption import StopBetweenSteps
from mergan.callbacks.snapshot import GeneratorSnapshot
from mergan.data.datamodule import ClassIncrementalDataModule
from mergan.errors import CheckpointError, ConfigError, MerganError, StorageError, TrainingError
from mergan.evaluation import inception
from mergan.evaluation.classifier import load_or_train
from mergan.evaluation.evaluator import Evaluator
from mergan.evaluation.metrics import Metric
from mergan.objectives import Objective
from mergan.scenario import Scenario, Task
from mergan.storage import write_text
from mergan.strategies import Strategy
from mergan.transfer import transfer

log = logging.getLogger(__name__)


def run(cfg: DictConfig, folder: Path) -> dict[str, float | str]:
    """Train the stream of tasks that the configuration describes and measure the outcome.

    Args:
        cfg: a configuration that `mergan.config.check` has passed. `ckpt_path` goes on with the run
            it belongs to, `init_from` starts from trained networks.
        folder: the run folder; see docs/ARCHITECTURE.md for what is written there.

    Returns:
        The final figures, as in metrics.json.

    Raises:
        MerganError: something the user can mend.
    """
    process.tune()
    module, data = build_parts(cfg)
    start = _load_networks(cfg, module, data)
    scenario = config.scenario(cfg, data.num_classes, start.known)
    module.scenario = scenario
    data.attach(scenario)
    evaluator = build_evaluator(cfg, data)

    evaluation = ContinualEvaluation(evaluator)
    trainer = build_trainer(cfg, folder, scenario, evaluation, start.step)
    with storage.locked(folder), _how_to_go_on(folder):
        if start.epochs < scenario.total_epochs:
            (folder / "metrics.json").unlink(missing_ok=True)  # of a run that was finished and is made longer
        write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
        _fit(trainer, module, data, cfg.ckpt_path)
        metrics = _final_metrics(module, scenario, evaluation, trainer.global_step)
        metrics |= conditions(cfg, evaluator, scenario.classes)
        plots.save_png(
            plots.heat_maps(evaluation.matrices, data.class_names, evaluator.higher_is_better),
            folder / "matrices.png",
        )
        _write_results(cfg, folder, trainer.loggers, metrics, trainer.global_step)
    return metrics


class _Start(NamedTuple):
    """Where a stream begins.

    Attributes:
        known: the classes that the networks know before its first task.
        step: the step that a resumed run is at, -1 for a new one.
        epochs: how many epochs a resumed run has behind it.
    """

    known: tuple[int, ...] = ()
    step: int = -1
    epochs: int = 0


def _load_networks(cfg: DictConfig, module: ACGAN, data: ClassIncrementalDataModule) -> _Start:
    """Load what the run goes on with or starts from.

    Weights are loaded here as well as by the trainer, so that a checkpoint that does not fit is
    refused before anything is written.
    """
    if cfg.ckpt_path is not None:
        path = Path(cfg.ckpt_path)
        content = checkpoint.read(path)
        if content[checkpoint.KEY]["class_names"] != data.class_names:
            raise CheckpointError(f"ckpt_path={path}: the run had other classes than the data set has now")
        if "matrices" not in content["callbacks"]["ContinualEvaluation"]:
            raise CheckpointError(
                f"ckpt_path={path}: written before mergan kept more than the accuracy; its run cannot go on, "
                f"but init_from={path} starts a new one from its networks, and mergan.evaluate measures it"
            )
        checkpoint.restore(module, content["state_dict"], path)
        return _Start(tuple(content[checkpoint.KEY]["known"]), content["global_step"], content["epoch"] + 1)
    if cfg.init_from is not None:
        path = Path(cfg.init_from)
        network: Any = OmegaConf.to_container(cfg.network, resolve=True)
        return _Start(transfer(module, checkpoint.read(path), path, network, data.class_names))
    return _Start()


def _fit(trainer: pl.Trainer, module: ACGAN, data: ClassIncrementalDataModule, ckpt_path: str | None) -> None:
    try:
        with logging_redirect_tqdm(), interrupts.deferred():
            trainer.fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    except SystemExit:
        # this is how Lightning ends after SIGTERM and after Ctrl-C
        interrupts.check()
        raise KeyboardInterrupt from None


@contextmanager
def _how_to_go_on(folder: Path) -> Iterator[None]:
    """Name the last good checkpoint in the errors that leave one behind."""
    last = folder / "checkpoints" / "last.ckpt"
    try:
        yield
    except TrainingError as error:
        saved = f"the last good checkpoint is {last}" if last.is_file() else "there is no checkpoint yet"
        raise TrainingError(f"{error}; {saved}") from error
    except OSError as error:
        if not storage.is_full(error):
            raise
        remedy = f"go on with ckpt_path={last}" if last.is_file() else "start again"
        raise StorageError(f"{folder}: no room is left to write there; free some, then {remedy}") from error


def _build(node: Any, **arguments: Any) -> Any:
    """What a node of the configuration names, with the constructor's own error if it refuses."""
    try:
        return hydra.utils.instantiate(node, **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, MerganError):
            raise error.__cause__ from None
        raise


def build_parts(cfg: DictConfig) -> tuple[ACGAN, ClassIncrementalDataModule]:
    """The module with fresh weights, from the configuration's seed, and its data."""
    pl.seed_everything(cfg.seed, verbose=False)
    objective: Objective = _build(cfg.objective)
    strategy: Strategy = _build(cfg.strategy)
    data = build_data(cfg, strategy, objective.critic_steps)
    return build_module(cfg, data, objective, strategy), data


def build_data(
    cfg: DictConfig, strategy: Strategy | None = None, critic_steps: int = 1
) -> ClassIncrementalDataModule:
    """The data module, with its images loaded; a strategy decides how many real images a batch holds."""
    if strategy is None:
        strategy = Strategy()

    def real_per_step(task: Task) -> float:
        return strategy.real_per_step(task, cfg.batch_size, data.counts(task.classes))

    data = ClassIncrementalDataModule(
        _build(cfg.data.source),
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
    generator = _build(cfg.network.generator, **shape)
    discriminator = _build(cfg.network.discriminator, **shape)
    strategy.build(generator, **shape)
    return _build(
        cfg.acgan,
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
    metrics = {name: _build(node) for name, node in settings.metrics.items() if node is not None}
    for name, metric in metrics.items():
        if not isinstance(metric, Metric):
            raise ConfigError(f"evaluation.metrics.{name}: {type(metric).__name__} is not a Metric")
    extract = None
    if settings.features is config.Features.inception:
        extract = inception.load(inception.find_weights(settings.inception_weights, cfg.cache_dir))
    source = data.source
    shape = f"{data.image_size}|{source.channels}"
    part = settings.split.name if settings.split.name == "test" else f"val {cfg.data.val_fraction}"
    judge = load_or_train(
        data.train_set,
        data.num_classes,
        key=f"{source.name}|{source.fingerprint()}|{shape}|{part}",
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
    cfg: DictConfig, folder: Path, scenario: Scenario, evaluation: ContinualEvaluation, resume_step: int
) -> pl.Trainer:
    """Lightning's trainer with the callbacks and loggers of the configuration."""
    callbacks = [_build(node) for node in cfg.callbacks.values() if node is not None]
    for callback in callbacks:
        if isinstance(callback, StreamCheckpoint):
            callback.config = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)  # type: ignore[assignment]
    loggers = [_build(node) for node in cfg.logger.values() if node is not None]
    return _build(
        cfg.trainer,
        default_root_dir=str(folder),
        max_epochs=scenario.total_epochs,
        callbacks=[StopBetweenSteps(), GeneratorSnapshot(), evaluation, *callbacks],
        logger=[
            part if isinstance(part, Logger) else part(folder=folder, resume_step=resume_step)
            for part in loggers
        ],
        plugins=_plugins(),
        reload_dataloaders_every_n_epochs=1,
        enable_checkpointing=True,
        enable_progress_bar=False,  # the bar of the whole stream is a callback
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _plugins() -> list[Any]:
    """How checkpoints are written. Under Slurm also: no requeueing by Lightning, whose checkpoint in the
    middle of an epoch would not go on to the bit; that of Slurm or submitit does, with resume=auto.
    """
    plugins: list[Any] = [checkpoint.AtomicCheckpointIO()]
    if SLURMEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))
    return plugins


def conditions(cfg: DictConfig, evaluator: Evaluator, classes: Sequence[int]) -> dict[str, float | str]:
    """What stands beside the figures: split, sample counts, features and k."""
    found = {"evaluation_split": cfg.evaluation.split.name, **evaluator.conditions(classes)}
    if evaluator.metrics:
        found["evaluation_k"] = cfg.evaluation.k
    return found


def _final_metrics(
    module: ACGAN, scenario: Scenario, evaluation: ContinualEvaluation, steps: int
) -> dict[str, float | str]:
    evaluator = evaluation.evaluator
    metrics: dict[str, float | str] = {**evaluation.figures(scenario.tasks[0].classes)}
    if evaluator.reverse_per_class > 0:
        metrics["reverse_accuracy"] = evaluator.reverse_accuracy(module.generate, scenario.classes)
    return metrics | {
        "judge_accuracy": evaluator.judge_accuracy(scenario.classes),
        "train_seconds": round(evaluation.train_seconds, 2),
        "evaluation_seconds": round(evaluation.evaluation_seconds, 2),
        "images_per_second": round(
            steps * module.objective.critic_steps * module.batch_size / max(evaluation.train_seconds, 1e-9), 1
        ),
        "steps": float(steps),
    }


def _write_results(
    cfg: DictConfig, folder: Path, loggers: list[Logger], metrics: dict[str, float | str], step: int
) -> None:
    final = {f"final/{key}": value for key, value in metrics.items() if not isinstance(value, str)}
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            settings: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
            logger.log_hyperparams(settings, final)
        else:
            logger.log_metrics(final, step=step)
        logger.save()
        logger.finalize("success")
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")  # last: now it is finished
