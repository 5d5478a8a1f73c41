"""The stream of tasks that a configuration describes, and the upper limits that debug=smoke sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from mergan.config import hints, measures
from mergan.config.instantiate import instantiate
from mergan.config.schema import TrainConfig
from mergan.scenarios.base import Scenario, StreamKind
from mergan.scenarios.classes import Classes

MEANINGLESS = "debug=smoke: the figures mean nothing"  # what is said where there are caps

# of the generated images, if they are unknown until the data is read
SMOKE_CLASSES, SMOKE_CHANNELS, SMOKE_SIZE = 10, 3, 32

WIDTHS = ("width", "max_width")  # settings of networks that the caps limit


def scenario(
    cfg: DictConfig | TrainConfig, classes: int | Sequence[str], known: Sequence[int] = ()
) -> Scenario:
    """The stream that the configuration describes, within its `caps` (debug=smoke).

    Args:
        cfg: the configuration; while `epochs` is null, every task has one.
        classes: the names of the data set's classes in the order of the labels; or their number, if the names
            are not known yet and the stream is only checked (see mergan.scenarios.Classes).
        known: classes that the networks already know (init_from).

    Raises:
        ConfigError: the stream is invalid, or does not fit these classes.
    """
    kind, joined = stream_kind(cfg), is_joined(cfg)
    of = Classes.of(classes)
    epochs = list(cfg.epochs) if isinstance(cfg.epochs, ListConfig | list) else cfg.epochs or 1
    stream = kind.scenario(of, epochs, known, joined)
    if cfg.caps is None:
        return stream
    durations = [min(cfg.caps.epochs_per_task, task.epochs) for task in stream.tasks][: cfg.caps.tasks]
    apart = kind.scenario(of, 1, known).tasks[: cfg.caps.tasks]
    return Scenario.from_classes([task.classes for task in apart], durations, known, joined)


def stream_kind(cfg: DictConfig | TrainConfig) -> StreamKind:
    """The kind of stream that `scenario` names.

    Raises:
        ConfigError: it is not a kind of stream, or refuses its arguments.
    """
    node = {str(key): value for key, value in cfg.scenario.items()}
    node.pop("joined", None)  # the strategy sets this for any kind; it is not an argument
    kind: StreamKind = instantiate(node, "scenario")
    return kind


def is_joined(cfg: DictConfig | TrainConfig) -> bool:
    """Whether all tasks become one (`scenario.joined`, which strategy=joint sets).

    Raises:
        ConfigError: it is neither true nor false.
    """
    joined: Any = cfg.scenario.get("joined", False)
    hints.check("scenario.joined", joined, bool)
    return bool(joined)


def apply_caps(cfg: DictConfig) -> DictConfig:
    """A copy of the configuration with its `caps` (debug=smoke) applied, if it has any.

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
    evaluation.features = measures.without_weights(evaluation)
    evaluation.reverse_per_class = min(caps.samples_per_class, evaluation.reverse_per_class)
    evaluation.reverse_steps = min(caps.classifier_steps, evaluation.reverse_steps)
    evaluation.classifier_steps = min(caps.classifier_steps, evaluation.classifier_steps)
    for key in ("buffer_per_class", "max_per_class"):
        if key in cfg.strategy:
            cfg.strategy[key] = min(caps.buffer_per_class, cfg.strategy[key] or caps.buffer_per_class)
    if cfg.init_from is None:
        _cap_widths(cfg.network, caps.width)
    cfg.data.num_classes = cfg.data.num_classes or SMOKE_CLASSES
    cfg.data.channels = cfg.data.channels or SMOKE_CHANNELS
    cfg.data.image_size = cfg.data.image_size or SMOKE_SIZE
    cfg.data.source = caps.data
    return cfg


def _cap_widths(network: DictConfig, most: int) -> None:
    """Make the networks at most so wide; a width that is null is chosen from the images later."""
    for node in network.values():
        for key in WIDTHS if isinstance(node, DictConfig) else ():
            if node.get(key):
                node[key] = min(most, node[key])
