"""The stream of tasks that a configuration describes, and the upper limits that debug=smoke sets."""

from __future__ import annotations

from omegaconf import DictConfig, ListConfig, OmegaConf

from mergan.config.schema import Features
from mergan.scenarios.base import Scenario, split_classes

SMOKE_CLASSES = 10  # of the generated images, where the configured data set finds out its own number late


def scenario(cfg: DictConfig, num_classes: int, known: tuple[int, ...] = ()) -> Scenario:
    """The stream that the configuration describes, for a data set of `num_classes` classes.

    Args:
        cfg: the configuration.
        num_classes: classes of the data set.
        known: classes that the networks already know (init_from).

    Raises:
        ConfigError: see mergan.scenarios.base.
    """
    node = cfg.scenario
    order = node.class_order
    tasks = split_classes(
        num_classes,
        node.classes_per_task,
        OmegaConf.to_container(node.tasks) if node.tasks is not None else None,  # type: ignore[arg-type]
        list(order) if isinstance(order, ListConfig) else str(order),
        node.order_seed,
        known,
    )
    epochs = list(cfg.epochs) if isinstance(cfg.epochs, ListConfig) else cfg.epochs
    stream = Scenario.from_classes(tasks, epochs, known, node.joined)
    if cfg.caps is None:
        return stream
    durations = [min(cfg.caps.epochs_per_task, task.epochs) for task in stream.tasks][: cfg.caps.tasks]
    return Scenario.from_classes(tasks[: cfg.caps.tasks], durations, known, node.joined)


def apply_caps(cfg: DictConfig) -> DictConfig:
    """A copy of the configuration within its `caps` (debug=smoke), if it has any.

    The tasks are capped when the scenario is built. The data set is replaced by generated images of
    the same size, channels and number of classes.
    """
    caps = cfg.caps
    if caps is None:
        return cfg
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    steps = cfg.steps_per_epoch
    cfg.steps_per_epoch = min(caps.steps_per_epoch, steps) if steps else caps.steps_per_epoch
    cfg.batch_size = min(caps.batch_size, cfg.batch_size)
    evaluation = cfg.evaluation
    evaluation.samples_per_class = min(caps.samples_per_class, evaluation.samples_per_class)
    evaluation.features = Features.judge  # Inception is no matter of seconds, and its weights are a download
    evaluation.reverse_per_class = min(caps.samples_per_class, evaluation.reverse_per_class)
    evaluation.reverse_steps = min(caps.classifier_steps, evaluation.reverse_steps)
    evaluation.classifier_steps = min(caps.classifier_steps, evaluation.classifier_steps)
    for key in ("buffer_per_class", "max_per_class"):
        if key in cfg.strategy:
            cfg.strategy[key] = min(caps.buffer_per_class, cfg.strategy[key] or caps.buffer_per_class)
    cfg.data.num_classes = cfg.data.num_classes or SMOKE_CLASSES
    cfg.data.source = caps.data
    return cfg
