"""Train one continual GAN and measure it: python train.py strategy=joint_retrain"""

import sys

import hydra
from omegaconf import DictConfig

from mergan import config
from mergan.cli import guard as cli

config.register()


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Run one job; in a multirun Hydra calls this once per job."""
    return cli.train_job(cfg)


if __name__ == "__main__":
    sys.exit(cli.guard(main, hydra=True))
