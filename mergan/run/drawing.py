"""Draw the samples of one checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mergan import config
from mergan.evaluation.interpolation import sample_paths
from mergan.evaluation.sampling import sample_class
from mergan.output.formats import Format, Samples
from mergan.run import estimate
from mergan.run.rebuilding import TrainedGenerator
from mergan.run.trained import CheckpointGenerator
from mergan.system.errors import CheckpointError, ConfigError


def draw(
    trained: TrainedGenerator,
    labels: Sequence[int],
    per_class: int,
    steps: int,
    seed: int,
    form: Format,
) -> Samples:
    """Draw the images of some classes.

    Args:
        trained: the generator; it has learned the classes.
        labels: numbers of the classes.
        per_class: images of each class, or paths.
        steps: images of each path; 1: no interpolation.
        seed: seed of z.
        form: the format that they are drawn for.

    Raises:
        ConfigError: more images than the format shows or memory holds.
        CheckpointError: the stream of the checkpoint makes no sense.
    """
    form.check_count(len(labels), per_class, steps)
    shape = trained.config.data
    estimate.check_samples(per_class * steps, len(labels), shape.channels, shape.image_size)
    generate, latent_dim = trained, trained.latent_dim
    if steps > 1:
        drawn = [sample_paths(generate, label, per_class, steps, latent_dim, seed) for label in labels]
    else:
        drawn = [sample_class(generate, label, per_class, latent_dim, seed).unsqueeze(1) for label in labels]
    title, notes = "", [""] * len(labels)
    if form.titled and isinstance(trained, CheckpointGenerator):  # an exported file knows no stream
        title, notes = _stage(trained, labels)
    return Samples(torch.stack(drawn).numpy(), labels, trained.class_names, title, notes)


def _stage(trained: CheckpointGenerator, labels: Sequence[int]) -> tuple[str, list[str]]:
    """How far the training was, and which task brought each class.

    Raises:
        CheckpointError: the stream of the checkpoint makes no sense.
    """
    try:
        stream = config.scenario(trained.config, trained.class_names, trained.known)
    except ConfigError as error:
        raise CheckpointError(f"checkpoint: {error}") from error
    epoch = trained.content["epoch"]
    task = stream.task_at(epoch)
    when = "after" if epoch >= task.last_epoch else "in"
    first = {label: each.index + 1 for each in reversed(stream.tasks) for label in each.new}
    notes = [f"task {first[label]}" if label in first else "known before" for label in labels]
    return f"{when} task {task.index + 1} of {len(stream.tasks)}", notes
