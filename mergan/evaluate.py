"""Measure the generator of a checkpoint: python -m mergan.evaluate checkpoint=RUN/checkpoints/last.ckpt"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from mergan import cli, config, tables

os.environ.setdefault("HYDRA_FULL_ERROR", "1")
config.register()


def run(cfg: DictConfig) -> None:
    """Judge the generator on the classes it has learned, print the figures and write them to `cfg.out`.

    The accuracy matrix of the run stands in the checkpoint, so that forgetting is known too; what is
    measured now is its last row.

    Raises:
        ConfigError: a value out of range.
        CheckpointError: the checkpoint cannot be read.
        DataError: the data set of the run is missing.
    """
    config.check_evaluation(cfg)
    from mergan import experiment
    from mergan.checkpoint import load_generator
    from mergan.evaluation import continual
    from mergan.storage import write_text

    generator = load_generator(Path(cfg.checkpoint))
    run_cfg = OmegaConf.merge(OmegaConf.structured(config.TrainConfig), generator.config)
    assert isinstance(run_cfg, DictConfig)
    run_cfg.evaluation = cfg.evaluation
    run_cfg.cache_dir = cfg.cache_dir or run_cfg.cache_dir
    if cfg.root is not None and "root" in run_cfg.data.source:
        run_cfg.data.source.root = cfg.root
    evaluator = experiment.build_evaluator(run_cfg, experiment.build_data(run_cfg))

    classes = sorted(generator.seen)
    row = evaluator.accuracy(generator, classes)
    earlier = generator.matrix
    if earlier and earlier[-1].keys() == row.keys():  # the row of the task that the checkpoint ends
        earlier = earlier[:-1]
    matrix = [*earlier, row]
    metrics = {
        "accuracy": continual.average(row),
        **{f"accuracy_class_{generator.class_names[label]}": value for label, value in row.items()},
        "reverse_accuracy": evaluator.reverse_accuracy(generator, classes),
    }
    forgotten = continual.forgetting(matrix)
    if forgotten is not None:
        metrics["forgetting"] = forgotten
        for label, value in continual.forgetting_per_class(matrix).items():
            metrics[f"forgetting_class_{generator.class_names[label]}"] = value
    print(tables.plain(["figure", "value"], [[key, f"{value:.4f}"] for key, value in metrics.items()]))
    if cfg.out is not None:
        write_text(Path(cfg.out), json.dumps(metrics, indent=2) + "\n")


@hydra.main(version_base="1.3", config_path=str(config.CONF), config_name="evaluate")
def main(cfg: DictConfig) -> None:
    """The command line."""
    cli.small_job(run, cfg)


if __name__ == "__main__":
    sys.exit(cli.guard(main))
