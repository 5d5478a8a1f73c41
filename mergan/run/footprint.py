"""The minimum memory of networks and of a training step, computed from shapes alone."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from mergan.config.instantiate import instantiate
from mergan.system.errors import ConfigError

log = logging.getLogger(__name__)

FLOAT, LABEL = 4, 8  # bytes
ADAM = 4  # copies of a trained network: weights, gradients and two moments
OVERFLOW = ("overflow", "invalid for input of size", "too large", "negative dimension", "out of range")


def training(cfg: DictConfig, classes: int) -> float | None:
    """Bytes of a training step: networks, moments, gradients, the average, what backward passes keep.

    The networks are built and called on the meta device, where tensors have shapes but no values. Call this
    under `torch.random.fork_rng`: a network of another package may use the global random generator.

    Args:
        cfg: a configuration that `mergan.config.check` has passed.
        classes: number of classes of the data set.

    Returns:
        None if the networks cannot be built without values, which may happen with other packages; infinity
        if one of their tensors is too large for PyTorch to describe.

    Raises:
        ConfigError: a network refuses its arguments, or its outputs are not those of a pair
            (mergan.networks).
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
    copies = ADAM + 1 + (cfg.learner.get("ema") is not None)  # the snapshot, the average
    held = copies * _bytes(generator) + ADAM * _bytes(discriminator) + _bytes(strategy)
    activations = sum(kept) * (0.5 if "16" in str(cfg.trainer.get("precision")) else 1)
    return held + activations + batch * (latent * FLOAT + LABEL)


@contextmanager
def _kept(*networks: nn.Module) -> Iterator[list[float]]:
    """Bytes of the inputs of layers with weights: the backward pass needs at least these."""
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
    """Refuse a generator whose output is not images (B, C, S, S)."""
    wanted = (shape[0], shape[1], shape[2], shape[2])
    found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
    if found != wanted:
        raise ConfigError(f"network.generator: makes {found} of a batch, where images {wanted} are wanted")


def _check_logits(outputs: Any, shape: tuple[int, int]) -> None:
    """Refuse a discriminator whose outputs are not logits (B,) and (B, num_classes)."""
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    found = [tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in parts]
    wanted = [shape[:1], shape]
    if found != wanted:
        raise ConfigError(
            f"network.discriminator: makes {found} of a batch, where logits {wanted} are wanted"
        )


def _check_arguments(key: str, network: nn.Module, wanted: str) -> None:
    """Refuse a network that cannot be called with two tensors."""
    try:
        inspect.signature(network.forward).bind(*wanted.split(", "))
    except TypeError as error:
        raise ConfigError(
            f"{key}._target_={type(network).__name__}: is not called with ({wanted}), see mergan.networks"
        ) from error
    except ValueError:  # a compiled network has no signature
        return


def _by_library(error: ConfigError) -> bool:
    """Whether a constructor of another package has failed for another reason than its arguments: it may work
    with values instead of shapes.
    """
    return error.__cause__ is not None and not isinstance(error.__cause__, TypeError)


def _bytes(module: nn.Module) -> float:
    tensors = (*module.parameters(), *module.buffers())
    return sum(float(tensor.numel()) * tensor.element_size() for tensor in tensors)
