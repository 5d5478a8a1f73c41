"""Sample images from the generator of a checkpoint into a file."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from mergan import config
from mergan.output.places import check_output
from mergan.run.generator import Generator, check_request


def sample(cfg: DictConfig) -> None:
    """Write `images` uint8 (N, C, H, W) and `labels` int64 (N,) to `cfg.out`.

    Args:
        cfg: the keys of conf/sample.yaml.

    Raises:
        ConfigError: a count is out of range, the generator has not learned a class, or the file must not be
            written there.
        CheckpointError: the checkpoint cannot be read.
    """
    cfg = config.absolute_paths(cfg)
    check_request(cfg.per_class, cfg.seed)
    out = check_output(Path(cfg.out), cfg.overwrite)
    import numpy as np

    from mergan.checkpoints import trust
    from mergan.run.trained import load_generator
    from mergan.system.files import replacing

    generator = Generator(load_generator(Path(cfg.checkpoint), trust.of_this_command(cfg)))
    images, labels = generator.sample(cfg.classes, cfg.per_class, cfg.seed)
    with replacing(out, new=not cfg.overwrite) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, images=images.numpy(), labels=labels.numpy())
    print(f"{len(labels)} images of {len(labels) // cfg.per_class} classes written to {out}")
