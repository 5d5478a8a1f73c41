"""Draw images from a trained generator: python -m mergan.sample checkpoint=RUN/checkpoints/last.ckpt"""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from mergan import config
from mergan.cli import guard as cli
from mergan.output.places import check_output
from mergan.system.errors import ConfigError

config.register()


def run(cfg: DictConfig) -> None:
    """Write `images` uint8 (N, C, H, W) and `labels` int64 (N,) to `cfg.out`.

    Raises:
        ConfigError: a count out of range, a class that the generator has not learned, or a place for the
            file where one must not be written.
        CheckpointError: the checkpoint cannot be read.
    """
    cfg = config.absolute_paths(cfg)
    config.check_fields(cfg, config.SampleConfig)
    out = check_output(Path(cfg.out), cfg.overwrite)
    import numpy as np

    from mergan.checkpoints import trust
    from mergan.evaluation.evaluator import sample
    from mergan.run import estimate
    from mergan.run.trained import load_generator
    from mergan.system.files import replacing

    generator = load_generator(Path(cfg.checkpoint), trust.of_this_command(cfg))
    classes = sorted(generator.seen) if cfg.classes is None else list(cfg.classes)
    unknown = [label for label in classes if label not in generator.seen]
    if unknown or not classes:
        raise ConfigError(f"classes={classes}: the generator has learned {sorted(generator.seen)}")
    shape = generator.config.data
    estimate.check_samples(cfg.per_class, len(classes), shape.channels, shape.image_size)
    images, labels = sample(generator, classes, cfg.per_class, generator.latent_dim, cfg.seed)
    with replacing(out, new=not cfg.overwrite) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, images=images.numpy(), labels=labels.numpy())
    print(f"{len(labels)} images of {len(classes)} classes written to {out}")


@hydra.main(version_base="1.3", config_path=str(config.CONF), config_name="sample")
def main(cfg: DictConfig) -> None:
    """The command line."""
    cli.small_job(run, cfg)


if __name__ == "__main__":
    sys.exit(cli.guard(main, hydra=True))
