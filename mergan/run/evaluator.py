"""Build what measures the generator from the configuration."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import torch

from mergan import config
from mergan.config import TrainConfig
from mergan.config.instantiate import check_types, instantiate, instantiate_offering
from mergan.data.pool import ImagePool
from mergan.evaluation.classifiers import Classifier
from mergan.evaluation.evaluator import Evaluator
from mergan.evaluation.features import FeatureSpace
from mergan.evaluation.judge import load, load_or_train
from mergan.evaluation.metrics import Metric
from mergan.evaluation.training import Fresh
from mergan.system.errors import ConfigError


def build_evaluator(settings: TrainConfig, pool: ImagePool, device: torch.device) -> Evaluator:
    """The evaluator on a device, with its judge trained there or read from the cache.

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
    fresh, key = _judge(settings, pool)
    judge = load_or_train(
        pool.train_set, fresh, key, Path(settings.cache_dir), measures.classifier_steps, device
    )
    evaluator = Evaluator(
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
    evaluator.to(device)
    return evaluator


def known_judge(settings: TrainConfig, pool: ImagePool) -> Classifier | None:
    """The judge of a run, if the cache holds it; it is not trained here."""
    fresh, key = _judge(settings, pool)
    return load(pool.train_set, fresh, key, Path(settings.cache_dir), settings.evaluation.classifier_steps)


def _judge(settings: TrainConfig, pool: ImagePool) -> tuple[Fresh, str]:
    """What makes an untrained judge, and what identifies a trained one in the cache."""
    measures, source = settings.evaluation, pool.source
    shape = f"{pool.image_size}|{source.channels}"
    part = measures.split.name if measures.split.name == "test" else f"val {settings.data.val_fraction}"
    name = measures.classifier or ""
    node = measures.classifiers[name]
    fresh = functools.partial(instantiate, node, f"evaluation.classifiers.{name}", **pool.shape)
    return fresh, f"{source.name}|{pool.fingerprint()}|{shape}|{part}|{json.dumps(node, sort_keys=True)}"


def _build_spaces(settings: TrainConfig, judge: Classifier) -> dict[str, FeatureSpace]:
    """The feature spaces of `evaluation.features`, by name."""
    offered = {"judge": judge, "cache_dir": settings.cache_dir}
    nodes = settings.evaluation.spaces
    return {
        name: instantiate_offering(nodes[name], f"evaluation.spaces.{name}", offered)
        for name in config.feature_names(settings.evaluation.features)
    }
