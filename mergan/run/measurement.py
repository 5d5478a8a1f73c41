"""Evaluate the generator of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from mergan import config
from mergan.output import tables
from mergan.output.places import check_output
from mergan.run.generator import checkpoint_of
from mergan.system.errors import CheckpointError, ConfigError
from mergan.system.text import shortened, shown

if TYPE_CHECKING:
    from mergan.data.pool import ImagePool
    from mergan.evaluation.figures import Measured
    from mergan.evaluation.real import RealImages
    from mergan.run.trained import CheckpointGenerator

Matrices = dict[str, list[dict[int, float]]]  # rows by name of the metric

# settings of the evaluation that do not change the metrics of a task
IRRELEVANT = {
    *("reverse_per_class", "reverse_steps", "inception_weights", "spaces.inception.weights"),
    # a figure's name tells its feature space
    *("features", "features_default.grey", "features_default.colour"),
    *("classifier_default.grey", "classifier_default.colour"),
}


def measure(cfg: DictConfig) -> None:
    """Evaluate the generator on the classes it has learned, print the figures and write them to `cfg.out`.

    The checkpoint holds the matrices of the run, so that forgetting can be computed too. This command
    measures their last row. Earlier rows of accuracy always count. Those of other metrics count only if the
    run used the same metrics, split, counts, k and features. With `images=real`, training images of the run's
    data are measured in place of generated ones, as many of each class: what the metrics give at best.

    Raises:
        ConfigError: a value is out of range, or the output file must not be written there.
        CheckpointError: the checkpoint cannot be read.
        DataError: the data set of the run or the Inception weights are missing.
    """
    cfg = config.absolute_paths(cfg)
    config.check_evaluation(cfg)
    out = None if cfg.out is None else check_output(Path(cfg.out), cfg.overwrite)
    from mergan.checkpoints import trust
    from mergan.evaluation import absences, continual
    from mergan.evaluation.sampling import nothing_stored
    from mergan.run import remarks
    from mergan.run.evaluator import build_evaluator
    from mergan.run.own_data import own_data
    from mergan.run.trained import load_checkpoint
    from mergan.system.files import write_text

    path = checkpoint_of(Path(cfg.checkpoint))
    generator = load_checkpoint(path, trust.of_this_command(cfg))
    settings, pool = own_data(
        generator, path, cfg.cache_dir, cfg.root, cfg.evaluation, cfg.allow_changes, download=True
    )
    evaluator = build_evaluator(settings, pool, generator.device)

    classes, epoch = sorted(generator.seen), generator.content["epoch"]
    try:
        stream = config.scenario(generator.config, generator.class_names, generator.known)
    except ConfigError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    if settings.caps is None:
        absences.check(evaluator, classes, stream.brought)
    real = cfg.images == config.Images.real
    generate = _real_images(settings, pool, classes) if real else generator
    stored = nothing_stored if real else generator.strategy.stored_images
    measured = evaluator.measure(generate, classes, stored, stream.brought)
    ended = len(generator.pooled) - (epoch == stream.task_at(epoch).last_epoch)  # tasks before this row
    matrices, per_task, pooled = _continued(
        measured, generator, 0 if real else ended, _same_measures(generator.config, settings)
    )
    metrics: dict[str, float | str] = {
        **continual.figures(matrices, pooled, evaluator.higher_is_better, stream, per_task)
    }
    if evaluator.reverse_per_class > 0:
        metrics["reverse_accuracy"] = evaluator.reverse_accuracy(generate, classes, stored)
    metrics["judge_accuracy"] = evaluator.judge_accuracy(classes)
    metrics |= remarks.conditions(settings, evaluator, classes)
    if real:
        metrics["evaluation_images"] = cfg.images.name
    remarks.warn_of_judge(settings, evaluator, classes)
    names = generator.class_names
    print(_class_table(measured.per_class, classes, names))
    print()
    print(tables.plain(["figure", "value"], [[key, _cell(value)] for key, value in metrics.items()]))
    if out is not None:
        for name, rows in matrices.items():
            metrics |= {f"{name}_class_{names[label]}": value for label, value in rows[-1].items()}
            fallen = continual.losses(rows, evaluator.higher_is_better[name])
            tag = continual.forgetting_name(name)
            metrics |= {f"{tag}_class_{names[label]}": value for label, value in fallen.items()}
        for name, rows in per_task.items():
            metrics |= {f"{name}_{continual.task_name(task)}": value for task, value in rows[-1].items()}
        write_text(out, json.dumps(metrics, indent=2) + "\n", new=not cfg.overwrite)


def _continued(
    measured: Measured, run: CheckpointGenerator, tasks: int, same: bool
) -> tuple[Matrices, Matrices, list[Mapping[str, float]]]:
    """The matrices of the run's first `tasks` tasks, those with a column per task, and the values over the
    pooled classes, with the new measurement as the last row.

    Args:
        measured: the new measurement.
        run: the generator with the matrices of its run.
        tasks: how many of its rows come before.
        same: whether the run measured as this command does; otherwise only its accuracy counts.
    """
    matrices = {
        name: [*(run.matrices.get(name, [])[:tasks] if same or name == "accuracy" else []), row]
        for name, row in measured.per_class.items()
    }
    per_task = {
        name: [*(run.per_task.get(name, [])[:tasks] if same else []), row]
        for name, row in measured.per_task.items()
    }
    return matrices, per_task, [*(run.pooled[:tasks] if same else []), measured.pooled]


def _real_images(settings: config.TrainConfig, pool: ImagePool, classes: Sequence[int]) -> RealImages:
    """The real training images of a run.

    Raises:
        ConfigError: a class has fewer than are measured.
    """
    from mergan.evaluation.real import RealImages

    images = RealImages(pool.train_set, settings.evaluation.seed)
    for key in ("samples_per_class", "reverse_per_class"):
        images.check(classes, pool.class_names, f"evaluation.{key}", getattr(settings.evaluation, key))
    return images


def _same_measures(run: DictConfig, settings: config.TrainConfig) -> bool:
    """Whether the run measured its metrics in the same way as this command."""
    own = OmegaConf.merge(OmegaConf.structured(config.TrainConfig), run).evaluation
    was = OmegaConf.to_container(own, resolve=True, enum_to_str=True)
    assert isinstance(was, dict)
    return not set(config.differences(was, config.plain(settings)["evaluation"])) - IRRELEVANT  # type: ignore[arg-type]


def _class_table(
    per_class: Mapping[str, Mapping[int, float]], classes: Sequence[int], names: Sequence[str]
) -> str:
    measured = {name: row for name, row in per_class.items() if row}
    rows = [
        [
            shortened(shown(names[label])),
            *(_cell(row[label]) if label in row else "-" for row in measured.values()),
        ]
        for label in classes
    ]
    return tables.plain(["class", *measured], rows)


def _cell(value: float | str) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
