"""Estimate how much memory and disk a run needs at least, before it takes any of it.

Networks are built on torch's meta device, where tensors have shapes but no values. Everything else follows
from shapes and counts. All estimates are lower bounds: a run that they refuse cannot work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from mergan import config
from mergan.config import slots
from mergan.config.instantiate import check_types
from mergan.run import footprint, resources
from mergan.system.errors import ConfigError

FLOAT, LABEL = 4, 8  # bytes
NAME = 64  # bytes of the name of a class, at least
MODEST = 16  # networks and batches of this size are never to blame
MOST_IMAGES = 10**9  # they are made one by one; at a millisecond each they take days


@dataclass(frozen=True)
class Need:
    """How many bytes one setting needs.

    Attributes:
        key: the setting.
        size: bytes.
        disk: the folder on whose disk the bytes are; None: in memory.
        device: whether they are on the training device instead of in main memory.
    """

    key: str
    size: float
    disk: Path | None = None
    device: bool = False


def check(cfg: DictConfig, num_classes: int | None) -> None:
    """Refuse a run that this machine cannot hold. Draws no random numbers and allocates nothing.

    Args:
        cfg: a configuration that `mergan.config.check` has passed.
        num_classes: number of classes of the data set; None if unknown before the data is read.

    Raises:
        ConfigError: the message names the key to blame, what it needs and what is available. Also raised for
            accelerators that this machine does not have, and for parts of the wrong kind for their key.
    """
    cfg = config.apply_caps(cfg)
    for node in slots.parts_of(cfg):
        check_types(node)
    resources.check_accelerator(cfg.trainer)
    classes = num_classes or 1
    with torch.random.fork_rng(devices=[]):
        for need in (*_counted(cfg, num_classes), *_of_networks(cfg, classes)):
            _compare(cfg, need)


def check_samples(per_class: int, classes: int, channels: int, image_size: int) -> None:
    """Refuse more images than memory holds.

    Args:
        per_class, classes: images per class, and number of classes.
        channels, image_size: shape of the images; each value is a byte.

    Raises:
        ConfigError: the message names per_class.
    """
    size = float(per_class) * classes * channels * image_size**2
    there = resources.memory()
    if there is not None and size > there:
        raise ConfigError(_too_much(f"per_class={per_class}", size, there, "memory"))


# ------------------------------------------------------------------ what follows from counts


def _counted(cfg: DictConfig, num_classes: int | None) -> Iterator[Need]:
    """Images and labels that are held at the same time."""
    classes = num_classes or 1
    pixels = float(cfg.data.channels * cfg.data.image_size**2)
    learned, past = _of_stream(cfg, num_classes)
    evaluation = cfg.evaluation
    yield Need("data.num_classes", classes * NAME)
    yield Need("evaluation.samples_per_class", evaluation.samples_per_class * pixels)
    reverse = evaluation.reverse_per_class
    yield Need(_larger("evaluation.reverse_per_class", reverse, classes), reverse * learned * pixels)
    for key in ("data.source.train_per_class", "data.source.test_per_class"):
        count = _number(cfg, key)
        to_blame = _larger(key, count, classes)
        yield Need(to_blame, count * classes * LABEL)
        yield Need(to_blame, count * classes * pixels, disk=Path(cfg.cache_dir).expanduser())
    yield Need("callbacks.samples.columns", _number(cfg, "callbacks.samples.columns") * pixels * FLOAT)
    if cfg.strategy.get("mode") != "live":
        yield Need("strategy.buffer_per_class", _number(cfg, "strategy.buffer_per_class") * past * pixels)
    if _number(cfg, "strategy.samples") > MOST_IMAGES:
        raise ConfigError(
            f"strategy.samples={cfg.strategy.samples}: images are made and measured one by one when a task "
            f"ends, use at most {MOST_IMAGES}"
        )


def _larger(key: str, count: float, classes: int) -> str:
    """Which of two factors is to blame for their product."""
    return key if count >= classes else "data.num_classes"


def _number(cfg: DictConfig, key: str) -> float:
    """A count in a part's configuration; 0 if the key is missing or not an integer."""
    value = OmegaConf.select(cfg, key)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else 0.0


def _of_stream(cfg: DictConfig, num_classes: int | None) -> tuple[int, int]:
    """Lower bounds: how many classes the stream learns, and how many of them are past ones in a task."""
    if num_classes is None:
        return 1, 0
    try:
        stream = config.scenario(cfg, num_classes)
    except ConfigError:  # it may be valid with the classes that `init_from` knows
        return 1, 0
    # names are not known yet, so a name and a number may mean the same class
    learned = min(len(stream.classes), num_classes)
    return learned, min(max(len(task.past) for task in stream.tasks), learned - 1)


# ------------------------------------------------------------------ networks and batches


def _of_networks(cfg: DictConfig, classes: int) -> Iterator[Need]:
    """The networks and what a training step keeps of a batch, under the key that is most to blame."""
    there = resources.device_memory(cfg.trainer)
    size = footprint.training(cfg, classes)
    if size is None or there is None or size <= there:
        return
    modest = max(MODEST, classes)
    rest: dict[str, float | None] = {}
    for key in [key for key, value in _sizes(cfg) if value > modest]:
        smaller = cfg.copy()
        OmegaConf.update(smaller, key, modest)
        with suppress(ConfigError):  # it depends on another key
            rest[key] = footprint.training(smaller, classes)
    if classes > MODEST:
        rest["data.num_classes"] = footprint.training(cfg, MODEST)
    known = {key: left for key, left in rest.items() if left is not None}
    yield Need(min(known, key=lambda key: known[key], default="network.name"), size, device=True)


def _sizes(cfg: DictConfig) -> Iterator[tuple[str, int]]:
    """The integer settings of networks, strategy and batch."""
    for key in ("batch_size", "embedding_dim"):
        yield key, cfg[key]
    for part in ("network.generator", "network.discriminator", "strategy"):
        node = OmegaConf.select(cfg, part)
        for name in node:
            raw = node._get_node(name)
            value = node[name]
            if not raw._is_interpolation() and isinstance(value, int) and not isinstance(value, bool):
                yield f"{part}.{name}", value


# ------------------------------------------------------------------ what is available


def _compare(cfg: DictConfig, need: Need) -> None:
    if need.disk is not None:
        there = resources.disk(need.disk)
    else:
        there = resources.device_memory(cfg.trainer) if need.device else resources.memory()
    if there is not None and need.size > there:
        what = "memory" if need.disk is None else f"disk in {need.disk}"
        value = OmegaConf.select(cfg, need.key)
        raise ConfigError(_too_much(f"{need.key}={value}", need.size, there, what))


def _too_much(setting: str, size: float, there: float, what: str) -> str:
    need = "more than PyTorch can count" if size == float("inf") else f"about {resources.shown(size)}"
    return f"{setting}: needs {need} of {what}, there are {resources.shown(there)}; use a smaller one"
