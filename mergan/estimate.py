"""How much memory and disk a run needs at the very least, said before any of it is taken.

Networks are built on torch's meta device, where tensors have shapes and no values; everything else follows
from shapes and counts. All estimates are from below: what they refuse cannot run.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from lightning.pytorch.accelerators import AcceleratorRegistry
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from mergan import config, resources, slots, trainer_arguments
from mergan.errors import ConfigError
from mergan.instantiate import check_types, instantiate

log = logging.getLogger(__name__)

FLOAT, LABEL = 4, 8  # bytes
NAME = 64  # bytes of the name of a class, at least
MODEST = 16  # a size of networks and batches that is not to blame
ADAM = 4  # copies of a trained network: weights, gradients and two moments
MOST_IMAGES = 10**9  # made one by one; at a millisecond each they take days
OVERFLOW = ("overflow", "invalid for input of size", "too large", "negative dimension", "out of range")


@dataclass(frozen=True)
class Need:
    """What one setting takes.

    Attributes:
        key: of the setting.
        size: bytes.
        disk: the folder on whose disk they lie; None: in memory.
        device: they lie on the device that trains, not in the memory of the computer.
    """

    key: str
    size: float
    disk: Path | None = None
    device: bool = False


def check(cfg: DictConfig, num_classes: int | None) -> None:
    """Refuse a run that this machine cannot hold. Draws no random numbers and allocates nothing.

    Args:
        cfg: a configuration that `mergan.config.check` has passed.
        num_classes: classes of the data set; None where it is not known before the data is read.

    Raises:
        ConfigError: naming the key to blame, what it needs and what there is; also for accelerators that
            this machine does not have, and for parts of another kind than their key wants.
    """
    cfg = config.apply_caps(cfg)
    for node in slots.parts_of(cfg):
        check_types(node)
    _check_accelerator(cfg.trainer)
    classes = num_classes or 1
    with torch.random.fork_rng(devices=[]):
        for need in (*_counted(cfg, classes), *_of_networks(cfg, classes)):
            _compare(cfg, need)


def check_samples(per_class: int, classes: int, channels: int, image_size: int) -> None:
    """Refuse more pictures than memory holds.

    Args:
        per_class, classes: how many of each class, and how many classes.
        channels, image_size: shape of the pictures, which are bytes.

    Raises:
        ConfigError: naming per_class.
    """
    size = float(per_class) * classes * channels * image_size**2
    there = resources.memory()
    if there is not None and size > there:
        raise ConfigError(_too_much(f"per_class={per_class}", size, there, "memory"))


# ------------------------------------------------------------------ what follows from counts


def _counted(cfg: DictConfig, classes: int) -> Iterator[Need]:
    """Pictures and labels that are held at once."""
    pixels = float(cfg.data.channels * cfg.data.image_size**2)
    learned = _learned(cfg, classes)
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
        past = learned - 1  # one class is left for the last task, at least
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
    """A count of a part; 0 where the part has none, or has something of its own under that name."""
    value = OmegaConf.select(cfg, key)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else 0.0


def _learned(cfg: DictConfig, classes: int) -> int:
    """How many classes the stream learns, at least one."""
    if cfg.scenario.tasks is None:
        return classes if cfg.caps is None else 1
    return 1 if cfg.caps is not None else max(1, sum(len(task) for task in cfg.scenario.tasks))


# ------------------------------------------------------------------ networks and batches


def _of_networks(cfg: DictConfig, classes: int) -> Iterator[Need]:
    """The networks with what a training step keeps of a batch, under the key that is most to blame."""
    there = resources.device_memory(cfg.trainer)
    size = _training(cfg, classes)
    if size is None or there is None or size <= there:
        return
    modest = max(MODEST, classes)
    rest: dict[str, float | None] = {}
    for key in [key for key, value in _sizes(cfg) if value > modest]:
        smaller = cfg.copy()
        OmegaConf.update(smaller, key, modest)
        with suppress(ConfigError):  # it depends on another one
            rest[key] = _training(smaller, classes)
    if classes > MODEST:
        rest["data.num_classes"] = _training(cfg, MODEST)
    known = {key: left for key, left in rest.items() if left is not None}
    yield Need(min(known, key=lambda key: known[key], default="network.name"), size, device=True)


def _sizes(cfg: DictConfig) -> Iterator[tuple[str, int]]:
    """The whole numbers that networks, strategy and batch are made from."""
    for key in ("batch_size", "embedding_dim"):
        yield key, cfg[key]
    for part in ("network.generator", "network.discriminator", "strategy"):
        node = OmegaConf.select(cfg, part)
        for name in node:
            raw = node._get_node(name)
            value = node[name]
            if not raw._is_interpolation() and isinstance(value, int) and not isinstance(value, bool):
                yield f"{part}.{name}", value


def _training(cfg: DictConfig, classes: int) -> float | None:
    """Bytes of a training step: networks, moments, gradients, the average, what backward passes keep.

    None if the networks cannot be built without values, as those of other packages may; infinity if a
    tensor of them is too large for PyTorch to describe.
    """
    batch, latent = cfg.batch_size, cfg.embedding_dim
    shape = {"num_classes": classes, "channels": cfg.data.channels, "image_size": cfg.data.image_size}
    try:
        with torch.device("meta"), torch.no_grad():
            generator = instantiate(cfg.network.generator, **shape)
            discriminator = instantiate(cfg.network.discriminator, **shape)
            strategy = instantiate(cfg.strategy)
            strategy.build(generator, **shape)
            labels = torch.empty(batch, dtype=torch.int64)
            _check_arguments("network.generator", generator, "z, labels")
            _check_arguments("network.discriminator", discriminator, "images, labels")
            with _kept(generator, discriminator) as kept:
                images = generator(torch.empty(batch, latent), labels)
                _check_images(images, (batch, cfg.data.channels, cfg.data.image_size))
                _check_logits(discriminator(images, labels), (batch, classes))
    except Exception as error:
        if any(words in str(error).lower() for words in OVERFLOW):
            return float("inf")
        if isinstance(error, ConfigError) and not _by_library(error):
            raise
        log.debug("the networks cannot be estimated: %s", error)
        return None
    copies = ADAM + 1 + (cfg.acgan.get("ema") is not None)  # the snapshot, the average
    held = copies * _bytes(generator) + ADAM * _bytes(discriminator) + _bytes(strategy)
    activations = sum(kept) * (0.5 if "16" in str(cfg.trainer.get("precision")) else 1)
    return held + activations + batch * (latent * FLOAT + LABEL)


@contextmanager
def _kept(*networks: nn.Module) -> Iterator[list[float]]:
    """Bytes of the inputs of layers with weights: backward passes need them, whatever else they need."""
    sizes: list[float] = []

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        sizes.extend(float(x.numel()) * FLOAT for x in inputs[:1] if isinstance(x, Tensor) and x.dim() > 1)

    layers = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [
        layer.register_forward_pre_hook(note)
        for network in networks
        for layer in network.modules()
        if isinstance(layer, layers)
    ]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()


def _check_images(images: Any, shape: tuple[int, int, int]) -> None:
    """Refuse a generator that makes something else than images (B, C, S, S)."""
    wanted = (shape[0], shape[1], shape[2], shape[2])
    found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
    if found != wanted:
        raise ConfigError(f"network.generator: makes {found} of a batch, where images {wanted} are wanted")


def _check_logits(outputs: Any, shape: tuple[int, int]) -> None:
    """Refuse a discriminator that makes something else than logits (B,) and (B, num_classes)."""
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    found = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in parts]
    wanted = [shape[:1], shape]
    if found != wanted:
        raise ConfigError(
            f"network.discriminator: makes {found} of a batch, where logits {wanted} are wanted"
        )


def _check_arguments(key: str, network: nn.Module, wanted: str) -> None:
    """Refuse a network that is called with something else than two tensors."""
    try:
        inspect.signature(network.forward).bind(*wanted.split(", "))
    except TypeError as error:
        raise ConfigError(
            f"{key}._target_={type(network).__name__}: is not called with ({wanted}), see mergan.networks"
        ) from error
    except ValueError:  # a compiled network has no signature
        return


def _by_library(error: ConfigError) -> bool:
    """Whether a constructor of another package has failed, and not by its arguments: it may well work with
    values in place of shapes.
    """
    hydras = error.__cause__
    return isinstance(hydras, InstantiationException) and not isinstance(hydras.__cause__, TypeError)


def _bytes(module: nn.Module) -> float:
    tensors = (*module.parameters(), *module.buffers())
    return sum(float(tensor.numel()) * tensor.element_size() for tensor in tensors)


# ------------------------------------------------------------------ what there is


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


def _check_accelerator(trainer: DictConfig) -> None:
    """Refuse accelerators and numbers of devices that this machine does not have."""
    name, devices = trainer.get("accelerator") or "auto", trainer.get("devices")
    known = ("auto", "gpu", *sorted(AcceleratorRegistry.available_accelerators()))
    if name not in known:
        raise ConfigError(f"trainer.accelerator={name}: use one of {', '.join(known)}")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else int(torch.backends.mps.is_available())
    if name in ("gpu", "cuda") and gpus == 0:
        raise ConfigError(f"trainer.accelerator={name}: there is no gpu here; use cpu or auto")
    if devices is None or devices == "auto" or name not in ("auto", "cpu", "gpu", "cuda"):
        return
    on_gpu = name in ("gpu", "cuda") or (name == "auto" and gpus > 0)
    most, kind = (gpus, "GPUs") if on_gpu else (trainer_arguments.processors(), "processors")
    numbers = (
        [int(part) for part in devices.split(",") if part.strip()] if isinstance(devices, str) else devices
    )
    if not isinstance(numbers, int):
        if isinstance(devices, str) and "," not in devices:
            numbers = numbers[0]
        elif not on_gpu:
            raise ConfigError(f"trainer.devices={devices}: {kind} have no numbers; use how many")
        elif any(number >= gpus for number in numbers):
            raise ConfigError(f"trainer.devices={devices}: there are only {gpus} GPUs, numbered from 0")
    if isinstance(numbers, int) and (numbers > most or (numbers < 1 and not (on_gpu and numbers == -1))):
        raise ConfigError(f"trainer.devices={devices}: this machine has {most} {kind}; use at most so many")
